"""The engine on NVIDIA GPUs, where this build has it: `bertcpp._core.Encoder` on a device.

Loaded only when a GPU is asked for. Whatever is wrong raises an exception of `bertcpp.errors`.
"""

from typing import Any, final

from numpy.typing import NDArray

from . import _core

def device_count() -> int:
    """How many GPUs the driver offers. Raises DeviceError where it does not work."""

def device_text(device: int) -> str:
    """A GPU's name, memory and compute capability. Raises DeviceError where there is no such GPU."""

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
