"""A batch as the engine takes it: packed tokens, and the way back to padded arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .arrays import AnyArray, FloatArray, Int32Array, LentArray

__all__ = ["InputLimits", "PackedBatch", "packed_positions"]


@dataclass(frozen=True)
class InputLimits:
    """What a model accepts: the sizes of its tables and its rule for positions.

    Attributes:
        vocab_size: rows of the word embeddings.
        max_position_embeddings: rows of the position embeddings.
        type_vocab_size: rows of the token type embeddings; 0 where there are none.
        embedding_size: width of ``inputs_embeds``.
        padding_idx: None where positions count columns from 0 (BERT); else tokens with another id than this one are
            numbered ``padding_idx + 1, padding_idx + 2 ...`` and those with this id get ``padding_idx`` (RoBERTa).
        relative_positions: attention looks at the distance between columns (MPNet).
    """

    vocab_size: int
    max_position_embeddings: int
    type_vocab_size: int
    embedding_size: int
    padding_idx: int | None = None
    relative_positions: bool = False

    @property
    def max_length(self) -> int:
        """Tokens of the longest sequence."""
        return self.max_position_embeddings - (0 if self.padding_idx is None else self.padding_idx + 1)


@dataclass(eq=False)
class PackedBatch:
    """A batch as the engine takes it, and the way back to padded arrays.

    T is the number of packed tokens, B of rows, S of columns of the padded arrays.

    Attributes:
        input_ids: int32 ``[T]``, or None with ``inputs_embeds``.
        inputs_embeds: float32 ``[T, embedding_size]``, or None with ``input_ids``; what lies on a GPU is as it was
            given, not packed.
        cu_seqlens: int32 ``[B + 1]``, where each row starts and the last one ends.
        position_ids: int32 ``[T]``.
        token_type_ids: int32 ``[T]``; None where all are 0 or the model has none.
        key_lens: int32 ``[B]``, how many tokens of each row are attended to; None: all.
        columns: int32 ``[T]``, the column that each token had; None where the engine needs no telling.
        shape: ``(B, S)``.
        cells: ``[T]``, where in the flattened padded array each token goes; None where nothing was dropped.
        answered: bool ``[T]``, False for a masked first token that travels along only for the pooler; None: all True.
    """

    input_ids: Int32Array | None
    inputs_embeds: FloatArray | LentArray | None
    cu_seqlens: Int32Array
    position_ids: Int32Array
    token_type_ids: Int32Array | None
    key_lens: Int32Array | None
    columns: Int32Array | None
    shape: tuple[int, int]
    cells: NDArray[np.intp] | None
    answered: NDArray[np.bool_] | None

    def first_tokens(self) -> NDArray[np.intp]:
        """Return ``[B]``: where among the packed tokens each row's first one is, whether the mask keeps it or not."""
        firsts = self.cu_seqlens[:-1].astype(np.intp)
        if self.key_lens is None:
            return firsts
        return np.where(self.key_lens < np.diff(self.cu_seqlens), firsts + self.key_lens, firsts)

    def tokens_at(self, rows: AnyArray, columns: AnyArray) -> NDArray[np.intp]:
        """Return where among the packed tokens the cells ``(rows, columns)`` of the padded array are; -1: left out."""
        cells: NDArray[np.intp] = rows * self.shape[1] + columns
        if self.cells is None:
            return cells
        places = np.full(self.shape[0] * self.shape[1], -1, np.intp)
        packed = np.arange(self.cells.size)
        kept = slice(None) if self.answered is None else self.answered
        places[self.cells[kept]] = packed[kept]
        found: NDArray[np.intp] = places[cells]
        return found

    def pad(self, packed: FloatArray) -> FloatArray:
        """Put packed rows ``[T, width]`` back: ``[B, S, width]``, zeros where the mask was 0."""
        batch, length = self.shape
        width = packed.shape[1]
        if self.cells is None:
            return packed.reshape(batch, length, width)
        padded = np.zeros((batch * length, width), np.float32)
        if self.answered is None:
            padded[self.cells] = packed
        else:
            padded[self.cells[self.answered]] = packed[self.answered]
        return padded.reshape(batch, length, width)

    def pad_attentions(self, flat: FloatArray) -> FloatArray:
        """Put one layer's attention blocks back: ``[B, num_heads, S, S]``, zeros where the mask was 0.

        ``flat`` holds a block ``[num_heads, len_b, len_b]`` for each row b, one after another; its size tells how many
        heads the layer has.
        """
        batch, length = self.shape
        num_heads = flat.size // int(np.square(np.diff(self.cu_seqlens).astype(np.int64)).sum())
        if self.cells is None:
            return flat.reshape(batch, num_heads, length, length)
        padded = np.zeros((batch, num_heads, length, length), np.float32)
        columns = self.cells % length
        end = 0
        for row in range(batch):
            first, last = int(self.cu_seqlens[row]), int(self.cu_seqlens[row + 1])
            tokens = last - first
            start, end = end, end + num_heads * tokens * tokens
            kept = tokens if self.key_lens is None else int(self.key_lens[row])
            block = flat[start:end].reshape(num_heads, tokens, tokens)[:, :kept, :kept]
            places = columns[first : first + kept]
            padded[row][:, places[:, None], places] = block
        return padded


def packed_positions(input_ids: Int32Array, cu_seqlens: Int32Array, padding_idx: int | None) -> Int32Array:
    """Return each packed token's row of the position table: 0, 1, 2 ... or, where padding has one, what follows on it.

    There a token that is the padding token has the padding's row and is not counted (RoBERTa's rule).
    """
    starts, lengths = cu_seqlens[:-1], np.diff(cu_seqlens)
    if padding_idx is not None and np.any(input_ids == padding_idx):
        counted = input_ids != padding_idx
        numbers = np.cumsum(counted, dtype=np.int32)
        before = np.concatenate((np.zeros(1, np.int32), numbers))[starts]
        ranks: Int32Array = (numbers - np.repeat(before, lengths)) * counted + np.int32(padding_idx)
        return ranks
    shifts = starts if padding_idx is None else starts - np.int32(padding_idx + 1)
    positions = np.arange(len(input_ids), dtype=np.int32)
    positions -= np.repeat(shifts, lengths)
    return positions
