"""The edge between padded arrays and the engine's packed tokens.

Callers pass ``[batch, sequence]`` arrays with padding; the engine takes the tokens of a batch end to end. What the
attention mask leaves out is dropped here and restored, as zeros, after the call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .arrays import AnyArray, FloatArray, Int32Array, LentArray, as_array
from .errors import InputError, MaskError, SequenceTooLongError, TokenIdError
from .packed_batch import PackedBatch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .packed_batch import InputLimits

__all__ = ["Packer"]

_MAX_TOKENS = 2**31 - 1  # offsets are int32
_UNSIGNED = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}  # by bytes


class Packer:
    """Checks the arrays that a caller passes against a model's limits and packs them."""

    def __init__(self, limits: InputLimits) -> None:
        self.limits = limits
        offset = 0 if limits.padding_idx is None else limits.padding_idx + 1
        # Positions of an unpadded row: a slice of this serves most calls.
        self._sequential = np.arange(offset, limits.max_position_embeddings, dtype=np.int32)

    def pack(
        self,
        input_ids: Any = None,
        attention_mask: Any = None,
        token_type_ids: Any = None,
        position_ids: Any = None,
        inputs_embeds: Any = None,
        *,
        keep_first: bool = False,
    ) -> PackedBatch:
        """Pack padded arrays.

        Args:
            input_ids: integers ``[B, S]``; or None with ``inputs_embeds``.
            attention_mask: ``[B, S]`` of 1 (keep) and 0 (leave out), integers, booleans or floats; None keeps all.
            token_type_ids: integers that broadcast to ``[B, S]``; None means 0.
            position_ids: integers that broadcast to ``[B, S]``; None follows the model's rule.
            inputs_embeds: floats ``[B, S, embedding_size]``.
            keep_first: where a row's first token is masked, let it travel along at the row's end, asking but not
                attended to, so that a pooler can read it.

        Raises:
            InputError: a shape or a dtype is wrong, or the batch is empty.
            MaskError: the mask has a wrong shape or values, or leaves nothing of a row.
            TokenIdError: a token, position or token type id is outside its table.
            SequenceTooLongError: a row has more tokens than the model has positions.
        """
        ids: Int32Array | None = None
        embeds: AnyArray | LentArray | None = None
        if input_ids is not None:
            if inputs_embeds is not None:
                raise InputError("input_ids and inputs_embeds were both given; pass one of them")
            ids = self._check_ids(as_array(input_ids, "input_ids"))
            shape: tuple[int, int] = ids.shape
        elif inputs_embeds is not None:
            lent = isinstance(inputs_embeds, LentArray)
            embeds = self._check_embeds(inputs_embeds if lent else as_array(inputs_embeds, "inputs_embeds"))
            shape = embeds.shape[0], embeds.shape[1]
        else:
            raise InputError("neither input_ids nor inputs_embeds was given; pass one of them")
        types = None if token_type_ids is None else self._check_types(as_array(token_type_ids, "token_type_ids"), shape)
        if position_ids is None:
            positions = self._default_positions(ids, shape)
        else:
            positions = self._check_positions(as_array(position_ids, "position_ids"), shape)
        kept = None if attention_mask is None else _kept(as_array(attention_mask, "attention_mask"), shape)
        packed = (
            self._whole(shape, ids, types, positions, embeds)
            if kept is None
            else self._dropping(kept, ids, types, positions, embeds, keep_first)
        )
        if position_ids is None and shape[1] > self.limits.max_length:
            self._check_length(packed)
        return packed

    def _whole(
        self,
        shape: tuple[int, int],
        ids: Int32Array | None,
        types: Int32Array | None,
        positions: Int32Array,
        embeds: AnyArray | LentArray | None,
    ) -> PackedBatch:
        """Every token is kept: packing is flattening."""
        batch, length = shape
        if positions.ndim == 1 and batch > 1:
            positions = np.tile(positions, batch)
        return PackedBatch(
            input_ids=None if ids is None else ids.reshape(-1),
            inputs_embeds=_packed_floats(embeds),
            cu_seqlens=np.arange(0, batch * length + 1, length, dtype=np.int32),
            position_ids=positions.reshape(-1),
            token_type_ids=None if types is None else types.reshape(-1),
            key_lens=None,
            columns=None,
            shape=shape,
            cells=None,
            answered=None,
        )

    def _dropping(
        self,
        kept: NDArray[np.bool_],
        ids: Int32Array | None,
        types: Int32Array | None,
        positions: Int32Array,
        embeds: AnyArray | LentArray | None,
        keep_first: bool,
    ) -> PackedBatch:
        """Only the tokens that the mask keeps, row after row."""
        batch, length = kept.shape
        cells = np.flatnonzero(kept)
        lengths = np.count_nonzero(kept, axis=1)
        if not lengths.all():
            raise MaskError(
                f"attention_mask leaves nothing of row {int(np.argmin(lengths))}; keep at least one token of every row"
            )
        ends = np.cumsum(lengths)
        key_lens = answered = None
        if keep_first and not kept[:, 0].all():
            masked_first = np.flatnonzero(~kept[:, 0])
            cells = np.insert(cells, ends[masked_first], masked_first * length)
            key_lens = lengths.astype(np.int32)
            ends = np.cumsum(lengths + ~kept[:, 0])
            answered = np.ones(cells.size, np.bool_)
            answered[ends[masked_first] - 1] = False
        cu_seqlens = np.zeros(batch + 1, np.int32)
        cu_seqlens[1:] = ends
        columns = (cells % length).astype(np.int32)
        # Distances between columns are those between packed tokens where every row is kept from its first column on.
        whole_prefix = key_lens is None and bool((kept[:, 1:] <= kept[:, :-1]).all())
        if self.limits.relative_positions and not whole_prefix and length > 2 * self.limits.max_position_embeddings:
            raise InputError(
                f"input_ids has {length} columns, too many for a mask with holes or padding on the left; cut off "
                "the columns that no row uses"
            )
        return PackedBatch(
            input_ids=None if ids is None else ids.reshape(-1)[cells],
            inputs_embeds=_packed_floats(embeds, cells),
            cu_seqlens=cu_seqlens,
            position_ids=positions[columns] if positions.ndim == 1 else positions.reshape(-1)[cells],
            token_type_ids=None if types is None else types.reshape(-1)[cells],
            key_lens=key_lens,
            columns=columns if self.limits.relative_positions and not whole_prefix else None,
            shape=(batch, length),
            cells=cells,
            answered=answered,
        )

    def _check_ids(self, ids: AnyArray) -> Int32Array:
        if ids.ndim != 2:
            remedy = "; add the batch dimension: input_ids[None]" if ids.ndim == 1 else ""
            raise InputError(f"input_ids must have the shape [batch, sequence], not {list(ids.shape)}{remedy}")
        _check_not_empty("input_ids", ids.shape)
        outside = _outside(ids, self.limits.vocab_size, "input_ids")
        if outside is not None:
            row, column, value = outside
            size = self.limits.vocab_size
            raise TokenIdError(
                f"input_ids[{row}, {column}] is {value}, outside the vocabulary of {size} tokens (0 to {size - 1}); "
                "was the text tokenized with this model's tokenizer?"
            )
        # Always a copy: another thread may change the caller's array while the engine reads.
        return ids.astype(np.int32, order="C")

    def _check_embeds(self, embeds: AnyArray | LentArray) -> AnyArray | LentArray:
        width = self.limits.embedding_size
        if embeds.ndim != 3 or embeds.shape[2] != width:
            raise InputError(f"inputs_embeds must have the shape [batch, sequence, {width}], not {list(embeds.shape)}")
        if embeds.dtype.kind != "f":
            raise InputError(f"inputs_embeds must be floats, not {embeds.dtype}; convert them to float32")
        _check_not_empty("inputs_embeds", embeds.shape[:2])
        return embeds

    def _check_types(self, types: AnyArray, shape: tuple[int, int]) -> Int32Array | None:
        size = self.limits.type_vocab_size
        types = _broadcast(types, shape, "token_type_ids")
        # A model without token types takes zeros, which say nothing; None spares the engine the lookup of zeros.
        outside = _outside(types, max(size, 1), "token_type_ids")
        if outside is not None:
            row, column, value = outside
            known = f"this model knows the token types 0 to {size - 1}" if size else "this model has no token types"
            raise TokenIdError(f"token_type_ids[{row}, {column}] is {value}; {known}")
        return types.astype(np.int32, order="C") if np.count_nonzero(types) else None

    def _check_positions(self, positions: AnyArray, shape: tuple[int, int]) -> Int32Array:
        size = self.limits.max_position_embeddings
        positions = _broadcast(positions, shape, "position_ids")
        outside = _outside(positions, size, "position_ids")
        if outside is not None:
            row, column, value = outside
            raise TokenIdError(
                f"position_ids[{row}, {column}] is {value}; this model knows the positions 0 to {size - 1}"
            )
        return positions.astype(np.int32, order="C")

    def _default_positions(self, ids: Int32Array | None, shape: tuple[int, int]) -> Int32Array:
        """Positions ``[S]`` if every row has the same ones, else ``[B, S]``; may exceed the model's limit."""
        padding_idx = self.limits.padding_idx
        length = shape[1]
        if padding_idx is not None and ids is not None:
            counted = ids != padding_idx
            if np.count_nonzero(counted) != counted.size:
                numbers: Int32Array = np.cumsum(counted, axis=1, dtype=np.int32) * counted + np.int32(padding_idx)
                return numbers
        if length <= self._sequential.size:
            return self._sequential[:length]
        offset = 0 if padding_idx is None else padding_idx + 1
        return np.arange(offset, offset + length, dtype=np.int32)

    def _check_length(self, packed: PackedBatch) -> None:
        """Positions that the model's rule gave may run past the table."""
        over = np.flatnonzero(packed.position_ids >= self.limits.max_position_embeddings)
        if over.size:
            row = int(np.searchsorted(packed.cu_seqlens, over[0], side="right")) - 1
            limit = self.limits.max_length
            length = int(packed.cu_seqlens[row + 1] - packed.cu_seqlens[row])
            raise SequenceTooLongError(
                f"row {row} has {length} tokens and goes past the model's limit of {limit}; "
                f"cut it (tokenizer(..., truncation=True, max_length={limit})) or split the text"
            )


def _check_not_empty(name: str, shape: tuple[int, ...]) -> None:
    if 0 in shape:
        raise InputError(f"{name} has the shape {list(shape)}, so there is nothing to compute; pass at least one token")
    if shape[0] * shape[1] > _MAX_TOKENS:
        raise InputError(f"{name} has {shape[0] * shape[1]} tokens, more than {_MAX_TOKENS}; pass smaller batches")


def _outside(array: AnyArray, bound: int, name: str) -> tuple[int, int, int] | None:
    """Row, column and value of the first entry outside ``[0, bound)``, or None."""
    kind = array.dtype.kind
    if kind not in "iu":
        raise InputError(f"{name} must be integers, not {array.dtype}")
    # As unsigned numbers the negative ones are the largest: one pass checks both ends.
    unsigned = array.view(_UNSIGNED[array.dtype.itemsize]) if kind == "i" else array
    if int(unsigned.max()) < bound:
        return None
    row, column = (int(place) for place in np.argwhere(unsigned >= bound)[0])
    return row, column, int(array[row, column])


def _broadcast(array: AnyArray, shape: tuple[int, int], name: str) -> AnyArray:
    if array.shape == shape:
        return array
    try:
        return np.broadcast_to(array, shape)
    except ValueError:
        raise InputError(f"{name} has the shape {list(array.shape)}, which does not fit {list(shape)}") from None


def _kept(mask: AnyArray, shape: tuple[int, int]) -> NDArray[np.bool_] | None:
    """The mask as booleans, or None where it keeps everything."""
    if mask.shape != shape:
        remedy = "; a mask for each pair of tokens is not supported" if mask.ndim > 2 else ""
        raise MaskError(f"attention_mask must have the shape {list(shape)}, not {list(mask.shape)}{remedy}")
    kept: NDArray[np.bool_] = mask == 1
    count = np.count_nonzero(kept)
    if count == mask.size:
        return None
    if np.count_nonzero(mask) != count:
        row, column = (int(place) for place in np.argwhere(~kept & (mask != 0))[0])
        raise MaskError(
            f"attention_mask[{row}, {column}] is {mask[row, column]}; use 1 to keep a token, 0 to leave it out"
        )
    return kept


def _packed_floats(embeds: AnyArray | LentArray | None, cells: AnyArray | None = None) -> FloatArray | LentArray | None:
    """The rows of the tokens; the engine packs what lies on a GPU itself."""
    if embeds is None or isinstance(embeds, LentArray):
        return embeds
    rows = embeds.reshape(-1, embeds.shape[2])
    return np.ascontiguousarray(rows if cells is None else rows[cells], dtype=np.float32)
