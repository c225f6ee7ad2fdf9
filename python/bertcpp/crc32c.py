"""CRC-32C (Castagnoli), as TensorFlow's files carry it, by NumPy: some hundred megabytes a second.

A checksum's register after a zero byte is a linear function of the register before it (over GF(2)), so the register
after n bytes is that of n zero bytes applied to the start, plus what the data adds from zero on. Data is therefore cut
into equal pieces that advance side by side, as one array of registers, and pieces are joined two by two.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["crc32c", "masked"]

_POLYNOMIAL = 0x82F63B78  # reflected
_MASK_DELTA = 0xA282EAD8
_WORDS = 64  # of four bytes, that a piece has
_PIECES = (16384, 1024, 64, 1)  # so many at once

Registers = NDArray[np.uint32]


class _Zeros:
    """What so many zero bytes make of a register: the images of its 32 bits, and tables of those of each half."""

    def __init__(self, images: Registers) -> None:
        self.images = images
        self._low, self._high = _table(images[:16]), _table(images[16:])

    def __call__(self, registers: Registers) -> Registers:
        return np.take(self._low, registers & 0xFFFF) ^ np.take(self._high, registers >> 16)


def _table(images: Registers) -> Registers:
    table = np.zeros(1 << len(images), np.uint32)
    for bit, image in enumerate(images):
        table[1 << bit : 2 << bit] = table[: 1 << bit] ^ image
    return table


@lru_cache(maxsize=64)
def _zeros(count: int) -> _Zeros:
    """What `count` zero bytes do, from what half of them do."""
    if count > 1:
        half = _zeros(count // 2)
        images = half(half.images)
        return _Zeros(_zeros(1)(images) if count % 2 else images)
    single = np.zeros(32, np.uint32)
    for bit in range(32):
        register = 1 << bit
        for _ in range(8):
            register = (register >> 1) ^ (_POLYNOMIAL if register & 1 else 0)
        single[bit] = register
    return _Zeros(single)


@lru_cache(maxsize=1)
def _octets() -> list[int]:
    """What a zero byte makes of each register below 256."""
    images: list[int] = _zeros(1)(np.arange(256, dtype=np.uint32)).tolist()
    return images


def crc32c(data: bytes | memoryview | NDArray[Any]) -> int:
    """Return the checksum of bytes.

    Example:
        >>> from bertcpp.crc32c import crc32c
        >>> hex(crc32c(b"123456789"))
        '0xe3069283'
    """
    octets = np.frombuffer(data, np.uint8) if not isinstance(data, np.ndarray) else data.reshape(-1).view(np.uint8)
    register = np.uint32(0xFFFFFFFF)
    at = 0
    for pieces in _PIECES:
        size = pieces * _WORDS * 4
        while len(octets) - at >= size:
            added = _pieces(octets[at : at + size].view("<u4").reshape(pieces, _WORDS))
            register = _zeros(size)(np.array([register]))[0] ^ added
            at += size
    last, table = int(register), _octets()
    for octet in octets[at:].tolist():
        last = table[(last ^ octet) & 0xFF] ^ (last >> 8)
    return last ^ 0xFFFFFFFF


def _pieces(words: Registers) -> np.uint32:
    """The register after words `[pieces, _WORDS]`, a power of two of pieces end to end, from zero on."""
    columns = np.ascontiguousarray(words.T)
    step = _zeros(4)
    registers = np.zeros(len(words), np.uint32)
    for column in columns:
        registers = step(registers ^ column)
    size = _WORDS * 4
    while len(registers) > 1:
        registers = _zeros(size)(registers[0::2]) ^ registers[1::2]
        size *= 2
    joined: np.uint32 = registers[0]
    return joined


def masked(checksum: int) -> int:
    """Return how LevelDB's and TensorFlow's files store a checksum: rotated, with a constant added."""
    return (((checksum >> 15) | (checksum << 17)) + _MASK_DELTA) & 0xFFFFFFFF
