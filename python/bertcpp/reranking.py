"""`CrossEncoder`: pairs of texts in, scores out, with the interface that reranking code is written against."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from . import architectures
from .activations import Activation, softmax
from .arguments import checked_count, one_of, renamed
from .arrays import require_torch
from .batching import Rows, bar_wanted
from .configuration import AutoConfig
from .errors import InputError, UnsupportedFormatError
from .foreign_protocols import MtebModel, takes_pairs_from_mteb
from .modeling_tasks import AutoModelForSequenceClassification
from .pooling import encoder_settings, listed_modules
from .text_model import TextModel, as_list
from .text_packing import TextPacker
from .tokenization import AutoTokenizer

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from .arguments import OnOverflow
    from .configuration import PretrainedConfig
    from .text_model import Call

__all__ = ["CrossEncoder"]

logger = logging.getLogger(__name__)

Function: TypeAlias = str | Callable[[Any], Any]
_SIGMOID, _IDENTITY = "torch.nn.modules.activation.Sigmoid", "torch.nn.modules.linear.Identity"


class CrossEncoder(MtebModel, TextModel):
    """A model that reads two texts together and scores the pair: a sequence classifier over pairs.

    Reads checkpoints with a sequence-classification head, of every family, as transformers and sentence-transformers
    write them. One object may be used from any number of threads, and pickled.

    Args:
        model_name_or_path: a folder, a hub name, or the name of an installed package that carries a checkpoint.
        num_labels: the number of labels that the head must have; None takes the checkpoint's.
        max_length: tokens that stay of a pair; None takes the tokenizer's limit, or the encoder's.
        activation_fn: what `predict` applies to the logits: a function, or the dotted name of one of torch.nn's; None
            takes the checkpoint's, else the sigmoid for one label and nothing for several.
        device: `"cpu"`, `"cuda"`, `"cuda:1"` ..., or `"auto"` for a GPU where one works; None is the processor.
        prompts: texts to put before a pair's first text, by name.
        default_prompt_name: the prompt of every call that names none.
        cache_folder: where hub checkpoints are kept; None means the hub's own cache.
        trust_remote_code: accepted and without effect: code of a checkpoint is never run.
        revision: a branch, tag or commit of the hub.
        local_files_only: never ask the hub.
        token: the hub's access token.
        model_kwargs: `dtype` or `torch_dtype` (float32, bfloat16, int8 or "auto"); `attn_implementation` is accepted
            and without effect.
        processor_kwargs: keywords for the tokenizer.
        config_kwargs: fields that replace those of the checkpoint's `config.json`.
        backend: accepted for `"torch"`, the default elsewhere; the engine is bertcpp's.
        num_threads: threads for this model's calls; None means `bertcpp.get_num_threads()` at each call.
        on_overflow: what happens to pairs longer than `max_seq_length`: `"warn"` cuts them, the longer text first, and
            says so once a call, `"truncate"` cuts them silently, `"error"` raises, and `"window"` cuts the longer text
            into overlapping windows and pools the windows' logits.

    Raises:
        CheckpointNotFoundError: if there is no such checkpoint.
        ConfigError: if its files are missing, broken or contradict each other.
        MissingHeadError: if it has no head for sequence classification.
        UnsupportedFormatError: if it has modules that the engine does not compute.
        WeightMismatchError: if its tensors do not fit its configuration.
        ValueError: if an argument is not one of those above.
    """

    _kinds = ("CrossEncoder", "SentenceTransformer")

    @renamed(
        model_name="model_name_or_path",
        automodel_args="model_kwargs",
        tokenizer_args="processor_kwargs",
        tokenizer_kwargs="processor_kwargs",
        config_args="config_kwargs",
        cache_dir="cache_folder",
        default_activation_function="activation_fn",
    )
    def __init__(
        self,
        model_name_or_path: str | os.PathLike[str],
        num_labels: int | None = None,
        max_length: int | None = None,
        activation_fn: Function | None = None,
        device: Any = None,
        *,
        trust_remote_code: bool = False,
        processor_kwargs: dict[str, Any] | None = None,
        config_kwargs: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        if num_labels is not None:
            config_kwargs = {**(config_kwargs or {}), "num_labels": num_labels}
        if max_length is not None:
            processor_kwargs = {**(processor_kwargs or {}), "model_max_length": max_length}
        super().__init__(
            model_name_or_path,
            device=device,
            processor_kwargs=processor_kwargs,
            config_kwargs=config_kwargs,
            **options,
        )
        self._activation = self._default_activation() if activation_fn is None else Activation(activation_fn)

    def _load(self, tokenizer_options: dict[str, Any], config_options: dict[str, Any]) -> int | None:
        path = self._folder / "modules.json"
        modules = [kind for kind, _ in listed_modules(path)] if path.is_file() else ["Transformer"]
        if modules != ["Transformer"]:
            raise UnsupportedFormatError(
                f"{path} lists the modules {', '.join(modules)}; CrossEncoder reads a Transformer with a head for "
                "sequence classification"
            )
        folder = self._transformer()
        path, settings = encoder_settings(folder, "sequence-classification", "scores", "logits")
        options = {**(settings.get("processor_kwargs", settings.get("tokenizer_args")) or {}), **tokenizer_options}
        config = AutoConfig.from_pretrained(folder, **config_options)
        tokenizer = AutoTokenizer.from_pretrained(folder, **options)
        self._model = AutoModelForSequenceClassification.from_pretrained(
            folder, config=config, device=self._where.device, dtype=self._where.dtype
        )
        self._packer = TextPacker(tokenizer, architectures.input_limits(config))
        stated = options.get("model_max_length", settings.get("max_seq_length"))
        return None if stated is None else checked_count("max_length", stated, 1)

    def _default_activation(self) -> Activation:
        """Return the activation that the checkpoint names, or that its number of labels calls for."""
        named = self._settings.get("activation_fn")
        if named is None:
            own = getattr(self.config, "sentence_transformers", None)
            named = own.get("activation_fn") if isinstance(own, dict) else None
        if named is None:
            named = getattr(self.config, "sbert_ce_default_activation_function", None)
        if named is None:
            named = _SIGMOID if self.num_labels == 1 else _IDENTITY
        return Activation(named, self._folder)

    @property
    def config(self) -> PretrainedConfig:
        """The checkpoint's configuration."""
        config: PretrainedConfig = self._model.config
        return config

    @property
    def model(self) -> Any:
        """The classifier behind the scores, of a class such as `BertForSequenceClassification`."""
        return self._model

    @property
    def num_labels(self) -> int:
        """Scores of a pair."""
        return int(self.config.num_labels)

    @property
    def max_length(self) -> int:
        """`max_seq_length`, of which this is the older name."""
        return self.max_seq_length

    @max_length.setter
    def max_length(self, value: int | None) -> None:
        self.max_seq_length = value

    @property
    def activation_fn(self) -> Function:
        """What `predict` applies to the logits: a function or a dotted name; may be set."""
        return self._activation.function

    @activation_fn.setter
    def activation_fn(self, value: Function | None) -> None:
        self._activation = self._default_activation() if value is None else Activation(value)

    @takes_pairs_from_mteb
    @renamed(sentences="inputs", activation_fct="activation_fn")
    def predict(
        self,
        inputs: Any,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int = 32,
        show_progress_bar: bool | None = None,
        activation_fn: Function | None = None,
        apply_softmax: bool | None = False,
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        device: Any = None,
        pool: None = None,
        chunk_size: int | None = None,
        *,
        on_overflow: OnOverflow | None = None,
        stride: int | None = None,
        window_pooling: Literal["mean", "max"] = "mean",
        num_threads: int | None = None,
        num_workers: int = 0,
    ) -> Any:
        """Score a pair of texts, or any number of pairs.

        Pairs are computed in batches of a token budget without padding, so memory does not grow with their number, and
        a pair's score has the same bits whatever it is batched with.

        Args:
            inputs: a pair of strings; or a list, array or generator of pairs. `sentences` is the older name.
            prompt_name: the name of a prompt of `self.prompts` to put before each first text.
            prompt: the prompt itself; takes precedence over `prompt_name`.
            batch_size: bounds memory: a batch holds at most as many tokens as `batch_size` pairs of `max_seq_length`.
                The result does not depend on it.
            show_progress_bar: None shows a bar when this logger is at INFO or DEBUG, and on a terminal after two
                seconds.
            activation_fn: a function of the logits, or a dotted name, for this call; None means `self.activation_fn`.
            apply_softmax: apply the softmax over labels after the activation.
            convert_to_numpy: False gives a list of PyTorch tensors (which needs torch).
            convert_to_tensor: True gives one PyTorch tensor (which needs torch).
            device: None or the model's own.
            pool: None; there are no worker processes.
            chunk_size: accepted and without effect, as there are no worker processes.
            on_overflow: see the class; None means `self.on_overflow`.
            stride: tokens that a window shares with the one before; None means a quarter of `max_seq_length`.
            window_pooling: a long pair's logits are its windows' `"mean"`, weighted by the tokens that each window adds
                to those before it, or, for each label, their `"max"`: a document is as relevant as its best passage.
            num_threads: threads for this call; None means `self.num_threads`.
            num_workers: accepted and without effect.

        Returns:
            float32 `[n]` for one label and `[n, num_labels]` for several; without the first dimension for one pair; an
            empty array for none.

        Raises:
            InputError: if an input is no pair of strings.
            SequenceTooLongError: if a pair is over the limit and `on_overflow` is `"error"`.
            ValueError: if an argument has a value that it cannot have.
        """
        one_of("window_pooling", window_pooling, ("mean", "max"))
        call = self._call(batch_size, prompt, prompt_name, on_overflow, stride, num_threads, device=device, pool=pool)
        activation = self._activation if activation_fn is None else Activation(activation_fn)
        if convert_to_tensor or not convert_to_numpy:
            require_torch()
        single = _is_one_pair(inputs)
        pairs = [inputs.tolist() if isinstance(inputs, np.ndarray) else inputs] if single else inputs
        logits = self._logits(pairs, call, bar_wanted(show_progress_bar, logger), window_pooling)
        if logits is None:
            return _converted(np.array([]), convert_to_numpy, convert_to_tensor)
        scores = activation(logits)
        if apply_softmax and scores.ndim > 1:
            scores = softmax(scores)
        if self.num_labels == 1 and scores.ndim > 1:
            scores = scores[:, 0]
        result = _converted(scores, convert_to_numpy, convert_to_tensor)
        return result[0] if single else result

    def _logits(
        self, pairs: Iterable[Any], call: Call, show: bool | None, window_pooling: str
    ) -> NDArray[np.float32] | None:
        """Return float32 `[n, num_labels]`, or None for no pairs."""
        rows = Rows(None)
        for tokens, windows in self._packs(map(_pair, pairs), call, show, "Scoring"):
            batches = self._batches(self.config, tokens, call)
            found = np.concatenate(
                [self._model.packed_logits(batch, num_threads=call.num_threads) for batch in batches]
            )
            if windows is not None:
                found = windows.largest(found) if window_pooling == "max" else windows.pooled(found)
            rows.append(found)
        return rows.array()

    @renamed(activation_fct="activation_fn")
    def rank(
        self,
        query: str,
        documents: Iterable[str],
        top_k: int | None = None,
        return_documents: bool = False,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int = 32,
        show_progress_bar: bool | None = None,
        activation_fn: Function | None = None,
        apply_softmax: bool = False,
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        device: Any = None,
        pool: None = None,
        chunk_size: int | None = None,
        **options: Any,
    ) -> list[dict[str, Any]]:
        """Rank documents by their relevance to a query.

        Args:
            query: a string.
            documents: strings.
            top_k: return the best so many; None returns all.
            return_documents: add each document's text.
            prompt_name: as in `predict`, and so are all the following.
            prompt: put before the query.
            batch_size: bounds memory.
            show_progress_bar: shows a bar.
            activation_fn: applied to the logits.
            apply_softmax: apply the softmax over labels.
            convert_to_numpy: accepted; scores are Python floats.
            convert_to_tensor: accepted; scores are Python floats.
            device: None or the model's own.
            pool: None.
            chunk_size: without effect.
            **options: `on_overflow`, `stride`, `window_pooling` and `num_threads` of `predict`.

        Returns:
            a list of dictionaries, the best first: `corpus_id`, the document's place; `score`; and `text` where asked
            for. Documents of equal scores keep their order.

        Raises:
            InputError: if the query or a document is no string.
            ValueError: if the checkpoint has several labels, or an argument has a value that it cannot have.
        """
        if self.num_labels != 1:
            raise ValueError(
                f"rank() needs one score for each pair, but this checkpoint has {self.num_labels} labels; call "
                "predict() with pairs and choose a label"
            )
        if not isinstance(query, str):
            raise InputError(f"query is of type {type(query).__name__}; pass a string")
        if top_k is not None and (isinstance(top_k, bool) or not isinstance(top_k, (int, np.integer)) or top_k < 0):
            raise ValueError(f"top_k must be a number of documents, or None for all, not {top_k!r}")
        texts = list(as_list(documents, "documents"))
        for place, text in enumerate(texts):
            if not isinstance(text, str):
                raise InputError(f"documents[{place}] is of type {type(text).__name__}; pass strings")
        scores = self.predict(
            [(query, text) for text in texts],
            prompt_name,
            prompt,
            batch_size,
            show_progress_bar,
            activation_fn,
            apply_softmax,
            device=device,
            pool=pool,
            **options,
        ).tolist()
        order = sorted(range(len(texts)), key=scores.__getitem__, reverse=True)[:top_k]
        found = [{"corpus_id": place, "score": scores[place]} for place in order]
        return [one | {"text": texts[one["corpus_id"]]} for one in found] if return_documents else found


def _is_one_pair(inputs: Any) -> bool:
    """Tell one pair from many."""
    if isinstance(inputs, (list, tuple)):
        return len(inputs) > 0 and not isinstance(inputs[0], (list, tuple, np.ndarray))
    if isinstance(inputs, np.ndarray):
        return inputs.size > 0 and inputs.ndim < 2
    if isinstance(inputs, (str, bytes, dict)) or not hasattr(inputs, "__iter__"):
        raise InputError(f"inputs is of type {type(inputs).__name__}; pass a pair of strings, or an iterable of pairs")
    return False


def _pair(value: Any) -> Any:
    """Return a pair, and anything else as a list, which the packer refuses with its place."""
    return value.tolist() if isinstance(value, np.ndarray) else [value] if isinstance(value, (str, dict)) else value


def _converted(scores: NDArray[Any], convert_to_numpy: bool, convert_to_tensor: bool) -> Any:
    """Return scores as the type that was asked for."""
    if convert_to_tensor:
        return require_torch().from_numpy(scores.astype(np.float32, copy=False))
    return scores if convert_to_numpy else list(require_torch().from_numpy(scores))
