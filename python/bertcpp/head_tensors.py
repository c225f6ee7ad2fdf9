"""Finds the tensors of a task's head: in the checkpoint, beside its encoder, or in a file or dictionary of its own."""

from __future__ import annotations

import os
import reprlib
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import architectures
from .arrays import is_torch_tensor
from .encoder_weights import by_modern_name, checked, encoder_prefix
from .errors import CheckpointNotFoundError, ConfigError, InputError
from .heads import HEADS, TASKS, Decoder, Dense, Norm
from .recurrent_layers import GruShape, gru_shape
from .safetensors_file import SafetensorsFile
from .weights import Weights

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from .configuration import PretrainedConfig
    from .heads import Head, Step

__all__ = ["HeadTensors", "own_weights"]


class HeadTensors:
    """A checkpoint's tensors, looked for as heads name them.

    Attributes:
        config: the checkpoint's.
        weights: the checkpoint's.
        hidden_size: width of the encoder's states.
        eps: of the encoder's LayerNorms, and so of its heads'.
    """

    def __init__(self, config: PretrainedConfig, weights: Weights, own: Weights | None = None) -> None:
        """Look in `own` first, a head's tensors that are not the checkpoint's, where there are any.

        Raises:
            ConfigError, UnknownArchitectureError: as `architectures.engine_config`.
            WeightMismatchError: the checkpoint has several encoders.
        """
        self.config = config
        self.weights = weights
        self._own = own or Weights(weights.folder, {}, [])
        self._own_present = by_modern_name(self._own)
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

    def is_read_by_encoder(self, step: Step) -> bool:
        """Whether a step's weight is the very table that the encoder reads, not one of the head's own."""
        found = self._found(self._names(step)[0])
        return self.is_shared(step) and found is not None and found[0] is self.weights

    def missing(self, heads: Iterable[Head]) -> list[str]:
        """Return the names of these heads' tensors that the checkpoint lacks."""
        wanted = [names for head in heads for names in self._wanted(head)]
        return list(dict.fromkeys(names[0] for names in wanted if self._found(names) is None))

    def names(self, heads: Iterable[Head]) -> list[str]:
        """Return the checkpoint's names of the tensors that these heads take from it."""
        found = [self._found(names) for head in heads for names in self._wanted(head)]
        return [place[1] for place in found if place is not None and place[0] is self.weights]

    def check_own(self, heads: Iterable[Head]) -> None:
        """Refuse tensors in a head's own file that no layer takes: they may be meant for another model, or misspelt.

        Raises:
            InputError: there are some.
        """
        known = {name for head in heads for names in self._wanted(head) for name in names}
        # A matrix that is the word embeddings' is in state dicts under its own name as well.
        known |= {f"{self._stem(step)}.weight" for head in heads for step in head.steps}
        recurrent = tuple(self._recurrent(head, "")[0] for head in heads if head.recurrent)
        unused = [name for name in self._own_present if name not in known and not name.startswith(recurrent)]
        if unused:
            raise InputError(
                f"head has {', '.join(unused[:10])}{' and more' * (len(unused) > 10)}, which this class has no layer "
                f"for; it takes {', '.join(sorted(known))}. Pass these alone; "
                "a model that was trained whole is a checkpoint"
            )

    def recurrent_shape(self, head: Head) -> GruShape:
        """Return what a head's recurrent layers are like.

        Raises:
            ConfigError: see `recurrent_layers.gru_shape`.
        """
        stem = self._recurrent(head, "")[0]
        names = [name.removeprefix(stem) for name in (*self._present, *self._own_present) if name.startswith(stem)]
        found = self._found(self._recurrent(head, "weight_ih_l0"))
        first = None if found is None else found[0].shape_of(found[1])
        return gru_shape(self.config, self.hidden_size, names, first)

    def recurrent_arrays(self, head: Head, shape: GruShape) -> dict[str, NDArray[Any]]:
        """Return the weights of a head's recurrent layers by PyTorch's names.

        Raises:
            WeightMismatchError: a tensor does not fit.
        """
        remedy = "a GRU's tensors have 3 * gru_hidden_size rows"
        return {
            name: self._array(self._recurrent(head, name), dimensions, remedy) for name, dimensions in shape.tensors()
        }

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

    def class_name(self, task: str) -> str:
        """Return the name of the family's class for a task of `heads.TASKS`."""
        family = type(self.config).__name__.removesuffix("Config")
        return f"{family}GruFor{task[3:]}" if task.startswith("Gru") else f"{family}For{task}"

    def tasks(self) -> list[str]:
        """Return those of `heads.TASKS` that this checkpoint has all heads for."""
        found = []
        for task, names in TASKS:
            heads = [HEADS[self.config.model_type].get(name) for name in names]
            if all(head is not None and not self.missing([head]) for head in heads):
                found.append(task)
        return found

    @property
    def _where(self) -> str:
        return f"{self.config.name_or_path or self.weights.folder}: "

    def _wanted(self, head: Head) -> list[tuple[str, ...]]:
        """The names that each of a head's tensors may have; of recurrent layers of unknown size that of the first."""
        wanted: list[tuple[str, ...]] = []
        if head.recurrent and not self._stated(head) and self._found(self._recurrent(head, "weight_ih_l0")) is None:
            wanted.append(self._recurrent(head, "weight_ih_l0"))
        elif head.recurrent:
            wanted += [self._recurrent(head, name) for name, _ in self.recurrent_shape(head).tensors()]
        return wanted + [names for step in head.steps for names in self._names(step)]

    def _stem(self, step: Step) -> str:
        """What a step's tensors are called in this checkpoint, without ``.weight``."""
        stem = step.tensor
        return stem.format(encoder=self._encoder) if stem.startswith("{encoder}") else self._outer + stem

    def _names(self, step: Step) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The names that a step's weight and bias may have in the checkpoint."""
        stem = self._stem(step)
        own = step.biases if isinstance(step, Decoder) else ()
        biases = tuple(self._outer + name for name in own) or (f"{stem}.bias",)
        return (self._words if self.is_shared(step) else f"{stem}.weight",), biases

    def _recurrent(self, head: Head, name: str) -> tuple[str, ...]:
        return (f"{self._outer}{head.recurrent}.{name}",)

    def _stated(self, head: Head) -> bool:
        """Whether the configuration says how large the recurrent layers are."""
        return getattr(self.config, f"{head.recurrent}_hidden_size", None) is not None

    def _found(self, names: tuple[str, ...]) -> tuple[Weights, str] | None:
        """The first tensor of these names, and where it is."""
        for present, weights in ((self._own_present, self._own), (self._present, self.weights)):
            for name in names:
                if name in present:
                    return weights, present[name]
        return None

    def _rows(self, step: Dense | Decoder) -> int:
        if isinstance(step, Decoder):
            return int(self._settings["vocab_size"])
        if step.width == "num_labels":
            if not self.config.num_labels:
                raise ConfigError(f"{self._where}there are no labels; set id2label or num_labels")
            return self.config.num_labels
        return step.width if isinstance(step.width, int) else int(self._settings[step.width])

    def _array(
        self,
        names: tuple[str, ...],
        shape: tuple[int, ...],
        remedy: str = "a head's first dimension is num_labels, the number of entries of id2label",
    ) -> NDArray[Any]:
        found = self._found(names)
        if found is None:
            return _drawn(names[0], shape, float(getattr(self.config, "initializer_range", 0.02)))
        return checked(*found, shape, remedy)


def _drawn(name: str, shape: tuple[int, ...], spread: float) -> NDArray[np.float32]:
    """Weights as an untrained model has them, the same in every process."""
    if len(shape) == 1:
        return np.full(shape, float(name.endswith(".weight")), np.float32)
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    return (rng.standard_normal(shape) * spread).astype(np.float32)


def own_weights(source: str | os.PathLike[str] | Mapping[str, Any] | None, folder: Path) -> Weights | None:
    """Open a head's own tensors.

    Args:
        source: a safetensors file or one of PyTorch's, by its path or its name in `folder`; or NumPy arrays or PyTorch
            tensors by name, such as a state dict.
        folder: the checkpoint's.

    Raises:
        CheckpointError: the file is missing, damaged or of an unknown kind.
        InputError: it is something else.
    """
    if source is None:
        return None
    if isinstance(source, (str, os.PathLike)):
        path = folder / source if (folder / source).is_file() else Path(source).expanduser()
        if not path.is_file():
            raise CheckpointNotFoundError(f"head={os.fspath(source)!r}: there is no such file, nor one in {folder}")
        if path.suffix == ".safetensors":
            file = SafetensorsFile(path)
            return Weights(path, dict.fromkeys(file, file), [file])
        from .torch_file import read_torch_file

        tensors = read_torch_file(path)
        return Weights(path, dict.fromkeys(tensors, tensors), [])
    if not hasattr(source, "items") or not all(isinstance(name, str) for name in source):
        raise InputError(
            f"head must be a file, or arrays by name as model.state_dict() gives them, not a {type(source).__name__}"
        )
    arrays = {name: _as_weight(name, value) for name, value in source.items()}
    return Weights(Path("head"), dict.fromkeys(arrays, arrays), [])


def _as_weight(name: str, value: Any) -> NDArray[Any]:
    """An array as files hold them: bfloat16 as its bits."""
    if is_torch_tensor(value):
        from .torch_file import as_weight

        return as_weight(value, name, Path("head"))
    if isinstance(value, np.ndarray):
        return np.ascontiguousarray(value)
    raise InputError(f"head[{name!r}] must be a NumPy array or a PyTorch tensor, not a {type(value).__name__}")
