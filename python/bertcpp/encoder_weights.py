"""Collects an encoder's tensors from a checkpoint: by which names they go there, and whether their shapes fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .errors import MissingTensorError, WeightMismatchError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from .architectures import Architecture
    from .configuration import PretrainedConfig
    from .weights import Weights

__all__ = ["by_modern_name", "checked", "collect", "encoder_prefix", "float32", "is_matrix", "wanted_tensors"]

Array = NDArray[Any]
EngineConfig = dict[str, int | float | str]

# Shapes by the engine's names; letters as in ARCHITECTURE.md, {i} a layer's number, W the width of its heads together.
_SHAPES = {
    "embeddings.word": "VE",
    "embeddings.position": "PE",
    "embeddings.token_type": "TE",
    "embeddings.norm": "E",
    "embeddings.projection": "HE",
    "layers.{i}.attention.query": "WH",
    "layers.{i}.attention.key": "WH",
    "layers.{i}.attention.value": "WH",
    "layers.{i}.attention.output": "HW",
    "layers.{i}.attention.norm": "H",
    "layers.{i}.ffn.up": "IH",
    "layers.{i}.ffn.down": "HI",
    "layers.{i}.ffn.norm": "H",
    "relative_attention_bias": "RA",
    "pooler": "HH",
}
_TABLES = frozenset({"embeddings.word", "embeddings.position", "embeddings.token_type", "relative_attention_bias"})


def collect(
    config: PretrainedConfig,
    row: Architecture,
    settings: EngineConfig,
    weights: Weights,
    add_pooling_layer: bool,
    pruned: Mapping[int, Collection[int]],
) -> tuple[dict[str, Array], list[str]]:
    """Collect a checkpoint's tensors under the engine's names; see `bertcpp.architectures.engine_weights`."""
    present = by_modern_name(weights)
    prefix = encoder_prefix(row, present, weights)
    wanted = dict(wanted_tensors(row, settings))
    pooler = [f"{prefix}{row.tensors['pooler']}.{part}" for part in ("weight", "bias")] if row.has_pooler else []
    if not add_pooling_layer or not any(name in present for name in pooler):
        wanted = {name: own for name, own in wanted.items() if not name.startswith("pooler.")}
    if not weights.has_matrices:
        wanted = {name: own for name, own in wanted.items() if not is_matrix(name)}
    missing = [prefix + own for own in wanted.values() if prefix + own not in present]
    if missing:
        raise _missing(missing, weights, settings)
    sizes = _sizes(config, row, settings)

    def tensor(own: str, shape: tuple[int, ...]) -> Array:
        name = present.get(prefix + own)
        if name is None:
            raise _missing([prefix + own], weights, settings)
        return checked(weights, name, shape)

    collected = {name: tensor(own, _shape(name, sizes, pruned)) for name, own in wanted.items()}
    if row.relative_buckets:
        table = collected["relative_attention_bias.weight"]
        collected["relative_attention_bias.weight"] = table[: row.relative_buckets]
    if row.adjust is not None:
        row.adjust(config, collected, tensor)
    if not weights.has_matrices:
        return collected | weights.packed(), []
    packed = [present[prefix + own] for name, own in wanted.items() if name.rpartition(".")[0] not in _TABLES]
    return collected, packed


def is_matrix(name: str) -> bool:
    """Whether the tensor of this name of the engine's is a matrix that `bertcpp quantize` keeps packed alone.

    The pooler's is not: heads may read it as well.
    """
    stem, _, part = name.rpartition(".")
    if stem.startswith("layers."):
        stem = "layers.{i}." + stem.split(".", 2)[2]
    return part == "weight" and stem != "pooler" and stem not in _TABLES and len(_SHAPES[stem]) == 2


def wanted_tensors(row: Architecture, settings: EngineConfig) -> Iterable[tuple[str, str]]:
    """Yield (the engine's name, the checkpoint's without its prefix) of every tensor of the encoder and the pooler."""
    for name, own in row.tensors.items():
        if name == "embeddings.token_type" and not settings["type_vocab_size"]:
            continue
        if name == "embeddings.projection" and settings["embedding_size"] == settings["hidden_size"]:
            continue
        parts = ("weight",) if name in _TABLES else ("weight", "bias")
        for layer in range(int(settings["num_hidden_layers"])) if "{i}" in name else (0,):
            for part in parts:
                yield f"{name.format(i=layer)}.{part}", f"{own.format(i=layer)}.{part}"


def _sizes(config: PretrainedConfig, row: Architecture, settings: EngineConfig) -> dict[str, int]:
    """The sizes that the letters of `_SHAPES` stand for."""
    names = {
        "V": "vocab_size",
        "E": "embedding_size",
        "H": "hidden_size",
        "I": "intermediate_size",
        "P": "max_position_embeddings",
        "T": "type_vocab_size",
        "A": "num_attention_heads",
    }
    sizes = {letter: int(settings[name]) for letter, name in names.items()}
    return {**sizes, "R": int(config.relative_attention_num_buckets) if row.relative_buckets else 0}


def _shape(name: str, sizes: Mapping[str, int], pruned: Mapping[int, Collection[int]]) -> tuple[int, ...]:
    """A tensor's shape: a bias has the first size of its weight's."""
    stem, _, part = name.rpartition(".")
    heads = sizes["A"]
    if stem.startswith("layers."):
        _, layer, rest = stem.split(".", 2)
        stem = "layers.{i}." + rest
        heads -= len(pruned.get(int(layer), ()))
    sizes = {**sizes, "W": sizes["H"] // sizes["A"] * heads}
    return tuple(sizes[letter] for letter in (_SHAPES[stem] if part == "weight" else _SHAPES[stem][0]))


def by_modern_name(weights: Iterable[str]) -> dict[str, str]:
    """Return the checkpoint's names by those that they would have today."""
    return {_modern(name): name for name in weights}


def _modern(name: str) -> str:
    """The name since PyTorch's norms: early checkpoints came from TensorFlow with gamma and beta."""
    for old, new in (("LayerNorm.gamma", "LayerNorm.weight"), ("LayerNorm.beta", "LayerNorm.bias")):
        if name.endswith(old):
            return name.removesuffix(old) + new
    return name


def encoder_prefix(row: Architecture, present: Mapping[str, str], weights: Weights) -> str:
    """Return what stands before the encoder's tensors: nothing, the family's prefix, or that of what it was saved in.

    Raises:
        WeightMismatchError: there are several encoders.
    """
    anchor = f"{row.tensors['embeddings.word']}.weight"
    found = [name.removesuffix(anchor) for name in present if name == anchor or name.endswith(f".{anchor}")]
    for usual in ("", f"{row.prefix}."):
        if usual in found:
            return usual
    if len(found) > 1:
        raise WeightMismatchError(
            f"{weights.folder} holds {len(found)} encoders ({', '.join(sorted(found))}); save the one that is "
            "wanted alone"
        )
    if found:
        return found[0]
    usual = f"{row.prefix}."
    return usual if sum(name.startswith(usual) for name in present) * 2 > len(present) else ""


def _missing(names: list[str], weights: Weights, settings: EngineConfig) -> MissingTensorError:
    listed = ", ".join(names[:40]) + (f" and {len(names) - 40} more" if len(names) > 40 else "")
    return MissingTensorError(
        f"{weights.folder}: {len(names)} of the encoder's tensors are missing: {listed}; config.json speaks of "
        f"{settings['num_hidden_layers']} layers. Is it another model's, or are the weights of another family?"
    )


def checked(
    weights: Weights, name: str, shape: tuple[int, ...], remedy: str = "they are not of one checkpoint"
) -> Array:
    """Return a tensor that has this shape, and a dtype that weights may have; float64 as float32.

    Raises:
        WeightMismatchError: it has not.
    """
    actual, dtype = weights.shape_of(name), weights.dtype_of(name)
    if actual != shape:
        raise WeightMismatchError(
            f"{weights.file_of(name)}: tensor {name!r} has the shape {list(actual)}, but config.json asks for "
            f"{list(shape)}; {remedy}"
        )
    if dtype not in ("F32", "F16", "BF16", "F64"):
        raise WeightMismatchError(
            f"{weights.file_of(name)}: tensor {name!r} has the dtype {dtype}, but weights are F32, F16, BF16 or F64; "
            "use the checkpoint before it was quantized"
        )
    array = weights[name]
    return array.astype(np.float32) if dtype == "F64" else array


def float32(array: Array) -> NDArray[np.float32]:
    """Widen weights: float16, or bfloat16 as its bits in uint16."""
    if array.dtype == np.uint16:
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(np.float32)
