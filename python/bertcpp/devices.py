"""Where a model computes: the processor, or an NVIDIA GPU. The one place that chooses between their engines."""

from __future__ import annotations

import ctypes
import os
import re
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from .errors import BertcppError, DeviceError, InputError

if TYPE_CHECKING:
    from types import ModuleType

    from numpy.typing import NDArray

    from . import _core

__all__ = [
    "PROCESSOR_DTYPES",
    "Device",
    "Target",
    "encoder",
    "gpus",
    "is_dtype",
    "native_dtypes",
    "resolve",
    "target",
    "why_no_gpu",
]

# What products are computed in, and the other names that PyTorch has for them.
PROCESSOR_DTYPES = ("float32", "bfloat16", "int8")
_GPU_DTYPES = ("float32", "tf32", "float16", "bfloat16")
_OTHER_NAMES = {"float": "float32", "half": "float16", "qint8": "int8"}
# The instruction sets that have instructions for products of other dtypes than float32.
_MULTIPLIED_BY = {
    "bfloat16": ("amx", "avx512_bf16"),
    "int8": ("amx", "avx512_bf16", "avx512_vnni", "avx2_vnni", "neon_dotprod"),
}
_DRIVER = "libcuda.so.1"


class Device(str):
    """Where a model computes: `"cpu"` or `"cuda:0"`, with the attributes `type` and `index` of a `torch.device`."""

    __slots__ = ()

    @property
    def type(self) -> str:
        """`"cpu"` or `"cuda"`."""
        return self.partition(":")[0]

    @property
    def index(self) -> int | None:  # type: ignore[override]  # as PyTorch has it; nobody searches in a device
        """The number of the GPU; None for the processor."""
        number = self.partition(":")[2]
        return int(number) if number else None


class Target(NamedTuple):
    """Where a model computes and in what.

    Attributes:
        device: as `resolve` gives it.
        dtype: what products are computed in, by the engine's name.
    """

    device: Device = Device("cpu")
    dtype: str = "float32"


def target(device: Any = None, dtype: Any = None, now: Target | None = None) -> Target:
    """Return where to compute and in what.

    Args:
        device: as `resolve` takes it; None stays where the model is.
        dtype: a name, or NumPy's or PyTorch's object for one; None stays with what the model computes in; "auto" takes
            int8 where the processor multiplies bytes fast, else float32, and on a GPU means None.
        now: what the model is; None is float32 on the processor.

    Raises:
        InputError: there is no such device, or it does not compute in this dtype.
        DeviceError: as `resolve`.
    """
    now = now or Target()
    place = now.device if device is None else resolve(device)
    if dtype is None:
        name = now.dtype
    elif str(dtype) == "auto":
        name = _fastest() if place.type == "cpu" else now.dtype
    else:
        name = getattr(dtype, "__name__", None) or str(dtype).removeprefix("torch.")
    name = _OTHER_NAMES.get(name, name)
    if name in (PROCESSOR_DTYPES if place.type == "cpu" else _GPU_DTYPES):
        return Target(place, name)
    if place.type == "cpu":
        raise InputError(
            f"dtype is {dtype or name!r}, but bertcpp computes in float32, bfloat16 or int8 on the processor, whatever "
            'the weights are stored in; pass one of these, "auto" or None'
        )
    raise InputError(f"dtype is {dtype or name!r}, but GPUs compute in {', '.join(_GPU_DTYPES)}")


def _fastest() -> str:
    """Of the dtypes whose loss docs/precision.md tells, the one that this processor is fastest in."""
    return "int8" if "int8" in native_dtypes() else "float32"


def native_dtypes() -> list[str]:
    """Return the dtypes that the instruction set in use multiplies in; the others that are known it emulates."""
    from . import _core

    own = _core.instruction_set()
    return ["float32", *(name for name, instruction_sets in _MULTIPLIED_BY.items() if own in instruction_sets)]


def gpus() -> list[str]:
    """Return what the CUDA part says of each GPU, by number; of none where `why_no_gpu` tells why."""
    if why_no_gpu() is not None:
        return []
    module = _module()
    return [module.device_text(number) for number in range(module.device_count())]


def is_dtype(value: Any) -> bool:
    """Tell whether this names a dtype, in which some device computes or not."""
    name = getattr(value, "__name__", None) or str(value).removeprefix("torch.")
    return re.fullmatch(r"b?float\d*|tf32|half|double|u?int\d+|complex\d+|bool", name) is not None


def resolve(device: Any) -> Device:
    """Return the device that is meant, which is there.

    Args:
        device: `"cpu"`, `"cuda"`, `"cuda:N"`, what prints like one of them (a `torch.device`), None for the processor,
            or `"auto"` for a GPU where one works, else the processor.

    Raises:
        InputError: it is none of these.
        DeviceError: a GPU is asked for, and it, its driver or the part of bertcpp that computes on it is missing.

    Example:
        >>> from bertcpp.devices import resolve
        >>> resolve("cpu").type, resolve(None)
        ('cpu', 'cpu')
    """
    name = "cpu" if device is None else str(device)
    if name in ("cpu", "cpu:0"):
        return Device("cpu")
    if name == "auto":
        return Device("cpu" if why_no_gpu() else "cuda:0")
    if not re.fullmatch(r"cuda(:\d{1,4})?", name):
        raise InputError(
            f"device is {device!r}, but bertcpp computes on 'cpu', the processor, and 'cuda', 'cuda:1' ..., NVIDIA "
            "GPUs; 'auto' takes a GPU where one works"
        )
    if reason := why_no_gpu():
        raise DeviceError(f"device is {device!r}, but {reason}")
    number = int(name.partition(":")[2] or 0)
    count = _module().device_count()
    if number >= count:
        raise DeviceError(f"device is {device!r}, but the driver offers {count} GPUs, numbered from 0")
    return Device(f"cuda:{number}")


def why_no_gpu() -> str | None:
    """Return what is missing to compute on a GPU, with the remedy; None where nothing is."""
    from importlib.util import find_spec

    if find_spec("bertcpp._cuda") is None:
        return (
            "this build of bertcpp has no CUDA part; build it where nvcc and cuBLASLt are installed "
            "(BERTCPP_CUDA=ON pip install ., see docs/cuda.md)"
        )
    try:
        ctypes.CDLL(_DRIVER)
    except OSError:
        return f"there is no NVIDIA driver on this machine ({_DRIVER} is not found); install one"
    try:
        count = _module().device_count()
    except ImportError as error:
        if "cublas" in str(error):
            return f"cuBLASLt is not found ({error}); pip install nvidia-cublas nvidia-cuda-runtime"
        return f"the CUDA part of bertcpp cannot be loaded: {error}"
    except BertcppError as error:
        return f"the NVIDIA driver does not work: {error}"
    if count == 0:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        hint = "" if visible is None else f" (CUDA_VISIBLE_DEVICES is {visible!r})"
        return f"the NVIDIA driver offers no GPU{hint}"
    return None


def encoder(
    settings: dict[str, Any],
    weights: dict[str, NDArray[Any]],
    where: Target | None = None,
    decoder: _core.Linear | None = None,
) -> _core.Encoder:
    """Build the engine of a device.

    Args:
        settings: as `bertcpp._core.Encoder` takes them.
        weights: likewise.
        where: None is float32 on the processor.
        decoder: a head's layer over the same word embeddings, where there is one; the processor's engine reads them out
            of it. A GPU has its own copy.

    Raises:
        InputError: the device does not compute in this dtype.
        DeviceError: the GPU does not do what it is asked for.
        DeviceMemoryError: its memory is used up.
        ConfigError, WeightMismatchError: as `bertcpp._core.Encoder`.
    """
    where = where or Target()
    if where.device.type == "cpu":
        from . import _core

        return _core.Encoder({**settings, "dtype": where.dtype}, weights, decoder=decoder)
    engine = _module().Encoder(settings, weights, dtype=where.dtype, device=where.device.index)
    return cast("_core.Encoder", engine)


def _module() -> ModuleType:
    """`bertcpp._cuda`, and cuBLASLt with it: the system's, or the one that a package of NVIDIA's brought."""
    from importlib import import_module
    from importlib.util import find_spec
    from pathlib import Path

    try:
        return import_module("bertcpp._cuda")
    except ImportError as error:
        packages = find_spec("nvidia")
        if "cublas" not in str(error) or packages is None:
            raise
        for folder in packages.submodule_search_locations or ():
            for library in sorted(Path(folder).glob("*/lib/libcublasLt.so.*"), reverse=True):
                ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
        return import_module("bertcpp._cuda")
