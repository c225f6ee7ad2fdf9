"""What `SentenceTransformer.encode` gives: arrays or tensors, of the precision that was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .quantization import PRECISIONS, quantize_embeddings

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["as_tensors", "converted", "precision_of"]


def precision_of(precision: str | None, output_value: str | None) -> str | None:
    """Return the precision to quantize to, or None for none.

    Raises:
        ValueError: it is none, or not for these outputs.
    """
    if precision in (None, "float32"):
        return None
    if precision not in PRECISIONS:
        raise ValueError(f"precision {precision!r} is not one of {', '.join(PRECISIONS)}")
    if output_value != "sentence_embedding":
        raise ValueError(f"precision {precision!r} is for sentence embeddings, not for output_value {output_value!r}")
    return precision


def converted(
    vectors: NDArray[np.float32] | None,
    precision: str | None,
    tensor_of: Callable[[NDArray[Any]], Any] | None,
    as_list: bool,
) -> Any:
    """Return vectors as they were asked for.

    Args:
        vectors: `[n, D]`, or None for no texts.
        precision: as `precision_of` gives it.
        tensor_of: makes a PyTorch tensor of an array; None for NumPy arrays.
        as_list: of tensors, give one for each vector.
    """
    result: NDArray[Any] = np.array([]) if vectors is None else vectors
    if precision is not None and vectors is not None:
        result = quantize_embeddings(vectors, precision)
    if tensor_of is None:
        return result
    tensor = tensor_of(result.astype(np.float32) if vectors is None else result)
    return list(tensor) if as_list else tensor


def as_tensors(item: Any, tensor_of: Callable[[NDArray[Any]], Any] | None) -> Any:
    """Return an array, or the arrays of a dictionary, as `tensor_of` gives them; see `converted`."""
    if tensor_of is None:
        return item
    if isinstance(item, dict):
        return {name: tensor_of(value) for name, value in item.items()}
    return tensor_of(item)
