"""Reads sorted string tables, LevelDB's file format, in which TensorFlow keeps the index of a checkpoint.

The file ends with a footer: where the index block lies, and a magic number. The index block tells where the data
blocks lie; each block holds keys in order, a key as what it shares with the one before and what is new, and carries a
checksum. Everything is checked before it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .crc32c import crc32c, masked
from .errors import CheckpointError, CheckpointNotFoundError, CorruptCheckpointError, UnsupportedFormatError
from .protobuf_wire import varint

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["read_sorted_table", "unpack_snappy"]

_FOOTER_BYTES = 48
_MAGIC = (0xDB4775248B80FB57).to_bytes(8, "little")
_TRAILER_BYTES = 5  # after each block: how it is compressed, and a checksum
_PLAIN, _SNAPPY = 0, 1
_LARGEST = 1 << 28  # bytes of a table, and of a block once unpacked; an index has some hundred bytes a tensor


def read_sorted_table(path: Path) -> dict[bytes, bytes]:
    """Read all keys and values of a table.

    Raises:
        CheckpointNotFoundError: there is no such file.
        CheckpointError: it cannot be read.
        CorruptCheckpointError: it is no such table, cut off or damaged.
        UnsupportedFormatError: a block is compressed in a way that is not known.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise CorruptCheckpointError(f"{path} is too large for an index ({path.stat().st_size} bytes)")
        data = path.read_bytes()
    except FileNotFoundError:
        raise CheckpointNotFoundError(f"{path} is missing; copy the checkpoint whole") from None
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}; check its permissions") from error
    if len(data) < _FOOTER_BYTES or data[-len(_MAGIC) :] != _MAGIC:
        raise CorruptCheckpointError(
            f"{path} does not end as the index of a TensorFlow checkpoint does; it is cut off or something else"
        )
    try:
        return _entries(data)
    except (ValueError, IndexError) as error:
        if isinstance(error, (CorruptCheckpointError, UnsupportedFormatError)):
            raise
        raise CorruptCheckpointError(f"{path} is damaged ({error}); get the file again") from None


def _entries(data: bytes) -> dict[bytes, bytes]:
    footer = data[-_FOOTER_BYTES:]
    _, at = _handle(footer, 0)  # of the block of metadata, which TensorFlow leaves empty
    handle, _ = _handle(footer, at)
    found: dict[bytes, bytes] = {}
    before = None
    for _, place in _pairs(_block(data, handle)):
        for key, value in _pairs(_block(data, _handle(place, 0)[0])):
            if before is not None and key <= before:
                raise ValueError(f"the key {key!r} does not come after {before!r}")
            found[key] = value
            before = key
    return found


def _handle(data: bytes, at: int) -> tuple[tuple[int, int], int]:
    """Where a block begins and how many bytes it has, and where this statement ends."""
    start, at = varint(data, at)
    size, at = varint(data, at)
    return (start, size), at


def _block(data: bytes, handle: tuple[int, int]) -> bytes:
    start, size = handle
    end = start + size
    if end + _TRAILER_BYTES > len(data) - _FOOTER_BYTES:
        raise ValueError(f"a block of {size} bytes at byte {start} of {len(data)}")
    stored = int.from_bytes(data[end + 1 : end + _TRAILER_BYTES], "little")
    if masked(crc32c(data[start : end + 1])) != stored:
        raise ValueError(f"the checksum of the block at byte {start} is wrong")
    block, kind = data[start:end], data[end]
    if kind == _SNAPPY:
        return unpack_snappy(block)
    if kind != _PLAIN:
        raise UnsupportedFormatError(
            f"a block of a TensorFlow checkpoint's index is compressed by method {kind}; only snappy (1) is known"
        )
    return block


def _pairs(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The keys and values of a block; its end lists places to begin at, for those who search."""
    restarts = int.from_bytes(block[-4:], "little")
    end = len(block) - 4 * (restarts + 1)
    if len(block) < 4 or end < 0:
        raise ValueError(f"a block of {len(block)} bytes with {restarts} restarts")
    key, at = b"", 0
    while at < end:
        shared, at = varint(block, at)
        fresh, at = varint(block, at)
        length, at = varint(block, at)
        if shared > len(key) or at + fresh + length > end:
            raise ValueError(f"an entry of {shared} + {fresh} + {length} bytes at byte {at} of {end}")
        key = key[:shared] + block[at : at + fresh]
        at += fresh
        yield key, block[at : at + length]
        at += length


def unpack_snappy(data: bytes) -> bytes:
    """Unpack a block of Snappy's raw format: a length, then literals and copies of what came before.

    Raises:
        ValueError, IndexError: the data is not of that format, or damaged.

    Example:
        >>> from bertcpp.sorted_table import unpack_snappy
        >>> unpack_snappy(bytes([8, 4]) + b"ab" + bytes([22, 2, 0]))
        b'abababab'
    """
    length, at = varint(data, 0)
    if length > _LARGEST:
        raise ValueError(f"a packed block of {length} bytes")
    out = bytearray()
    while at < len(data):
        tag = data[at]
        at += 1
        kind = tag & 3
        if kind == 0:
            size = tag >> 2
            if size >= 60:
                extra = size - 59
                size = int.from_bytes(_exactly(data, at, extra), "little")
                at += extra
            out += _exactly(data, at, size + 1)
            at += size + 1
        else:
            extra = (0, 1, 2, 4)[kind]
            size = 4 + (tag >> 2 & 7) if kind == 1 else 1 + (tag >> 2)
            offset = int.from_bytes(_exactly(data, at, extra), "little") | (tag >> 5 << 8 if kind == 1 else 0)
            at += extra
            if not 0 < offset <= len(out):
                raise ValueError(f"a copy from {offset} bytes back at byte {len(out)}")
            for _ in range(size):  # a copy may reach into what it writes
                out.append(out[-offset])
        if len(out) > length:
            break
    if len(out) != length:
        raise ValueError(f"a packed block holds {len(out)} bytes instead of {length}")
    return bytes(out)


def _exactly(data: bytes, at: int, size: int) -> bytes:
    if at + size > len(data):
        raise ValueError(f"{size} bytes at byte {at} of {len(data)}")
    return data[at : at + size]
