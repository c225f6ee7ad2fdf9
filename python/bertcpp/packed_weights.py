"""Weights as one instruction set's kernels read them, in a file that is mapped and used as it is.

Such a file is a safetensors file: the tables, vectors and heads of a checkpoint under its own names, and in place of
the encoder's matrices the bytes that the engine packed of them, for one dtype and one instruction set. Processes that
map it share one copy. Every tensor has a checksum, which it is compared with before it is used, and so has the header.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from . import devices
from .errors import CorruptCheckpointError, InputError, UnsupportedFormatError
from .safetensors_file import SafetensorsFile
from .weights import PACKED_FILE, Weights

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["PackedFile", "PackedWeights", "packed_metadata", "packed_name", "target_for"]

_PREFIX = "packed:"  # of the engine's names, which checkpoints' names thus cannot be
_AGAIN = "pack the original checkpoint again: bertcpp quantize MODEL OUT"
_PIECE = 4 << 20  # bytes that have a checksum of their own, so that threads can share a tensor
_MOST_THREADS = 4
_FIELDS = ("layout", "instruction_set", "dtype", "parameters", "checksums", "seal")


class PackedFile(SafetensorsFile):
    """A file of packed weights whose metadata has been checked.

    Attributes:
        dtype: what products are computed in.
        instruction_set: whose kernels read it.
        parameters: how many numbers the checkpoint had that it was made of.

    Raises:
        CheckpointNotFoundError, CheckpointError: there is no such file, or it cannot be read.
        CorruptCheckpointError: it is damaged.
        UnsupportedFormatError: another version of bertcpp wrote it.
    """

    def __init__(self, path: Path) -> None:
        from . import _core

        super().__init__(path)
        missing = [name for name in _FIELDS if name not in self.metadata]
        if missing:
            raise self._damaged(f"the metadata lack {', '.join(missing)}")
        layout = self.metadata["layout"]
        if layout != str(_core.packed_layout()):
            raise UnsupportedFormatError(
                f"{path} has weights packed in layout {layout[:20]!r}, but this bertcpp reads layout "
                f"{_core.packed_layout()}; {_AGAIN}"
            )
        try:
            checksums = json.loads(self.metadata["checksums"])
        except (ValueError, RecursionError):
            checksums = None
        if not isinstance(checksums, dict) or checksums.keys() != self.entries.keys():
            raise self._damaged("the metadata do not have a checksum for each tensor")
        shapes = {name: (entry.dtype, entry.shape) for name, entry in self.entries.items()}
        parameters = self.metadata["parameters"]
        countable = parameters.isdecimal() and len(parameters) <= 18
        if self.metadata["seal"] != _seal(self.metadata, shapes) or not countable:
            raise self._damaged("the header is not the one that was written")
        self.dtype = self.metadata["dtype"]
        if self.dtype not in devices.PROCESSOR_DTYPES:
            raise self._damaged(f"it states the dtype {self.dtype[:20]!r}, in which nothing is packed")
        self.instruction_set = self.metadata["instruction_set"]
        self.parameters = int(parameters)
        self._checksums: dict[str, Any] = checksums
        self._sound: set[str] = set()

    def __getitem__(self, name: str) -> NDArray[Any]:
        self.verify((name,))
        return super().__getitem__(name)

    def verify(self, names: Iterable[str]) -> None:
        """Compare tensors with their checksums, each of them once.

        Raises:
            CorruptCheckpointError: one differs.
        """
        wanted = sorted(set(names) - self._sound)
        with memoryview(self._map) as whole:
            found = _checksums([whole[self.entries[name].start : self.entries[name].end] for name in wanted])
        self.release(wanted)  # what has been read once would count as this process's memory
        for name, sums in zip(wanted, found, strict=True):
            if sums != self._checksums[name]:
                raise self._damaged(f"tensor {name!r} is not the one that was written")
            self._sound.add(name)

    def _damaged(self, what: str) -> CorruptCheckpointError:
        return CorruptCheckpointError(f"{self.path}: {what}; it is damaged: copy it again, or {_AGAIN}")


class PackedWeights(Weights):
    """A folder's tensors in ordinary form, and beside them the packed ones."""

    has_matrices = False

    def __init__(self, folder: Path, file: PackedFile) -> None:
        super().__init__(folder, {name: file for name in file if not name.startswith(_PREFIX)}, [file])
        self.file = file

    def packed(self) -> dict[str, NDArray[Any]]:
        """Return the packed tensors by the engine's names, compared with their checksums."""
        names = [name for name in self.file if name.startswith(_PREFIX)]
        self.file.verify(names)
        return {name.removeprefix(_PREFIX): self.file[name] for name in names}

    def check_target(self, where: devices.Target) -> None:
        """Refuse to compute elsewhere, or in something else, than the weights were packed for.

        Raises:
            InputError: another dtype or device is asked for.
            UnsupportedFormatError: the instruction set in use is another one.
        """
        from . import _core

        file = self.file
        if where.device.type != "cpu":
            raise InputError(
                f"{file.path} has weights packed for the processor, but device is {str(where.device)!r}; load the "
                "checkpoint that they were made of"
            )
        if where.dtype != file.dtype:
            raise InputError(
                f"{file.path} has weights packed in {file.dtype} and no others, but dtype is {where.dtype!r}; leave it "
                f"out, or load or pack the checkpoint that they were made of: bertcpp quantize MODEL OUT --dtype "
                f"{where.dtype}"
            )
        if not _same_panels(file.instruction_set, _core.instruction_set()):
            raise UnsupportedFormatError(
                f"{file.path} has weights packed for {file.instruction_set[:20]}, but bertcpp uses "
                f"{_core.instruction_set()} on this processor; {_AGAIN}, here"
            )


def _same_panels(one: str, other: str) -> bool:
    """Whether two instruction sets read weights packed in the same way, however differently they multiply."""
    from . import _core

    columns = _core.panel_columns(one)
    return one == other or (columns > 0 and columns == _core.panel_columns(other))


def target_for(folder: Path, device: Any, dtype: Any, use_safetensors: bool | None = None) -> devices.Target:
    """Return where to compute a checkpoint and in what; what is not asked for is as its weights are packed.

    Args:
        folder: the encoder's.
        device: as `devices.target` takes it.
        dtype: likewise; "auto" is the packed weights' where there are such.
        use_safetensors: False passes over packed weights, as loading does.

    Raises:
        CheckpointError: as `PackedFile`.
        InputError, DeviceError: as `devices.target`.
    """
    path = folder / PACKED_FILE
    if use_safetensors is not False and path.is_file():
        own = PackedFile(path).dtype
        if str(device) == "auto" or devices.resolve(device).type == "cpu":
            return devices.target("cpu", own if dtype is None or str(dtype) == "auto" else dtype)
    return devices.target(device, dtype)


def packed_metadata(
    dtype: str, parameters: int, tensors: Mapping[str, NDArray[Any]], dtypes: Mapping[str, str]
) -> dict[str, str]:
    """Return the metadata of a file of these tensors.

    Args:
        dtype: what products are computed in.
        parameters: how many numbers the checkpoint has.
        tensors: what the file is to hold.
        dtypes: the format's names of the tensors' dtypes.
    """
    from . import _core

    data = [np.ascontiguousarray(array).reshape(-1).view(np.uint8).data for array in tensors.values()]
    metadata = {
        "format": "bertcpp packed",
        "layout": str(_core.packed_layout()),
        "instruction_set": _core.instruction_set(),
        "dtype": dtype,
        "parameters": str(parameters),
        "checksums": json.dumps(dict(zip(tensors, _checksums(data), strict=True))),
    }
    shapes = {name: (dtypes[name], array.shape) for name, array in tensors.items()}
    return {**metadata, "seal": _seal(metadata, shapes)}


def _checksums(parts: Sequence[memoryview]) -> list[list[int]]:
    """Return the CRC-32 of each piece of each part, on several threads where there is much to read."""
    pieces = [
        (i, j, part[start : start + _PIECE])
        for i, part in enumerate(parts)
        for j, start in enumerate(range(0, len(part), _PIECE))
    ]
    sums = [[0] * -(-len(part) // _PIECE) for part in parts]
    left = iter(pieces)
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                piece = next(left, None)
            if piece is None:
                return
            i, j, data = piece
            with data:
                sums[i][j] = zlib.crc32(data)

    helpers = min(_MOST_THREADS, os.cpu_count() or 1, sum(map(len, parts)) // _PIECE) - 1
    threads = [threading.Thread(target=work, daemon=True) for _ in range(helpers)]
    for thread in threads:
        thread.start()
    work()
    for thread in threads:
        thread.join()
    for part in parts:
        part.release()
    return sums


def _seal(metadata: Mapping[str, str], shapes: Mapping[str, tuple[str, tuple[int, ...]]]) -> str:
    """A digest of all that the header says but for the tensors' places, which the format itself pins down."""
    said = [metadata[name] for name in _FIELDS[:-1]]
    tensors = [[name, *shapes[name]] for name in sorted(shapes)]
    return hashlib.sha256(json.dumps([said, tensors]).encode()).hexdigest()


def packed_name(name: str) -> str:
    """Return what a part of the engine's is called in a file."""
    return _PREFIX + name
