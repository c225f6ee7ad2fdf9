"""Libraries whose arrays lie on a GPU: PyTorch, and a minimal one for the emulated GPU, whose memory is the host's."""

from __future__ import annotations

import ctypes
from typing import Any, ClassVar

import numpy as np
import torch

_CUDA = 2


class _ManagedTensor(ctypes.Structure):
    """DLPack's description of an array, as it was before version 1.0."""

    _fields_: ClassVar[list[tuple[str, Any]]] = [
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_index", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
    ]


def described(capsule: Any) -> _ManagedTensor:
    """What a capsule says, to be read and written."""
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return _ManagedTensor.from_address(pointer(capsule, b"dltensor"))


class EmulatedArray:
    """An array of the emulated GPU, over a NumPy array."""

    def __init__(self, array: np.ndarray, code: int | None = None, index: int = 0) -> None:
        self.array, self.code, self.index = array, code, index
        self.streams: list[int | None] = []

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    def reshape(self, *shape: int) -> EmulatedArray:
        return EmulatedArray(self.array.reshape(*shape))

    def __array_namespace__(self) -> Any:
        return Emulated

    def __dlpack_device__(self) -> tuple[int, int]:
        return _CUDA, self.index

    def __dlpack__(self, *, stream: int | None = None) -> Any:
        self.streams.append(stream)
        capsule = self.array.__dlpack__()
        tensor = described(capsule)
        tensor.device_type, tensor.device_index = _CUDA, self.index
        tensor.code = tensor.code if self.code is None else self.code
        return capsule


class _OnHost:
    def __init__(self, capsule: Any) -> None:
        self.capsule = capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0

    def __dlpack__(self, **options: Any) -> Any:
        return self.capsule


class Emulated:
    """The library of emulated arrays."""

    bfloat16_code: ClassVar[int] = 4

    @staticmethod
    def from_dlpack(array: Any) -> EmulatedArray:
        assert array.__dlpack_device__() == (_CUDA, 0)
        capsule = array.__dlpack__(stream=1, max_version=(1, 0))
        tensor = described(capsule)
        assert (tensor.device_type, tensor.device_index) == (_CUDA, 0)
        tensor.device_type = 1
        return EmulatedArray(np.from_dlpack(_OnHost(capsule)))

    @staticmethod
    def lend(array: Any) -> EmulatedArray:
        return EmulatedArray(np.array(array))

    @classmethod
    def lend_bfloat16(cls, array: np.ndarray) -> EmulatedArray:
        return EmulatedArray((array.view(np.uint32) >> 16).astype(np.uint16), cls.bfloat16_code)

    @staticmethod
    def strided(array: np.ndarray) -> EmulatedArray:
        """The same values where neither rows nor columns follow each other."""
        wide = np.zeros((array.shape[1], 2 * array.shape[0], *array.shape[2:]), array.dtype)
        wide[:, ::2] = array.swapaxes(0, 1)
        return EmulatedArray(wide[:, ::2].swapaxes(0, 1))

    @staticmethod
    def on_host(array: Any) -> np.ndarray:
        assert isinstance(array, EmulatedArray)
        return array.array


class Torch:
    """PyTorch on the first GPU."""

    from_dlpack = staticmethod(torch.from_dlpack)

    @staticmethod
    def lend(array: Any) -> torch.Tensor:
        return torch.from_numpy(np.array(array)).cuda()

    @classmethod
    def lend_bfloat16(cls, array: np.ndarray) -> torch.Tensor:
        return cls.lend(array).bfloat16()

    @classmethod
    def strided(cls, array: np.ndarray) -> torch.Tensor:
        wide = torch.zeros((array.shape[1], 2 * array.shape[0], *array.shape[2:]), dtype=cls.lend(array).dtype).cuda()
        wide[:, ::2] = cls.lend(array).transpose(0, 1)
        return wide[:, ::2].transpose(0, 1)

    @staticmethod
    def on_host(array: Any) -> np.ndarray:
        assert isinstance(array, torch.Tensor)
        assert array.is_cuda
        return array.cpu().numpy()
