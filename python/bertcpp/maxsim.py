"""MaxSim, the similarity of late interaction: for each vector of a query its best match in a document, summed up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .arrays import is_torch_tensor, require_torch
from .errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["maxsim", "maxsim_pairwise"]

_PRODUCTS_AT_ONCE = 1 << 24
_NO_TOKEN = np.float32(-1e9)  # of a document without vectors: below every other, as sentence-transformers scores it


def maxsim(queries: Any, documents: Any, *, length_normalize: bool = False) -> Any:
    """Return the MaxSim of every query with every document: float32 `[n, m]`, a PyTorch tensor if one side is tensors.

    Args:
        queries: a list of n arrays or tensors `[tokens, D]`, or one of them, or a padded array `[n, tokens, D]`.
        documents: the same of m documents. A document without tokens scores -1e9.
        length_normalize: divide each score by the query's tokens.

    Raises:
        InputError: if a side is none of these, or the widths differ.

    Example:
        >>> import numpy as np
        >>> from bertcpp.maxsim import maxsim
        >>> maxsim([np.eye(2, dtype=np.float32)], [np.array([[0.0, 1.0]], np.float32)]).tolist()
        [[1.0]]
    """
    asked, held = _parts(queries, "queries"), _parts(documents, "documents")
    _check_widths(asked, held)
    scores = np.empty((len(asked), len(held)), np.float32)
    for row, query in enumerate(asked):
        first = 0
        while first < len(held):
            last, tokens = first, 0
            while last < len(held) and (last == first or tokens * max(len(query), 1) < _PRODUCTS_AT_ONCE):
                tokens += len(held[last])
                last += 1
            scores[row, first:last] = _scores(query, held[first:last])
            first = last
        if length_normalize:
            scores[row] /= max(len(query), 1)
    return _as_given(scores, queries, documents)


def maxsim_pairwise(queries: Any, documents: Any, *, length_normalize: bool = False) -> Any:
    """Return the MaxSim of each query with the document at its place: float32 `[n]`; arguments as for `maxsim`.

    Raises:
        InputError: if a side is no list of vectors, or the widths or numbers differ.
    """
    asked, held = _parts(queries, "queries"), _parts(documents, "documents")
    _check_widths(asked, held)
    if len(asked) != len(held):
        raise InputError(f"there are {len(asked)} queries but {len(held)} documents; pass as many of both")
    scores = np.array([_scores(query, [one])[0] for query, one in zip(asked, held, strict=True)], np.float32)
    if length_normalize:
        scores /= np.maximum([len(query) for query in asked], 1).astype(np.float32)
    return _as_given(scores, queries, documents)


def _scores(query: NDArray[np.float32], documents: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    scores = np.full(len(documents), _NO_TOKEN, np.float32)
    filled = [place for place, document in enumerate(documents) if len(document)]
    if filled:
        starts = np.cumsum([0, *(len(documents[place]) for place in filled[:-1])])
        products = query @ np.concatenate([documents[place] for place in filled]).T
        scores[filled] = np.maximum.reduceat(products, starts, axis=1).sum(axis=0)
    return scores


def _parts(vectors: Any, name: str) -> list[NDArray[np.float32]]:
    several = isinstance(vectors, (list, tuple)) or getattr(vectors, "ndim", 0) == 3
    parts = []
    for part in vectors if several else [vectors]:
        array = np.asarray(part.detach().cpu().float().numpy() if is_torch_tensor(part) else part)
        if array.ndim != 2 or array.dtype.kind not in "fiu":
            raise InputError(
                f"{name} must be arrays [tokens, D], one or a list of them, not {array.dtype} of {array.ndim} "
                "dimensions"
            )
        parts.append(array.astype(np.float32, copy=False))
    return parts


def _check_widths(asked: list[NDArray[np.float32]], held: list[NDArray[np.float32]]) -> None:
    widths = {part.shape[1] for part in (*asked, *held)}
    if len(widths) > 1:
        raise InputError(f"vectors of {' and '.join(map(str, sorted(widths)))} dimensions cannot be compared")


def _as_given(scores: NDArray[np.float32], *sides: Any) -> Any:
    tensors = any(
        is_torch_tensor(part) for side in sides for part in (side if isinstance(side, (list, tuple)) else [side])
    )
    return require_torch().from_numpy(scores) if tensors else scores
