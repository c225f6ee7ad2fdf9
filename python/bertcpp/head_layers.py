"""Builds a task's heads from a checkpoint's tensors, as the rows of `heads` say, and runs them in the engine."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _core
from .checkpoints import open_weights
from .errors import MissingHeadError
from .head_tensors import HeadTensors, own_weights
from .heads import HEADS, Norm, heads_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike
    from pathlib import Path

    from numpy.typing import NDArray

    from .arrays import AnyArray, FloatArray
    from .configuration import PretrainedConfig
    from .heads import Head, Step

__all__ = ["HeadLayers", "load_heads"]


class HeadLayers:
    """The layers of one head.

    Attributes:
        reads: the states that they take, see `heads.Head`.
        recurrent: whether recurrent layers run over the encoder's states before them.
        width: of what they return.
        num_parameters: how many weights they have that are not the encoder's.
        decoder: the layer whose weight is the encoder's word embeddings, or None; the encoder reads them out of it, so
            that they are held once.
    """

    def __init__(self, head: Head, source: HeadTensors) -> None:
        source.check_settled(head)
        self.reads = head.reads
        self.recurrent = bool(head.recurrent)
        self.width = source.hidden_size
        self.num_parameters = 0
        self.decoder: _core.Linear | None = None
        self._gru = self._built_gru(head, source) if head.recurrent else None
        self._layers = [self._built(step, source) for step in head.steps]

    def _built_gru(self, head: Head, source: HeadTensors) -> _core.GRU:
        shape = source.recurrent_shape(head)
        weights = source.recurrent_arrays(head, shape)
        self.num_parameters += sum(array.size for array in weights.values())
        self.width = shape.width
        self._directions = 2 if shape.bidirectional else 1
        return _core.GRU(weights, num_layers=shape.num_layers, bidirectional=shape.bidirectional)

    def _built(self, step: Step, source: HeadTensors) -> _core.Linear | _core.LayerNorm:
        weight, bias = source.arrays(step, self.width)
        self.num_parameters += bias.size + (0 if source.is_shared(step) else weight.size)
        if isinstance(step, Norm):
            return _core.LayerNorm(weight, bias, source.eps)
        self.width = len(bias)
        linear = _core.Linear(weight, bias, source.activation(step))
        if source.is_read_by_encoder(step):
            self.decoder = linear
        return linear

    def of_sequences(
        self, states: FloatArray, cu_seqlens: AnyArray, firsts: NDArray[np.intp], num_threads: int
    ) -> FloatArray:
        """Return float32 ``[B, width]`` of packed states ``[T, hidden_size]``.

        Args:
            states: the encoder's.
            cu_seqlens: ``[B + 1]``, where each sequence starts and the last one ends.
            firsts: ``[B]``, where each sequence's first token is.
            num_threads: threads of the engine; 0 means its default.
        """
        if self._gru is None:
            return self.of_rows(states[firsts], num_threads)
        _, finals = self._gru(states, cu_seqlens, num_threads=num_threads)
        last = finals[-self._directions :]  # of the last layer
        return self.of_rows(np.concatenate(list(last), axis=1), num_threads)

    def of_tokens(self, states: FloatArray, cu_seqlens: AnyArray, num_threads: int) -> FloatArray:
        """Return float32 ``[T, width]`` of packed states ``[T, hidden_size]``; see `of_sequences`."""
        if self._gru is not None:
            states, _ = self._gru(states, cu_seqlens, num_threads=num_threads)
        return self.of_rows(states, num_threads)

    def of_rows(self, states: FloatArray, num_threads: int) -> FloatArray:
        """Return float32 ``[N, width]`` of states ``[N, ...]`` that no recurrent layer has to see."""
        for layer in self._layers:
            states = layer(states, num_threads=num_threads)
        return states


def load_heads(
    folder: Path,
    config: PretrainedConfig,
    task: str,
    *,
    use_safetensors: bool | None = None,
    head: str | PathLike[str] | Mapping[str, Any] | None = None,
    allow_missing_head: bool = False,
) -> list[HeadLayers]:
    """Build the heads of a task, in the order of `heads.TASKS`.

    Args:
        folder: the checkpoint's.
        config: its configuration.
        task: the end of the class's name, such as ``"MaskedLM"``; the family has such a class.
        use_safetensors: see `bertcpp.checkpoints.open_weights`.
        head: tensors that come before those of the checkpoint: a file, or arrays or tensors by name.
        allow_missing_head: draw what is missing from a fixed seed, and warn, instead of refusing.

    Raises:
        CheckpointError: files are missing, damaged or of an unknown kind.
        ConfigError: the configuration is impossible.
        InputError: `head` has tensors that no layer takes, or is none of those.
        MissingHeadError: the checkpoint lacks tensors of a head, which are named.
        WeightMismatchError: tensors do not fit the configuration.
    """
    rows = [HEADS[config.model_type][name] for name in heads_of(task, config.model_type)]
    with open_weights(folder, use_safetensors=use_safetensors, packed=True) as weights:
        source = HeadTensors(config, weights, own_weights(head, folder))
        source.check_own(rows)
        missing = source.missing(rows)
        if missing and not allow_missing_head:
            raise _no_head(source, task, missing)
        with weights.released_while_read(source.names(rows)):
            layers = [HeadLayers(row, source) for row in rows]
        if missing:
            warnings.warn(
                f"{folder} lacks {', '.join(missing)}: these weights are drawn at random, always the same, so that "
                "answers mean nothing until the head has been trained",
                stacklevel=4,
            )
        return layers


def _no_head(source: HeadTensors, task: str, missing: list[str]) -> MissingHeadError:
    has = " or ".join(map(source.class_name, source.tasks()))
    stated = source.config.architectures
    saved = f"; config.json says that it was saved from {', '.join(map(str, stated))}" if stated else ""
    return MissingHeadError(
        f"{source.weights.folder} has no head for {source.class_name(task)}: {', '.join(missing)} missing; it has "
        f"{f'one for {has}' if has else 'one for no task'}{saved}. Load it as what it is, train the head and pass it "
        "as head=, or pass allow_missing_head=True to have it drawn at random"
    )
