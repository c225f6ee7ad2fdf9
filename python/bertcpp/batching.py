"""Any number of texts in bounded memory: chunks of input, batches of a token budget, rows of output.

Texts keep their order. As nothing is padded, sorting them by length would save no arithmetic; a batch is a run of
neighbours whose tokens together fit the budget, so input may come from a generator and results may be streamed.
"""

from __future__ import annotations

import logging
import sys
import time
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from .errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from numpy.typing import NDArray

__all__ = ["Progress", "Rows", "Tokens", "bar_wanted", "chunks", "is_single", "length_of", "splits", "token_budget"]

T = TypeVar("T")

# What is tokenized at once. The bound on characters keeps memory small and Ctrl-C quick where texts are books.
CHUNK_TEXTS = 512  # or more, where so many threads compute that they would run dry
CHUNK_TEXTS_PER_THREAD = 32
CHUNK_CHARACTERS = 1 << 20

# Tokens of one batch for each thread. As many as keep a thread's share of the states in its L2 cache (measured: fewer
# cost nothing down to 128, more cost up to 8 %), and arithmetic of half a second at most, so that Ctrl-C is quick.
_TOKENS_PER_THREAD = 512
_FEWEST_TOKENS_PER_THREAD = 128
_FLOP_PER_THREAD = 5e10

_PROGRESS_DELAY_S = 2.0


class Tokens(NamedTuple):
    """Token ids of B sequences end to end: int32 `[T]`, offsets int32 `[B + 1]`, segment ids int32 `[T]` or None."""

    input_ids: NDArray[np.int32]
    cu_seqlens: NDArray[np.int32]
    token_type_ids: NDArray[np.int32] | None

    def rows(self, first: int, last: int) -> Tokens:
        """Return sequences `first` to `last - 1`."""
        if first == 0 and last == len(self.cu_seqlens) - 1:
            return self
        start, end = int(self.cu_seqlens[first]), int(self.cu_seqlens[last])
        types = None if self.token_type_ids is None else self.token_type_ids[start:end]
        return Tokens(self.input_ids[start:end], self.cu_seqlens[first : last + 1] - self.cu_seqlens[first], types)


def token_budget(config: Mapping[str, Any], threads: int) -> int:
    """Return how many tokens one batch should hold for an encoder of this configuration (see ARCHITECTURE.md)."""
    hidden, intermediate = int(config["hidden_size"]), int(config["intermediate_size"])
    flop = 2 * int(config["num_hidden_layers"]) * (4 * hidden * hidden + 2 * hidden * intermediate)
    per_thread = min(max(_FLOP_PER_THREAD / max(flop, 1), _FEWEST_TOKENS_PER_THREAD), _TOKENS_PER_THREAD)
    return int(threads * per_thread)


def chunks(items: Iterable[T], size: int = CHUNK_TEXTS, characters: int = CHUNK_CHARACTERS) -> Iterator[list[T]]:
    """Yield runs of `items` of at most `size`, each closed early when its texts hold `characters` characters.

    Example:
        >>> list(chunks(["a", "b", "c"], size=2))
        [['a', 'b'], ['c']]
    """
    chunk: list[T] = []
    held = 0
    for item in items:
        chunk.append(item)
        held += _characters(item)
        if len(chunk) >= size or held >= characters:
            yield chunk
            chunk, held = [], 0
    if chunk:
        yield chunk


def _characters(item: Any) -> int:
    if isinstance(item, str):
        return len(item)
    return sum(map(_characters, item)) if isinstance(item, (tuple, list)) else 0


def is_single(inputs: Any) -> bool:
    """Tell one text from many.

    Raises:
        InputError: if it is neither.
    """
    if isinstance(inputs, (str, dict)):
        return True
    if isinstance(inputs, np.ndarray):
        return inputs.ndim == 0
    if not hasattr(inputs, "__iter__") or isinstance(inputs, bytes):
        raise InputError(f"inputs is of type {type(inputs).__name__}; pass a string, or an iterable of strings")
    return False


def length_of(inputs: Any) -> int | None:
    """Return how many inputs there are, or None where only an end will tell."""
    return len(inputs) if hasattr(inputs, "__len__") else None


def bar_wanted(show_progress_bar: bool | None, logger: logging.Logger) -> bool | None:
    """Return what `Progress` is to do: as asked or, unasked, show a bar where a logger tells of progress."""
    return True if show_progress_bar is None and logger.isEnabledFor(logging.INFO) else show_progress_bar


def splits(cu_seqlens: NDArray[np.int32], budget: int) -> Iterator[tuple[int, int]]:
    """Yield ranges `(first, last)` of sequences that share the tokens evenly, each of about `budget` tokens at most.

    A range passes the budget (or the mean length, if that is more) by less than one sequence.
    """
    total, count = int(cu_seqlens[-1]), len(cu_seqlens) - 1
    parts = min(-(-total // budget), count)
    if parts <= 1:
        yield 0, count
        return
    first = 0
    for cut in np.searchsorted(cu_seqlens, np.arange(1, parts) * (total / parts)).tolist():
        if cut > first:
            yield first, cut
            first = cut
    if first < count:
        yield first, count


class Rows:
    """Rows `[n, D]` gathered block by block into one array: allocated once if n is known, else grown in place."""

    def __init__(self, expected: int | None) -> None:
        self._expected = expected
        self._rows: NDArray[Any] | None = None
        self._used = 0
        self._borrowed = False  # the array is the first block itself

    def append(self, block: NDArray[Any]) -> None:
        """Add `block` `[m, D]` below the rows so far."""
        if self._rows is None:
            if self._expected == len(block):
                self._rows, self._used, self._borrowed = block, len(block), True
                return
            self._rows = np.empty((max(self._expected or 0, len(block)), block.shape[1]), dtype=block.dtype)
        needed = self._used + len(block)
        if needed > len(self._rows):
            if self._borrowed:  # more blocks came than were announced
                self._rows, self._borrowed = self._rows.copy(), False
            # realloc moves pages instead of copying them; nobody else has seen the array yet.
            self._rows.resize((max(needed, len(self._rows) * 3 // 2), block.shape[1]), refcheck=False)
        self._rows[self._used : needed] = block
        self._used = needed

    def array(self) -> NDArray[Any] | None:
        """Return all rows `[n, D]`, or None if there was no block."""
        if self._rows is not None and self._used < len(self._rows):
            self._rows.resize((self._used, self._rows.shape[1]), refcheck=False)
        return self._rows


class Progress:
    """A progress bar on standard error, by tqdm: shown, hidden, or shown once work lasts and a person looks on."""

    def __init__(self, show: bool | None, total: int | None, what: str = "Embedding") -> None:
        """Show the bar at once (True), never (False), or after two seconds on a terminal (None)."""
        self._total = total
        self._what = what
        self._bar: Any = None
        self._done = 0
        self._due = float("inf")
        if show:
            self._open()
        elif show is None and sys.stderr is not None and sys.stderr.isatty():
            self._due = time.monotonic() + _PROGRESS_DELAY_S

    def _open(self) -> None:
        self._due = float("inf")
        try:
            tqdm = import_module("tqdm.auto").tqdm
        except ImportError:
            return
        self._bar = tqdm(total=self._total, initial=self._done, desc=self._what, unit=" texts", file=sys.stderr)

    def update(self, count: int) -> None:
        """Say that `count` more texts are done."""
        self._done += count
        if self._bar is not None:
            self._bar.update(count)
        elif time.monotonic() >= self._due:
            self._open()

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.close()
