"""Embeddings in fewer bits: one byte or one bit for each dimension, as sentence-embedding libraries store them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["PRECISIONS", "Precision", "quantize_embeddings"]

Precision = Literal["float32", "int8", "uint8", "binary", "ubinary"]

PRECISIONS = ("float32", "int8", "uint8", "binary", "ubinary")
_FEW = 100  # ranges read off fewer embeddings than this say little about the next ones

logger = logging.getLogger(__name__)


def quantize_embeddings(
    embeddings: Any,
    precision: str,
    ranges: NDArray[np.float32] | None = None,
    calibration_embeddings: NDArray[np.float32] | None = None,
) -> NDArray[Any]:
    """Quantize float embeddings `[N, D]`.

    Args:
        embeddings: float array `[N, D]`, or a list of vectors.
        precision: `float32`; `uint8` or `int8`, where each dimension's range is cut into 256 steps (`int8` minus 128);
            `ubinary` or `binary`, where bits say which values are above 0, eight to a byte (`binary` minus 128).
        ranges: `[2, D]`, the least and greatest value of each dimension, for the byte precisions.
        calibration_embeddings: `[M, D]`, from which the ranges are read where they are not given; else they are read
            from `embeddings` themselves.

    Returns:
        `[N, D]` of the named type; for the bit precisions int8 or uint8 `[N, ceil(D / 8)]`.

    Raises:
        ValueError: if the precision is unknown or the embeddings are quantized already.

    Example:
        >>> quantize_embeddings(np.array([[0.5, -1.0]], dtype=np.float32), "ubinary").tolist()
        [[128]]
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision {precision!r} is not one of {', '.join(PRECISIONS)}")
    values = np.asarray(embeddings)
    if values.dtype.kind != "f":
        raise ValueError(f"embeddings to quantize must be floats, not {values.dtype}; quantize only once")
    if precision == "float32":
        return values.astype(np.float32)
    if precision.endswith("binary"):
        bits = np.packbits(values > 0, axis=-1)
        return bits if precision == "ubinary" else _signed(bits)
    if not values.size:
        return np.zeros(values.shape, precision)
    if ranges is None:
        source = values if calibration_embeddings is None else calibration_embeddings
        if calibration_embeddings is None and len(values) < _FEW:
            logger.warning(
                "%s ranges were read off %d embedding(s) only; pass ranges or calibration_embeddings to "
                "quantize_embeddings for codes that stay comparable",
                precision,
                len(values),
            )
        ranges = np.stack((np.min(source, axis=0), np.max(source, axis=0)))
    steps = (ranges[1] - ranges[0]) / 255
    codes: NDArray[np.uint8] = np.clip(np.floor((values - ranges[0]) / np.where(steps == 0, 1, steps)), 0, 255).astype(
        np.uint8
    )
    return codes if precision == "uint8" else _signed(codes)


def _signed(codes: NDArray[np.uint8]) -> NDArray[np.int8]:
    """Return each code minus 128, which flips its highest bit."""
    signed: NDArray[np.int8] = (codes ^ np.uint8(0x80)).view(np.int8)
    return signed
