"""The layouts of late-interaction checkpoints: sentence-transformers' since 6.0, PyLate's and Stanford's ColBERT."""

from __future__ import annotations

import string
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from . import _core, checkpoints
from .errors import ConfigError, UnsupportedFormatError
from .pooling import Normalize, encoder_settings, listed_modules, read_head

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from .pooling import Head
    from .tokenization import PreTrainedTokenizer

__all__ = ["Expansion", "LateInteraction", "read_late_interaction", "register_prefixes"]

_USUAL_LENGTH = 32  # of expanded queries, where a checkpoint states none


@dataclass(frozen=True)
class Expansion:
    """Queries are filled up to `length` tokens by `token` (None is the mask token), which may be attended to or not.

    A longer query is cut to the length if it is `fixed`.
    """

    length: int
    attend: bool = False
    token: str | None = None
    fixed: bool = True


@dataclass(frozen=True)
class LateInteraction:
    """What a late-interaction checkpoint consists of.

    Attributes:
        encoder: the folder of the encoder and its tokenizer.
        heads: what follows on tokens' states, in order.
        prompts: by task, where they are not among the settings' own.
        prefixes: of these, those that are single tokens of the vocabulary.
        lengths: tokens that stay of a query and of a document, by task, where they are stated.
        expansion: of queries, or None.
        skipped_words: tokens that are left out of texts of `skipping_tasks`.
        max_length: tokens that stay of a text, or None where the tokenizer decides.
        tokenizer_options: keywords for the tokenizer that the checkpoint asks for.
    """

    encoder: Path
    heads: tuple[Any, ...]
    prompts: Mapping[str, str] = field(default_factory=dict)
    prefixes: tuple[str, ...] = ()
    lengths: Mapping[str, int] = field(default_factory=dict)
    expansion: Expansion | None = None
    skipped_words: tuple[str, ...] = ()
    skipping_tasks: tuple[str, ...] = ("document",)
    max_length: int | None = None
    tokenizer_options: Mapping[str, Any] = field(default_factory=dict)

    def limit(self, task: str | None, most: int) -> int:
        """Return how many tokens stay of a text of a task, where `most` may stay of any."""
        stated = min(self.lengths.get(task or "", most), most)
        if task != "query" or self.expansion is None:
            return stated
        return self.expansion.length if self.expansion.fixed else max(stated, self.expansion.length)

    def expansion_id(self, tokenizer: PreTrainedTokenizer) -> int:
        """Return the token that fills queries up; -1 where none are.

        Raises:
            ConfigError: if the vocabulary lacks it.
        """
        if self.expansion is None:
            return -1
        token = self.expansion.token or tokenizer.mask_token
        found = None if token is None else tokenizer.backend_tokenizer.token_to_id(token)
        if found is None:
            raise ConfigError(f"{self.encoder}: queries are expanded by {token!r}, which is no token of the vocabulary")
        return int(found)


class _Projection:
    """Stanford's projection: a matrix without bias."""

    def __init__(self, weight: NDArray[Any]) -> None:
        self._linear = _core.Linear(weight, None, "identity")
        self._shape = weight.shape

    def width(self, width: int) -> int:
        if width != self._shape[1]:
            raise ConfigError(f"linear.weight takes {self._shape[1]} features but is given {width}")
        return int(self._shape[0])

    def __call__(self, x: NDArray[Any], *, num_threads: int = 0) -> NDArray[Any]:
        return self._linear(x, num_threads=num_threads)


def read_late_interaction(folder: Path, settings: dict[str, Any]) -> LateInteraction:
    """Read a checkpoint's folder, given its `config_sentence_transformers.json`.

    Raises:
        CheckpointError: if a file is missing or damaged.
        ConfigError: if a file states something impossible.
        UnsupportedFormatError: if a module is of a type that is not computed.
    """
    path = folder / "modules.json"
    if not path.is_file():
        return _without_modules(folder)
    modules = listed_modules(path)
    if not modules or modules[0][0] != "Transformer":
        raise UnsupportedFormatError(f"{path} does not begin with a Transformer module")
    encoder = modules[0][1]
    single = any(kind == "Pooling" for kind, _ in modules)  # a checkpoint for single vectors
    heads: list[Head] = []
    skipped: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ("document",)
    for kind, where in modules[1:]:
        if kind in ("Dense", "LayerNorm", "Normalize"):
            if not (single and kind == "Normalize"):
                heads.append(read_head(kind, where, "sentence_embedding" if single else "token_embeddings"))
        elif kind == "MultiVectorMask":
            skipped, tasks = _mask(where)
        elif kind not in ("Dropout", "Pooling"):
            raise UnsupportedFormatError(
                f"{path} lists a module {kind!r}; MultiVectorEncoder reads Dense, LayerNorm, Normalize, "
                "MultiVectorMask and Dropout after the Transformer"
            )
    if single and not heads:
        _warn_of_no_projection(folder)
    if single or settings.get("model_type") == "ColBERT":  # PyLate normalizes and leaves punctuation out by itself
        heads.append(Normalize())
        words = settings.get("skiplist_words")
        skipped = () if single else tuple(string.punctuation if words is None else words)
    _, stated = encoder_settings(encoder)
    flat = {name: settings[name] for name in ("query_length", "document_length") if settings.get(name) is not None}
    knobs = {**flat, **{name: value for name, value in stated.items() if value is not None}}
    prefixes = {
        task: str(settings.get(f"{task}_prefix") or "")
        for task in ("query", "document")
        if f"{task}_prefix" in settings
    }
    saved = settings.get("prompts") or {}
    return LateInteraction(
        encoder,
        tuple(heads),
        {task: prefix + (saved.get(task) or "").removeprefix(prefix) for task, prefix in prefixes.items()},
        tuple(prefixes.values()),
        {task: _count(knobs[f"{task}_length"], path) for task in ("query", "document") if f"{task}_length" in knobs},
        _expansion(stated, settings, path),
        skipped,
        tasks,
        stated.get("max_seq_length"),
        stated.get("processor_kwargs", stated.get("tokenizer_args")) or {},
    )


def _expansion(stated: dict[str, Any], settings: dict[str, Any], path: Path) -> Expansion | None:
    """Return the expansion that the encoder's settings state, or PyLate's among the checkpoint's."""
    for source in (stated, settings):
        if "query_expansion" in source:
            found = source["query_expansion"]
            if found is None:
                return None
            if not isinstance(found, dict) or found.get("strategy") not in ("fixed", "min"):
                raise UnsupportedFormatError(
                    f"{path.parent}: query_expansion {found!r} is of no strategy that is known"
                )
            return Expansion(
                _count(found.get("length"), path),
                bool(found.get("attend")),
                found.get("token"),
                found["strategy"] == "fixed",
            )
    marks = ("query_length", "document_length", "do_query_expansion", "attend_to_expansion_tokens", "query_prefix")
    if settings.get("do_query_expansion") is False or not any(mark in settings for mark in marks):
        return None
    attend = settings.get("attend_to_expansion_tokens", settings.get("attend_to_mask_tokens"))
    return Expansion(_count(settings.get("query_length") or _USUAL_LENGTH, path), bool(attend))


def _without_modules(folder: Path) -> LateInteraction:
    """Read Stanford's layout, or an encoder alone."""
    config = checkpoints.read_json(folder / "config.json")
    if "HF_ColBERT" not in (config.get("architectures") or []):
        _warn_of_no_projection(folder)
        return LateInteraction(folder, (Normalize(),))
    path = folder / "artifact.metadata"
    metadata: dict[str, Any] = checkpoints.read_json(path) if path.is_file() else {}
    with checkpoints.open_weights(folder, packed=True) as weights:
        if "linear.weight" not in weights:
            raise ConfigError(f"{folder}: the projection linear.weight of an HF_ColBERT checkpoint is missing")
        projection = _Projection(weights["linear.weight"])
    prompts = {
        "query": (metadata.get("query_token_id") or "[unused0]") + " ",
        "document": (metadata.get("doc_token_id") or "[unused1]") + " ",
    }
    expansion = Expansion(
        _count(metadata.get("query_maxlen") or _USUAL_LENGTH, path), bool(metadata.get("attend_to_mask_tokens"))
    )
    lengths = {"document": _count(metadata["doc_maxlen"], path)} if metadata.get("doc_maxlen") is not None else {}
    skipped = tuple(string.punctuation) if metadata.get("mask_punctuation", True) else ()
    return LateInteraction(
        folder, (projection, Normalize()), prompts, tuple(prompts.values()), lengths, expansion, skipped
    )


def _mask(folder: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Read which words are left out, and of texts of which tasks."""
    path = folder / "config.json"
    config = checkpoints.read_json(path) if path.is_file() else {}
    if config.get("keep_only_token_ids"):
        raise UnsupportedFormatError(f"{path}: keep_only_token_ids is for images, which bertcpp does not take")
    tasks = config.get("skiplist_tasks") or ["document"]
    return tuple(config.get("skiplist_words") or ()), (tasks,) if isinstance(tasks, str) else tuple(tasks)


def register_prefixes(tokenizer: PreTrainedTokenizer, prefixes: tuple[str, ...]) -> PreTrainedTokenizer:
    """Return a tokenizer that keeps prefixes in one piece where they are tokens of its vocabulary."""
    from tokenizers import AddedToken

    from .tokenizer_backend import twin

    found = []
    for prefix in prefixes:
        for token in (prefix, *prefix.split(None, 1)[:1]):
            if token and tokenizer.backend_tokenizer.token_to_id(token) is not None:
                if tokenizer.tokenize(token) != [token]:
                    found.append(AddedToken(token, normalized=False, special=True))
                break
    if not found:
        return tokenizer
    changed = twin(tokenizer.backend_tokenizer)
    changed.add_special_tokens(found)
    return type(tokenizer)(tokenizer_object=changed, **tokenizer.init_kwargs)


def _count(value: Any, path: Path) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"{path.parent}: the length of a query or document must be a positive integer, got {value!r}")
    return value


def _warn_of_no_projection(folder: Path) -> None:
    warnings.warn(
        f"{folder} has no projection for late interaction: the encoder's states are used as they are, at length 1",
        stacklevel=6,
    )
