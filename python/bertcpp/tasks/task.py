"""What every task shares: one input or many, in order, in batches of a token budget, and lazily where they come so."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from .. import _core
from ..arguments import checked_options, checked_threads
from ..batching import CHUNK_TEXTS, Tokens, chunks, splits, token_budget
from ..errors import InputError, InputTypeError, SequenceTooLongError
from ..pretrained_model import PreTrainedModel
from ..sequence_building import whole_number
from ..text_packing import Cuts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ..tokenization import PreTrainedTokenizer

__all__ = ["Answers", "Batch", "Task", "checked_tokenizer_options", "name_of_choice", "shown"]

# Options of a tokenizer's call that change which tokens there are, or nothing; others change what comes back.
_TOKENIZER_OPTIONS = frozenset(
    {
        "add_special_tokens",
        "max_length",
        "pad_to_multiple_of",
        "padding",
        "padding_side",
        "return_token_type_ids",
        "split_special_tokens",
        "stride",
        "truncation",
        "verbose",
    }
)


class Batch(NamedTuple):
    """The sequences of several inputs.

    Attributes:
        tokens: all sequences, end to end.
        bounds: int64 ``[n + 1]``; input i has the sequences ``bounds[i]`` to ``bounds[i + 1] - 1``.
        details: for each input, what its answer needs to know.
        cuts: how many inputs were cut where that is to be said.
    """

    tokens: Tokens
    bounds: NDArray[np.int64]
    details: Sequence[Any]
    cuts: Cuts = Cuts()


class Answers(Iterator[Any]):
    """Answers in the order of their inputs, each computed when it is asked for.

    Has a length where the inputs have one.
    """

    def __init__(self, answers: Iterator[Any], count: int | None) -> None:
        self._answers = answers
        self._count = count

    def __next__(self) -> Any:
        return next(self._answers)

    def __len__(self) -> int:
        if self._count is None:
            raise TypeError("the inputs have no length, so neither have the answers")
        return self._count


class Task:
    """A model with its tokenizer, and the way from inputs to answers. May be called from any number of threads.

    Options may be given when it is made, and again for a call, where they take precedence.
    """

    task: ClassVar[str] = ""
    # What a model object must be, by the end of its class's name, and what loads one.
    head: ClassVar[str] = ""
    loader: ClassVar[str] = ""
    options: ClassVar[frozenset[str]] = frozenset()

    def __init__(
        self,
        model: Any,
        tokenizer: PreTrainedTokenizer,
        *,
        batch_size: int | None = None,
        num_workers: int | None = None,
        num_threads: int | None = None,
        **options: Any,
    ) -> None:
        self.model = self.checked_model(model)
        self.tokenizer = tokenizer
        self._batch_size = _batch_size(batch_size)
        self._num_threads = checked_threads(num_threads)
        self._defaults = self._known(options)
        self._settings({})

    @classmethod
    def load_model(cls, name: Any, options: dict[str, Any]) -> Any:
        """Load the model of a checkpoint, with the head that the task reads."""
        import bertcpp

        return getattr(bertcpp, cls.loader).from_pretrained(name, **options)

    @classmethod
    def load_tokenizer(cls, tokenizer: Any, model: Any, options: Mapping[str, Any]) -> Any:
        """Return a tokenizer, or load the one of that name, or the model's own.

        Raises:
            InputError: it is neither a tokenizer of bertcpp nor a name.
            TokenizerError: its files are missing or damaged.
        """
        from ..tokenization import AutoTokenizer, PreTrainedTokenizer

        if isinstance(tokenizer, PreTrainedTokenizer):
            return tokenizer
        if tokenizer is None and isinstance(model, PreTrainedModel):
            return AutoTokenizer.from_pretrained(model._source[0])
        options = {name: value for name, value in options.items() if value is not None}
        if isinstance(tokenizer, tuple) and len(tokenizer) == 2 and isinstance(tokenizer[1], Mapping):
            tokenizer, options = tokenizer[0], {**options, **tokenizer[1]}
        if not isinstance(tokenizer, (str, os.PathLike)):
            raise InputError(
                f"the tokenizer must be one of bertcpp's, or its name, not a {type(tokenizer).__name__}; load it with "
                "bertcpp.AutoTokenizer.from_pretrained"
            )
        return AutoTokenizer.from_pretrained(tokenizer, **options)

    @classmethod
    def checked_model(cls, model: Any) -> Any:
        """The model, if it has the head that the task reads.

        Raises:
            InputError: it has another, or is no model.
        """
        name = type(model).__name__
        if not name.endswith(cls.head) or not hasattr(model, "packed_logits"):
            raise InputError(
                f"{cls.task} needs a model with the head ...{cls.head}, not a {name}: load it with "
                f"bertcpp.{cls.loader}.from_pretrained, or pass the checkpoint's name"
            )
        return model

    # Inputs and options.

    def _known(self, options: dict[str, Any]) -> dict[str, Any]:
        unknown = sorted(set(options) - self.options)
        if unknown:
            raise InputError(
                f"{self.task} does not know the option {', '.join(map(repr, unknown))}; "
                f"it has {', '.join(sorted(self.options))}"
            )
        return options

    def _settings(self, options: dict[str, Any]) -> Any:
        """Check the options of a call, over those of the task, and return what the methods below are given."""
        return {**self._defaults, **self._known(options)}

    def __call__(
        self, inputs: Any, *, batch_size: int | None = None, num_workers: int | None = None, **options: Any
    ) -> Any:
        """Answer one input, or any number of them; see the class for options and answers.

        Args:
            inputs: one input; a list of them; or a generator or a dataset, whose answers come lazily.
            batch_size: how many inputs are taken from a generator or a dataset at once, 1 by default. Whatever it is,
                the engine computes without padding, in batches of its own choice, and the answers do not depend on it.
            num_workers: accepted, without effect.
            options: see the class.

        Raises:
            InputError: an input is not of the task's kind, or an option is unknown or impossible.
            SequenceTooLongError: an input has more tokens than the model has positions.
        """
        return self._run(inputs, self._settings(options), batch_size)

    def _is_single(self, inputs: Any) -> bool:
        """Tell one input from many."""
        return isinstance(inputs, (str, bytes, Mapping)) or not hasattr(inputs, "__iter__")

    def _run(self, inputs: Any, settings: Any, batch_size: int | None) -> Any:
        """One answer, a list, or a lazy iterator, as the inputs are."""
        size = _batch_size(batch_size) or self._batch_size or 1
        dataset = _is_dataset(inputs)
        if not dataset and self._is_single(inputs):
            (answer,) = self._answers([inputs], settings, 1)
            return answer
        if dataset or isinstance(inputs, Iterator):
            count = len(inputs) if hasattr(inputs, "__len__") else None
            return Answers(self._answers(_rows(inputs), settings, size), count)
        return list(self._answers(inputs, settings, max(1, CHUNK_TEXTS // self._sequences_per_item(settings))))

    def _answers(self, inputs: Iterable[Any], settings: Any, size: int) -> Iterator[Any]:
        items = (self._item(value, place, settings) for place, value in enumerate(inputs))
        first, cuts = 0, Cuts()
        for chunk in chunks(items, size):
            batch = self._prepared(chunk, settings, first)
            self._check_lengths(batch, first)
            ends = batch.tokens.cu_seqlens[batch.bounds]
            for start, end in splits(ends, self._budget()):
                rows = batch.bounds[start], batch.bounds[end]
                bounds = batch.bounds[start : end + 1] - rows[0]
                part = Batch(batch.tokens.rows(int(rows[0]), int(rows[1])), bounds, batch.details[start:end])
                yield from self._solved(part, settings)
            first, cuts = first + len(chunk), cuts.plus(batch.cuts)
        self._say_cuts(cuts, first, settings)

    def _sequences_per_item(self, settings: Any) -> int:
        """About how many sequences an input becomes."""
        return 1

    def _item(self, value: Any, place: int, settings: Any) -> Any:
        """Check one input and bring it to the form that `_prepared` takes."""
        if isinstance(value, str):
            return value
        raise InputTypeError(f"inputs[{place}] is of type {type(value).__name__}; {self.task} takes strings")

    def _prepared(self, items: list[Any], settings: Any, first: int) -> Batch:
        """Tokenize inputs, of which `first` is the place of the first."""
        raise NotImplementedError

    def _solved(self, batch: Batch, settings: Any) -> Iterable[Any]:
        """Compute, and answer each input of the batch."""
        raise NotImplementedError

    # The engine.

    @property
    def _core(self) -> _core.Encoder:
        core: _core.Encoder = self.model._core
        return core

    @functools.cached_property
    def _max_length(self) -> int:
        return int(self.model._packer.limits.max_length)

    @functools.cached_property
    def _takes_types(self) -> bool:
        takes = int(self.model._packer.limits.type_vocab_size) > 0
        return takes and "token_type_ids" in self.tokenizer.model_input_names

    def _threads(self) -> int:
        return self._num_threads or getattr(self.model, "num_threads", None) or _core.get_num_threads()

    def _budget(self) -> int:
        return token_budget(self._core.config, self._threads())

    def _check_lengths(self, batch: Batch, first: int) -> None:
        lengths = np.diff(batch.tokens.cu_seqlens)
        if lengths.max(initial=0) > self._max_length:
            row = int(np.argmax(lengths > self._max_length))
            place = first + int(np.searchsorted(batch.bounds, row, side="right")) - 1
            raise SequenceTooLongError(
                f"inputs[{place}] has {lengths[row]} tokens, more than the model's limit of {self._max_length}; "
                f"{self._remedy_for_length}"
            )

    def _say_cuts(self, cuts: Cuts, count: int, settings: Any) -> None:
        """Say, after the last of `count` inputs, which of them were cut."""

    _remedy_for_length: ClassVar[str] = "pass truncation=True to cut it, or split the text"

    def _logits(self, tokens: Tokens) -> NDArray[np.float32]:
        """What the head says of each sequence, or of each token: ``[B, labels]`` or ``[T, labels]``."""
        parts: list[NDArray[np.float32]] = []
        for start, end in splits(tokens.cu_seqlens, self._budget()):
            parts.append(self.model.packed_logits(tokens.rows(start, end), num_threads=self._num_threads))
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    # Tokens.

    def _encoded(self, items: list[Any], options: Mapping[str, Any]) -> Tokens:
        """The tokens of strings, or of pairs of strings, with the tokenizer's own options."""
        pairs = [isinstance(item, tuple) for item in items]
        if options.keys() <= {"truncation", "max_length", "padding"} and (all(pairs) or not any(pairs)):
            cut = options.get("truncation")
            if cut in (None, False, True, "longest_first", "do_not_truncate"):
                return self._packed_ids(items, pairs[0], self._cut_length(cut, options.get("max_length")))
        options = {name: value for name, value in options.items() if name not in ("padding", "return_token_type_ids")}
        encoded = self.tokenizer(items, return_attention_mask=False, return_token_type_ids=self._takes_types, **options)
        return self._packed(encoded["input_ids"], encoded.get("token_type_ids"))

    def _cut_length(self, cut: Any, max_length: int | None) -> int | None:
        """What `max_length` must be for `encode_ids` to do what a call with these options does."""
        if cut in (False, "do_not_truncate") or (cut is None and max_length is None):
            return None
        limit = self.tokenizer.model_max_length if max_length is None else whole_number("max_length", max_length)
        return int(limit) if limit < 2**31 else None

    def _packed_ids(self, items: list[Any], pairs: bool, max_length: int | None) -> Tokens:
        left, right = zip(*items, strict=True) if pairs else (items, None)
        encoded = self.tokenizer.encode_ids(left, max_length, right)
        return Tokens(encoded.input_ids, encoded.cu_seqlens, encoded.token_type_ids if self._takes_types else None)

    def _packed(self, ids: Sequence[Sequence[int]], types: Sequence[Sequence[int]] | None) -> Tokens:
        """Put rows of ids, and of token types, end to end."""
        cu_seqlens = np.zeros(len(ids) + 1, np.int32)
        np.cumsum([len(row) for row in ids], out=cu_seqlens[1:])
        types = types if self._takes_types else None
        return Tokens(_flat(ids), cu_seqlens, None if types is None else _flat(types))

    def _packed_arrays(self, ids: Sequence[NDArray[np.int32]], types: Sequence[NDArray[np.int32]]) -> Tokens:
        """The same for arrays."""
        cu_seqlens = np.zeros(len(ids) + 1, np.int32)
        np.cumsum([len(row) for row in ids], out=cu_seqlens[1:])
        return Tokens(np.concatenate(ids), cu_seqlens, np.concatenate(types) if self._takes_types else None)


def _flat(rows: Sequence[Sequence[int]]) -> NDArray[np.int32]:
    flat: list[int] = []
    for row in rows:
        flat += row
    return np.array(flat, np.int32)


def _batch_size(value: Any) -> int | None:
    return None if value is None else whole_number("batch_size", value, 1)


def _is_dataset(inputs: Any) -> bool:
    """Whether it is one of PyTorch's datasets, which exist only where PyTorch has been imported."""
    data = sys.modules.get("torch.utils.data")
    return data is not None and isinstance(inputs, (data.Dataset, data.IterableDataset))


def _rows(inputs: Any) -> Iterable[Any]:
    """The rows of a dataset, which need not end by itself when asked one after another."""
    if isinstance(inputs, Iterable):
        return inputs
    return (inputs[place] for place in range(len(inputs)))


def checked_tokenizer_options(task: str, name: str, value: Any) -> dict[str, Any]:
    """Return a copy of the options for the tokenizer that a task is given.

    Args:
        task: its name, for messages.
        name: the argument's, likewise.
        value: a dictionary, or None for no options.

    Raises:
        InputError: they are no dictionary, or change what the tokenizer gives back.
    """
    options = checked_options(name, value)
    if unknown := sorted(options.keys() - _TOKENIZER_OPTIONS):
        raise InputError(
            f"{name} holds {', '.join(map(repr, unknown))}, which {task} has no use for; it takes "
            f"{', '.join(sorted(_TOKENIZER_OPTIONS))}"
        )
    return options


def name_of_choice(name: str, value: Any, allowed: Sequence[str]) -> str:
    """Read an option that is a word, or an enumeration of transformers' with such words.

    Raises:
        InputError: it is none of the words.
    """
    word = getattr(value, "value", value)
    if isinstance(word, str) and word.lower() in allowed:
        return word.lower()
    raise InputError(f"{name}={value!r} is not known: use {', '.join(map(repr, allowed))}")


def shown(text: Any) -> str:
    """A text, cut for a message."""
    full = repr(text)
    return full if len(full) < 60 else full[:57] + "..."
