"""Writes checkpoints whose weights are packed already, for one dtype and this processor's instruction set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import architectures, checkpoints, devices
from .checkpoint_writing import copy_beside_weights, format_dtype, new_folder, write_safetensors
from .configuration import AutoConfig
from .description import weight_arrays
from .encoder_weights import by_modern_name, encoder_prefix, is_matrix, wanted_tensors
from .packed_weights import PackedFile, packed_metadata, packed_name
from .pooling import encoder_folder
from .weights import PACKED_FILE

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

    from .configuration import PretrainedConfig
    from .weights import Weights

__all__ = ["quantize"]


def quantize(
    model: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    dtype: Any = "int8",
    overwrite: bool = False,
) -> Path:
    """Write a checkpoint that loads at once, and of which all processes on a machine share one copy.

    It gives the same bits as ``from_pretrained(model, dtype=dtype)``. The encoder's matrices are in it as this
    processor's kernels read them and in no other form; the tokenizer, heads and modules are copied.

    Args:
        model: a folder, a hub name, or an installed package.
        out: the new folder; it appears when it is whole.
        dtype: int8, bfloat16, float32, or "auto" for the fastest of them here.
        overwrite: replace a checkpoint that is there already.

    Returns:
        The path of the new folder.

    Raises:
        InputError: the processor does not compute in this dtype.
        CheckpointExistsError: `out` is there already.
        UnsupportedFormatError: the checkpoint's weights have been packed before.
        BertcppError: the checkpoint cannot be read, or not be written.

    Example:
        >>> import tempfile, bertcpp
        >>> from bertcpp.packed_checkpoints import quantize
        >>> with tempfile.TemporaryDirectory() as place:
        ...     folder = quantize("all-MiniLM-L6-v2", f"{place}/int8")
        ...     bertcpp.SentenceTransformer(folder).encode("A cat sits outside.").shape
        (384,)
    """
    where = devices.target("cpu", dtype)
    folder = checkpoints.locate(model)
    encoder = encoder_folder(folder)
    config = AutoConfig.from_pretrained(encoder)
    with new_folder(out, source=folder, overwrite=overwrite) as made:
        copy_beside_weights(folder, made, encoder)
        with checkpoints.open_weights(encoder) as weights:
            parameters = sum(array.size for array in weight_arrays(weights))
            tensors, dtypes = _beside_matrices(config, weights)
            engine, _ = architectures.load_encoder(encoder, config, where=where)
            for name, part in engine.packed().items():
                tensors[packed_name(name)], dtypes[packed_name(name)] = part, "U8"
            metadata = packed_metadata(where.dtype, parameters, tensors, dtypes)
            path = made / encoder.relative_to(folder) / PACKED_FILE
            write_safetensors(path, tensors, dtypes, metadata)
            PackedFile(path)  # what cannot be read again gets no name
    return Path(out)


def _beside_matrices(config: PretrainedConfig, weights: Weights) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """The tensors that stay in ordinary form, and their dtypes by the format's names."""
    row, settings = architectures.of(config), architectures.engine_config(config)
    present = by_modern_name(weights)
    prefix = encoder_prefix(row, present, weights)
    packed = {present.get(prefix + own) for name, own in wanted_tensors(row, settings) if is_matrix(name)}
    tensors = {name: weights[name] for name in weights if name not in packed}
    tensors = {
        name: array.astype(np.float32) if array.dtype == np.float64 else array for name, array in tensors.items()
    }
    dtypes = {name: weights.dtype_of(name) for name in tensors}
    return tensors, {
        name: "F32" if dtype == "F64" else dtype or format_dtype(tensors[name]) for name, dtype in dtypes.items()
    }
