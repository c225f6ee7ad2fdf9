"""One call of a model: what the caller passed is packed, computed, and given back as the caller's kind of array."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from .arrays import as_torch_tensor, is_torch_tensor
from .gpu_arrays import GpuCaller

if TYPE_CHECKING:
    from collections.abc import Callable

    from .packed_batch import PackedBatch
    from .packing import Packer

__all__ = ["INPUTS", "EnginePass", "run_engine"]

# The arrays of a call, in the order of `Packer.pack`.
INPUTS = ("input_ids", "attention_mask", "token_type_ids", "position_ids", "inputs_embeds")


class EnginePass(NamedTuple):
    """One call of the engine.

    Attributes:
        batch: what it was given.
        answer: what it answered.
        wrap: makes the caller's kind of arrays.
        padded: the answer is padded already, on the GPU.
    """

    batch: PackedBatch
    answer: dict[str, Any]
    wrap: Callable[[Any], Any]
    padded: bool

    def states(self, layer: Any) -> Any:
        """Return hidden states of the answer padded, as the caller's kind of array."""
        return self.wrap(layer if self.padded else self.batch.pad(layer))

    def attentions(self, layer: Any) -> Any:
        """Return a layer's attention of the answer padded, as the caller's kind of array."""
        return self.wrap(layer if self.padded else self.batch.pad_attentions(layer))


def run_engine(
    core: Any,
    packer: Packer,
    inputs: tuple[Any, ...],
    options: dict[str, Any],
    *,
    keep_first: bool,
    stay_on_gpu: bool,
    num_threads: int,
) -> EnginePass:
    """Pack `inputs`, in the order of `INPUTS`, and call the engine once.

    Args:
        core: the engine.
        packer: the model's.
        inputs: whatever the caller passed.
        options: of the engine's `forward`: what is wanted beside the last hidden state.
        keep_first: a row's first token is wanted even if it is masked.
        stay_on_gpu: where the caller's arrays lie on the model's GPU, the answers are padded there.
        num_threads: threads of the engine; 0 means its default.

    Raises:
        InputError, MaskError, TokenIdError, SequenceTooLongError: as `Packer.pack`, or as the engine.
    """
    named = dict(zip(INPUTS, inputs, strict=True))
    caller = GpuCaller.of(named, core)
    if caller is None:
        wrap = as_torch_tensor if any(map(is_torch_tensor, inputs)) else _unchanged
    else:
        inputs, wrap = caller.taken(named, lend=stay_on_gpu), caller.given
    batch = packer.pack(*inputs, keep_first=keep_first)
    arguments = (batch.input_ids, batch.cu_seqlens, batch.position_ids, batch.token_type_ids)
    options = options | {"key_lens": batch.key_lens, "columns": batch.columns}
    if caller is not None and stay_on_gpu:
        return EnginePass(batch, caller.forward(batch, arguments, options), wrap, True)
    options |= {"inputs_embeds": batch.inputs_embeds, "num_threads": num_threads}
    return EnginePass(batch, core.forward(*arguments, **options), wrap, False)


def _unchanged(value: Any) -> Any:
    return value
