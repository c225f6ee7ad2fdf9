"""Arrays that lie on a GPU, into a model there and out of it by DLPack, without a way through the host."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from .arrays import AnyArray, LentArray, as_array, check_torch_tensor, gpu_of, is_torch_tensor, require_torch
from .errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from . import _cuda
    from .packed_batch import PackedBatch

__all__ = ["GpuCaller", "host_array", "torch_tensor"]


class GpuCaller:
    """The caller of a model on a GPU whose arrays lie there, too: PyTorch, or another library that knows DLPack.

    What the host must know to pack a batch (ids, masks, types, positions) comes there in one transfer each; floats stay
    where they are.
    """

    def __init__(self, core: _cuda.Encoder, array: Any) -> None:
        """Serve the caller that `array` is of."""
        self._core = core
        self._import = _importer(array)

    @classmethod
    def of(cls, arguments: Mapping[str, Any], core: Any) -> GpuCaller | None:
        """Return the caller of these arguments; None where none of them lies on a GPU.

        Args:
            arguments: by name, whatever they are.
            core: the model's engine.

        Raises:
            InputError: one lies on a GPU, but the model computes elsewhere, or one does not say where it lies.
        """
        first = None
        for name, value in arguments.items():
            number = gpu_of(value, name)
            if number is None:
                continue
            here = getattr(core, "device", None)
            if number != here:
                place, target = ("the processor", "cpu") if here is None else (f"cuda:{here}", f"cuda:{here}")
                moved = f"pass {name}.to({target!r})" if is_torch_tensor(value) else f"copy {name} there"
                raise InputError(
                    f"{name} lies on cuda:{number}, but the model computes on {place}; {moved}, or move the model: "
                    f"model.to('cuda:{number}')"
                )
            first = value if first is None else first
        return None if first is None else cls(core, first)

    def taken(self, arguments: Mapping[str, Any], *, lend: bool) -> tuple[Any, ...]:
        """Return what the packer takes of a model's arguments, in their order.

        Args:
            arguments: by name.
            lend: floats stay on the GPU, for `forward`.
        """
        return tuple(
            self._lent(value, name) if lend and name == "inputs_embeds" else self.on_host(value, name)
            for name, value in arguments.items()
        )

    def forward(self, batch: PackedBatch, arguments: tuple[Any, ...], options: dict[str, Any]) -> dict[str, Any]:
        """Call the engine for answers that are padded on the GPU and stay there; `given` makes the caller's of them.

        Args:
            batch: what `taken` gave, packed.
            arguments: of the engine's `forward`, in order.
            options: the same, by name.
        """
        embeds = batch.inputs_embeds
        return self._core.forward_padded(
            *arguments,
            inputs_embeds=embeds.borrowed if isinstance(embeds, LentArray) else embeds,
            cells=batch.cells,
            width=batch.shape[1],
            **options,
        )

    def on_host(self, value: Any, name: str) -> Any:
        """Return a NumPy array of what lies on the GPU, anything else as it is."""
        if gpu_of(value, name) is None:
            return value
        borrowed = self._borrowed(value, name)
        array = self._core.fetch(borrowed)
        if borrowed.dtype == "bfloat16":
            return (array.astype(np.uint32) << 16).view(np.float32)
        return array

    def given(self, array: Any) -> Any:
        """Return a result of the engine, or a NumPy array of float32, as an array of the caller's on the GPU."""
        if isinstance(array, np.ndarray):
            array = self._core.upload(np.ascontiguousarray(array))
        return self._import(array)

    def _lent(self, value: Any, name: str) -> Any:
        """What lies on the GPU, where it lies; anything else as it is."""
        if gpu_of(value, name) is None:
            return value
        borrowed = self._borrowed(value, name)
        dtype = "float32" if borrowed.dtype == "bfloat16" else borrowed.dtype  # NumPy has no name for that one
        return LentArray(tuple(borrowed.shape), np.dtype(dtype), borrowed)

    def _borrowed(self, value: Any, name: str) -> _cuda.Borrowed:
        if is_torch_tensor(value):
            value = check_torch_tensor(value, name).detach()
            if value.dtype.is_complex:
                raise InputError(f"{name} must be numbers, not {value.dtype}")
            device = sys.modules["torch"].cuda.device(value.device)  # PyTorch lends on its current device alone
        else:
            device = nullcontext()
        # The engine's stream waits for what the caller still computes.
        with device:
            return self._core.borrow(value.__dlpack__(stream=self._core.stream), name)


def host_array(value: Any, name: str, core: Any) -> AnyArray:
    """Return the NumPy array of an argument that the host reads, wherever it lies; see `arrays.as_array`.

    Args:
        value: the argument.
        name: its name, for messages.
        core: the model's engine.
    """
    caller = GpuCaller.of({name: value}, core)
    return as_array(value if caller is None else caller.on_host(value, name), name)


def torch_tensor(array: NDArray[Any], core: Any) -> Any:
    """Return a PyTorch tensor of a result: of float32 on the model's GPU, where PyTorch can have one there.

    Args:
        array: the result, on the host.
        core: the model's engine.

    Raises:
        MissingDependencyError: PyTorch is not installed.
    """
    torch = require_torch()
    there = getattr(core, "device", None) is not None and torch.cuda.is_available()
    if not there or array.dtype != np.float32:
        return torch.from_numpy(array)
    return torch.from_dlpack(core.upload(np.ascontiguousarray(array)))


def _importer(array: Any) -> Callable[[Any], Any]:
    """The function of an array's library that takes arrays by DLPack; without one they stay the engine's."""
    if is_torch_tensor(array):
        return sys.modules["torch"].from_dlpack  # type: ignore[no-any-return]  # torch is not imported here
    if hasattr(array, "__array_namespace__"):
        return array.__array_namespace__().from_dlpack  # type: ignore[no-any-return]  # by the array API standard
    library = sys.modules.get(type(array).__module__.partition(".")[0])
    return getattr(library, "from_dlpack", _unchanged)


def _unchanged(array: Any) -> Any:
    return array
