"""Arrays in and out: NumPy arrays, PyTorch tensors and nested lists, without importing torch."""

from __future__ import annotations

import operator
import sys
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .errors import InputError, InputTypeError, MissingDependencyError

__all__ = [
    "AnyArray",
    "FloatArray",
    "Int32Array",
    "LentArray",
    "as_array",
    "as_torch_tensor",
    "check_torch_tensor",
    "gpu_of",
    "is_torch_tensor",
    "require_torch",
]

_CUDA = 2  # DLPack's number for the memory of an NVIDIA GPU
_ELSEWHERE = {10: "an AMD GPU (ROCm)", 13: "CUDA managed memory"}  # its numbers for what no model reads

Int32Array: TypeAlias = NDArray[np.int32]
FloatArray: TypeAlias = NDArray[np.float32]
AnyArray: TypeAlias = NDArray[Any]


def is_torch_tensor(value: object) -> bool:
    """Whether this is a PyTorch tensor; never imports torch, which is loaded if there is a tensor."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, getattr(torch, "Tensor", ()))


class LentArray(NamedTuple):
    """An array that a caller lends on the model's GPU, which the host does not look into.

    Attributes:
        shape: as of a NumPy array.
        dtype: likewise; float32 stands for bfloat16.
        borrowed: the engine's hold on it, a `bertcpp._cuda.Borrowed`.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    borrowed: Any

    @property
    def ndim(self) -> int:
        """How many dimensions it has."""
        return len(self.shape)


def gpu_of(value: object, name: str) -> int | None:
    """Return the number of the NVIDIA GPU that an array lies on; None for anything else.

    Args:
        value: an array, or whatever the caller passed.
        name: the argument's name, for messages.

    Raises:
        InputTypeError: it does not say where it lies as DLPack has it.
    """
    if is_torch_tensor(value) and not value.is_cuda:  # type: ignore[attr-defined]  # a tensor
        return None
    kind, number = _dlpack_device(value, name)
    return number if kind == _CUDA else None


def _dlpack_device(value: Any, name: str) -> tuple[int, int]:
    """What kind of memory an array lies in, and the number of its device; (0, 0) for what knows no DLPack."""
    if isinstance(value, (np.ndarray, type)) or not hasattr(value, "__dlpack_device__"):
        return 0, 0
    place = value.__dlpack_device__()
    try:
        kind, number = (operator.index(part) for part in place)
    except (TypeError, ValueError):
        raise InputTypeError(
            f"{name}.__dlpack_device__() gave {place!r}, not DLPack's numbers of a kind of memory and a device; pass a "
            "NumPy array"
        ) from None
    return kind, number


def as_torch_tensor(array: AnyArray) -> Any:
    """A PyTorch tensor over the same memory; for callers who passed tensors, so torch is loaded already."""
    return sys.modules["torch"].from_numpy(array)


def require_torch() -> Any:
    """Import torch, for callers who asked for tensors.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        import torch
    except ImportError:
        raise MissingDependencyError(
            "tensors need PyTorch, which is not installed: pip install 'bertcpp[torch]', or leave convert_to_tensor "
            "and convert_to_numpy as they are for NumPy arrays"
        ) from None
    return torch


def as_array(value: Any, name: str) -> AnyArray:
    """A NumPy array of a NumPy array, a PyTorch tensor or nested lists, in the machine's byte order.

    Args:
        value: what the caller passed.
        name: the argument's name, for messages.

    Raises:
        InputError: the value is no array of numbers or booleans, or lies on another device than the CPU; an
            InputTypeError where its own library makes no NumPy array of it.
    """
    if is_torch_tensor(value):
        array = _from_torch(value, name)
    elif (gpu := gpu_of(value, name)) is not None:
        raise InputError(f"{name} lies on cuda:{gpu}; copy it to the CPU first")
    elif isinstance(value, np.ndarray):
        array = value
    elif isinstance(value, (str, bytes, dict)) or hasattr(value, "keys"):
        remedy = "tokenize texts first" if isinstance(value, (str, bytes)) else "unpack it: model(**inputs)"
        raise InputError(f"{name} must be an array of numbers, not a {type(value).__name__}; {remedy}")
    else:
        try:
            array = np.asarray(value)
        except ValueError as error:
            raise InputError(f"{name} is no rectangular array: {error}; pad its rows to one length") from error
        except TypeError as error:
            place = _ELSEWHERE.get(_dlpack_device(value, name)[0])
            what = "cannot be read as an array" if place is None else f"lies in {place}, which bertcpp does not read"
            raise InputTypeError(f"{name} {what}: {error}; pass a NumPy array of its values") from error
    if array.dtype.kind not in "biuf":
        what = "texts; tokenize them first" if array.dtype.kind in "US" else f"of dtype {array.dtype}"
        if array.dtype.kind == "O":
            texts = any(isinstance(item, (str, bytes)) for item in array.flat)
            what = "texts; tokenize them first" if texts else "Python objects; pass an array of integers or floats"
        raise InputError(f"{name} must be an array of numbers, but these are {what}")
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def check_torch_tensor(tensor: Any, name: str) -> Any:
    """Return a tensor whose values can be read.

    Raises:
        InputError: it is sparse, or asks for gradients.
    """
    torch = sys.modules["torch"]
    if tensor.layout is not torch.strided:
        raise InputError(f"{name} has the layout {tensor.layout}; pass {name}.to_dense()")
    if tensor.requires_grad and torch.is_grad_enabled():
        raise InputError(f"{name} asks for gradients, which bertcpp does not compute; pass {name}.detach()")
    return tensor


def _from_torch(tensor: Any, name: str) -> AnyArray:
    torch = sys.modules["torch"]
    if not tensor.is_cpu:
        raise InputError(f"{name} lies on {tensor.device}; bertcpp computes on the CPU: pass {name}.cpu()")
    tensor = check_torch_tensor(tensor, name)
    if tensor.dtype is torch.bfloat16:
        tensor = tensor.float()
    array: AnyArray = tensor.detach().numpy()
    return array
