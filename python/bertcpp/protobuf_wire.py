"""The wire format of protocol buffers: enough to read the few messages that checkpoints and tokenizers hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["as_bytes", "as_int", "fields", "varint"]

VARINT, FIXED64, LENGTH_DELIMITED, FIXED32 = 0, 1, 2, 5


def varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the number of up to 64 bits that begins at a byte, and where it ends.

    Raises:
        IndexError: the data ends first.
        ValueError: it has more bits.
    """
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError(f"a number of more than 64 bits at byte {at}")


def fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield the fields of one message: number, and an integer or the bytes of whatever is not one.

    Raises:
        IndexError, ValueError: the data is no message.
    """
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        wire_type = key & 7
        if wire_type == VARINT:
            value, at = varint(data, at)
            yield key >> 3, value
            continue
        if wire_type == LENGTH_DELIMITED:
            length, at = varint(data, at)
        elif wire_type in (FIXED32, FIXED64):
            length = 4 if wire_type == FIXED32 else 8
        else:
            raise ValueError(f"wire type {wire_type} at byte {at}")
        if at + length > len(data):
            raise ValueError(f"a field of {length} bytes at byte {at} of {len(data)}")
        yield key >> 3, data[at : at + length]
        at += length


def as_bytes(value: int | bytes) -> bytes:
    """Return a field's bytes; ValueError if it is a number."""
    if isinstance(value, int):
        raise ValueError("a number in place of bytes")
    return value


def as_int(value: int | bytes) -> int:
    """Return a field's number; ValueError if it is bytes."""
    if isinstance(value, bytes):
        raise ValueError("bytes in place of a number")
    return value
