"""Reads PyTorch's own weight files, which are pickles, through PyTorch's safe loader only.

Loaders before torch 2.10 could be made to run code even with ``weights_only=True`` or to corrupt memory, so older ones
are refused.
"""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

from .errors import CheckpointError, CorruptCheckpointError, MissingDependencyError, UnsupportedFormatError

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

__all__ = ["as_weight", "read_torch_file"]

_OLDEST = (2, 10)
_CONVERT = (
    "or convert the checkpoint once, where torch is installed: transformers.AutoModel.from_pretrained(folder)"
    ".save_pretrained(folder) writes model.safetensors"
)


def read_torch_file(path: Path) -> dict[str, NDArray[Any]]:
    """Read the tensors of a ``pytorch_model.bin``, mapped where its layout allows; bfloat16 as its bits in uint16.

    Raises:
        MissingDependencyError: torch 2.10 or later is not installed.
        UnsupportedFormatError: it holds other objects than tensors, which only an unsafe loader would make.
        CorruptCheckpointError: it is damaged.
        CheckpointError: it cannot be read.
    """
    torch = _safe_torch(path)
    loaded = _load(torch, path)
    if not isinstance(loaded, dict):
        raise CorruptCheckpointError(f"{path} holds a {type(loaded).__name__} where tensors by name are needed")
    tensors = {
        name: as_weight(tensor, name, path)
        for name, tensor in loaded.items()
        if isinstance(name, str) and isinstance(tensor, torch.Tensor)
    }
    if not tensors:
        raise CorruptCheckpointError(f"{path} holds no tensors by name; save model.state_dict() there")
    return tensors


def _safe_torch(path: Path) -> Any:
    """The torch module, once it is known to be recent."""
    try:
        import torch
    except ImportError as error:
        raise MissingDependencyError(
            f"{path} is a pickle, which is read by torch's safe loader alone: pip install 'torch>=2.10', {_CONVERT}"
        ) from error
    version = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    if version < _OLDEST:
        raise MissingDependencyError(
            f"{path} is a pickle, and the loader of torch {torch.__version__} is not safe with files of others: "
            f"pip install 'torch>=2.10', {_CONVERT}"
        )
    return torch


def _load(torch: Any, path: Path) -> Any:
    try:
        with path.open("rb") as file:
            mapped = file.read(4) == b"PK\x03\x04"  # files from before torch 1.6 are no archives: they cannot be mapped
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}; check its permissions") from error
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        if any(sign in str(error) for sign in ("allowed global", "is blocked", "Unsupported class")):
            raise UnsupportedFormatError(
                f"{path} holds something else than tensors, which torch's safe loader does not make; ask whoever made "
                "it for model.safetensors"
            ) from error
        raise _damaged(path, error) from error
    except (
        OSError,
        RuntimeError,
        ValueError,
        TypeError,
        EOFError,
        LookupError,
        AttributeError,
        AssertionError,
    ) as error:
        # What torch's archive reader and its unpickler raise over bytes that are not as they should be.
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> CorruptCheckpointError:
    # The unpickler's reason comes after advice on how to load unsafely.
    reason = str(error).partition("WeightsUnpickler error:")[2] or str(error)
    return CorruptCheckpointError(f"{path} is damaged ({reason.strip().partition(chr(10))[0]}); get the file again")


def as_weight(tensor: torch.Tensor, name: str, path: Path) -> NDArray[Any]:
    """Return a tensor as an array over the same memory; bfloat16 as its bits in uint16.

    Raises:
        UnsupportedFormatError: it is sparse or quantized, or of a dtype that NumPy does not have.
    """
    import torch

    if tensor.layout is not torch.strided or tensor.is_quantized:
        raise UnsupportedFormatError(f"{path}: tensor {name!r} is sparse or quantized; save it dense, as float32")
    tensor = tensor.detach()
    if tensor.dtype is torch.uint16:
        tensor = tensor.to(torch.int32)  # no weights, and not to be taken for bfloat16
    if tensor.dtype is torch.bfloat16:
        tensor = tensor.contiguous().view(torch.uint16)
    try:
        array: NDArray[Any] = tensor.numpy()
    except TypeError as error:
        raise UnsupportedFormatError(
            f"{path}: tensor {name!r} has the dtype {tensor.dtype}; save it as float32"
        ) from error
    return array
