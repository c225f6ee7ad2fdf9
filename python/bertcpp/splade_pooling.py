"""SPLADE pooling: scores of a masked language model for every word of its vocabulary, pooled over a text's tokens.

The scores of all tokens would fill gigabytes, so some tokens are taken at a time and nothing but their pool is kept.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from . import checkpoints
from .errors import UnsupportedFormatError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["SpladePooling"]

_SCORES_AT_ONCE = 1 << 22
_FEWEST_TOKENS = 64  # a product of fewer rows is bound by reading the vocabulary's matrix

Entries = tuple["NDArray[np.int32]", "NDArray[np.float32]"]


@dataclass(frozen=True)
class SpladePooling:
    """How tokens' scores become a text's weights.

    Attributes:
        strategy: `max` or `sum` over tokens.
        twice: take the logarithm of 1 + x twice (`log1p_relu`) instead of once (`relu`).
        chunk_size: tokens whose scores are held at once; None chooses.
    """

    strategy: str = "max"
    twice: bool = False
    chunk_size: int | None = None

    @classmethod
    def read(cls, folder: Path) -> SpladePooling:
        """Read the module's `config.json`.

        Raises:
            CheckpointError: if there is none, or it is not JSON.
            UnsupportedFormatError: if it names another strategy or activation.
        """
        path = folder / "config.json"
        config = checkpoints.read_json(path)
        strategy, activation = config.get("pooling_strategy", "max"), config.get("activation_function", "relu")
        if strategy not in ("max", "sum") or activation not in ("relu", "log1p_relu"):
            raise UnsupportedFormatError(
                f"{path} pools by {strategy!r} after {activation!r}; known are 'max' and 'sum' after 'relu' and "
                "'log1p_relu'"
            )
        return cls(strategy, activation == "log1p_relu")

    def pooled(
        self,
        states: NDArray[np.float32],
        cu_seqlens: NDArray[np.int32],
        head: Callable[[NDArray[np.float32]], NDArray[np.float32]],
        vocabulary: int,
    ) -> Iterator[Entries]:
        """Yield the places and values of each text's weights that are not 0.

        Args:
            states: float32 `[T, H]`, of all texts' tokens.
            cu_seqlens: int32 `[B + 1]`, where each text begins.
            head: gives the scores `[N, vocabulary]` of states `[N, H]`, each row by itself.
            vocabulary: how many words there are.
        """
        size = self.chunk_size or max(_SCORES_AT_ONCE // vocabulary, _FEWEST_TOKENS)
        bounds = cu_seqlens.tolist()
        pool: NDArray[np.float32] | None = None
        text = 0
        for start in range(0, len(states), size):
            scores = head(states[start : start + size])
            if self.strategy == "sum":
                scores = self._weights(scores)
            end = start + len(scores)
            cuts = [start, *(bound for bound in bounds if start < bound < end), end]
            for first, last in itertools.pairwise(cuts):
                part = scores[first - start : last - start]
                # What was pooled before goes first: a sum has the same bits wherever its tokens were parted.
                whole = part if pool is None else np.concatenate((pool[None], part))
                pool = whole.max(axis=0) if self.strategy == "max" else _in_order(whole)
                if last == bounds[text + 1]:
                    yield _entries(self._weights(pool) if self.strategy == "max" else pool)
                    pool, text = None, text + 1

    def _weights(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        weights: NDArray[np.float32] = np.log1p(np.maximum(scores, np.float32(0)))
        return np.log1p(weights, out=weights) if self.twice else weights


def _in_order(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the sum of rows, one after the other."""
    total: NDArray[np.float32] = rows[0].copy()
    for row in rows[1:]:
        total += row
    return total


def _entries(weights: NDArray[np.float32]) -> Entries:
    places = np.flatnonzero(weights)
    return places.astype(np.int32), weights[places]
