"""What a checkpoint is, and what this machine computes it with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import __version__, _core, architectures, checkpoints, devices
from .configuration import AutoConfig
from .errors import CheckpointNotFoundError
from .packed_weights import PackedWeights
from .pooling import Dense, LayerNorm, Modules, plain_modules, read_modules, read_settings

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from .weights import Weights

__all__ = ["describe_checkpoint", "describe_machine", "weight_arrays"]


def describe_machine() -> dict[str, Any]:
    """Return the processor, its caches in bytes, the instruction set and threads in use, dtypes, and GPUs or why none.

    Of the dtypes those are native that the instruction set in use has products for; the others are emulated.
    """
    cpu = _core.cpu_info()
    native = devices.native_dtypes()
    return {
        "bertcpp": __version__,
        "processor": cpu["model_name"],
        "caches": dict(cpu["caches"]),
        "instruction_set": _core.instruction_set(),
        "also_here": [name for name in _core.instruction_sets() if name != _core.instruction_set()],
        "native_dtypes": native,
        "emulated_dtypes": [name for name in ("float32", "bfloat16", "int8") if name not in native],
        "auto_dtype": devices.target(dtype="auto").dtype,
        "threads": _core.get_num_threads(),
        "processors": _core.available_cpus(),
        "gpus": devices.gpus() or f"none: {devices.why_no_gpu()}",
    }


def describe_checkpoint(name: str) -> dict[str, Any]:
    """Return what a checkpoint is, without loading its weights.

    Raises:
        BertcppError: if it is missing, broken, or of a kind that is not read.
    """
    folder = checkpoints.locate(name)
    modules = read_modules(folder)
    parts = modules or plain_modules(folder)
    config = AutoConfig.from_pretrained(parts.encoder)
    architectures.of(config)  # says so if it is no family of ours
    heads = config.num_attention_heads
    lost = sum(map(len, architectures.pruned_heads(config).values()))
    facts: dict[str, Any] = {
        "name": name,
        "folder": str(folder),
        "model_type": config.model_type,
        "layers": config.num_hidden_layers,
        "hidden_size": config.hidden_size,
        "heads": f"{heads} of {config.hidden_size // heads}" + (f", {lost} left out" if lost else ""),
        "intermediate": config.intermediate_size,
        "activation": config.hidden_act,
        "vocabulary": config.vocab_size,
        "positions": config.max_position_embeddings,
    }
    with checkpoints.open_weights(parts.encoder, packed=True) as weights:
        if isinstance(weights, PackedWeights):
            facts["parameters"] = weights.file.parameters
            facts["stored_as"] = [f"{weights.file.dtype}, packed for {weights.file.instruction_set}"]
        else:
            numbers = weight_arrays(weights)
            facts["parameters"] = sum(tensor.size for tensor in numbers)
            facts["stored_as"] = sorted({"bfloat16" if t.dtype.name == "uint16" else t.dtype.name for t in numbers})
    facts |= (
        _about_embedding(folder, parts) if modules else {"pooling": "not stated (SentenceTransformer takes the mean)"}
    )
    facts["files"] = _files(folder)
    return facts


def weight_arrays(weights: Weights) -> list[NDArray[Any]]:
    """Return the tensors that hold weights, unlike a table of positions."""
    return [tensor for tensor in weights.values() if tensor.dtype.kind in "fu"]


def _about_embedding(folder: Path, modules: Modules) -> dict[str, Any]:
    settings = read_settings(folder)
    steps = list(modules.pooling.modes)
    for head in modules.heads:
        size = f" {head.in_features} to {head.out_features}" if isinstance(head, Dense) else ""
        steps.append(type(head).__name__ + (f" {head.dimension}" if isinstance(head, LayerNorm) else size))
    facts: dict[str, Any] = {"pooling": ", then ".join(steps)}
    if modules.max_seq_length is not None:
        facts["max_seq_length"] = modules.max_seq_length
    if prompts := {name: text for name, text in (settings.get("prompts") or {}).items() if text}:
        facts["prompts"] = prompts
    facts["similarity"] = settings.get("similarity_fn_name") or "cosine"
    return facts


def _files(folder: Path) -> dict[str, int]:
    """Return the bytes of each file, by its path in the folder."""
    found = {str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    if not found:
        raise CheckpointNotFoundError(f"{folder} holds no files")
    return dict(sorted(found.items()))
