"""Smaller checkpoints by leaving layers and heads out, in the ordinary layout that transformers loads.

Heads that are gone are listed in config.json as ``pruned_heads``, as transformers' own `prune_heads` does; layers that
are gone are not there, and those after them move up.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import architectures, checkpoints
from .checkpoint_writing import copy_beside_weights, new_folder, write_json, write_safetensors
from .configuration import AutoConfig
from .conversion import check_written
from .encoder_weights import encoder_prefix
from .errors import InputError
from .pooling import plain_modules, read_modules

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from .configuration import PretrainedConfig
    from .importance import Measure
    from .weights import Weights

__all__ = ["Choice", "choose", "prune"]

StrPath = str | os.PathLike[str]


@dataclass(frozen=True)
class Choice:
    """What to leave out, by the checkpoint's own numbers, and the importance that it was chosen by.

    Attributes:
        layers: numbers of layers.
        heads: of the layers that stay: numbers of heads.
        layer_importance: by layer, as first measured; empty if it was not.
        head_importance: by layer, then head; empty if it was not measured.
    """

    layers: tuple[int, ...] = ()
    heads: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    layer_importance: Mapping[int, float] = field(default_factory=dict)
    head_importance: Mapping[int, Mapping[int, float]] = field(default_factory=dict)


def prune(
    model: StrPath,
    out: StrPath,
    *,
    layers: Collection[int] = (),
    heads: Mapping[int, Collection[int]] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a checkpoint without some of its layers and heads.

    Args:
        model: a folder, a hub name, or an installed package.
        out: the new folder; it appears when it is whole.
        layers: numbers of the layers to leave out, from 0.
        heads: by a layer's number, numbers of the heads to leave out; both count from 0, as in the model before any
            head was lost. Heads that `model` has lost already may be named again.
        overwrite: replace a checkpoint that is there already.

    Returns:
        The path of the new folder.

    Raises:
        InputError: there is no such layer or head, or nothing would be left.
        ConfigError: heads of MPNet are to be left out, which transformers cannot compute.
        BertcppError: the checkpoint cannot be read, or not be written.

    Example:
        >>> import tempfile, bertcpp
        >>> from bertcpp.pruning import prune
        >>> with tempfile.TemporaryDirectory() as place:
        ...     folder = prune("all-MiniLM-L6-v2", f"{place}/smaller", layers=[4], heads={0: [1, 7]})
        ...     config = bertcpp.AutoConfig.from_pretrained(folder)
        >>> config.num_hidden_layers, config.pruned_heads
        (5, {'0': [1, 7]})
    """
    folder = checkpoints.locate(model)
    encoder = (read_modules(folder) or plain_modules(folder)).encoder
    config = AutoConfig.from_pretrained(encoder)
    gone, heads = _checked(config, layers, heads or {})
    with new_folder(out, source=folder, overwrite=overwrite) as made:
        copy_beside_weights(folder, made, encoder)
        place = made / encoder.relative_to(folder)
        write_json(place / "config.json", _configured(config, encoder / "config.json", gone, heads))
        with checkpoints.open_weights(encoder) as weights:
            tensors, dtypes = {}, {}
            for name, own, tensor in _kept(config, weights, gone, heads):
                tensors[name], dtypes[name] = tensor, weights.dtype_of(own)
            write_safetensors(place / "model.safetensors", tensors, dtypes)
        check_written(place, encoder)
    return Path(out)


def _checked(
    config: PretrainedConfig, layers: Collection[int], heads: Mapping[int, Collection[int]]
) -> tuple[frozenset[int], dict[int, frozenset[int]]]:
    """The layers to leave out, and of each layer that has lost or is to lose heads, all of these."""
    settings = architectures.engine_config(config)
    count, width = int(settings["num_hidden_layers"]), int(settings["num_attention_heads"])
    for layer in (*layers, *heads):
        if layer not in range(count):
            raise InputError(f"there is no layer {layer!r}: the model has {count}, numbered from 0")
    if len(set(layers)) >= count:
        raise InputError(f"all {count} layers would be left out; keep one")
    merged = {layer: frozenset(gone) for layer, gone in architectures.pruned_heads(config).items()}
    for layer, named in heads.items():
        for head in named:
            if head not in range(width):
                raise InputError(f"there is no head {head!r} in layer {layer}: it has {width}, numbered from 0")
        merged[layer] = merged.get(layer, frozenset()) | frozenset(named)
        if len(merged[layer]) >= width:
            raise InputError(f"all {width} heads of layer {layer} would be left out; keep one, or leave out the layer")
    return frozenset(layers), merged


def _configured(
    config: PretrainedConfig, path: Path, gone: frozenset[int], heads: Mapping[int, frozenset[int]]
) -> dict[str, Any]:
    """config.json of what is left."""
    name = architectures.of(config).fields["num_hidden_layers"]
    fields = checkpoints.read_json(path)
    for alias in ("num_hidden_layers", "pruned_heads"):
        fields.pop(alias, None)
    fields[name] = config.num_hidden_layers - len(gone)
    left = {str(_moved(layer, gone)): sorted(heads[layer]) for layer in sorted(heads) if layer not in gone}
    if left := {layer: named for layer, named in left.items() if named}:
        fields["pruned_heads"] = left
    return fields


def _moved(layer: int, gone: Collection[int]) -> int:
    return layer - sum(other < layer for other in gone)


def _kept(
    config: PretrainedConfig, weights: Weights, gone: frozenset[int], heads: Mapping[int, frozenset[int]]
) -> Iterator[tuple[str, str, NDArray[Any]]]:
    """(the new name, the old name, the tensor) of all that stays, heads of tasks included."""
    row = architectures.of(config)
    prefix = encoder_prefix(row, {name: name for name in weights}, weights)
    stem = row.tensors["layers.{i}.attention.query"].partition("{i}")[0]
    parts = {row.tensors["layers.{i}.attention." + part].partition("{i}.")[2]: part for part in _PARTS}
    places = re.compile(rf"{re.escape(prefix + stem)}(\d+)\.((.+)\.(\w+))")
    before = architectures.pruned_heads(config)
    for name in weights:
        found = places.fullmatch(name)
        if found is None:
            yield name, name, weights[name]
            continue
        layer = int(found[1])
        if layer in gone:
            continue
        tensor = weights[name]
        part = parts.get(found[3])
        if part is not None and heads.get(layer, frozenset()) != before.get(layer, frozenset()):
            present = [head for head in range(config.num_attention_heads) if head not in before.get(layer, ())]
            kept = [place for place, head in enumerate(present) if head not in heads[layer]]
            tensor = _slice(tensor, part, found[4], kept, config.hidden_size // config.num_attention_heads)
        yield f"{prefix}{stem}{_moved(layer, gone)}.{found[2]}", name, tensor


_PARTS = ("query", "key", "value", "output")


def _slice(tensor: NDArray[Any], part: str, leaf: str, kept: list[int], size: int) -> NDArray[Any]:
    """The rows of heads that stay, or of the output the columns."""
    places = np.concatenate([np.arange(head * size, (head + 1) * size) for head in kept])
    if part == "output" and leaf != "weight":
        return tensor  # its bias is added whatever heads there are
    return np.take(tensor, places, axis=1 if part == "output" else 0)


def choose(
    model: StrPath,
    texts: Sequence[str],
    *,
    layer_count: int = 0,
    head_count: int = 0,
    measure: Measure | None = None,
    num_threads: int = 0,
) -> Choice:
    """Choose what matters least to texts (see `bertcpp.importance` for the measures).

    Layers go one after another, measured anew each time, as neighbours may stand in for each other; then heads of the
    layers that stay, measured once. Each layer keeps a head.

    Args:
        model: a folder, a hub name, or an installed package.
        texts: some hundred of those that the model is for.
        layer_count: how many layers to leave out.
        head_count: how many heads.
        measure: ``"output"`` or ``"local"``; None takes the former for layers and the latter for heads.
        num_threads: threads of the engine; 0 means its default.

    Returns:
        What to leave out, for `prune`, and the importance of each layer and head.

    Raises:
        InputError: there are no texts, or fewer layers or heads than are to go.
        BertcppError: the checkpoint cannot be loaded.
    """
    from .importance import Probe

    folder = checkpoints.locate(model)
    config = AutoConfig.from_pretrained((read_modules(folder) or plain_modules(folder)).encoder)
    stays = list(range(config.num_hidden_layers))
    if not 0 <= layer_count < max(len(stays), 1):
        raise InputError(f"{layer_count} of {len(stays)} layers cannot be left out; at least one stays")
    probe = Probe(folder, texts, num_threads)
    layer_importance: dict[int, float] = {}
    gone: list[int] = []
    for _ in range(layer_count):
        measured = probe.layers(measure or "output")
        layer_importance = layer_importance or dict(zip(stays, measured, strict=True))
        least = int(np.argmin(measured))
        gone.append(stays.pop(least))
        probe.leave_out([least])
    head_importance: dict[int, dict[int, float]] = {}
    if head_count:
        lost = architectures.pruned_heads(config)
        for layer, row in zip(stays, probe.heads(measure or "local"), strict=True):
            present = [head for head in range(config.num_attention_heads) if head not in lost.get(layer, ())]
            head_importance[layer] = dict(zip(present, row, strict=True))
    return Choice(tuple(sorted(gone)), _least(head_importance, head_count), layer_importance, head_importance)


def _least(importance: Mapping[int, Mapping[int, float]], count: int) -> dict[int, tuple[int, ...]]:
    """The heads that matter least, of each layer at most all but one."""
    most = sum(len(row) - 1 for row in importance.values())
    if not 0 <= count <= most:
        raise InputError(f"{count} heads cannot be left out: {most} can, as each layer keeps one")
    order = sorted((value, layer, head) for layer, row in importance.items() for head, value in row.items())
    chosen: dict[int, list[int]] = {}
    for _, layer, head in order:
        if sum(map(len, chosen.values())) < count and len(chosen.get(layer, ())) < len(importance[layer]) - 1:
            chosen.setdefault(layer, []).append(head)
    return {layer: tuple(sorted(heads)) for layer, heads in sorted(chosen.items())}
