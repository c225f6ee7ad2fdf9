"""`bertcpp.pipeline`: a task by its name, with a model and a tokenizer by theirs."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..arguments import checked_options
from ..errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .task import Task

__all__ = ["ALIASES", "TASKS", "pipeline"]

# task: its module here and its class.
TASKS: Mapping[str, tuple[str, str]] = {
    "feature-extraction": ("feature_extraction", "FeatureExtraction"),
    "fill-mask": ("fill_mask", "FillMask"),
    "question-answering": ("question_answering", "QuestionAnswering"),
    "sentence-similarity": ("sentence_similarity", "SentenceSimilarity"),
    "summarization": ("summarization", "Summarization"),
    "text-classification": ("text_classification", "TextClassification"),
    "token-classification": ("token_classification", "TokenClassification"),
    "zero-shot-classification": ("zero_shot", "ZeroShotClassification"),
}
ALIASES: Mapping[str, str] = {"ner": "token-classification", "sentiment-analysis": "text-classification"}

# What a class of transformers, by the end of its name, was trained for.
_TASK_OF_HEAD: Mapping[str, str] = {
    "ForMaskedLM": "fill-mask",
    "ForQuestionAnswering": "question-answering",
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "Model": "feature-extraction",
}
# Arguments of transformers' function that say how PyTorch or Python should load: they change nothing here.
_WITHOUT_EFFECT = ("code_revision", "device_map", "feature_extractor", "image_processor", "processor", "use_fast")
_FOR_BOTH = ("cache_dir", "force_download", "local_files_only", "subfolder")


def pipeline(
    task: str | None = None,
    model: Any = None,
    *,
    config: Any = None,
    tokenizer: Any = None,
    revision: str | None = None,
    token: str | bool | None = None,
    device: Any = None,
    dtype: Any = None,
    torch_dtype: Any = None,
    framework: str | None = None,
    trust_remote_code: bool | None = None,
    model_kwargs: Mapping[str, Any] | None = None,
    batch_size: int | None = None,
    num_workers: int | None = None,
    num_threads: int | None = None,
    **options: Any,
) -> Task:
    """Make a task of a model: give it texts, and it answers as transformers' pipeline of that name.

    Args:
        task: ``"text-classification"`` (or ``"sentiment-analysis"``), ``"token-classification"`` (or ``"ner"``),
            ``"question-answering"``, ``"fill-mask"``, ``"zero-shot-classification"``, ``"feature-extraction"``,
            ``"sentence-similarity"`` or ``"summarization"``; None takes what the model was trained for.
        model: a folder, a hub name, the name of an installed model package, or a model that is loaded already. There
            is no default.
        config: a configuration, or where one is, in place of the checkpoint's.
        tokenizer: a tokenizer, or where one is; None takes the checkpoint's.
        revision: a branch, tag or commit of the hub.
        token: the hub's access token.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"`` ... or ``"auto"``, as `from_pretrained` takes it; -1 and None mean
            the processor.
        dtype: as `bertcpp.AutoModel.from_pretrained` takes it.
        torch_dtype: the older name of `dtype`.
        framework: ``"pt"`` or None, without effect.
        trust_remote_code: accepted, without effect: no code of a checkpoint is ever run.
        model_kwargs: more arguments for the model's ``from_pretrained``.
        batch_size: inputs taken from a generator at once; see the task's call.
        num_workers: accepted, without effect.
        num_threads: threads of the engine; None takes the model's.
        options: the task's own, as defaults of its calls: see the classes of `bertcpp.tasks`.

    Returns:
        An object to call with one input, a list, a generator or a dataset.

    Raises:
        InputError: the task is not known, no model is named, or an option is unknown or impossible.
        CheckpointError: there is no such checkpoint, or its files are missing or damaged.
        MissingTensorError: the checkpoint lacks the head that the task reads.

    Example:
        >>> import bertcpp
        >>> compare = bertcpp.pipeline("sentence-similarity", model="all-MiniLM-L6-v2")
        >>> len(compare("A man is eating.", ["Someone has a meal.", "The sky is blue."]))
        2
    """
    for name in _WITHOUT_EFFECT:
        options.pop(name, None)
    if framework not in (None, "pt"):
        raise InputError(f"framework={framework!r} is not known: the engine is bertcpp's own; leave it out")
    if model is None:
        what = "a task or a model" if task is None else f"the model for {task!r}, as by model='name or folder'"
        raise InputError(f"name {what}: bertcpp chooses none by itself")
    more = checked_options("model_kwargs", model_kwargs)
    where = {"revision": revision, "token": token} | {name: more[name] for name in _FOR_BOTH if name in more}
    kind = _class_of(_known_task(task, model, where))
    if _is_name(model):
        chosen = {"config": config, "device": None if device == -1 else device, "dtype": dtype or torch_dtype}
        given = {name: value for name, value in (more | where | chosen).items() if value is not None}
        model = kind.load_model(model, given)
    elif config is not None or more:
        raise InputError("config and model_kwargs are for a model that is named; this one is loaded already")
    model = kind.checked_model(model)
    return kind(
        model,
        kind.load_tokenizer(tokenizer, model, where),
        batch_size=batch_size,
        num_workers=num_workers,
        num_threads=num_threads,
        **options,
    )


def _is_name(model: Any) -> bool:
    return isinstance(model, (str, os.PathLike))


def _known_task(task: str | None, model: Any, where: Mapping[str, Any]) -> str:
    """The task asked for, or else the one that the model was trained for.

    Raises:
        InputError: it is not known.
    """
    if task is not None:
        found = ALIASES.get(task, task) if isinstance(task, str) else None
        if found in TASKS:
            return str(found)
        raise InputError(f"there is no task {task!r}; there are {', '.join(sorted({*TASKS, *ALIASES}))}")
    if _is_name(model):
        from ..configuration import AutoConfig

        names = (
            AutoConfig.from_pretrained(model, **{k: v for k, v in where.items() if v is not None}).architectures or []
        )
    else:
        names = [type(model).__name__]
    for name in names:
        if name == "SentenceTransformer":
            return "sentence-similarity"
        for head, found in _TASK_OF_HEAD.items():
            if str(name).endswith(head):
                return found
    raise InputError(
        f"the model ({', '.join(map(str, names)) or 'whose config.json names no architecture'}) does not tell its "
        f"task: name one of {', '.join(sorted(TASKS))}"
    )


def _class_of(task: str) -> type[Task]:
    module, name = TASKS[task]
    found: type[Task] = getattr(import_module(f"{__package__}.{module}"), name)
    return found
