"""What a tokenizer returns: a dictionary of lists or tensors that also knows its tokens, words and characters."""

from __future__ import annotations

import copy
import logging
from collections import UserDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from .errors import InputError, MissingDependencyError

if TYPE_CHECKING:
    from tokenizers import Encoding

__all__ = ["BatchEncoding", "CharSpan", "TokenSpan", "require_tensor_type"]

logger = logging.getLogger(__name__)


class CharSpan(NamedTuple):
    """A span of characters of the original text: ``text[start:end]``."""

    start: int
    end: int


class TokenSpan(NamedTuple):
    """A span of tokens of one row: ``tokens[start:end]``."""

    start: int
    end: int


def require_tensor_type(name: Any) -> str:
    """Return ``"pt"`` or ``"np"`` for a ``return_tensors`` argument (a string or an enumeration of strings).

    Raises:
        InputError: the name is of a framework that this library does not serve.
    """
    value = getattr(name, "value", name)
    if value in ("pt", "np"):
        return cast("str", value)
    raise InputError(f"return_tensors={name!r} is not known: use 'pt' (PyTorch), 'np' (NumPy) or None (lists)")


def _numpy_array(value: Any) -> np.ndarray[Any, Any]:
    """Lists as an int64 array; rows of different lengths as an array of arrays, as transformers has it."""
    nested = isinstance(value, (list, tuple)) and value and isinstance(value[0], (list, tuple, np.ndarray))
    if nested and len({len(row) for row in value}) > 1:
        rows = np.empty(len(value), dtype=object)
        for index, row in enumerate(value):
            rows[index] = np.asarray(row)
        return rows
    array = np.asarray(value)
    return array.astype(np.int64) if array.size == 0 else array


def _torch_tensor(key: str, value: Any) -> Any:
    """Lists or arrays as a tensor, int64 where they hold integers."""
    try:
        import torch
    except ImportError as error:
        raise MissingDependencyError(
            "return_tensors='pt' needs PyTorch: install torch, or ask for NumPy arrays by return_tensors='np'"
        ) from error
    array = _numpy_array(value)
    if array.dtype == object:
        raise InputError(
            f"the rows of {key!r} differ in length and cannot become one tensor: "
            "pass padding=True (and truncation=True to cut at the model's limit)"
        )
    # torch takes over the array's memory; an array of the caller's own must stay his.
    return torch.from_numpy(array.copy() if isinstance(value, np.ndarray) else array)


def _is_tensor(value: Any, tensor_type: str) -> bool:
    if tensor_type == "np":
        return isinstance(value, np.ndarray)
    return type(value).__module__.split(".")[0] == "torch" and hasattr(value, "device")


class BatchEncoding(UserDict[str, Any]):
    """Token ids, masks and whatever else was asked for, by key, by attribute, and unpacked with ``**``.

    Each value is a list (one text: of numbers, several: of rows) or, with ``return_tensors``, a tensor ``[B, T]`` of
    int64. An integer index gives the row's ``tokenizers.Encoding``, a slice gives a dictionary of that part.

    Args:
        data: the values by name.
        encoding: the ``tokenizers.Encoding`` of each row, or of the one row.
        tensor_type: ``"pt"``, ``"np"`` or None to convert the values at once.
        prepend_batch_axis: put a first axis of 1 before the values as they are converted.
        n_sequences: 1 for single texts, 2 for pairs; by default read off the encodings.

    Raises:
        InputError: an unknown ``tensor_type``, or rows that differ in length for ``"pt"``.
        MissingDependencyError: ``"pt"`` without PyTorch.

    Example:
        >>> from bertcpp.batch_encoding import BatchEncoding
        >>> batch = BatchEncoding({"input_ids": [[101, 102]]}, tensor_type="np")
        >>> batch.input_ids.shape, batch["input_ids"].dtype.name, list(batch)
        ((1, 2), 'int64', ['input_ids'])
    """

    def __init__(
        self,
        data: Mapping[str, Any] | None = None,
        encoding: Encoding | Sequence[Encoding] | None = None,
        tensor_type: Any = None,
        prepend_batch_axis: bool = False,
        n_sequences: int | None = None,
    ) -> None:
        super().__init__(data)
        encodings = encoding if encoding is None or isinstance(encoding, Sequence) else [encoding]
        self._encodings: list[Encoding] | None = None if encodings is None else list(encodings)
        if n_sequences is None and self._encodings:
            n_sequences = self._encodings[0].n_sequences
        self._n_sequences = n_sequences
        self.convert_to_tensors(tensor_type, prepend_batch_axis)

    @property
    def n_sequences(self) -> int | None:
        """1 for single texts, 2 for pairs, None where it is not known."""
        return self._n_sequences

    @property
    def is_fast(self) -> bool:
        """Whether the rows carry their ``tokenizers.Encoding``, on which tokens(), word_ids() ... rest."""
        return self._encodings is not None

    @property
    def encodings(self) -> list[Encoding] | None:
        """The ``tokenizers.Encoding`` of each row."""
        return self._encodings

    def __getitem__(self, item: Any) -> Any:
        if isinstance(item, str):
            return self.data[item]
        if self._encodings is not None:
            return self._encodings[item]
        if isinstance(item, slice):
            return {key: value[item] for key, value in self.data.items()}
        raise KeyError(f"{item!r}: keys are strings, or slices; integers only where a tokenizer made the batch")

    def __getattr__(self, name: str) -> Any:
        # Reached for what is not an attribute; before __init__ (copy, pickle) there is no data to look into.
        data = self.__dict__.get("data", {})
        if name in data:
            return data[name]
        raise AttributeError(f"the batch has no {name!r}; it has {', '.join(map(repr, data)) or 'nothing'}")

    def __getstate__(self) -> dict[str, Any]:
        return dict(self.__dict__)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def __copy__(self) -> BatchEncoding:
        return BatchEncoding(self.data, self._encodings, n_sequences=self._n_sequences)

    def __deepcopy__(self, memo: dict[int, Any]) -> BatchEncoding:
        return BatchEncoding(copy.deepcopy(self.data, memo), self._encodings, n_sequences=self._n_sequences)

    def _row(self, batch_index: int, asked: str) -> Encoding:
        if not self._encodings:
            raise InputError(f"{asked}() is known only of a batch that a tokenizer's call has made")
        return self._encodings[batch_index]

    def _row_and_index(self, first: int, second: int | None, asked: str) -> tuple[Encoding, int]:
        """Read the two ways to call: (index) in row 0, and (row, index)."""
        row, index = (0, first) if second is None else (first, second)
        encoding = self._row(row, asked)
        return encoding, index + len(encoding) if index < 0 else index

    def tokens(self, batch_index: int = 0) -> list[str]:
        """The tokens of a row, special and padding ones included."""
        return cast("list[str]", self._row(batch_index, "tokens").tokens)

    def sequence_ids(self, batch_index: int = 0) -> list[int | None]:
        """Per token 0 or 1, the text of the pair that it comes from; None for special tokens."""
        return cast("list[int | None]", self._row(batch_index, "sequence_ids").sequence_ids)

    def word_ids(self, batch_index: int = 0) -> list[int | None]:
        """Per token the index of its word in the text; None for special tokens."""
        return cast("list[int | None]", self._row(batch_index, "word_ids").word_ids)

    def words(self, batch_index: int = 0) -> list[int | None]:
        """The same as :meth:`word_ids`, its older name."""
        return self.word_ids(batch_index)

    def token_to_sequence(self, batch_or_token_index: int, token_index: int | None = None) -> int | None:
        """Which text of the pair a token comes from: (token) in row 0, or (row, token)."""
        encoding, index = self._row_and_index(batch_or_token_index, token_index, "token_to_sequence")
        return cast("int | None", encoding.token_to_sequence(index))

    def token_to_word(self, batch_or_token_index: int, token_index: int | None = None) -> int | None:
        """The index of a token's word: (token) in row 0, or (row, token)."""
        encoding, index = self._row_and_index(batch_or_token_index, token_index, "token_to_word")
        return cast("int | None", encoding.token_to_word(index))

    def token_to_chars(self, batch_or_token_index: int, token_index: int | None = None) -> CharSpan | None:
        """The characters that a token stands for: (token) in row 0, or (row, token); None for special tokens."""
        encoding, index = self._row_and_index(batch_or_token_index, token_index, "token_to_chars")
        span = encoding.token_to_chars(index)
        return None if span is None else CharSpan(*span)

    def word_to_tokens(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> TokenSpan | None:
        """The tokens of a word: (word) in row 0, or (row, word)."""
        row, index = (0, batch_or_word_index) if word_index is None else (batch_or_word_index, word_index)
        span = self._row(row, "word_to_tokens").word_to_tokens(index, sequence_index)
        return None if span is None else TokenSpan(*span)

    def word_to_chars(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> CharSpan | None:
        """The characters of a word: (word) in row 0, or (row, word)."""
        row, index = (0, batch_or_word_index) if word_index is None else (batch_or_word_index, word_index)
        span = self._row(row, "word_to_chars").word_to_chars(index, sequence_index)
        return None if span is None else CharSpan(*span)

    def char_to_token(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """The token that a character belongs to: (character) in row 0, or (row, character); None for white space."""
        row, index = (0, batch_or_char_index) if char_index is None else (batch_or_char_index, char_index)
        return cast("int | None", self._row(row, "char_to_token").char_to_token(index, sequence_index))

    def char_to_word(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """The word that a character belongs to: (character) in row 0, or (row, character); None for white space."""
        row, index = (0, batch_or_char_index) if char_index is None else (batch_or_char_index, char_index)
        return cast("int | None", self._row(row, "char_to_word").char_to_word(index, sequence_index))

    def convert_to_tensors(self, tensor_type: Any = None, prepend_batch_axis: bool = False) -> BatchEncoding:
        """Turn the values into tensors in place, ``"pt"`` or ``"np"``, and return the batch itself.

        Raises:
            InputError: an unknown type, or rows that differ in length for ``"pt"``.
            MissingDependencyError: ``"pt"`` without PyTorch.
        """
        if tensor_type is None:
            return self
        kind = require_tensor_type(tensor_type)
        for key, value in self.data.items():
            value = [value] if prepend_batch_axis else value
            if not _is_tensor(value, kind):
                self.data[key] = _numpy_array(value) if kind == "np" else _torch_tensor(key, value)
        return self

    def to(self, device: Any, *, non_blocking: bool = False) -> BatchEncoding:
        """Move every PyTorch tensor to a device, in place, and return the batch itself. Never changes a dtype."""
        if not isinstance(device, (str, int)) and type(device).__name__ != "device":
            logger.warning("A batch of token ids cannot be cast to %s; it stays as it is.", device)
            return self
        for key, value in self.data.items():
            if _is_tensor(value, "pt"):
                self.data[key] = value.to(device=device, non_blocking=non_blocking)
        return self
