"""The weights of a checkpoint's folder: one safetensors file, several with an index, or PyTorch's own files."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from numpy.typing import NDArray

from .checkpoints import inside, read_json
from .errors import CheckpointNotFoundError, CorruptCheckpointError, MissingTensorError, UnsupportedFormatError
from .safetensors_file import FORMAT_NAMES, SafetensorsFile

if TYPE_CHECKING:
    from pathlib import Path

    from .devices import Target

__all__ = ["PACKED_FILE", "Weights", "open_folder"]

Part = TypeVar("Part", bound=Mapping[str, NDArray[Any]])

PACKED_FILE = "model.packed.safetensors"  # see bertcpp.packed_weights
_FILES = {
    True: ("model.safetensors", "model.safetensors.index.json"),
    False: ("pytorch_model.bin", "pytorch_model.bin.index.json"),
}
_OTHER_FORMATS = {
    "tf_model.h5": "TensorFlow",
    "flax_model.msgpack": "Flax",
    "model.ckpt.index": "TensorFlow",
    "model.onnx": "ONNX",
    "onnx/model.onnx": "ONNX",
}
_GIVE_BACK_EVERY = 0.004  # seconds; packing reads some 20 MB in that time
_SMALL = 64 << 20  # bytes that may be held twice for a moment


class Weights(Mapping[str, NDArray[Any]]):
    """The tensors of a checkpoint by name; of files that are mapped, nothing is read until a tensor's data is.

    Args:
        folder: where they are, for messages.
        parts: the files' tensors by name, each name in one of them.
        files: those of the parts that are mapped.

    Attributes:
        has_matrices: whether the encoder's are among them; else `packed` gives what stands for them.
    """

    has_matrices = True

    def __init__(
        self, folder: Path, parts: Mapping[str, Mapping[str, NDArray[Any]]], files: Iterable[SafetensorsFile]
    ) -> None:
        self.folder = folder
        self._parts = parts
        self._files = list(files)

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._parts[name][name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)

    def file_of(self, name: str) -> str:
        """Return the path of the file that a tensor is in, or the folder's."""
        part = self._parts[name]
        return str(part.path) if isinstance(part, SafetensorsFile) else str(self.folder)

    def dtype_of(self, name: str) -> str:
        """Return a tensor's dtype by safetensors' names, such as ``"F32"``."""
        part = self._parts[name]
        if isinstance(part, SafetensorsFile):
            return part.dtype_of(name)
        dtype: str = part[name].dtype.name
        return "BF16" if dtype == "uint16" else FORMAT_NAMES.get(dtype, dtype)  # PyTorch's bfloat16 comes as its bits

    def shape_of(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape."""
        part = self._parts[name]
        return part.shape_of(name) if isinstance(part, SafetensorsFile) else part[name].shape

    def packed(self) -> dict[str, NDArray[Any]]:
        """Return what the engine has packed, by its names; of an ordinary checkpoint nothing."""
        return {}

    def check_target(self, where: Target) -> None:
        """Refuse to compute where, or in what, these weights cannot be computed; ordinary ones can everywhere."""

    def release(self, names: Iterable[str]) -> None:
        """Give back the memory of mapped tensors that have been copied elsewhere."""
        wanted = set(names)
        for file in self._files:
            file.release(name for name in wanted if self._parts.get(name) is file)

    @contextmanager
    def released_while_read(self, names: Iterable[str]) -> Iterator[None]:
        """Give back the memory of these tensors while another piece of code reads them once, and after it.

        The memory in use then stays near that of the copy, where else the map would be held beside it.
        """
        names = set(names)
        size = sum(
            entry.end - entry.start for file in self._files for name, entry in file.entries.items() if name in names
        )
        done = threading.Event()
        thread: threading.Thread | None = None
        if size > _SMALL:
            thread = threading.Thread(target=self._keep_releasing, args=(names, done), daemon=True)
            thread.start()
        try:
            yield
        finally:
            done.set()
            if thread is not None:
                thread.join()
            self.release(names)
        for file in self._files:
            file.check_unchanged()

    def _keep_releasing(self, names: set[str], done: threading.Event) -> None:
        while not done.wait(_GIVE_BACK_EVERY):
            self.release(names)

    def __enter__(self) -> Weights:
        return self

    def __exit__(self, *_: object) -> None:
        # Maps live as long as arrays over them do; nothing else is open.
        self._parts = {}
        self._files = []


def open_folder(folder: Path, use_safetensors: bool | None, packed: bool) -> Weights:
    """Open the weights of a folder; see `bertcpp.checkpoints.open_weights`."""
    if use_safetensors is not False:
        if (folder / PACKED_FILE).is_file():
            return _open_packed(folder, packed)
        if (folder / "model.safetensors").is_file():
            file = SafetensorsFile(folder / "model.safetensors")
            return Weights(folder, dict.fromkeys(file, file), [file])
        if (folder / "model.safetensors.index.json").is_file():
            parts, shards = _read_index(folder / "model.safetensors.index.json", SafetensorsFile)
            return Weights(folder, parts, shards)
    if use_safetensors is not True:
        from .torch_file import read_torch_file

        if (folder / "pytorch_model.bin").is_file():
            tensors = read_torch_file(folder / "pytorch_model.bin")
            return Weights(folder, dict.fromkeys(tensors, tensors), [])
        if (folder / "pytorch_model.bin.index.json").is_file():
            return Weights(folder, _read_index(folder / "pytorch_model.bin.index.json", read_torch_file)[0], [])
    raise _no_weights(folder, use_safetensors)


def _open_packed(folder: Path, wanted: bool) -> Weights:
    from .packed_weights import PackedFile, PackedWeights

    if not wanted:
        raise UnsupportedFormatError(
            f"{folder} has weights that bertcpp quantize packed for one processor, from which no other checkpoint can "
            "be made; use the one that they were made of"
        )
    return PackedWeights(folder, PackedFile(folder / PACKED_FILE))


def _read_index(path: Path, open_file: Callable[[Path], Part]) -> tuple[dict[str, Part], list[Part]]:
    """The file of each tensor by an index's ``weight_map``, and the files."""
    weight_map = read_json(path).get("weight_map")
    if (
        not isinstance(weight_map, dict)
        or not weight_map
        or not all(isinstance(name, str) for name in weight_map.values())
    ):
        raise CorruptCheckpointError(f"{path}: weight_map must map tensors to file names; get the file again")
    shards = {name: inside(path.parent, name) for name in sorted(set(weight_map.values()))}
    missing = [name for name, shard in shards.items() if not shard.is_file()]
    if missing:
        raise CheckpointNotFoundError(f"{path} speaks of {', '.join(missing)}, not there; copy the checkpoint whole")
    opened = {name: open_file(shard) for name, shard in shards.items()}
    parts = {tensor: opened[name] for tensor, name in weight_map.items()}
    absent = [tensor for tensor, part in parts.items() if tensor not in part]
    if absent:
        raise MissingTensorError(
            f"{path} places {', '.join(absent[:10])} in {weight_map[absent[0]]}, which has no such tensor; index and "
            "files are not of one checkpoint"
        )
    for part in opened.values():
        for tensor in part:
            parts.setdefault(tensor, part)
    return parts, list(opened.values())


def _no_weights(folder: Path, use_safetensors: bool | None) -> Exception:
    """What to say of a folder without weights that can be read."""
    if use_safetensors is not None and any((folder / name).is_file() for name in _FILES[not use_safetensors]):
        return CheckpointNotFoundError(
            f"{folder} has weights, but not with use_safetensors={use_safetensors}; leave it out"
        )
    for name, framework in _OTHER_FORMATS.items():
        if (folder / name).is_file():
            return UnsupportedFormatError(
                f"{folder} has only {framework} weights ({name}); "
                + (
                    f"make safetensors of them: bertcpp convert {folder} OUT"
                    if name == "tf_model.h5"
                    else "save it as safetensors with transformers: model.save_pretrained(folder)"
                )
            )
    return CheckpointNotFoundError(
        f"{folder} has no weights: neither {' nor '.join(_FILES[True] + _FILES[False])}; copy the checkpoint whole"
    )
