"""How alike embeddings are: cosine, dot product and negative distances, for NumPy arrays and PyTorch tensors alike.

What comes in decides what comes out: NumPy arrays (and lists) give a NumPy array, a PyTorch tensor among the two gives
a PyTorch tensor. Nothing here imports PyTorch unless a tensor was passed.

Example:
    >>> import numpy as np
    >>> from bertcpp.similarity import cos_sim
    >>> cos_sim(np.eye(2, dtype=np.float32), np.array([[2.0, 0.0]], dtype=np.float32)).tolist()
    [[1.0], [0.0]]
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = [
    "SimilarityFunction",
    "cos_sim",
    "dot_score",
    "euclidean_sim",
    "manhattan_sim",
    "normalize",
    "pairwise_cos_sim",
    "pairwise_dot_score",
    "pairwise_euclidean_sim",
    "pairwise_manhattan_sim",
]

# Below this norm a vector counts as zero and stays as it is, as torch.nn.functional.normalize has it.
_SMALLEST_NORM = np.float32(1e-12)
# Manhattan distances need every difference at once: rows of `a` are taken in blocks of at most so many of them.
_DIFFERENCES_AT_ONCE = 1 << 22


class SimilarityFunction(Enum):
    """The similarities a checkpoint may name: `cosine`, `dot`, `euclidean` and `manhattan`.

    Example:
        >>> SimilarityFunction("dot").value
        'dot'
    """

    COSINE = "cosine"
    DOT_PRODUCT = "dot"
    DOT = "dot"  # noqa: PIE796  # an alias that checkpoints and callers use
    EUCLIDEAN = "euclidean"
    MANHATTAN = "manhattan"

    @classmethod
    def named(cls, name: str | SimilarityFunction) -> SimilarityFunction:
        """Return the member of that name.

        Raises:
            ValueError: if there is none.
        """
        try:
            return cls(name)
        except ValueError:
            raise ValueError(
                f"there is no similarity function {name!r}; choose one of {cls.possible_values()}"
            ) from None

    @staticmethod
    def to_similarity_fn(similarity_function: str | SimilarityFunction) -> Callable[[Any, Any], Any]:
        """Return the function that compares every row with every row.

        Raises:
            ValueError: if there is no similarity of that name.
        """
        return _MATRIX[SimilarityFunction.named(similarity_function)]

    @staticmethod
    def to_similarity_pairwise_fn(similarity_function: str | SimilarityFunction) -> Callable[[Any, Any], Any]:
        """Return the function that compares each row with the row at the same place.

        Raises:
            ValueError: if there is no similarity of that name.
        """
        return _PAIRWISE[SimilarityFunction.named(similarity_function)]

    @staticmethod
    def possible_values() -> list[str]:
        """Return the names: `['cosine', 'dot', 'euclidean', 'manhattan']`."""
        return [member.value for member in SimilarityFunction]


def normalize(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return `x` `[N, D]` with rows of Euclidean length 1; rows shorter than 1e-12 are divided by 1e-12.

    Each row is summed by itself, so its bits do not depend on the other rows.

    Example:
        >>> normalize(np.array([[3.0, 4.0]], dtype=np.float32)).tolist()
        [[0.6000000238418579, 0.800000011920929]]
    """
    lengths = np.sqrt(np.sum(np.square(np.ascontiguousarray(x)), axis=1, keepdims=True))
    unit: NDArray[np.float32] = x / np.maximum(lengths, _SMALLEST_NORM)
    return unit


def cos_sim(a: Any, b: Any) -> Any:
    """Return the cosine of every row of `a` `[N, D]` with every row of `b` `[M, D]`: float32 `[N, M]`.

    A vector `[D]` counts as one row.

    Raises:
        ValueError: if the widths differ or an input has more than two dimensions.
    """
    return _apply(lambda x, y: normalize(x) @ normalize(y).T, a, b)


def dot_score(a: Any, b: Any) -> Any:
    """Return the dot product of every row of `a` `[N, D]` with every row of `b` `[M, D]`: float32 `[N, M]`.

    Raises:
        ValueError: if the widths differ or an input has more than two dimensions.
    """
    return _apply(lambda x, y: x @ y.T, a, b)


def euclidean_sim(a: Any, b: Any) -> Any:
    """Return minus the Euclidean distance of every row of `a` `[N, D]` to every row of `b` `[M, D]`: float32 `[N, M]`.

    Raises:
        ValueError: if the widths differ or an input has more than two dimensions.
    """
    return _apply(_negative_euclidean, a, b)


def manhattan_sim(a: Any, b: Any) -> Any:
    """Return minus the Manhattan distance of every row of `a` `[N, D]` to every row of `b` `[M, D]`: float32 `[N, M]`.

    Raises:
        ValueError: if the widths differ or an input has more than two dimensions.
    """
    return _apply(_negative_manhattan, a, b)


def pairwise_cos_sim(a: Any, b: Any) -> Any:
    """Return the cosine of each row of `a` `[N, D]` with the same row of `b`: float32 `[N]`.

    Raises:
        ValueError: if the widths differ, or the numbers of rows do and neither is 1.
    """
    return _apply(lambda x, y: np.sum(normalize(x) * normalize(y), axis=1), a, b, pairwise=True)


def pairwise_dot_score(a: Any, b: Any) -> Any:
    """Return the dot product of each row of `a` `[N, D]` with the same row of `b`: float32 `[N]`.

    Raises:
        ValueError: if the widths differ, or the numbers of rows do and neither is 1.
    """
    return _apply(lambda x, y: np.sum(x * y, axis=1), a, b, pairwise=True)


def pairwise_euclidean_sim(a: Any, b: Any) -> Any:
    """Return minus the Euclidean distance of each row of `a` `[N, D]` to the same row of `b`: float32 `[N]`.

    Raises:
        ValueError: if the widths differ, or the numbers of rows do and neither is 1.
    """
    return _apply(lambda x, y: -np.sqrt(np.sum(np.square(x - y), axis=1)), a, b, pairwise=True)


def pairwise_manhattan_sim(a: Any, b: Any) -> Any:
    """Return minus the Manhattan distance of each row of `a` `[N, D]` to the same row of `b`: float32 `[N]`.

    Raises:
        ValueError: if the widths differ, or the numbers of rows do and neither is 1.
    """
    return _apply(lambda x, y: -np.sum(np.abs(x - y), axis=1), a, b, pairwise=True)


_MATRIX = {
    SimilarityFunction.COSINE: cos_sim,
    SimilarityFunction.DOT_PRODUCT: dot_score,
    SimilarityFunction.EUCLIDEAN: euclidean_sim,
    SimilarityFunction.MANHATTAN: manhattan_sim,
}
_PAIRWISE = {
    SimilarityFunction.COSINE: pairwise_cos_sim,
    SimilarityFunction.DOT_PRODUCT: pairwise_dot_score,
    SimilarityFunction.EUCLIDEAN: pairwise_euclidean_sim,
    SimilarityFunction.MANHATTAN: pairwise_manhattan_sim,
}


def _negative_euclidean(x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.float32]:
    # |x - y|^2 = |x|^2 + |y|^2 - 2 x.y cancels for near vectors; float64 leaves single precision of the distance.
    x64, y64 = x.astype(np.float64), y.astype(np.float64)
    squares = np.sum(np.square(x64), axis=1)[:, None] + np.sum(np.square(y64), axis=1)[None, :] - 2.0 * (x64 @ y64.T)
    distances: NDArray[np.float32] = np.sqrt(np.maximum(squares, 0.0)).astype(np.float32)
    return -distances


def _negative_manhattan(x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.float32]:
    out = np.empty((len(x), len(y)), dtype=np.float32)
    block = max(1, _DIFFERENCES_AT_ONCE // max(1, y.size))
    for start in range(0, len(x), block):
        rows = x[start : start + block, None, :]
        out[start : start + block] = -np.sum(np.abs(rows - y[None, :, :]), axis=2)
    return out


def _apply(
    function: Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[np.float32]],
    a: Any,
    b: Any,
    *,
    pairwise: bool = False,
) -> Any:
    x, y = _rows(a), _rows(b)
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"embeddings of {x.shape[1]} and of {y.shape[1]} dimensions cannot be compared")
    if pairwise and len(x) != len(y) and 1 not in (len(x), len(y)):
        raise ValueError(f"pairwise similarity needs as many rows on both sides, got {len(x)} and {len(y)}")
    result = function(x, y)
    if _holds_tensors(a) or _holds_tensors(b):
        import torch

        return torch.from_numpy(np.ascontiguousarray(result))
    return result


def _rows(x: Any) -> NDArray[np.float32]:
    if _is_tensor(x):
        x = x.detach().cpu().float().numpy()
    elif isinstance(x, (list, tuple)):
        x = [row.detach().cpu().float().numpy() if _is_tensor(row) else row for row in x]
    if np.iscomplexobj(x):
        raise ValueError("embeddings are real numbers, not complex ones")
    array = np.asarray(x, dtype=np.float32)
    if array.ndim == 1:
        array = array[None, :]
    if array.ndim != 2:
        raise ValueError(f"embeddings are vectors [D] or matrices [N, D], not of shape {list(array.shape)}")
    return array


def _is_tensor(x: Any) -> bool:
    return type(x).__module__.partition(".")[0] == "torch"


def _holds_tensors(x: Any) -> bool:
    return _is_tensor(x) or (isinstance(x, (list, tuple)) and any(_is_tensor(row) for row in x))
