"""MTEB: what `mteb.evaluate(model, tasks)` asks of a `SentenceTransformer` or a `CrossEncoder`.

import mteb
from bertcpp import SentenceTransformer
results = mteb.evaluate(SentenceTransformer("all-MiniLM-L6-v2"), mteb.get_tasks(tasks=["STSBenchmark"]))
"""

from __future__ import annotations

import functools
import hashlib
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from .loading import library

with library("mteb"):
    from mteb.models.model_meta import ModelMeta, ScoringFunction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

__all__ = ["model_meta", "pairs", "texts_and_prompt"]


def model_meta(model: Any) -> ModelMeta:
    """Return what MTEB files the results of a `SentenceTransformer` or a `CrossEncoder` under.

    Results of another engine for the same checkpoint are never taken for ours, nor ours for theirs, nor those of other
    settings: `experiment_kwargs` tells them apart. A checkpoint that is not from the hub is told from others of its
    name by a digest of its files.

    Example:
        >>> import mteb
        >>> from bertcpp import SentenceTransformer
        >>> SentenceTransformer("all-MiniLM-L6-v2").mteb_model_meta.embed_dim
        384
    """
    folder = model._folder
    name, revision = _hub_name(folder) or (f"local/{_folder_name(folder)}", _digest(folder))
    facts = {
        "loader": functools.partial(_load, type(model)),
        "name": name,
        "revision": revision,
        "max_tokens": model.max_seq_length,
        "use_instructions": any(model.prompts.values()),
        "experiment_kwargs": {"engine": "bertcpp", **_settings(model)},
    }
    if hasattr(model, "predict"):
        facts["model_type"] = ["cross-encoder"]
    else:
        facts["embed_dim"] = model.get_embedding_dimension()
        facts["similarity_fn_name"] = ScoringFunction(model.similarity_fn_name)
    return ModelMeta.create_empty(facts)


def _settings(model: Any) -> dict[str, Any]:
    """Return the settings of a model that change its results, unless they are as they usually are."""
    settings = {"max_seq_length": model.max_seq_length, "truncate_dim": getattr(model, "truncate_dim", None)}
    if model.on_overflow == "window":
        settings["on_overflow"] = "window"
    if model._where.dtype != "float32":
        settings["dtype"] = model._where.dtype
    return {name: value for name, value in settings.items() if value is not None}


def _load(
    kind: Callable[..., Any],
    name: str,
    revision: str | None = None,
    *,
    engine: str = "bertcpp",
    max_seq_length: int | None = None,
    embed_dim: int | None = None,
    dtype: str | None = None,
    **arguments: Any,
) -> Any:
    """Load a model as MTEB asks for one: by its name, with the settings that its results are filed under."""
    if embed_dim is not None:
        arguments["truncate_dim"] = embed_dim
    if dtype is not None:
        arguments["model_kwargs"] = {**arguments.get("model_kwargs", {}), "dtype": dtype}
    model = kind(name, revision=revision, **arguments)
    if max_seq_length is not None:
        model.max_seq_length = max_seq_length
    return model


def texts_and_prompt(
    prompts: dict[str, str], batches: Iterable[dict[str, Any]], prompt: str | None, arguments: dict[str, Any]
) -> tuple[list[str], str | None]:
    """Return the texts of a loader of MTEB's and the prompt that goes before them; take MTEB's own from `arguments`.

    The prompt is the first one that `prompts` has, by name: of this task for queries or documents, of this task, of
    tasks of its type for queries or documents, of those tasks, of queries, of documents (also named `passage` and
    `corpus`). None means the model's default.

    Raises:
        InputError: if the task is not about text.
    """
    task, kind = _asked(arguments)
    texts = _texts(batches, task)
    if prompt is not None:
        return texts, prompt
    role = None if kind is None else str(getattr(kind, "value", kind))
    names = [f"{task.name}-{role}", task.name, f"{task.type}-{role}", task.type, role]
    if role == "document":
        names += ["passage", "corpus"]
    return texts, next((prompts[name] for name in names if name in prompts), None)


def pairs(arguments: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the pairs of two loaders of MTEB's; take what is MTEB's own from `arguments`.

    Raises:
        InputError: if the task is not about text.
    """
    task, _ = _asked(arguments)
    first, second = (_texts(arguments.pop(name), task) for name in ("inputs1", "inputs2"))
    return list(zip(first, second, strict=True))


def _asked(arguments: dict[str, Any]) -> tuple[Any, Any]:
    """Take the task, and whether its texts are queries or documents, from the arguments of a call."""
    for name in ("hf_split", "hf_subset"):
        arguments.pop(name, None)
    return arguments.pop("task_metadata"), arguments.pop("prompt_type", None)


def _texts(batches: Iterable[dict[str, Any]], task: Any) -> list[str]:
    texts: list[str] = []
    for batch in batches:
        if "text" not in batch:
            raise InputError(
                f"the task {task.name} has {', '.join(sorted(batch))} and no text; bertcpp reads text: choose tasks "
                "with mteb.get_tasks(modalities=['text'], exclusive_modality_filter=True)"
            )
        texts.extend(batch["text"])
    return texts


def _hub_name(folder: Path) -> tuple[str, str] | None:
    """Return the name and the revision of a checkpoint in the hub's cache."""
    cached = folder.parent.parent.name
    if folder.parent.name != "snapshots" or not cached.startswith("models--"):
        return None
    name = cached.removeprefix("models--").replace("--", "/", 1)  # the hub allows no -- within names
    return name if "/" in name else f"huggingface/{name}", folder.name


def _folder_name(folder: Path) -> str:
    """Return the name of a checkpoint's folder, or of the package around one that is named `model`."""
    folder = folder.resolve()
    return folder.parent.name if folder.name in ("model", "") else folder.name


@functools.cache
def _digest(folder: Path) -> str:
    """Return a name for the contents of all files of weights and settings."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.suffix in (".json", ".safetensors", ".bin")):
        digest.update(path.relative_to(folder).as_posix().encode())
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:40]
