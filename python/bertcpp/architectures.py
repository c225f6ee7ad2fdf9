"""What each family calls things: one row of a table for each, from its config fields and tensors to the engine's.

A new family is one more row, if its layers compute what the engine computes; nothing else here knows a family.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from . import devices
from .checkpoints import open_weights
from .configuration import AutoConfig, PretrainedConfig
from .encoder_weights import collect, float32
from .errors import ConfigError, UnknownArchitectureError
from .packed_batch import InputLimits
from .packed_weights import target_for

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from . import _core
    from .weights import Weights

__all__ = [
    "ARCHITECTURES",
    "Architecture",
    "engine_config",
    "engine_weights",
    "input_limits",
    "load_encoder",
    "of",
    "pruned_heads",
]

Array = NDArray[Any]
EngineConfig = dict[str, int | float | str]
TensorOf = Callable[[str, tuple[int, ...]], Array]  # the checkpoint's tensor of that name, prefix aside, and shape

_MAX_LAYERS = 4096  # keeps a damaged configuration from asking for billions of names

# What the engine's sizes are called in most families' configurations.
_FIELDS = {
    name: name
    for name in (
        "vocab_size",
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "intermediate_size",
        "max_position_embeddings",
        "type_vocab_size",
        "hidden_act",
        "layer_norm_eps",
    )
}
_BERT_TENSORS = {
    "embeddings.word": "embeddings.word_embeddings",
    "embeddings.position": "embeddings.position_embeddings",
    "embeddings.token_type": "embeddings.token_type_embeddings",
    "embeddings.norm": "embeddings.LayerNorm",
    "layers.{i}.attention.query": "encoder.layer.{i}.attention.self.query",
    "layers.{i}.attention.key": "encoder.layer.{i}.attention.self.key",
    "layers.{i}.attention.value": "encoder.layer.{i}.attention.self.value",
    "layers.{i}.attention.output": "encoder.layer.{i}.attention.output.dense",
    "layers.{i}.attention.norm": "encoder.layer.{i}.attention.output.LayerNorm",
    "layers.{i}.ffn.up": "encoder.layer.{i}.intermediate.dense",
    "layers.{i}.ffn.down": "encoder.layer.{i}.output.dense",
    "layers.{i}.ffn.norm": "encoder.layer.{i}.output.LayerNorm",
    "pooler": "pooler.dense",
}


@dataclass(frozen=True)
class Architecture:
    """A family's row.

    Attributes:
        model_type: as in config.json.
        prefix: what checkpoints with a head put before the encoder's tensors, without the dot.
        fields: the engine's setting: the configuration's field.
        fixed: settings of the engine that the family's configuration does not have.
        tensors: the engine's name: the checkpoint's, without ``.weight`` and ``.bias``; ``{i}`` is a layer's number.
        padding_idx: given a configuration, the position that padding has, which positions count on from; None where
            they count columns from 0.
        relative_buckets: how many buckets of distances its attention has; 0 for none.
        adjust: changes the engine's weights by what the checkpoint has beside them.
    """

    model_type: str
    prefix: str
    fields: Mapping[str, str] = field(default_factory=lambda: _FIELDS)
    fixed: Mapping[str, int | float | str] = field(default_factory=dict)
    tensors: Mapping[str, str] = field(default_factory=lambda: _BERT_TENSORS)
    padding_idx: Callable[[PretrainedConfig], int | None] = lambda config: None
    relative_buckets: int = 0
    adjust: Callable[[PretrainedConfig, dict[str, Array], TensorOf], None] | None = None

    @property
    def has_pooler(self) -> bool:
        """Whether the family has a pooler at all."""
        return "pooler" in self.tensors


def _pad_token_id(config: PretrainedConfig) -> int:
    _check_size(config, "pad_token_id", 0, config.max_position_embeddings - 2)
    return int(config.pad_token_id or 0)


def _add_task_types(config: PretrainedConfig, weights: dict[str, Array], tensor: TensorOf) -> None:
    """ERNIE adds a vector for the task, 0 for all tokens; it may as well be in the token types' vectors."""
    if not config.use_task_id:
        return
    _check_size(config, "task_type_vocab_size", 1)
    if not config.type_vocab_size:
        raise ConfigError(f"{_where(config)}use_task_id needs type_vocab_size to be at least 1")
    tasks = tensor("embeddings.task_type_embeddings.weight", (config.task_type_vocab_size, config.hidden_size))
    weights["embeddings.token_type.weight"] = float32(weights["embeddings.token_type.weight"]) + float32(tasks[:1])


def _without(names: Mapping[str, str], *left_out: str) -> dict[str, str]:
    return {name: value for name, value in names.items() if name not in left_out}


def _roberta(model_type: str, prefix: str = "roberta") -> Architecture:
    return Architecture(model_type, prefix, padding_idx=_pad_token_id)


ARCHITECTURES: Mapping[str, Architecture] = {
    row.model_type: row
    for row in (
        Architecture("bert", "bert"),
        _roberta("roberta"),
        _roberta("xlm-roberta"),
        _roberta("camembert"),
        _roberta("data2vec-text", "data2vec_text"),
        Architecture("ernie", "ernie", adjust=_add_task_types),
        Architecture(
            "electra",
            "electra",
            fields={**_FIELDS, "embedding_size": "embedding_size"},
            tensors={**_without(_BERT_TENSORS, "pooler"), "embeddings.projection": "embeddings_project"},
        ),
        Architecture(
            "distilbert",
            "distilbert",
            fields={
                "vocab_size": "vocab_size",
                "hidden_size": "dim",
                "num_hidden_layers": "n_layers",
                "num_attention_heads": "n_heads",
                "intermediate_size": "hidden_dim",
                "max_position_embeddings": "max_position_embeddings",
                "hidden_act": "activation",
            },
            fixed={"type_vocab_size": 0, "layer_norm_eps": 1e-12},
            tensors={
                "embeddings.word": "embeddings.word_embeddings",
                "embeddings.position": "embeddings.position_embeddings",
                "embeddings.norm": "embeddings.LayerNorm",
                "layers.{i}.attention.query": "transformer.layer.{i}.attention.q_lin",
                "layers.{i}.attention.key": "transformer.layer.{i}.attention.k_lin",
                "layers.{i}.attention.value": "transformer.layer.{i}.attention.v_lin",
                "layers.{i}.attention.output": "transformer.layer.{i}.attention.out_lin",
                "layers.{i}.attention.norm": "transformer.layer.{i}.sa_layer_norm",
                "layers.{i}.ffn.up": "transformer.layer.{i}.ffn.lin1",
                "layers.{i}.ffn.down": "transformer.layer.{i}.ffn.lin2",
                "layers.{i}.ffn.norm": "transformer.layer.{i}.output_layer_norm",
            },
        ),
        Architecture(
            "mpnet",
            "mpnet",
            fields=_without(_FIELDS, "type_vocab_size"),
            fixed={"type_vocab_size": 0, "relative_attention_max_distance": 128},
            tensors={
                **_without(_BERT_TENSORS, "embeddings.token_type"),
                "layers.{i}.attention.query": "encoder.layer.{i}.attention.attn.q",
                "layers.{i}.attention.key": "encoder.layer.{i}.attention.attn.k",
                "layers.{i}.attention.value": "encoder.layer.{i}.attention.attn.v",
                "layers.{i}.attention.output": "encoder.layer.{i}.attention.attn.o",
                "layers.{i}.attention.norm": "encoder.layer.{i}.attention.LayerNorm",
                "relative_attention_bias": "encoder.relative_attention_bias",
            },
            padding_idx=lambda config: 1,  # whatever pad_token_id says
            relative_buckets=32,  # whatever relative_attention_num_buckets says beyond the table's rows
        ),
    )
}


def of(config: PretrainedConfig) -> Architecture:
    """Return the row of a configuration's family.

    Raises:
        UnknownArchitectureError: bertcpp does not compute it.
    """
    row = ARCHITECTURES.get(config.model_type)
    if row is None:
        known = ", ".join(sorted(ARCHITECTURES))
        raise UnknownArchitectureError(
            f"{_where(config)}model_type {config.model_type!r} is not known; bertcpp computes {known}"
        )
    return row


def engine_config(config: PretrainedConfig) -> EngineConfig:
    """Translate a configuration into the engine's settings, without a pooler.

    Raises:
        UnknownArchitectureError: bertcpp does not compute the family.
        ConfigError: a field is of a wrong type or out of range, or asks for what the engine does not compute.
    """
    row = of(config)
    _check_encoder(config)
    settings: EngineConfig = {}
    for name, own in row.fields.items():
        if name == "hidden_act":
            settings[name] = _text(config, own)
        elif name == "layer_norm_eps":
            settings[name] = _number(config, own)
        else:
            least, most = (
                (0, _MAX_LAYERS) if name == "num_hidden_layers" else (0 if name == "type_vocab_size" else 1, 1 << 28)
            )
            settings[name] = _check_size(config, own, least, most)
    settings = {"embedding_size": settings["hidden_size"], **settings, **row.fixed}
    hidden, heads = row.fields["hidden_size"], row.fields["num_attention_heads"]
    if getattr(config, hidden) % getattr(config, heads):
        raise ConfigError(
            f"{_where(config)}{hidden} {getattr(config, hidden)} is not a multiple of {heads} {getattr(config, heads)}"
        )
    if row.relative_buckets:
        _check_size(config, "relative_attention_num_buckets", row.relative_buckets)
        settings["relative_attention_num_buckets"] = row.relative_buckets
    pruned_heads(config)
    return settings


def pruned_heads(config: PretrainedConfig) -> dict[int, frozenset[int]]:
    """Return which heads a configuration says that layers have lost, by the layer's number.

    Raises:
        ConfigError: it speaks of layers or heads that there are none of, or of all heads of a layer.
    """
    given = getattr(config, "pruned_heads", None) or {}
    row = of(config)
    layers, heads = (getattr(config, row.fields[name]) for name in ("num_hidden_layers", "num_attention_heads"))
    wrong = ConfigError(
        f"{_where(config)}pruned_heads is {reprlib.repr(given)}, but must map numbers of layers below {layers} to "
        f"lists of heads below {heads}, fewer than all; correct config.json"
    )
    if not isinstance(given, dict):
        raise wrong
    found: dict[int, frozenset[int]] = {}
    for layer, gone in given.items():
        number = int(layer) if isinstance(layer, str) and layer.isdecimal() else layer  # JSON has strings for keys
        if type(number) is not int or not 0 <= number < layers or not isinstance(gone, (list, tuple)):
            raise wrong
        if not all(type(head) is int and 0 <= head < heads for head in gone) or len(set(gone)) >= heads:
            raise wrong
        found[number] = frozenset(gone)
    if row.relative_buckets and any(found.values()):
        raise ConfigError(
            f"{_where(config)}pruned_heads is {reprlib.repr(given)}, but heads of {config.model_type} cannot be left "
            "out: they share a table of biases by distance, and transformers cannot compute such a model either"
        )
    return found


def input_limits(config: PretrainedConfig) -> InputLimits:
    """Return what inputs of a configuration's model are checked against, and its rule for positions.

    Raises:
        UnknownArchitectureError, ConfigError: as `engine_config`.
    """
    row, settings = of(config), engine_config(config)
    return InputLimits(
        vocab_size=int(settings["vocab_size"]),
        max_position_embeddings=int(settings["max_position_embeddings"]),
        type_vocab_size=int(settings["type_vocab_size"]),
        embedding_size=int(settings["embedding_size"]),
        padding_idx=row.padding_idx(config),
        relative_positions=row.relative_buckets > 0,
    )


def _check_encoder(config: PretrainedConfig) -> None:
    """Refuse what makes a model something else than a plain encoder."""
    for name in ("is_decoder", "add_cross_attention"):
        if getattr(config, name):
            raise ConfigError(
                f"{_where(config)}{name} is {reprlib.repr(getattr(config, name))}, but bertcpp computes encoders: "
                "set it to false if the checkpoint is one"
            )
    kind = config.position_embedding_type if "position_embedding_type" in config.defaults else "absolute"
    if kind != "absolute":
        raise ConfigError(
            f"{_where(config)}position_embedding_type is {reprlib.repr(kind)}, but bertcpp computes 'absolute' ones "
            "alone; use a checkpoint that was trained with these"
        )


def _where(config: PretrainedConfig) -> str:
    return f"{config.name_or_path}: " if config.name_or_path else ""


def _check_size(config: PretrainedConfig, name: str, least: int, most: int = 1 << 28) -> int:
    value = getattr(config, name)
    if type(value) is not int or not least <= value <= most:
        rule = f"an integer between {least} and {most}" if most >= least else "possible with these sizes, but none is"
        raise ConfigError(f"{_where(config)}{name} is {reprlib.repr(value)}, but must be {rule}; correct config.json")
    return value


def _number(config: PretrainedConfig, name: str) -> float:
    value = getattr(config, name)
    if type(value) not in (int, float) or not math.isfinite(value) or value < 0:
        raise ConfigError(
            f"{_where(config)}{name} is {reprlib.repr(value)}, but must be a number of at least 0; correct config.json"
        )
    return float(value)


def _text(config: PretrainedConfig, name: str) -> str:
    value = getattr(config, name)
    if not isinstance(value, str):
        raise ConfigError(f"{_where(config)}{name} is {reprlib.repr(value)}, but must be a string; correct config.json")
    return value


def engine_weights(
    config: PretrainedConfig, weights: Weights, *, add_pooling_layer: bool = True
) -> tuple[dict[str, Array], list[str]]:
    """Collect a checkpoint's tensors under the engine's names.

    Tensors that no part of the encoder is called by, such as heads and buffers, are left out. The pooler is taken where
    the family has one, the checkpoint carries it, and ``add_pooling_layer`` asks for it.

    Returns:
        The arrays by the engine's names, and the checkpoint's names of those that the engine packs.

    Raises:
        MissingTensorError: tensors are not there; all are named.
        WeightMismatchError: a shape contradicts the configuration, or a dtype holds no weights.
        UnknownArchitectureError, ConfigError: as `engine_config`.
    """
    return collect(config, of(config), engine_config(config), weights, add_pooling_layer, pruned_heads(config))


def load_encoder(
    folder: Path,
    config: PretrainedConfig | None = None,
    *,
    add_pooling_layer: bool = True,
    use_safetensors: bool | None = None,
    where: devices.Target | None = None,
    decoder: _core.Linear | None = None,
) -> tuple[_core.Encoder, InputLimits]:
    """Build the engine of a checkpoint's encoder.

    Args:
        folder: the checkpoint's, as `bertcpp.checkpoints.locate` gives it.
        config: its configuration; None reads it.
        add_pooling_layer: False leaves the pooler out.
        use_safetensors: see `bertcpp.checkpoints.open_weights`.
        where: the device and what it computes in; None is float32 on the processor, or what weights are packed in.
        decoder: see `bertcpp.devices.encoder`.

    Returns:
        The engine, and what inputs are checked against.

    Raises:
        CheckpointError: files are missing, damaged or of an unknown kind.
        ConfigError: the configuration is impossible, or of a family that bertcpp does not compute.
        WeightMismatchError: the tensors do not fit it.
        InputError: weights are packed for another dtype.
        DeviceError, DeviceMemoryError: as `bertcpp.devices.encoder`.

    Example:
        >>> from bertcpp.architectures import load_encoder
        >>> from bertcpp.checkpoints import locate
        >>> engine, limits = load_encoder(locate("all-MiniLM-L6-v2"))
        >>> engine.config["hidden_size"], limits.max_length
        (384, 512)
    """
    if config is None:
        config = AutoConfig.from_pretrained(folder)
    settings, limits = engine_config(config), input_limits(config)
    where = where or target_for(folder, None, None, use_safetensors)
    with open_weights(folder, use_safetensors=use_safetensors, packed=True) as weights:
        weights.check_target(where)
        arrays, packed = engine_weights(config, weights, add_pooling_layer=add_pooling_layer)
        settings["has_pooler"] = "pooler.weight" in arrays
        try:
            with weights.released_while_read(packed):
                engine = devices.encoder(settings, arrays, where, decoder)
        except ConfigError as error:
            raise ConfigError(f"{_where(config) or f'{folder}: '}{error}") from error
    return engine, limits
