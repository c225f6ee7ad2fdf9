"""Writes checkpoints in the ordinary layout: a folder that appears whole or not at all, and safetensors files in it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import CheckpointError, CheckpointExistsError
from .safetensors_file import FORMAT_NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

__all__ = ["copy_beside_weights", "format_dtype", "new_folder", "write_json", "write_safetensors"]

_PART_NAME = 50  # characters of a folder's name that its temporary folder bears; names have at most 255 bytes
# What may hold an encoder's weights, in any format; the new weights take its place.
_WEIGHTS = (".safetensors", ".bin", ".h5", ".msgpack", ".ot", ".onnx", ".pt", ".pth", ".gguf", ".tflite", ".index.json")
_NOT_COPIED = ("onnx", "openvino", "coreml", "tf_saved_model", "__pycache__")
_LINE = 64  # bytes


@contextlib.contextmanager
def new_folder(out: str | os.PathLike[str], *, source: Path | None = None, overwrite: bool = False) -> Iterator[Path]:
    """Give a folder to write to, which takes its name when the context ends, if nothing was raised in it.

    Args:
        out: the name. An empty folder of that name is taken over.
        source: the folder that is read meanwhile; neither may lie in the other.
        overwrite: replace a checkpoint that has this name; another folder is never replaced.

    Raises:
        CheckpointExistsError: something else has the name, or would be lost.
        CheckpointError: the folder cannot be made.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from bertcpp.checkpoint_writing import new_folder
        >>> with tempfile.TemporaryDirectory() as place:
        ...     with new_folder(Path(place) / "model") as folder:
        ...         _ = (folder / "config.json").write_text("{}")
        ...     sorted(path.name for path in Path(place).rglob("*"))
        ['config.json', 'model']
    """
    target = Path(os.path.abspath(os.path.expanduser(out)))
    _check_target(target, source, overwrite)
    try:
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name[:_PART_NAME]}.", suffix=".part", dir=target.parent))
    except OSError as error:  # the user knows nothing of the temporary folder
        raise CheckpointError(
            f"{target} cannot be written ({error.strerror}); check the folder it is to lie in"
        ) from None
    try:
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o777 & ~mask)
        yield temporary
        _settle(temporary)
        _put_in_place(temporary, target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _check_target(target: Path, source: Path | None, overwrite: bool) -> None:
    if source is not None:
        ours, theirs = Path(os.path.realpath(target)), Path(os.path.realpath(source))
        if ours == theirs or ours in theirs.parents or theirs in ours.parents:
            raise CheckpointExistsError(f"{target} and {source}, which is read, lie in each other; name another folder")
    if not target.exists() and not target.is_symlink():
        return
    if not target.is_dir() or target.is_symlink():
        raise CheckpointExistsError(f"{target} is there and no folder; name another one")
    content = sorted(path.name for path in target.iterdir())
    if not content:
        return
    if not overwrite:
        raise CheckpointExistsError(f"{target} is there already; name another folder, or ask to overwrite it")
    if not {"config.json", "modules.json"} & set(content):
        raise CheckpointExistsError(f"{target} holds {content[0]} and no checkpoint; it is not overwritten: remove it")


def _settle(folder: Path) -> None:
    """Have the disk hold every file before the folder takes its name, so that no power cut leaves parts of them."""
    for path in (*folder.rglob("*"), folder):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _put_in_place(temporary: Path, target: Path) -> None:
    try:
        os.rename(temporary, target)  # also over an empty folder
        return
    except OSError as error:
        if not target.is_dir():
            raise CheckpointError(f"{target} cannot be written ({error.strerror}); check the folder") from None
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name[:_PART_NAME]}.", suffix=".old", dir=target.parent))
    os.rename(target, aside / "old")
    try:
        os.rename(temporary, target)
    except BaseException:
        os.rename(aside / "old", target)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def copy_beside_weights(source: Path, out: Path, encoder: Path) -> None:
    """Copy a checkpoint's files, but for the weights in its encoder's folder and those of other runtimes.

    Args:
        source: the checkpoint's folder.
        out: where to.
        encoder: the folder of the encoder: `source` itself, or one in it.
    """
    for path in sorted(source.rglob("*")):
        relative = path.relative_to(source)
        if any(part in _NOT_COPIED or part.startswith(".") for part in relative.parts) or not path.is_file():
            continue
        if path.parent == encoder and (path.name.endswith(_WEIGHTS) or ".ckpt" in path.name):
            continue
        (out / relative).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, out / relative)  # what links lead to, so that the copy stands alone


def write_json(path: Path, value: Any) -> None:
    """Write JSON as transformers does: two spaces, a line feed at the end."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def format_dtype(array: NDArray[Any]) -> str:
    """Return the format's name of a dtype; "" where it has none."""
    return FORMAT_NAMES.get(array.dtype.name, "")


def write_safetensors(
    path: Path,
    tensors: Mapping[str, NDArray[Any]],
    dtypes: Mapping[str, str] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a safetensors file, the wider dtypes first so that each tensor lies at a multiple of its size.

    Bytes that fill whole cache lines come before all others, so that they begin with one.

    Args:
        path: the file.
        tensors: the arrays by name.
        dtypes: the format's names of those dtypes that NumPy's does not tell, such as ``"BF16"`` for bits in uint16.
        metadata: what the file says of itself; None is what transformers writes.

    Raises:
        CheckpointError: a dtype has no name there.
        OSError: the file cannot be written.
    """
    named = {name: (dtypes or {}).get(name) or format_dtype(array) for name, array in tensors.items()}
    for name, dtype in named.items():
        if not dtype:
            raise CheckpointError(f"{path}: tensor {name!r} has the dtype {tensors[name].dtype}, which is not written")
    order = sorted(tensors, key=lambda name: (not _fills_lines(tensors[name]), -tensors[name].dtype.itemsize, name))
    header: dict[str, Any] = {"__metadata__": dict(metadata or {"format": "pt"})}
    end = 0
    for name in order:
        start, end = end, end + tensors[name].nbytes
        header[name] = {"dtype": named[name], "shape": list(tensors[name].shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(len(text) + 8) % _LINE)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in order:
            array = tensors[name]
            file.write(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).data)


def _fills_lines(array: NDArray[Any]) -> bool:
    return array.dtype == np.uint8 and array.nbytes % _LINE == 0
