"""Texts longer than an encoder's limit as overlapping windows, and the way back from windows to texts.

A window is a sequence of its own: the special tokens, the prompt and (of a pair) the shorter text are repeated around
each piece of the text. What a window's piece holds beyond the window before it is the window's own; every token of a
text is some window's own exactly once, so weights and stitched states count each token once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .batching import Tokens
from .errors import InputError
from .similarity import normalize

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from tokenizers import Encoding

__all__ = ["Window", "Windows", "cut_into_windows", "join_windows"]


class Window(NamedTuple):
    """One window of a text.

    Attributes:
        indices: int64 `[n]`, which tokens of the whole text's sequence it holds.
        own: the first of its tokens that is its own, and the one after the last.
        weight: tokens of the text, special ones not counted, that are its own.
    """

    indices: NDArray[np.int64]
    own: tuple[int, int]
    weight: int


@dataclass(frozen=True)
class Windows:
    """The windows of B texts end to end, W in all.

    Attributes:
        cu_windows: int32 `[B + 1]`, the windows of text b are those from `cu_windows[b]` to `cu_windows[b + 1]`.
        own: int64 `[W, 2]`, the range of each window's tokens that are its own.
        weights: float32 `[W]`, tokens of the text that are its own.
    """

    cu_windows: NDArray[np.int32]
    own: NDArray[np.int64]
    weights: NDArray[np.float32]

    def pooled(self, rows: NDArray[np.float32], *, unit: bool = False) -> NDArray[np.float32]:
        """Return `[B, D]`: the mean of each text's rows of `[W, D]`, weighted by the windows' own tokens.

        The row of a text that is one window is passed on as it is.

        Args:
            rows: what was computed for each window.
            unit: bring means to length 1.
        """
        counts = np.diff(self.cu_windows)
        out = rows[self.cu_windows[:-1]]
        for text in np.flatnonzero(counts > 1).tolist():
            span = slice(int(self.cu_windows[text]), int(self.cu_windows[text + 1]))
            weights = self.weights[span, None]
            mean = np.sum(rows[span] * weights, axis=0, keepdims=True) / np.sum(weights)
            out[text] = normalize(mean)[0] if unit else mean[0]
        return out

    def largest(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return `[B, D]`: the largest of each text's rows of `[W, D]` in each column."""
        largest: NDArray[np.float32] = np.maximum.reduceat(rows, self.cu_windows[:-1], axis=0)
        return largest

    def own_tokens(self, tokens: Tokens) -> NDArray[np.bool_]:
        """Return bool `[T]`, which tokens of the windows are their own."""
        lengths = np.diff(tokens.cu_seqlens)
        places = np.arange(len(tokens.input_ids)) - np.repeat(tokens.cu_seqlens[:-1], lengths)
        kept: NDArray[np.bool_] = (places >= np.repeat(self.own[:, 0], lengths)) & (
            places < np.repeat(self.own[:, 1], lengths)
        )
        return kept

    def stitched(self, tokens: Tokens) -> Tokens:
        """Return the whole texts' tokens, each once, of the windows' tokens."""
        kept = self.own_tokens(tokens)
        ends = np.concatenate(([0], np.cumsum(self.own[:, 1] - self.own[:, 0])))
        types = None if tokens.token_type_ids is None else tokens.token_type_ids[kept]
        return Tokens(tokens.input_ids[kept], ends[self.cu_windows].astype(np.int32), types)


def cut_into_windows(
    row: Encoding, max_length: int, stride: int, prompt_length: int = 0, limit_name: str = "max_seq_length"
) -> tuple[list[Window], bool]:
    """Cut a sequence that is over the limit into windows.

    Of a pair the longer text is cut into windows and the shorter one repeated in each; where that one alone is longer
    than half of what is left beside special tokens, it is cut to so much.

    Args:
        row: the whole sequence, special tokens included.
        max_length: tokens of a window, special ones included.
        stride: tokens of the text that a window shares with the one before; at most half of a window's are.
        prompt_length: leading tokens of the sequence that every window repeats.
        limit_name: what the caller calls `max_length`, for messages.

    Returns:
        the windows, and whether a pair's shorter text was cut.

    Raises:
        InputError: if special tokens and prompt leave no room for the text.
    """
    sources = np.array([-1 if source is None else source for source in row.sequence_ids])
    sources[:prompt_length] = -1
    places = [np.flatnonzero(sources == source) for source in (0, 1)]
    longer = int(len(places[1]) >= len(places[0])) if row.n_sequences > 1 else 0
    text, other = places[longer], places[1 - longer]
    room = max_length - (len(sources) - len(text) - len(other))
    kept = other[: max(room // 2, room - len(text))]
    room -= len(kept)
    if room < 1:
        what, remedy = (" and prompt", " or shorten the prompt") if prompt_length else ("", "")
        raise InputError(
            f"special tokens{what} leave no room for the text in windows of {max_length} tokens; raise "
            f"{limit_name}{remedy}"
        )
    around = np.sort(np.concatenate((np.flatnonzero(sources < 0), kept)))
    lead, tail = np.split(around, [int(np.searchsorted(around, text[0]))])
    overlap = min(stride, room // 2)
    windows = []
    for start in range(0, max(len(text) - overlap, 1), room - overlap):
        piece = text[start : start + room]
        shared = overlap if start else 0
        indices = np.concatenate((lead, piece, tail))
        # The special tokens before the text are the first window's own, and those behind it the last one's.
        first = len(lead) + shared if start else 0
        end = len(indices) if start + room >= len(text) else len(indices) - len(tail)
        windows.append(Window(indices, (first, end), len(piece) - shared))
    return windows, len(kept) < len(other)


def join_windows(tokens: Tokens, long: dict[int, tuple[Encoding, list[Window]]]) -> tuple[Tokens, Windows]:
    """Replace the sequences of texts that were cut by their windows.

    Args:
        tokens: B sequences.
        long: whole sequences and windows of some of them, by place.
    """
    ids: list[NDArray[np.int32]] = []
    types: list[NDArray[np.int32]] = []
    lengths: list[int] = []
    own: list[tuple[int, int]] = []
    weights: list[int] = []
    counts: list[int] = []
    bounds = tokens.cu_seqlens.tolist()
    for place in range(len(bounds) - 1):
        if place not in long:
            whole = slice(bounds[place], bounds[place + 1])
            parts = [Window(np.arange(whole.start, whole.stop), (0, whole.stop - whole.start), 1)]
            row_ids, row_types = tokens.input_ids, tokens.token_type_ids
        else:
            row, parts = long[place]
            row_ids, row_types = np.array(row.ids, np.int32), np.array(row.type_ids, np.int32)
        counts.append(len(parts))
        for part in parts:
            ids.append(row_ids[part.indices])
            if tokens.token_type_ids is not None and row_types is not None:
                types.append(row_types[part.indices])
            lengths.append(len(part.indices))
            own.append(part.own)
            weights.append(part.weight)
    joined = Tokens(np.concatenate(ids), _ends(lengths), np.concatenate(types) if types else None)
    return joined, Windows(_ends(counts), np.array(own, np.int64), np.array(weights, np.float32))


def _ends(lengths: Sequence[int]) -> NDArray[np.int32]:
    ends = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(lengths, out=ends[1:])
    return ends
