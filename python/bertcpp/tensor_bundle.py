"""Reads TensorFlow's checkpoints, ``NAME.index`` and ``NAME.data-0000K-of-0000N``, without TensorFlow.

The index is a sorted table of messages: under the empty key how many data files there are, under each variable's name
its dtype, shape, place and checksum. Places are checked at opening, checksums where a tensor is read.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .crc32c import crc32c, masked
from .errors import CheckpointError, CheckpointNotFoundError, CorruptCheckpointError, UnsupportedFormatError
from .protobuf_wire import as_bytes, as_int, fields
from .sorted_table import read_sorted_table

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["TensorBundle"]

# TensorFlow's numbers of dtypes, NumPy's dtypes, and safetensors' names of them. bfloat16 comes as its bits.
_DTYPES = {
    1: ("<f4", "F32"),
    2: ("<f8", "F64"),
    3: ("<i4", "I32"),
    4: ("u1", "U8"),
    5: ("<i2", "I16"),
    6: ("i1", "I8"),
    9: ("<i8", "I64"),
    10: ("?", "BOOL"),
    14: ("<u2", "BF16"),
    17: ("<u2", "U16"),
    19: ("<f2", "F16"),
    22: ("<u4", "U32"),
    23: ("<u8", "U64"),
}
_MOST_SHARDS = 1 << 16


class _Entry(NamedTuple):
    """What the index says of a tensor."""

    dtype: int
    shape: tuple[int, ...]
    shard: int
    start: int
    size: int
    checksum: int | None
    sliced: bool


class TensorBundle(Mapping[str, NDArray[Any]]):
    """The tensors of a checkpoint by name, read-only views of its mapped files; bfloat16 as its bits in uint16.

    Args:
        prefix: the files' name up to ``.index``.

    Raises:
        CheckpointNotFoundError: the index or a data file is missing.
        CheckpointError: a file cannot be read.
        CorruptCheckpointError: a file is cut off or damaged.
        UnsupportedFormatError: it was written by a big-endian machine, or a later version of TensorFlow.
    """

    def __init__(self, prefix: Path) -> None:
        self.path = prefix.with_name(prefix.name + ".index")
        table = read_sorted_table(self.path)
        shards = self._read_header(table.pop(b"", None))
        # The parts of partitioned variables have keys of their own, which begin with a zero byte.
        whole = {key: value for key, value in table.items() if not key.startswith(b"\0")}
        self.entries = {self._name(key): self._read_entry(key, value) for key, value in whole.items()}
        self._shards = [_mapped(prefix.with_name(f"{prefix.name}.data-{k:05d}-of-{shards:05d}")) for k in range(shards)]
        for name, entry in self.entries.items():
            self._check_place(name, entry)

    def _read_header(self, header: bytes | None) -> int:
        """How many data files there are."""
        if header is None:
            raise CorruptCheckpointError(f"{self.path} has no header; it is the index of something else")
        try:
            found = dict(fields(header))
            shards, big_endian = as_int(found.get(1, 0)), as_int(found.get(2, 0))
            version = dict(fields(as_bytes(found.get(3, b""))))
            needs = as_int(version.get(2, 0))
        except (ValueError, IndexError) as error:
            raise self._damaged(f"its header: {error}") from None
        if big_endian:
            raise UnsupportedFormatError(f"{self.path} was written by a big-endian machine; save it again elsewhere")
        if needs > 1:
            raise UnsupportedFormatError(
                f"{self.path} is of version {needs} of TensorFlow's checkpoints, which is not known; save an older one"
            )
        if not 1 <= shards <= _MOST_SHARDS:
            raise self._damaged(f"{shards} data files")
        return shards

    def _name(self, key: bytes) -> str:
        try:
            return key.decode()
        except UnicodeDecodeError:
            raise self._damaged(f"the name {key!r}") from None

    def _read_entry(self, key: bytes, value: bytes) -> _Entry:
        try:
            found: dict[int, Any] = {}
            slices = 0
            for number, content in fields(value):
                slices += number == 7
                found[number] = content
            checksum = None if 6 not in found else int.from_bytes(as_bytes(found[6]), "little")
            dtype, shard, start, size = (as_int(found.get(number, 0)) for number in (1, 3, 4, 5))
            return _Entry(dtype, _shape(as_bytes(found.get(2, b""))), shard, start, size, checksum, slices > 0)
        except (ValueError, IndexError) as error:
            raise self._damaged(f"the entry {key!r}: {error}") from None

    def _check_place(self, name: str, entry: _Entry) -> None:
        if entry.sliced:
            return  # its parts are entries of their own
        if entry.shard >= len(self._shards) or entry.start + entry.size > len(self._shards[entry.shard]):
            raise CorruptCheckpointError(
                f"{self.path} places {name!r} at bytes {entry.start} to {entry.start + entry.size} of data file "
                f"{entry.shard}, which has fewer; the checkpoint is cut off: get it again"
            )
        if entry.dtype in _DTYPES:
            expected = math.prod(entry.shape) * np.dtype(_DTYPES[entry.dtype][0]).itemsize
            if expected != entry.size:
                raise self._damaged(f"{name!r} of shape {list(entry.shape)} has {entry.size} bytes, not {expected}")

    def _damaged(self, what: str) -> CorruptCheckpointError:
        return CorruptCheckpointError(f"{self.path} is damaged ({what}); get the file again")

    def __getitem__(self, name: str) -> NDArray[Any]:
        entry = self.entries[name]
        if entry.sliced:
            raise UnsupportedFormatError(
                f"{self.path}: {name!r} was saved in parts (a partitioned variable), which are not joined here; save "
                "it whole"
            )
        if entry.dtype not in _DTYPES:
            raise UnsupportedFormatError(f"{self.path}: {name!r} has TensorFlow's dtype {entry.dtype}, no numbers")
        if not entry.size:
            return np.empty(entry.shape, _DTYPES[entry.dtype][0])
        octets = np.frombuffer(self._shards[entry.shard], np.uint8, entry.size, entry.start)
        if entry.checksum is not None and masked(crc32c(octets)) != entry.checksum:
            raise CorruptCheckpointError(f"{self.path}: the data of {name!r} is damaged (its checksum); get it again")
        return octets.view(_DTYPES[entry.dtype][0]).reshape(entry.shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def dtype_of(self, name: str) -> str:
        """Return a tensor's dtype by safetensors' name, such as ``"BF16"``; ``"?"`` for what holds no numbers."""
        return _DTYPES.get(self.entries[name].dtype, ("", "?"))[1]


def _shape(message: bytes) -> tuple[int, ...]:
    shape = []
    for number, content in fields(message):
        if number == 2:
            size = as_int(dict(fields(as_bytes(content))).get(1, 0))
            if size >= 1 << 48:
                raise ValueError(f"a dimension of {size}")
            shape.append(size)
        elif number == 3 and content:
            raise ValueError("an unknown shape")
    if len(shape) > 32:
        raise ValueError(f"{len(shape)} dimensions")
    return tuple(shape)


def _mapped(path: Path) -> mmap.mmap | bytes:
    try:
        with path.open("rb") as file:
            if not path.stat().st_size:
                return b""  # which cannot be mapped
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        raise CheckpointNotFoundError(f"{path} is missing; copy the checkpoint whole") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}; check its permissions") from error
