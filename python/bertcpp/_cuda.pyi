"""The engine on NVIDIA GPUs, where this build has it: `bertcpp._core.Encoder` on a device.

Loaded only when a GPU is asked for. Whatever is wrong raises an exception of `bertcpp.errors`.
"""

from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from . import _core

def device_count() -> int:
    """How many GPUs the driver offers. Raises DeviceError where it does not work."""

def device_text(device: int) -> str:
    """A GPU's name, memory and compute capability. Raises DeviceError where there is no such GPU."""

@final
class Array:
    """Results in a GPU's memory, float32 in row-major order, which any library takes that knows DLPack.

    They are complete: every stream may read them at once. The memory is given back with the last that holds it.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """As of a NumPy array."""

    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """A capsule "dltensor". Raises BufferError for another device, a copy, or stream 0.

        Raises InputError for a stream that is no number.
        """

    def __dlpack_device__(self) -> tuple[int, int]:
        """2, DLPack's number for CUDA, and the GPU's."""

@final
class Borrowed:
    """A caller's array on a GPU, which is kept while this is."""

    @property
    def shape(self) -> tuple[int, ...]:
        """As of a NumPy array."""

    @property
    def dtype(self) -> str:
        """As NumPy names it, and bfloat16."""

@final
class Encoder(_core.Encoder):  # type: ignore[misc]  # the same methods; no subclass at run time
    """A BERT-family encoder over packed batches on a GPU. Threads that call one wait for each other."""

    def __init__(
        self, config: dict[str, Any], weights: dict[str, NDArray[Any]], *, dtype: str = "float32", device: int = 0
    ) -> None:
        """Copies the weights to the device.

        dtype: what products are computed in: float32, tf32, float16 or bfloat16; sums, LayerNorm and results are
        float32. num_threads of the calls means nothing here.
        Raises ConfigError, WeightMismatchError, DeviceError, DeviceMemoryError, InputError.
        """

    @property
    def device(self) -> int:
        """The GPU's number."""

    @property
    def stream(self) -> int:
        """The stream that it computes on, as `__dlpack__` takes it: what is put there before a call is done first."""

    def borrow(self, capsule: Any, name: str) -> Borrowed:
        """Takes what an array's `__dlpack__(stream=...)` gave; `name` is for messages.

        Raises InputError where it is no capsule of a tensor, is on another device, its elements are no numbers, or its
        sizes, strides and address make no sense.
        """

    def fetch(self, array: Borrowed) -> NDArray[Any]:
        """A copy on the host, in one transfer through pinned memory; bfloat16 as its bits in uint16.

        Of a view, the rows along its longest strides come without what lies between them, where that is more than half.
        """

    def upload(self, values: NDArray[np.float32]) -> Array:
        """A copy on the GPU. Raises DeviceMemoryError."""

    def forward_padded(
        self,
        input_ids: NDArray[np.integer[Any]] | None,
        cu_seqlens: NDArray[np.integer[Any]],
        position_ids: NDArray[np.integer[Any]],
        token_type_ids: NDArray[np.integer[Any]] | None = None,
        *,
        inputs_embeds: NDArray[np.floating[Any]] | Borrowed | None = None,
        key_lens: NDArray[np.integer[Any]] | None = None,
        columns: NDArray[np.integer[Any]] | None = None,
        cells: NDArray[np.integer[Any]] | None = None,
        width: int,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        pooler: bool = True,
    ) -> dict[str, Any]:
        """`forward` with results that are padded as a caller's [B, width] arrays are, and stay on the GPU.

        cells: [T], the place of each token in the flattened rows, each another; None: 0, 1, 2 ...
        inputs_embeds: packed on the host, or [B, width, E] on the GPU.
        Returns the same names with `Array`s: hidden states [B, width, H] and attentions [B, A, width, width], zeros
        where no token is; pooler_output [B, H].
        Raises InputError, TokenIdError, DeviceError, DeviceMemoryError.
        """
