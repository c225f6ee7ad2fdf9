"""Reads safetensors files over a memory map: every claim of the header is checked before a byte of data is touched.

The format: eight bytes, the length of the header, little endian; the header, one JSON object that names each tensor's
dtype, shape and place; then the data. The safetensors library's NumPy reader has no bfloat16 and copies what it reads.

A mapped file must not be rewritten in place while it is open: data would change under the reader, and a file cut short
ends the process with SIGBUS, as with every mapped file. Put a new file beside the old one and rename it, as downloads
do; the map then keeps the old one. `SafetensorsFile.check_unchanged` notices a change while a model is loading.
"""

from __future__ import annotations

import json
import math
import mmap
import os
import reprlib
import stat
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .errors import CheckpointError, CheckpointNotFoundError, CorruptCheckpointError, UnsupportedFormatError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FORMAT_NAMES", "SafetensorsFile", "TensorEntry"]

_LARGEST_HEADER = 100_000_000  # bytes, the format's own limit
_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "U32": 32, "I32": 32, "U64": 64, "I64": 64,
    "F16": 16, "BF16": 16, "F32": 32, "F64": 64, "C64": 64,
    "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4,
}  # fmt: skip
_DTYPES = {
    "BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4", "U64": "<u8",
    "I64": "<i8", "F16": "<f2", "BF16": "<u2", "F32": "<f4", "F64": "<f8", "C64": "<c8",
}  # fmt: skip
# Of the dtypes that NumPy has, by its names; uint16 is left out, since bfloat16 comes as such bits.
FORMAT_NAMES = {
    "float16": "F16", "float32": "F32", "float64": "F64", "bool": "BOOL", "uint8": "U8",
    "int8": "I8", "int16": "I16", "int32": "I32", "int64": "I64",
}  # fmt: skip


class TensorEntry(NamedTuple):
    """What a header says of a tensor: its dtype by the format's name, its shape, and its bytes in the file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


class SafetensorsFile(Mapping[str, NDArray[Any]]):
    """The tensors of one file by name, as read-only views of its map; bfloat16 as its bits in uint16.

    Args:
        path: the file.

    Raises:
        CheckpointNotFoundError: there is no such file.
        CheckpointError: it cannot be read.
        CorruptCheckpointError: it breaks a rule of the format.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._map, self._stamp = _mapped(path)
        header, start = _header(self._map, path)
        self.metadata = _metadata(header.pop("__metadata__", {}), path)
        self.entries = {name: _entry(name, value, start, len(self._map), path) for name, value in header.items()}
        _check_contiguous(self.entries, start, len(self._map), path)

    def __getitem__(self, name: str) -> NDArray[Any]:
        entry = self.entries[name]
        if entry.dtype not in _DTYPES:
            raise UnsupportedFormatError(
                f"{self.path}: tensor {name!r} has the dtype {entry.dtype}, which cannot be read; save it as F32"
            )
        dtype = np.dtype(_DTYPES[entry.dtype])
        count = (entry.end - entry.start) // dtype.itemsize
        if count == 0:
            return np.empty(entry.shape, dtype)
        return np.frombuffer(self._map, dtype, count, entry.start).reshape(entry.shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def dtype_of(self, name: str) -> str:
        """Return a tensor's dtype by the format's name, such as ``"BF16"``."""
        return self.entries[name].dtype

    def shape_of(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape without touching its data."""
        return self.entries[name].shape

    def release(self, names: Iterable[str]) -> None:
        """Give back the memory of tensors that have been read; reading them again takes it from the file again."""
        if not hasattr(mmap, "MADV_DONTNEED"):
            return
        end = -1
        start = 0
        for entry in sorted((self.entries[name] for name in names), key=lambda entry: entry.start):
            if entry.start > end + mmap.PAGESIZE:
                self._give_back(start, end)
                start = entry.start
            end = max(end, entry.end)
        self._give_back(start, end)

    def _give_back(self, start: int, end: int) -> None:
        start -= start % mmap.PAGESIZE
        if end > start:
            self._map.madvise(mmap.MADV_DONTNEED, start, end - start)

    def check_unchanged(self) -> None:
        """Raise CorruptCheckpointError if the file was rewritten since it was opened."""
        try:
            changed = _stamp(os.stat(self.path)) != self._stamp
        except OSError:
            return  # renamed or removed: the map keeps what it was
        if changed and os.stat(self.path).st_ino == self._stamp[0]:
            raise CorruptCheckpointError(f"{self.path} was rewritten while it was read; load it again when it is whole")


def _stamp(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_ino, status.st_size, status.st_mtime_ns


def _mapped(path: Path) -> tuple[mmap.mmap, tuple[int, int, int]]:
    """Map a file for reading; also its identity, size and time."""
    try:
        # Without O_NONBLOCK a named pipe would wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except FileNotFoundError:
        raise CheckpointNotFoundError(f"{path} is missing; copy the checkpoint whole") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}; check its permissions") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise CheckpointError(f"{path} is no regular file; put the weights there")
        if status.st_size < 8:
            raise CorruptCheckpointError(
                f"{path} has {status.st_size} bytes, too few for a safetensors file; get it again"
            )
        try:
            return mmap.mmap(descriptor, status.st_size, access=mmap.ACCESS_READ), _stamp(status)
        except (OSError, ValueError, OverflowError) as error:
            raise CheckpointError(f"{path} cannot be mapped into memory: {error}") from error
    finally:
        os.close(descriptor)


def _header(data: mmap.mmap, path: Path) -> tuple[dict[str, Any], int]:
    """The header's object, and where the data begins."""
    length = int.from_bytes(data[:8], "little")
    if data[:8] == b"version ":
        raise CorruptCheckpointError(
            f"{path} is a pointer of Git LFS, not the file itself; fetch it with: git lfs pull"
        )
    if length > len(data) - 8:
        raise CorruptCheckpointError(
            f"{path}: the header should have {length} bytes, but the file has {len(data)}; it is cut off or no "
            "safetensors file: get it again"
        )
    if length > _LARGEST_HEADER:
        raise CorruptCheckpointError(
            f"{path}: a header of {length} bytes is over the format's limit of {_LARGEST_HEADER}"
        )
    raw = data[8 : 8 + length]
    if not raw.startswith(b"{"):
        raise CorruptCheckpointError(
            f"{path}: the header does not begin with '{{'; it is no safetensors file: get it again"
        )
    try:
        header = json.loads(raw.decode("utf-8"), object_pairs_hook=_distinct, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise CorruptCheckpointError(f"{path}: the header is not valid JSON ({error}); get the file again") from None
    if not isinstance(header, dict):  # unreachable as it begins with a brace, but the type must be known
        raise CorruptCheckpointError(f"{path}: the header is no JSON object; get the file again")
    return header, 8 + length


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object whose names are distinct and can be written; Python's parser takes halves of surrogate pairs."""
    found = dict(pairs)
    for name in found:
        name.encode()
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the name {next(name for name in names if names.count(name) > 1)!r} occurs twice")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _metadata(value: Any, path: Path) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise CorruptCheckpointError(
            f"{path}: __metadata__ must map strings to strings, not {reprlib.repr(value)}; get the file again"
        )
    return value


def _entry(name: str, value: Any, start: int, size: int, path: Path) -> TensorEntry:
    """Check one entry of the header; `start` is where the data begins and `size` where the file ends."""

    def wrong(what: str) -> CorruptCheckpointError:
        return CorruptCheckpointError(f"{path}: tensor {name!r} {what}; the file is damaged: get it again")

    if not isinstance(value, dict) or not {"dtype", "shape", "data_offsets"} <= value.keys():
        raise wrong(f"needs dtype, shape and data_offsets, but has {reprlib.repr(value)}")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _BITS:
        raise wrong(f"has the unknown dtype {reprlib.repr(dtype)}")
    if not isinstance(shape, list) or not all(_is_size(length) for length in shape):
        raise wrong(f"has the shape {reprlib.repr(shape)}, which must be a list of sizes")
    if len(shape) > 32:
        raise wrong(f"has {len(shape)} dimensions")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(_is_size(offset) for offset in offsets):
        raise wrong(f"has the data_offsets {reprlib.repr(offsets)}, which must be [begin, end]")
    begin, end = offsets
    if begin > end or start + end > size:
        raise wrong(f"has the data_offsets [{begin}, {end}], but the file has {size - start} bytes of data")
    if math.prod(length or 1 for length in shape) * _BITS[dtype] >= 2**63:
        raise wrong(f"has the shape {reprlib.repr(shape)}, more than can be addressed")
    bits = math.prod(shape) * _BITS[dtype]
    if bits != (end - begin) * 8:
        raise wrong(
            f"has the shape {shape} and dtype {dtype}, which is not the {end - begin} bytes of its data_offsets"
        )
    return TensorEntry(dtype, tuple(shape), start + begin, start + end)


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _check_contiguous(entries: Mapping[str, TensorEntry], start: int, size: int, path: Path) -> None:
    """Every byte of the data must belong to exactly one tensor."""
    place = start
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].start, item[1].end)):
        if entry.start != place:
            what = "overlaps the one before it" if entry.start < place else "leaves a gap before it"
            raise CorruptCheckpointError(f"{path}: tensor {name!r} {what}, at byte {entry.start}; get the file again")
        place = entry.end
    if place != size:
        raise CorruptCheckpointError(f"{path}: {size - place} bytes at the end belong to no tensor; get the file again")
