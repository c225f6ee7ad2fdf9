"""Reads the weights of Keras' HDF5 files, transformers' ``tf_model.h5``, through h5py.

A file may speak of data in other files, which HDF5 would open; such data is refused.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import CheckpointNotFoundError, CorruptCheckpointError, MissingDependencyError, UnsupportedFormatError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["read_keras_file"]

_LARGEST = 1 << 34  # bytes of one tensor


def read_keras_file(path: Path) -> dict[str, NDArray[Any]]:
    """Read all weights of a file by their names in TensorFlow, such as ``"tf_bert_model/bert/.../kernel:0"``.

    Raises:
        MissingDependencyError: h5py is not installed.
        CheckpointNotFoundError: there is no such file.
        CorruptCheckpointError: it is no HDF5 file, or a damaged one.
        UnsupportedFormatError: it speaks of other files, or holds something else than weights of floating point.
    """
    try:
        import h5py
    except ImportError as error:
        raise MissingDependencyError(
            f"{path} is an HDF5 file, which h5py reads: pip install h5py, or pip install 'bertcpp[h5]'"
        ) from error
    if not path.is_file():
        raise CheckpointNotFoundError(f"{path} is missing; copy the checkpoint whole")
    try:
        with h5py.File(path, "r") as file:
            found = {name: _array(path, name, dataset) for name, dataset in _datasets(h5py, file)}
    except (UnsupportedFormatError, MemoryError):
        raise
    except Exception as error:  # h5py raises whatever fits the place that HDF5 stumbled at
        raise CorruptCheckpointError(
            f"{path} is damaged, or no HDF5 file ({' '.join(str(error).split())}); get the file again"
        ) from error
    if not found:
        raise CorruptCheckpointError(f"{path} holds no weights; was it saved by model.save_pretrained()?")
    return found


def _datasets(h5py: Any, file: Any) -> Iterator[tuple[str, Any]]:
    """The datasets of the layers, by the names that their attributes list, or by their paths where none does."""
    for layer in file.values():
        for name in _names(layer):
            yield name, layer[name]
        if isinstance(layer, h5py.Dataset):
            yield layer.name.lstrip("/"), layer


def _names(layer: Any) -> Iterator[str]:
    """The ``weight_names`` of a layer, which Keras spreads over several attributes where they are long."""
    attributes = layer.attrs
    numbered = sorted((name for name in attributes if name[:12] == "weight_names"), key=lambda name: (len(name), name))
    for attribute in numbered:
        for name in np.asarray(attributes[attribute]).reshape(-1).tolist():
            yield name.decode("utf-8") if isinstance(name, bytes) else str(name)


def _array(path: Path, name: str, dataset: Any) -> NDArray[Any]:
    if dataset.external or dataset.is_virtual or not os.path.samefile(dataset.file.filename, path):
        raise UnsupportedFormatError(f"{path}: the data of {name!r} lies in another file; do not trust it")
    if dataset.dtype.kind != "f" or dataset.dtype.itemsize not in (2, 4, 8):
        raise UnsupportedFormatError(f"{path}: {name!r} has the dtype {dataset.dtype}; save it as float32")
    if dataset.nbytes > _LARGEST:
        raise CorruptCheckpointError(f"{path}: {name!r} has {dataset.nbytes} bytes, too many for weights")
    array: NDArray[Any] = dataset[()]
    return np.asarray(array)
