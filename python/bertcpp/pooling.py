"""What stands between an encoder's hidden states and an embedding: the modules of a sentence-embedding checkpoint.

`modules.json` lists them. A module's type is a dotted class path that moved between versions, so only its last
component counts: `Transformer`, then `Pooling`, then any number of `Dense`, `LayerNorm`, `Normalize` and `Dropout`.
Pooling runs inside the engine; this file reads how, and computes what follows on the pooled vectors `[B, D]`. Every row
is computed by itself, so no vector's bits depend on its neighbours.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _core, checkpoints
from .errors import (
    ConfigError,
    MissingTensorError,
    UnsupportedFormatError,
    WeightMismatchError,
)
from .similarity import normalize

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = [
    "Dense",
    "Head",
    "LayerNorm",
    "Modules",
    "Normalize",
    "Pooling",
    "encoder_settings",
    "engine_activation",
    "listed_modules",
    "plain_modules",
    "read_head",
    "read_modules",
    "read_settings",
]

# Names on disk to names of the engine. The order is that in which flags of the old layout are concatenated.
_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_ENGINE_NAMES = {mode: mode for mode in _FLAGS.values()} | {"mean_sqrt_len_tokens": "mean_sqrt_len"}

# torch.nn classes, by name, as the engine calls them.
_ACTIVATIONS = {
    "Identity": "identity",
    "Tanh": "tanh",
    "ReLU": "relu",
    "ReLU6": "relu6",
    "GELU": "gelu",
    "SiLU": "silu",
    "Sigmoid": "sigmoid",
    "Mish": "mish",
    "LeakyReLU": "leaky_relu",
}

_CLASSES = ("SentenceTransformer", "CrossEncoder", "SparseEncoder", "MultiVectorEncoder")

_LAYER_NORM_EPS = np.float32(1e-5)  # torch.nn.LayerNorm's default; the module stores no other
_REMEDY = "bertcpp reads Transformer, Pooling, Dense, LayerNorm, Normalize and Dropout modules that pass on one vector"


@dataclass(frozen=True)
class Pooling:
    """How token vectors become one vector: modes of the engine, concatenated in this order.

    `include_prompt` False leaves a prompt's tokens out. `dimension` is the width of a token vector as the checkpoint
    states it, or None.
    """

    modes: tuple[str, ...]
    include_prompt: bool = True
    dimension: int | None = None


class Dense:
    """A linear layer with an activation on pooled vectors: `[B, in_features]` to `[B, out_features]`."""

    def __init__(self, folder: Path, level: str = "sentence_embedding") -> None:
        """Read `config.json` and the weights of `folder`; the layer is for vectors of that level.

        Raises:
            ConfigError: if the configuration is missing, incomplete or contradicts the weights.
            UnsupportedFormatError: if the activation is not one of torch.nn's that the engine knows.
            WeightMismatchError: if a tensor is missing or of another shape.
        """
        path = folder / "config.json"
        config = checkpoints.read_json(path)
        self.in_features = _positive_int(config, "in_features", path)
        self.out_features = _positive_int(config, "out_features", path)
        _only_of_level(config, path, level)
        activation = engine_activation(config.get("activation_function", "torch.nn.modules.activation.Tanh"), path)
        tensors = checkpoints.read_tensors(folder)
        shape = (self.out_features, self.in_features)
        bias = _tensor(tensors, "linear.bias", shape[:1], folder) if config.get("bias", True) else None
        self._linear = _core.Linear(_tensor(tensors, "linear.weight", shape, folder), bias, activation)
        self._adds_input = bool(config.get("use_residual", False))
        self._projection: _core.Linear | None = None
        if self._adds_input and self.in_features != self.out_features:
            self._projection = _core.Linear(_tensor(tensors, "residual.weight", shape, folder), None, "identity")

    def width(self, width: int) -> int:
        """Return the width of the output for an input of `width`.

        Raises:
            ConfigError: if the layer takes another width.
        """
        if width != self.in_features:
            raise ConfigError(f"a Dense module takes {self.in_features} features but is given {width}")
        return self.out_features

    def __call__(self, x: NDArray[np.float32], *, num_threads: int = 0) -> NDArray[np.float32]:
        """Return the layer's output `[B, out_features]` for `x` `[B, in_features]`."""
        out = self._linear(x, num_threads=num_threads)
        if not self._adds_input:
            return out
        return out + (x if self._projection is None else self._projection(x, num_threads=num_threads))


class LayerNorm:
    """Layer normalization of pooled vectors `[B, D]` with a learned scale and shift."""

    def __init__(self, folder: Path) -> None:
        """Read `config.json` and the weights of `folder`.

        Raises:
            ConfigError: if the configuration is missing or incomplete.
            WeightMismatchError: if a tensor is missing or of another shape.
        """
        path = folder / "config.json"
        self.dimension = _positive_int(checkpoints.read_json(path), "dimension", path)
        tensors = checkpoints.read_tensors(folder)
        self._scale = _float32(_tensor(tensors, "norm.weight", (self.dimension,), folder))
        self._shift = _float32(_tensor(tensors, "norm.bias", (self.dimension,), folder))

    def width(self, width: int) -> int:
        """Return the width of the output for an input of `width`.

        Raises:
            ConfigError: if the layer takes another width.
        """
        if width != self.dimension:
            raise ConfigError(f"a LayerNorm module takes {self.dimension} features but is given {width}")
        return width

    def __call__(self, x: NDArray[np.float32], *, num_threads: int = 0) -> NDArray[np.float32]:
        """Return `x` `[B, D]` normalized, scaled and shifted."""
        centred = x - np.mean(x, axis=1, keepdims=True)
        variance = np.mean(np.square(centred), axis=1, keepdims=True)
        normalized: NDArray[np.float32] = centred / np.sqrt(variance + _LAYER_NORM_EPS) * self._scale + self._shift
        return normalized


class Normalize:
    """Vectors `[B, D]` brought to Euclidean length 1."""

    def width(self, width: int) -> int:
        """Return `width`: normalizing keeps it."""
        return width

    def __call__(self, x: NDArray[np.float32], *, num_threads: int = 0) -> NDArray[np.float32]:
        """Return `x` `[B, D]` with rows of length 1."""
        return normalize(x)


Head = Dense | LayerNorm | Normalize


@dataclass(frozen=True)
class Modules:
    """The modules of a checkpoint.

    Attributes:
        encoder: the folder of the encoder and its tokenizer.
        pooling: how its states become one vector.
        heads: what follows on vectors, in order.
        max_seq_length: tokens that stay of a text, or None where the tokenizer decides.
        lower_case: texts are lower-cased before the tokenizer's own rules.
        tokenizer_options: keywords for the tokenizer that the checkpoint asks for.
    """

    encoder: Path
    pooling: Pooling
    heads: tuple[Head, ...] = ()
    max_seq_length: int | None = None
    lower_case: bool = False
    tokenizer_options: Mapping[str, Any] = field(default_factory=dict)


def read_modules(folder: Path) -> Modules | None:
    """Read `modules.json` of a checkpoint's folder and what it lists; None if the folder has no such file.

    Raises:
        CheckpointNotFoundError: if a file is missing.
        ConfigError: if a file is not JSON, or states something impossible.
        CorruptCheckpointError: if a module's path leads out of the folder, or its weights are damaged.
        UnsupportedFormatError: if a module is of a type, or in an order, that the engine does not compute.
        WeightMismatchError: if the weights of a module do not fit its configuration.
    """
    path = folder / "modules.json"
    if not path.is_file():
        return None
    encoder: Path | None = None
    pooling: Pooling | None = None
    heads: list[Head] = []
    for kind, where in listed_modules(path):
        if kind == "Transformer" and encoder is None:
            encoder = where
        elif kind == "Pooling" and encoder is not None and pooling is None:
            pooling = _read_pooling(where)
        elif kind in ("Dense", "LayerNorm", "Normalize") and pooling is not None:
            heads.append(read_head(kind, where))
        elif kind != "Dropout":
            raise UnsupportedFormatError(f"{path} lists a module {kind!r} that cannot stand there; {_REMEDY}")
    if encoder is None or pooling is None:
        missing = "Transformer" if encoder is None else "Pooling"
        raise UnsupportedFormatError(f"{path} lists no {missing} module; {_REMEDY}")
    path, settings = encoder_settings(encoder)
    options = settings.get("processor_kwargs", settings.get("tokenizer_args")) or {}
    limit = None if settings.get("max_seq_length") is None else _positive_int(settings, "max_seq_length", path)
    return Modules(encoder, pooling, tuple(heads), limit, bool(settings.get("do_lower_case", False)), options)


def plain_modules(folder: Path) -> Modules:
    """Return what is made of an encoder that comes without modules: the mean of its states."""
    return Modules(folder, Pooling(("mean",)))


def read_settings(folder: Path, kinds: tuple[str, ...] = ("SentenceTransformer",)) -> dict[str, Any]:
    """Read `config_sentence_transformers.json` (prompts, similarity, dimensions); empty if there is none.

    Raises:
        ConfigError: if a setting is of the wrong type.
        UnsupportedFormatError: if the checkpoint is of another kind than those of `kinds`, a class's names.
    """
    path = folder / "config_sentence_transformers.json"
    settings: dict[str, Any] = checkpoints.read_json(path) if path.is_file() else {}
    kind = settings.get("model_type", kinds[0])
    if kind not in kinds:
        remedy = f"use {kind}" if kind in _CLASSES else f"it is read by none of {', '.join(_CLASSES)}"
        raise UnsupportedFormatError(f"{path}: the checkpoint is a {kind!r}, not a {kinds[0]}; {remedy}")
    prompts = settings.get("prompts") or {}
    if not isinstance(prompts, dict) or not all(isinstance(text, (str, type(None))) for text in prompts.values()):
        raise ConfigError(f"{path}: prompts must be strings by name, got {prompts!r}")
    return settings


def listed_modules(path: Path) -> list[tuple[str, Path]]:
    """Read `modules.json`: the last component of each module's type, and its folder."""
    entries = _read_list(path)
    modules = []
    for entry in entries:
        if not isinstance(entry, dict) or not all(isinstance(entry.get(key), str) for key in ("type", "path")):
            raise ConfigError(f"{path}: each module needs a 'type' and a 'path' that are strings, got {entry!r}")
        modules.append((entry["type"].rpartition(".")[2], checkpoints.inside(path.parent, entry["path"])))
    return modules


def encoder_folder(folder: Path) -> Path:
    """Return where a checkpoint's encoder is: the first that its `modules.json` lists, else the folder itself.

    Raises:
        ConfigError: if `modules.json` is there and cannot be read.
    """
    path = folder / "modules.json"
    if not path.is_file():
        return folder
    for kind, where in listed_modules(path):
        if kind in ("Transformer", "MLMTransformer"):
            return where
    return folder


def _read_pooling(folder: Path) -> Pooling:
    path = folder / "config.json"
    config = checkpoints.read_json(path)
    if "pooling_mode" in config:
        named = config["pooling_mode"]
        modes = [named] if isinstance(named, str) else named
    else:
        modes = [mode for flag, mode in _FLAGS.items() if config.get(flag)]
    if not isinstance(modes, list) or not modes:
        raise ConfigError(f"{path} names no pooling mode; add 'pooling_mode': one of {list(_ENGINE_NAMES)}, or a list")
    for mode in modes:
        if not isinstance(mode, str) or mode not in _ENGINE_NAMES:
            raise UnsupportedFormatError(f"{path}: pooling mode {mode!r} is none of {list(_ENGINE_NAMES)}")
    dimension = config.get("embedding_dimension", config.get("word_embedding_dimension"))
    return Pooling(tuple(_ENGINE_NAMES[mode] for mode in modes), bool(config.get("include_prompt", True)), dimension)


def read_head(kind: str, folder: Path, level: str = "sentence_embedding") -> Head:
    """Read a module on vectors of a level: a `Dense`, `LayerNorm` or `Normalize`."""
    if kind == "Dense":
        return Dense(folder, level)
    if kind == "LayerNorm":
        return LayerNorm(folder)
    path = folder / "config.json"  # Normalize has one only since it can be told what to normalize
    if path.is_file():
        _only_of_level(checkpoints.read_json(path), path, level)
    return Normalize()


def encoder_settings(
    folder: Path,
    task: str = "feature-extraction",
    output: str = "token_embeddings",
    method: str = "last_hidden_state",
) -> tuple[Path, dict[str, Any]]:
    """Read `sentence_*_config.json`, of which checkpoints have one of several names or none.

    Raises:
        UnsupportedFormatError: if it asks for another task, output or method than these.
    """
    names = ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
    for name in names:
        path = folder / f"sentence_{name}_config.json"
        if not path.is_file():
            continue
        settings: dict[str, Any] = checkpoints.read_json(path)
        if not settings:
            continue
        wanted = settings.get("transformer_task", task), settings.get("module_output_name", output)
        if wanted != (task, output):
            raise UnsupportedFormatError(f"{path} asks for {wanted[1]!r} of the task {wanted[0]!r}; {_REMEDY}")
        found = (settings.get("modality_config") or {}).get("text", {}).get("method_output_name", method)
        if found not in (method, [method]):
            raise UnsupportedFormatError(f"{path} takes {found!r} instead of the {method.replace('_', ' ')}; {_REMEDY}")
        return path, settings
    return folder, {}


def _only_of_level(config: dict[str, Any], path: Path, level: str) -> None:
    for key in ("module_input_name", "module_output_name"):
        if config.get(key) not in (None, level):
            raise UnsupportedFormatError(f"{path}: {key} {config[key]!r} is not {level!r}; {_REMEDY}")


def engine_activation(name: Any, path: Any) -> str:
    """Return the engine's name of an activation, given the dotted name of one of torch.nn's.

    Raises:
        UnsupportedFormatError: if it is none of those; `path` says who names it.
    """
    package, _, rest = str(name).partition(".")
    activation = _ACTIVATIONS.get(rest.rpartition(".")[2]) if package == "torch" else None
    if activation is None:
        known = ", ".join(_ACTIVATIONS)
        raise UnsupportedFormatError(
            f"{path}: the activation {name!r} is not one of torch.nn's that are known: {known}"
        )
    return activation


def _tensor(tensors: dict[str, NDArray[Any]], name: str, shape: tuple[int, ...], folder: Path) -> NDArray[Any]:
    tensor = tensors.get(name)
    if tensor is None:
        raise MissingTensorError(f"{folder}: the tensor {name!r} is missing; the file holds {sorted(tensors)}")
    if tensor.shape != shape:
        raise WeightMismatchError(
            f"{folder}: the tensor {name!r} has shape {list(tensor.shape)} where config.json says {list(shape)}"
        )
    return tensor


def _float32(tensor: NDArray[Any]) -> NDArray[np.float32]:
    if tensor.dtype == np.uint16:  # the bits of bfloat16: the upper half of a float32
        widened: NDArray[np.float32] = (tensor.astype(np.uint32) << np.uint32(16)).view(np.float32)
        return widened
    return tensor.astype(np.float32)


def _positive_int(config: dict[str, Any], key: str, path: Path) -> int:
    value = config.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"{path}: {key} must be a positive integer, got {value!r}")
    return value


def _read_list(path: Path) -> list[Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # not JSON, not UTF-8, or nested without end
        raise ConfigError(f"{path} is not valid JSON ({error}); get the file again") from None
    if not isinstance(value, list):
        raise ConfigError(f"{path} holds a JSON {type(value).__name__} where a list is needed; get the file again")
    return value
