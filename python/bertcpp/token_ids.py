"""Token ids of many texts end to end: the lane from text to the engine with the least work per text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .tokenizer_backend import kept_lengths

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    from tokenizers import Encoding, Tokenizer

__all__ = ["EncodedIds", "encode_token_ids"]


@dataclass(frozen=True)
class EncodedIds:
    """Tokens of B texts end to end, T in all.

    Attributes:
        input_ids: int32 ``[T]``.
        cu_seqlens: int32 ``[B + 1]``; text b has the tokens from ``cu_seqlens[b]`` to ``cu_seqlens[b + 1]``.
        token_type_ids: int32 ``[T]``, or None where all of them are 0.
        truncated: bool ``[B]``, whether a text was cut.
    """

    input_ids: npt.NDArray[np.int32]
    cu_seqlens: npt.NDArray[np.int32]
    token_type_ids: npt.NDArray[np.int32] | None
    truncated: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.truncated)

    @property
    def lengths(self) -> npt.NDArray[np.int32]:
        """Tokens of each text, int32 ``[B]``."""
        return np.diff(self.cu_seqlens)


def _kept_slices(row: Encoding, max_length: int, side: str) -> list[slice]:
    """The parts of an uncut row that stay, special tokens among them."""
    sources = row.sequence_ids
    first = sources.count(0)
    second = sources.count(1) if row.n_sequences > 1 else None
    budget = max_length - (len(sources) - first - (second or 0))
    stays = kept_lengths(first, second, budget, "longest_first")
    slices, at = [], 0
    for source, length, kept in zip((0, 1), (first, second), stays, strict=True):
        if length:
            start = sources.index(source)
            stop = start + length
            text = slice(stop - (kept or 0), stop) if side == "left" else slice(start, start + (kept or 0))
            slices += [slice(at, start), text]
            at = stop
    return [*slices, slice(at, len(sources))]


def encode_token_ids(
    tokenizer: Tokenizer, inputs: Sequence[Any], max_length: int | None, truncation_side: str
) -> EncodedIds:
    """Encode texts, or pairs of them, with special tokens, cut by ``longest_first``.

    Args:
        tokenizer: one that neither cuts nor pads.
        inputs: strings, or pairs of strings.
        max_length: tokens that may stay of each, no fewer than the special ones; None cuts nothing.
        truncation_side: ``"right"`` or ``"left"``, where a text loses tokens.

    Raises:
        Exception: something is neither a string nor a pair of strings, or the vocabulary lacks its unknown token.
    """
    rows = tokenizer.encode_batch_fast(inputs)
    limit = max_length if max_length is not None else 2**62
    typed = any(row.n_sequences > 1 for row in rows[:1])
    ids: list[int] = []
    types: list[int] = []
    lengths = [len(row) for row in rows]
    for index, row in enumerate(rows):
        if lengths[index] <= limit:
            ids += row.ids
            if typed:
                types += row.type_ids
            continue
        row_ids, row_types = row.ids, row.type_ids if typed else []
        for part in _kept_slices(row, limit, truncation_side):
            ids += row_ids[part]
            types += row_types[part]
    uncut = np.array(lengths, dtype=np.int64)
    cu_seqlens = np.zeros(len(rows) + 1, dtype=np.int32)
    np.cumsum(np.minimum(uncut, limit), out=cu_seqlens[1:])
    token_types = np.array(types, dtype=np.int32) if typed else None
    return EncodedIds(np.array(ids, dtype=np.int32), cu_seqlens, token_types, uncut > limit)
