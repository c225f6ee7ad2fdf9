"""The edge: what is dropped comes back in its place, and what does not fit is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from bertcpp.arrays import as_array
from bertcpp.errors import InputError, MaskError, SequenceTooLongError, TokenIdError
from bertcpp.packed_batch import InputLimits, PackedBatch
from bertcpp.packing import Packer

BERT = InputLimits(vocab_size=100, max_position_embeddings=16, type_vocab_size=2, embedding_size=3)
ROBERTA = InputLimits(vocab_size=100, max_position_embeddings=18, type_vocab_size=1, embedding_size=3, padding_idx=1)
MPNET = InputLimits(100, 18, 0, 3, padding_idx=1, relative_positions=True)


def test_an_unpadded_batch_is_flattened() -> None:
    batch = Packer(BERT).pack([[5, 6, 7], [8, 9, 10]])
    assert batch.input_ids is not None
    assert batch.input_ids.tolist() == [5, 6, 7, 8, 9, 10]
    assert batch.cu_seqlens.tolist() == [0, 3, 6]
    assert batch.position_ids.tolist() == [0, 1, 2, 0, 1, 2]
    assert (batch.token_type_ids, batch.key_lens, batch.columns, batch.cells) == (None, None, None, None)
    for array in (batch.input_ids, batch.cu_seqlens, batch.position_ids):
        assert array.dtype == np.int32
        assert array.flags.c_contiguous


def test_padding_on_either_side_and_holes_are_dropped() -> None:
    ids = [[5, 6, 0, 0], [0, 7, 8, 9], [10, 0, 11, 0]]
    batch = Packer(BERT).pack(ids, [[1, 1, 0, 0], [0, 1, 1, 1], [1, 0, 1, 0]], token_type_ids=[[0, 1, 0, 1]] * 3)
    assert batch.input_ids is not None
    assert batch.token_type_ids is not None
    assert batch.input_ids.tolist() == [5, 6, 7, 8, 9, 10, 11]
    assert batch.position_ids.tolist() == [0, 1, 1, 2, 3, 0, 2]
    assert batch.token_type_ids.tolist() == [0, 1, 1, 0, 1, 0, 0]
    assert batch.cu_seqlens.tolist() == [0, 2, 5, 7]
    padded = batch.pad(np.arange(1, 15, dtype=np.float32).reshape(7, 2))
    assert padded[:, :, 0].tolist() == [[1, 3, 0, 0], [0, 5, 7, 9], [11, 0, 13, 0]]


def test_a_masked_first_token_travels_along_for_the_pooler() -> None:
    mask = [[0, 1, 1], [1, 1, 0], [0, 0, 1]]
    batch = Packer(MPNET).pack([[4, 5, 6], [7, 8, 9], [10, 11, 12]], mask, keep_first=True)
    assert batch.input_ids is not None
    assert batch.input_ids.tolist() == [5, 6, 4, 7, 8, 12, 10]
    assert batch.cu_seqlens.tolist() == [0, 3, 5, 7]
    assert batch.key_lens is not None
    assert batch.key_lens.tolist() == [2, 2, 1]
    assert batch.columns is not None
    assert batch.columns.tolist() == [1, 2, 0, 0, 1, 2, 0]
    assert batch.position_ids.tolist() == [3, 4, 2, 2, 3, 4, 2]
    padded = batch.pad(np.arange(1, 8, dtype=np.float32)[:, None])
    assert padded[:, :, 0].tolist() == [[0, 1, 2], [4, 5, 0], [0, 0, 6]]  # the first token's own row stays zero


def test_attention_blocks_come_back_in_place() -> None:
    batch = Packer(BERT).pack([[5, 6, 7], [8, 9, 10]], [[0, 1, 1], [1, 0, 1]], keep_first=True)
    first = np.arange(18, dtype=np.float32).reshape(2, 3, 3)  # two heads; the third token only asks
    second = np.arange(100, 108, dtype=np.float32).reshape(2, 2, 2)
    padded = batch.pad_attentions(np.concatenate([first.ravel(), second.ravel()]))
    assert padded.shape == (2, 2, 3, 3)
    assert padded[0, 1].tolist() == [[0, 0, 0], [0, 9, 10], [0, 12, 13]]
    assert padded[1, 0].tolist() == [[100, 0, 101], [0, 0, 0], [102, 0, 103]]


def test_columns_are_told_only_where_distances_change() -> None:
    ids = [[5, 6, 7], [8, 9, 10]]
    assert Packer(MPNET).pack(ids, [[1, 1, 0], [1, 1, 1]]).columns is None
    assert Packer(BERT).pack(ids, [[1, 0, 1], [1, 1, 1]]).columns is None
    columns = Packer(MPNET).pack(ids, [[1, 0, 1], [1, 1, 1]]).columns
    assert columns is not None
    assert columns.tolist() == [0, 2, 0, 1, 2]


def test_robertas_positions_count_what_is_not_padding_whatever_the_mask_says() -> None:
    packer = Packer(ROBERTA)
    assert packer.pack([[1, 5, 1, 6]]).position_ids.tolist() == [1, 2, 1, 3]
    assert packer.pack([[4, 5, 7, 6]], [[0, 1, 0, 1]]).position_ids.tolist() == [3, 5]
    assert packer.pack([[1, 5, 1, 6]], [[0, 1, 1, 1]]).position_ids.tolist() == [2, 1, 3]
    assert packer.pack(inputs_embeds=np.zeros((1, 2, 3))).position_ids.tolist() == [2, 3]


def test_padding_on_the_left_of_relative_positions_has_an_end() -> None:
    ids = np.full((1, 40), 5)
    assert Packer(MPNET).pack(ids, np.arange(40)[None] < 9).cu_seqlens[-1] == 9
    assert Packer(BERT).pack(ids, np.arange(40)[None] < 9).cu_seqlens[-1] == 9
    with pytest.raises(InputError, match="40 columns, too many for a mask with holes or padding on the left"):
        Packer(MPNET).pack(ids, np.arange(40)[None] > 30)


def same(one: PackedBatch, other: PackedBatch) -> bool:
    names = ("input_ids", "cu_seqlens", "position_ids", "token_type_ids", "cells")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)


@pytest.mark.parametrize(
    "dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", ">i4", ">i8"]
)
def test_any_integer_dtype(dtype: str) -> None:
    ids = np.array([[5, 6, 7], [8, 9, 10]], dtype)
    mask = np.array([[1, 1, 0], [1, 1, 1]], dtype)
    types = np.array([[0, 1, 1], [0, 0, 1]], dtype)
    assert same(Packer(BERT).pack(ids, mask, types), Packer(BERT).pack(ids.tolist(), mask.tolist(), types.tolist()))


@pytest.mark.parametrize("dtype", ["bool", "float16", "float32", "float64", "uint8"])
def test_masks_of_any_dtype(dtype: str) -> None:
    ids, mask = [[5, 6, 7], [8, 9, 10]], [[1, 1, 0], [0, 1, 1]]
    assert same(Packer(BERT).pack(ids, np.array(mask, dtype)), Packer(BERT).pack(ids, mask))
    assert same(Packer(BERT).pack(ids, torch.tensor(mask).to(getattr(torch, dtype))), Packer(BERT).pack(ids, mask))


def test_arrays_that_are_not_contiguous() -> None:
    ids = np.arange(5, 29).reshape(4, 6)
    mask = np.tril(np.ones((4, 6), np.int64))
    expected = Packer(BERT).pack(ids[::2, ::-1].copy(), mask[::2, ::-1].copy())
    assert same(Packer(BERT).pack(ids[::2, ::-1], mask[::2, ::-1]), expected)
    assert same(Packer(BERT).pack(np.asfortranarray(ids[::2, ::-1]), mask[::2, ::-1]), expected)
    assert same(Packer(BERT).pack(torch.from_numpy(ids).T, None), Packer(BERT).pack(ids.T.copy()))


def test_the_callers_array_is_copied() -> None:
    ids = np.array([[5, 6, 7]], np.int32)
    batch = Packer(BERT).pack(ids)
    ids[:] = 1_000_000
    assert batch.input_ids is not None
    assert batch.input_ids.tolist() == [5, 6, 7]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, InputError, "neither input_ids nor inputs_embeds"),
        ({"input_ids": [[1]], "inputs_embeds": [[[1.0] * 3]]}, InputError, "were both given"),
        ({"input_ids": [1, 2]}, InputError, r"\[batch, sequence\], not \[2\]; add the batch dimension"),
        ({"input_ids": 3}, InputError, r"\[batch, sequence\], not \[\]"),
        ({"input_ids": [[[1]]]}, InputError, r"not \[1, 1, 1\]"),
        ({"input_ids": []}, InputError, r"not \[0\]"),
        ({"input_ids": [[]]}, InputError, r"shape \[1, 0\], so there is nothing"),
        ({"input_ids": np.zeros((0, 4), int)}, InputError, r"shape \[0, 4\], so there is nothing"),
        ({"input_ids": [[1, 2], [3]]}, InputError, "no rectangular array"),
        ({"input_ids": "a text"}, InputError, "tokenize texts first"),
        ({"input_ids": ["a text"]}, InputError, "texts; tokenize them first"),
        ({"input_ids": np.array([["a text"]], object)}, InputError, "texts; tokenize them first"),
        ({"input_ids": np.array([[1, 2]], object)}, InputError, "Python objects; pass an array of integers or floats"),
        ({"input_ids": {"input_ids": [[1]]}}, InputError, r"unpack it: model\(\*\*inputs\)"),
        ({"input_ids": [[None, 1]]}, InputError, "array of numbers"),
        ({"input_ids": [[1.0, 2.0]]}, InputError, "must be integers, not float64"),
        ({"input_ids": [[True]]}, InputError, "must be integers, not bool"),
        ({"input_ids": [[1j]]}, InputError, "dtype complex128"),
        ({"input_ids": [[5, 100]]}, TokenIdError, r"input_ids\[0, 1\] is 100, outside the vocabulary of 100 tokens"),
        ({"input_ids": [[5, 6], [-1, 3]]}, TokenIdError, r"input_ids\[1, 0\] is -1, outside"),
        ({"input_ids": [[2**40]]}, TokenIdError, "is 1099511627776"),
        ({"input_ids": np.array([[2**64 - 1]], np.uint64)}, TokenIdError, "is 18446744073709551615"),
        ({"input_ids": np.array([[-128]], np.int8)}, TokenIdError, "is -128"),
        ({"input_ids": [[7, 500]], "attention_mask": [[1, 0]]}, TokenIdError, r"\[0, 1\] is 500"),
        ({"input_ids": [[5]], "attention_mask": [[1, 1]]}, MaskError, r"must have the shape \[1, 1\], not \[1, 2\]"),
        ({"input_ids": [[5]], "attention_mask": [1]}, MaskError, r"not \[1\]"),
        ({"input_ids": [[5, 6]], "attention_mask": np.ones((1, 2, 2))}, MaskError, "pair of tokens is not supported"),
        ({"input_ids": [[5, 6]], "attention_mask": np.ones((1, 1, 2, 2))}, MaskError, "is not supported"),
        ({"input_ids": [[5, 6]], "attention_mask": [[1, 2]]}, MaskError, r"attention_mask\[0, 1\] is 2; use 1"),
        ({"input_ids": [[5, 6]], "attention_mask": [[0.5, 1]]}, MaskError, r"\[0, 0\] is 0.5"),
        ({"input_ids": [[5, 6]], "attention_mask": [[1, np.nan]]}, MaskError, r"\[0, 1\] is nan"),
        ({"input_ids": [[5, 6]], "attention_mask": [[0, -1e9]]}, MaskError, r"\[0, 1\] is -1000000000.0"),
        ({"input_ids": [[5], [6]], "attention_mask": [[1], [0]]}, MaskError, "leaves nothing of row 1"),
        ({"input_ids": [[5]], "token_type_ids": [[2]]}, TokenIdError, r"token_type_ids\[0, 0\] is 2; .* 0 to 1"),
        ({"input_ids": [[5]], "token_type_ids": [[-1]]}, TokenIdError, r"token_type_ids\[0, 0\] is -1"),
        ({"input_ids": [[5]], "token_type_ids": [[0, 0]]}, InputError, r"shape \[1, 2\], which does not fit \[1, 1\]"),
        ({"input_ids": [[5]], "token_type_ids": [[0.0]]}, InputError, "token_type_ids must be integers"),
        ({"input_ids": [[5]], "position_ids": [[16]]}, TokenIdError, r"position_ids\[0, 0\] is 16; .* 0 to 15"),
        ({"input_ids": [[5]], "position_ids": [[-1]]}, TokenIdError, r"position_ids\[0, 0\] is -1"),
        ({"input_ids": [[5, 6]], "position_ids": [[1, 2, 3]]}, InputError, r"does not fit \[1, 2\]"),
        ({"input_ids": [[5] * 17]}, SequenceTooLongError, "row 0 has 17 tokens and goes past the model's limit of 16"),
        ({"inputs_embeds": np.zeros((1, 17, 3))}, SequenceTooLongError, "17 tokens"),
        ({"inputs_embeds": np.zeros((1, 2, 4))}, InputError, r"shape \[batch, sequence, 3\], not \[1, 2, 4\]"),
        ({"inputs_embeds": np.zeros((2, 3))}, InputError, r"shape \[batch, sequence, 3\], not \[2, 3\]"),
        ({"inputs_embeds": np.zeros((1, 2, 3), int)}, InputError, "inputs_embeds must be floats, not int64"),
        ({"inputs_embeds": np.zeros((1, 0, 3))}, InputError, "nothing to compute"),
    ],
)
def test_what_does_not_fit_is_named(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        Packer(BERT).pack(**arguments)
    assert type(caught.value) is error


def test_only_the_second_row_is_too_long() -> None:
    mask = np.arange(20) < np.array([[4], [17]])
    with pytest.raises(SequenceTooLongError, match=r"row 1 has 17 tokens .* truncation=True, max_length=16"):
        Packer(BERT).pack(np.full((2, 20), 5), mask)
    assert Packer(BERT).pack(np.full((2, 20), 5), np.arange(20) < np.array([[4], [16]])).cu_seqlens[-1] == 20


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.zeros((1, 2), device="meta"), "lies on meta; bertcpp computes on the CPU"),
        (torch.ones((1, 2)).to_sparse(), r"to_dense\(\)"),
        (torch.ones((1, 2), requires_grad=True), r"asks for gradients.*detach\(\)"),
    ],
)
def test_tensors_that_cannot_be_read(tensor: torch.Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        as_array(tensor, "attention_mask")


def test_gradients_that_are_off_do_not_matter() -> None:
    tensor = torch.ones((1, 2), requires_grad=True)
    with torch.no_grad():
        assert as_array(tensor, "attention_mask").tolist() == [[1, 1]]
    assert as_array(torch.ones((1, 2), dtype=torch.bfloat16), "attention_mask").dtype == np.float32
