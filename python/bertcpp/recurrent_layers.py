"""Recurrent layers between an encoder and a classifier: which tensors they have, and how large they are."""

from __future__ import annotations

import re
import reprlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .configuration import PretrainedConfig

__all__ = ["FIELDS", "GruShape", "gru_shape"]

# Fields of config.json that say what a GRU is like.
FIELDS = ("gru_hidden_size", "gru_num_layers", "gru_bidirectional", "gru_bias")
_NAME = re.compile(r"(weight|bias)_(ih|hh)_l(\d+)(_reverse)?")
_MOST = 1 << 20


@dataclass(frozen=True)
class GruShape:
    """A ``torch.nn.GRU`` with ``batch_first=True`` and no projection.

    Attributes:
        input_size: width of what it takes.
        hidden_size: width of its states, in one direction.
        num_layers: how many are stacked.
        bidirectional: each layer runs in both directions.
        bias: its products have biases.
    """

    input_size: int
    hidden_size: int
    num_layers: int
    bidirectional: bool
    bias: bool

    @property
    def width(self) -> int:
        """Of the states of the last layer, both directions side by side."""
        return self.hidden_size * (2 if self.bidirectional else 1)

    def tensors(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Yield the names and shapes of its state in PyTorch."""
        gates = 3 * self.hidden_size
        for layer in range(self.num_layers):
            width = self.width if layer else self.input_size
            for end in (f"l{layer}", f"l{layer}_reverse")[: 2 if self.bidirectional else 1]:
                yield f"weight_ih_{end}", (gates, width)
                yield f"weight_hh_{end}", (gates, self.hidden_size)
                if self.bias:
                    yield f"bias_ih_{end}", (gates,)
                    yield f"bias_hh_{end}", (gates,)


def gru_shape(
    config: PretrainedConfig, input_size: int, names: Iterable[str], first: tuple[int, ...] | None
) -> GruShape:
    """Return what a GRU is like: what the configuration says, and for the rest what its tensors are called.

    Args:
        config: the checkpoint's, which may have fields of `FIELDS`.
        input_size: width of what it takes.
        names: of its tensors, as in PyTorch.
        first: the shape of ``weight_ih_l0``, if there is one.

    Raises:
        ConfigError: a field is of a wrong type or out of range, or there are tensors of layers or directions that it
            does not have; or nothing tells its size.
    """
    found = [match for match in map(_NAME.fullmatch, names) if match is not None]
    size = _field(config, "gru_hidden_size", first[0] // 3 if first else None, int)
    if size is None:
        raise ConfigError(
            f"{_where(config)}neither gru_hidden_size nor the tensor weight_ih_l0 says how large the GRU is; add "
            "gru_hidden_size to config.json, or pass it"
        )
    shape = GruShape(
        input_size,
        size,
        _field(config, "gru_num_layers", max((int(match[3]) + 1 for match in found), default=1), int),
        _field(config, "gru_bidirectional", any(match[4] for match in found) if found else True, bool),
        _field(config, "gru_bias", any(match[1] == "bias" for match in found) if found else True, bool),
    )
    unused = sorted({match[0] for match in found} - {name for name, _ in shape.tensors()})
    if unused:
        raise ConfigError(
            f"{_where(config)}the GRU has the tensors {', '.join(unused[:10])}, of which "
            f"{', '.join(f'{name}={getattr(config, name)!r}' for name in FIELDS if name in config)} knows nothing; "
            "correct the fields, or leave them out: the tensors tell"
        )
    return shape


def _field(config: PretrainedConfig, name: str, otherwise: Any, kind: type) -> Any:
    value = getattr(config, name, None)
    if value is None:
        return otherwise
    if type(value) is not kind or (isinstance(value, int) and kind is int and not 1 <= value <= _MOST):
        rule = "true or false" if kind is bool else f"an integer between 1 and {_MOST}"
        raise ConfigError(f"{_where(config)}{name} is {reprlib.repr(value)}, but must be {rule}; correct config.json")
    return value


def _where(config: PretrainedConfig) -> str:
    return f"{config.name_or_path}: " if config.name_or_path else ""
