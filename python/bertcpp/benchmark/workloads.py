"""What the engines are given: batches of random token ids."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["SEED", "SHAPES", "Batch", "Shape", "batch", "named_shape"]

SEED = 20
_MOST_TOKENS = 1 << 22


@dataclass(frozen=True)
class Shape:
    """A batch: its name in tables and the tokens of each sequence."""

    name: str
    lengths: tuple[int, ...]


def _ragged(count: int, longest: int, mean: int) -> tuple[int, ...]:
    """`count` lengths up to `longest` with exactly this mean, skewed as lengths of texts are."""
    rng = np.random.default_rng(SEED)
    lengths = np.clip(np.rint(rng.gamma(2.0, mean / 2.0, count)), 4, longest).astype(int)
    lengths[rng.integers(count)] = longest
    while (excess := int(lengths.sum()) - count * mean) != 0:
        movable = np.flatnonzero((lengths > 4) & (lengths < longest))
        lengths[rng.choice(movable)] -= np.sign(excess)
    return tuple(int(n) for n in lengths)


SHAPES = (
    Shape("1 x 16", (16,)),
    Shape("1 x 128", (128,)),
    Shape("1 x 512", (512,)),
    Shape("8 x 128", (128,) * 8),
    Shape("32 ragged", _ragged(32, 128, 40)),
)


@dataclass(frozen=True)
class Batch:
    """Padded int64 arrays `[batch, longest]`, as a tokenizer gives them to every engine."""

    input_ids: np.ndarray[Any, Any]
    attention_mask: np.ndarray[Any, Any]
    token_type_ids: np.ndarray[Any, Any]


def batch(lengths: list[int], vocab: int, padding: int = 0) -> Batch:
    """Return random token ids of these lengths, padded to the longest; the same for every engine and run."""
    rng = np.random.default_rng(SEED + 1)
    ids = np.full((len(lengths), max(lengths)), padding, np.int64)
    mask = np.zeros_like(ids)
    for row, length in enumerate(lengths):
        ids[row, :length] = rng.integers(min(1000, vocab // 2), vocab, length)
        mask[row, :length] = 1
    return Batch(ids, mask, np.zeros_like(ids))


def named_shape(text: str) -> Shape:
    """Return the shape that a word of the command line names: `8x128`, or `ragged`.

    Raises:
        ValueError: if it names none.
    """
    if text == "ragged":
        return SHAPES[-1]
    found = re.fullmatch(r"(\d{1,7}) ?x ?(\d{1,7})", text)
    count, length = (int(number) for number in found.groups()) if found else (0, 0)
    if not 0 < count * length <= _MOST_TOKENS:
        raise ValueError(f"{text!r} is no shape; name texts x tokens, such as 8x128, or ragged")
    return Shape(f"{count} x {length}", (length,) * count)
