"""Vectors that are mostly zeros, as the places and values of the rest: what `SparseEncoder` gives without PyTorch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .arrays import is_torch_tensor, require_torch
from .errors import InputError
from .similarity import SimilarityFunction, normalize

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

__all__ = ["SparseVectors", "sparse_similarity"]

_PRODUCTS_AT_ONCE = 1 << 22
_ROWS_AT_ONCE = 64


class SparseVectors:
    """n vectors of D dimensions, or one of them, in compressed rows.

    Attributes:
        indptr: int64 `[n + 1]`, vector i has the entries from `indptr[i]` to `indptr[i + 1]`.
        indices: int32 `[entries]`, the dimension of each entry, rising within a vector.
        values: float32 `[entries]`.
        shape: `(n, D)`, or `(D,)` for a single vector.

    Example:
        >>> import numpy as np
        >>> from bertcpp.sparse_vectors import SparseVectors
        >>> vectors = SparseVectors.from_dense(np.array([[0, 2, 0], [1, 0, 3]], np.float32))
        >>> len(vectors), vectors.nnz, vectors[1].indices.tolist(), vectors[1].values.tolist()
        (2, 3, [0, 2], [1.0, 3.0])
    """

    def __init__(
        self, indptr: NDArray[np.int64], indices: NDArray[np.int32], values: NDArray[np.float32], shape: tuple[int, ...]
    ) -> None:
        """Take the arrays as they are."""
        self.indptr = indptr
        self.indices = indices
        self.values = values
        self.shape = shape

    @classmethod
    def from_rows(cls, rows: Sequence[tuple[NDArray[np.int32], NDArray[np.float32]]], dimension: int) -> SparseVectors:
        """Put the entries of vectors, each as indices and values, end to end."""
        indptr = np.zeros(len(rows) + 1, np.int64)
        np.cumsum([len(indices) for indices, _ in rows], out=indptr[1:])
        indices = np.concatenate([np.zeros(0, np.int32), *(indices for indices, _ in rows)])
        values = np.concatenate([np.zeros(0, np.float32), *(values for _, values in rows)])
        return cls(indptr, indices, values, (len(rows), dimension))

    @classmethod
    def from_dense(cls, dense: NDArray[np.float32]) -> SparseVectors:
        """Return the entries of `[n, D]`, or `[D]`, that are not 0."""
        rows = np.atleast_2d(np.asarray(dense, np.float32))
        found = [(np.flatnonzero(row).astype(np.int32), row[row != 0]) for row in rows]
        vectors = cls.from_rows(found, rows.shape[1])
        return vectors if np.ndim(dense) == 2 else vectors[0]

    @classmethod
    def of(cls, value: Any, name: str = "embeddings") -> SparseVectors:
        """Return any kind of vectors, sparse or dense, PyTorch's or NumPy's or a list of either, in this form.

        Raises:
            InputError: if it is none of these, or has no or more than two dimensions.
        """
        if isinstance(value, cls):
            return value
        if isinstance(value, (list, tuple)) and any(isinstance(one, cls) or is_torch_tensor(one) for one in value):
            parts = [cls.of(one, name) for one in value]
            return cls.from_rows([(part.indices, part.values) for part in parts], parts[0].shape[-1])
        if is_torch_tensor(value):
            if value.is_sparse and value.ndim in (1, 2):
                return cls._of_coo(value.coalesce())
            value = value.detach().cpu().to_dense().float().numpy()
        array = np.asarray(value)
        if array.dtype.kind not in "biuf" or array.ndim not in (1, 2):
            raise InputError(
                f"{name} must be vectors, [D] or [n, D], sparse or dense; not {type(value).__name__} of "
                f"{array.ndim} dimensions"
            )
        return cls.from_dense(array)

    @classmethod
    def _of_coo(cls, tensor: Any) -> SparseVectors:
        places, values = tensor.indices().cpu().numpy(), tensor.values().detach().cpu().float().numpy()
        rows = places[0] if tensor.ndim == 2 else np.zeros(len(values), np.int64)
        indptr = np.searchsorted(rows, np.arange((tensor.shape[0] if tensor.ndim == 2 else 1) + 1))
        return cls(indptr.astype(np.int64), places[-1].astype(np.int32), values, tuple(tensor.shape))

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def nnz(self) -> int:
        """How many entries are not 0."""
        return len(self.values)

    @property
    def matrix(self) -> SparseVectors:
        """The same with two dimensions."""
        return SparseVectors(self.indptr, self.indices, self.values, (len(self.indptr) - 1, self.shape[-1]))

    def __getitem__(self, place: int) -> SparseVectors:
        count = len(self.indptr) - 1
        if len(self.shape) == 1 or isinstance(place, bool) or not isinstance(place, (int, np.integer)):
            raise InputError("take one vector of several by its place: vectors[0]; .to_dense() has all of NumPy's ways")
        if not -count <= place < count:
            raise IndexError(f"there are {count} vectors, and none at {place}")
        place = int(place) % count
        part = slice(int(self.indptr[place]), int(self.indptr[place + 1]))
        return SparseVectors(
            np.array([0, part.stop - part.start]), self.indices[part], self.values[part], (self.shape[1],)
        )

    def __iter__(self) -> Iterator[SparseVectors]:
        return (self[place] for place in range(len(self.indptr) - 1))

    def to_dense(self) -> NDArray[np.float32]:
        """Return float32 of this shape, zeros included."""
        count = len(self.indptr) - 1
        dense = np.zeros((count, self.shape[-1]), np.float32)
        dense[np.repeat(np.arange(count), np.diff(self.indptr)), self.indices] = self.values
        return dense.reshape(self.shape)

    def to_torch(self) -> Any:
        """Return a sparse PyTorch tensor of this shape (which needs torch)."""
        torch = require_torch()
        places = [self.indices.astype(np.int64)]
        if len(self.shape) == 2:
            places.insert(0, np.repeat(np.arange(len(self)), np.diff(self.indptr)))
        indices, values = torch.from_numpy(np.array(places)), torch.from_numpy(np.array(self.values))
        return torch.sparse_coo_tensor(indices, values, self.shape, is_coalesced=True, check_invariants=False)

    def __repr__(self) -> str:
        return f"SparseVectors(shape={self.shape}, nnz={self.nnz})"


def sparse_similarity(a: Any, b: Any, function: SimilarityFunction, *, pairwise: bool = False) -> Any:
    """Return how alike vectors are: float32 `[n, m]`, or `[n]` of pairs; a PyTorch tensor if one side is.

    Products and cosines are computed from the entries alone; distances need the dense vectors.

    Raises:
        InputError: if a side is no vectors.
        ValueError: if the widths differ, or the numbers of pairs do.
    """
    x, y = SparseVectors.of(a).matrix, SparseVectors.of(b).matrix
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"embeddings of {x.shape[1]} and of {y.shape[1]} dimensions cannot be compared")
    if pairwise and len(x) != len(y):
        raise ValueError(f"pairwise similarity needs as many rows on both sides, got {len(x)} and {len(y)}")
    if function in (SimilarityFunction.COSINE, SimilarityFunction.DOT):
        if function is SimilarityFunction.COSINE:
            x, y = _unit(x), _unit(y)
        if pairwise:
            scores = np.array([_products(one.matrix, other.matrix)[0, 0] for one, other in zip(x, y, strict=True)])
            scores = scores.astype(np.float32)
        else:
            scores = _products(x, y)
    else:
        compare = SimilarityFunction.to_similarity_pairwise_fn if pairwise else SimilarityFunction.to_similarity_fn
        scores = compare(function)(x.to_dense(), y.to_dense())
    tensors = any(is_torch_tensor(one) for side in (a, b) for one in (side if isinstance(side, list) else [side]))
    return require_torch().from_numpy(scores) if tensors else scores


def _unit(vectors: SparseVectors) -> SparseVectors:
    values = [normalize(vectors[place].values[None])[0] for place in range(len(vectors))]
    return SparseVectors(
        vectors.indptr, vectors.indices, np.concatenate([np.zeros(0, np.float32), *values]), vectors.shape
    )


def _products(x: SparseVectors, y: SparseVectors) -> NDArray[np.float32]:
    """Return the dot products of all rows, some rows of each side at a time."""
    scores = np.zeros((len(x), len(y)), np.float32)
    filled = np.flatnonzero(np.diff(y.indptr))
    for start in range(0, len(x), _ROWS_AT_ONCE):
        rows = SparseVectors.from_rows(
            [(one.indices, one.values) for one in map(x.__getitem__, range(start, min(start + _ROWS_AT_ONCE, len(x))))],
            x.shape[1],
        ).to_dense()
        first = 0
        while first < len(filled):
            limit = int(y.indptr[filled[first]]) + max(_PRODUCTS_AT_ONCE // len(rows), 1)
            last = max(int(np.searchsorted(y.indptr[filled + 1], limit, side="right")), first + 1)
            some = filled[first:last]
            part = slice(int(y.indptr[some[0]]), int(y.indptr[some[-1] + 1]))
            products = rows[:, y.indices[part]] * y.values[part]
            scores[start : start + len(rows), some] = np.add.reduceat(products, y.indptr[some] - part.start, axis=1)
            first = last
    return scores
