"""Builds a task's heads from a checkpoint's tensors, as the rows of `heads` say, and runs them in the engine."""

from __future__ import annotations

import reprlib
import warnings
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _core, architectures
from .checkpoints import open_weights
from .encoder_weights import by_modern_name, checked, encoder_prefix
from .errors import ConfigError, MissingHeadError
from .heads import HEADS, TASKS, Decoder, Dense, Norm, heads_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from .arrays import FloatArray
    from .configuration import PretrainedConfig
    from .heads import Head, Step
    from .weights import Weights

__all__ = ["HeadLayers", "load_heads"]


class HeadLayers:
    """The layers of one head.

    Attributes:
        reads: ``first`` or ``every``: the tokens whose states they take.
        width: of what they return.
        num_parameters: how many weights they have that are not the encoder's.
    """

    def __init__(self, head: Head, source: _Source) -> None:
        source.check_settled(head)
        self.reads = head.reads
        self.width = source.hidden_size
        self.num_parameters = 0
        self._layers = [self._built(step, source) for step in head.steps]

    def _built(self, step: Step, source: _Source) -> _core.Linear | _core.LayerNorm:
        weight, bias = source.arrays(step, self.width)
        self.num_parameters += bias.size + (0 if source.is_shared(step) else weight.size)
        if isinstance(step, Norm):
            return _core.LayerNorm(weight, bias, source.eps)
        self.width = len(bias)
        return _core.Linear(weight, bias, source.activation(step))

    def __call__(self, states: FloatArray, num_threads: int) -> FloatArray:
        """Return float32 ``[N, width]`` of states ``[N, hidden_size]``."""
        for layer in self._layers:
            states = layer(states, num_threads=num_threads)
        return states


def load_heads(
    folder: Path,
    config: PretrainedConfig,
    task: str,
    *,
    use_safetensors: bool | None = None,
    allow_missing_head: bool = False,
) -> list[HeadLayers]:
    """Build the heads of a task, in the order of `heads.TASKS`.

    Args:
        folder: the checkpoint's.
        config: its configuration.
        task: the end of a class's name, such as ``"MaskedLM"``; the family has such a class.
        use_safetensors: see `bertcpp.checkpoints.open_weights`.
        allow_missing_head: draw what is missing from a fixed seed, and warn, instead of refusing.

    Raises:
        CheckpointError: files are missing, damaged or of an unknown kind.
        ConfigError: the configuration is impossible.
        MissingHeadError: the checkpoint lacks tensors of a head, which are named.
        WeightMismatchError: tensors do not fit the configuration.
    """
    heads = [HEADS[config.model_type][name] for name in heads_of(task, config.model_type)]
    with open_weights(folder, use_safetensors=use_safetensors) as weights:
        source = _Source(config, weights)
        missing = source.missing(heads)
        if missing and not allow_missing_head:
            raise _no_head(source, task, missing)
        if missing:
            warnings.warn(
                f"{folder} lacks {', '.join(missing)}: these weights are drawn at random, always the same, so that "
                "answers mean nothing until the head has been trained",
                stacklevel=4,
            )
        return [HeadLayers(head, source) for head in heads]


class _Source:
    """A checkpoint's tensors, looked for as heads name them."""

    def __init__(self, config: PretrainedConfig, weights: Weights) -> None:
        self.config = config
        self.weights = weights
        self._settings = architectures.engine_config(config)
        self._present = by_modern_name(weights)
        row = architectures.of(config)
        self._encoder = encoder_prefix(row, self._present, weights)
        # A head lies beside the encoder, whatever that is called and both were saved in.
        above = self._encoder.removesuffix(".").rpartition(".")[0]
        self._outer = f"{above}." if above else ""
        self._words = f"{self._encoder}{row.tensors['embeddings.word']}.weight"
        self.hidden_size = int(self._settings["hidden_size"])
        self.eps = float(self._settings["layer_norm_eps"])

    def is_shared(self, step: Step) -> bool:
        """Whether a step's weight is the word embeddings'."""
        return isinstance(step, Decoder) and bool(self.config.tie_word_embeddings)

    def missing(self, heads: Iterable[Head]) -> list[str]:
        """Return the names of these heads' tensors that the checkpoint lacks."""
        wanted = [names for head in heads for step in head.steps for names in self._names(step)]
        return list(dict.fromkeys(names[0] for names in wanted if self._found(names) is None))

    def arrays(self, step: Step, width: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return a step's weight and bias, given the width of what it takes.

        Raises:
            WeightMismatchError: a tensor does not fit.
        """
        weight, bias = self._names(step)
        if isinstance(step, Norm):
            return self._array(weight, (width,)), self._array(bias, (width,))
        rows = self._rows(step)
        return self._array(weight, (rows, width)), self._array(bias, (rows,))

    def activation(self, step: Dense | Decoder) -> str:
        """Return the engine's name of a step's activation.

        Raises:
            ConfigError: the configuration's field holds no name.
        """
        if isinstance(step, Decoder):
            return "identity"
        if not step.activation.startswith("*"):
            return step.activation
        name = getattr(self.config, step.activation[1:])
        if name is None:
            return "identity"
        if not isinstance(name, str):
            raise ConfigError(f"{self._where}{step.activation[1:]} is {reprlib.repr(name)}, but must be a string")
        return name

    def check_settled(self, head: Head) -> None:
        """Refuse a configuration that asks for other layers than the head's.

        Raises:
            ConfigError: it does.
        """
        for name, value in head.settled.items():
            if getattr(self.config, name) != value:
                raise ConfigError(
                    f"{self._where}{name} is {reprlib.repr(getattr(self.config, name))}, but bertcpp computes this "
                    f"head for {value!r} alone"
                )

    def tasks(self) -> list[str]:
        """Return the ends of the names of the classes that this checkpoint has all heads of."""
        found = []
        for task, names in TASKS:
            heads = [HEADS[self.config.model_type].get(name) for name in names]
            if all(head is not None and not self.missing([head]) for head in heads):
                found.append(task)
        return found

    @property
    def _where(self) -> str:
        return f"{self.config.name_or_path or self.weights.folder}: "

    def _names(self, step: Step) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The names that a step's weight and bias may have in the checkpoint."""
        stem = step.tensor
        stem = stem.format(encoder=self._encoder) if stem.startswith("{encoder}") else self._outer + stem
        own = step.biases if isinstance(step, Decoder) else ()
        biases = tuple(self._outer + name for name in own) or (f"{stem}.bias",)
        return (self._words if self.is_shared(step) else f"{stem}.weight",), biases

    def _found(self, names: tuple[str, ...]) -> str | None:
        return next((self._present[name] for name in names if name in self._present), None)

    def _rows(self, step: Dense | Decoder) -> int:
        if isinstance(step, Decoder):
            return int(self._settings["vocab_size"])
        if step.width == "num_labels":
            if not self.config.num_labels:
                raise ConfigError(f"{self._where}there are no labels; set id2label or num_labels")
            return self.config.num_labels
        return step.width if isinstance(step.width, int) else int(self._settings[step.width])

    def _array(self, names: tuple[str, ...], shape: tuple[int, ...]) -> NDArray[Any]:
        name = self._found(names)
        if name is None:
            return _drawn(names[0], shape, float(getattr(self.config, "initializer_range", 0.02)))
        remedy = "a head's first dimension is num_labels, the number of entries of id2label"
        return checked(self.weights, name, shape, remedy)


def _drawn(name: str, shape: tuple[int, ...], spread: float) -> NDArray[np.float32]:
    """Weights as an untrained model has them, the same in every process."""
    if len(shape) == 1:
        return np.full(shape, float(name.endswith(".weight")), np.float32)
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    return (rng.standard_normal(shape) * spread).astype(np.float32)


def _no_head(source: _Source, task: str, missing: list[str]) -> MissingHeadError:
    family = type(source.config).__name__.removesuffix("Config")
    has = ", ".join(f"{family}For{name}" for name in source.tasks())
    stated = source.config.architectures
    saved = f"; config.json says that it was saved from {', '.join(map(str, stated))}" if stated else ""
    return MissingHeadError(
        f"{source.weights.folder} has no head for {family}For{task}: {', '.join(missing)} are missing; "
        f"{f'it has what {has} need' if has else 'it has a head for no task'}{saved}. Load the one that it has, or "
        "train the head; allow_missing_head=True draws it at random"
    )
