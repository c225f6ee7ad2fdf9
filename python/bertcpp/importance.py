"""How much the layers and heads of an encoder matter to texts, measured without gradients.

Two measures, of layers and of heads alike:

- ``output``: leave one out and see how far the texts' vectors turn: the mean over texts of 1 - cos(with, without), the
  vectors pooled as the checkpoint says. A forward pass for each layer or head; what is asked is measured itself. For
  heads this is the test of Michel et al., "Are Sixteen Heads Really Better than One?" (arXiv 1905.10650), with the
  vectors' turn in place of a task's score.
- ``local``: one forward pass in all. Of a layer, how far it turns the hidden states: the mean over tokens of
  1 - cos(before, after); Sajjad et al., "On the Effect of Dropping Layers of Pre-trained Transformer Models" (arXiv
  2004.03844), call it contribution-based, Men et al. (ShortGPT, arXiv 2403.03853) block influence. Of a head, its share
  in the sum that its layer's LayerNorm sees: the mean over tokens of |c_h| / |x + b + sum of all c|, where
  c_h = P_h (x V_h) O_h is what the head adds; Kobayashi et al., "Attention is Not Only a Weight" (arXiv 2004.10102).
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from . import _core, architectures, checkpoints
from .arguments import checked_threads
from .configuration import AutoConfig
from .encoder_weights import float32
from .errors import InputError
from .packed_batch import packed_positions
from .pooling import plain_modules, read_modules
from .sentence_encoder import SentenceEncoder

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from .batching import Tokens

__all__ = ["Measure", "Probe"]

Measure = Literal["output", "local"]
Floats = NDArray[np.float32]

_MOST_TOKENS = 2048  # of a pass, whose attention probabilities are held
_ROWS_OF_HEADS = ("query.weight", "query.bias", "key.weight", "key.bias", "value.weight", "value.bias")


class Probe:
    """An encoder whose layers and heads can be left out, over texts.

    Args:
        folder: the checkpoint's.
        texts: what importance is measured on; longer ones are cut at the checkpoint's limit.
        num_threads: threads of a pass; 0 means the engine's default.

    Raises:
        BertcppError: the checkpoint cannot be loaded.
        InputError: there are no texts.

    Example:
        >>> from bertcpp.checkpoints import locate
        >>> from bertcpp.importance import Probe
        >>> probe = Probe(locate("all-MiniLM-L6-v2"), ["A cat sits outside.", "Someone is having a meal."])
        >>> len(probe.layers()), len(probe.heads()[0])
        (6, 12)
    """

    def __init__(self, folder: Path, texts: Sequence[str], num_threads: int = 0) -> None:
        if not texts:
            raise InputError("importance is measured on texts, and there are none; give some of those to be embedded")
        encoder = SentenceEncoder.load(folder, {}, {})
        self._modes = list(encoder.pooling.modes)
        self._threads = checked_threads(num_threads or None) or 0
        place = (read_modules(folder) or plain_modules(folder)).encoder
        config = AutoConfig.from_pretrained(place)
        self._limits = architectures.input_limits(config)
        self._settings = {**architectures.engine_config(config), "has_pooler": False}
        self._weights, _ = architectures.engine_weights(
            config, checkpoints.open_weights(place), add_pooling_layer=False
        )
        tokens, _ = encoder.packer.pack(texts, encoder.stated_length)
        self._batches = list(_cut(tokens))
        self._gone: list[int] = []

    @property
    def _layers(self) -> int:
        return int(self._settings["num_hidden_layers"])

    def leave_out(self, layers: Collection[int]) -> None:
        """Leave layers out of everything that is measured from here on; those after them move up."""
        self._weights = _without_layers(self._weights, layers)
        self._settings["num_hidden_layers"] = self._layers - len(set(layers))

    def layers(self, measure: Measure = "output") -> list[float]:
        """Return how much each layer matters."""
        if measure == "local":
            return self._turns()
        variants = ((self._layers - 1, _without_layers(self._weights, [layer])) for layer in range(self._layers))
        return self._moves(variants)

    def heads(self, measure: Measure = "output") -> list[list[float]]:
        """Return how much each head of each layer matters; of those that the checkpoint still has."""
        if measure == "local":
            return self._shares()
        counts = [self._head_count(layer) for layer in range(self._layers)]
        moved = iter(
            self._moves(
                (self._layers, self._without_head(layer, head))
                for layer, count in enumerate(counts)
                for head in range(count)
                if count > 1
            )
        )
        # A layer's only head cannot be left out.
        return [[next(moved) if count > 1 else float("inf") for _ in range(count)] for count in counts]

    def _head_count(self, layer: int) -> int:
        return len(self._weights[f"layers.{layer}.attention.query.weight"]) // self._head_dim

    @property
    def _head_dim(self) -> int:
        return int(self._settings["hidden_size"]) // int(self._settings["num_attention_heads"])

    def _without_head(self, layer: int, head: int) -> dict[str, NDArray[Any]]:
        size = self._head_dim
        gone = range(head * size, (head + 1) * size)
        stem = f"layers.{layer}.attention."
        changed = {stem + name: np.delete(self._weights[stem + name], gone, axis=0) for name in _ROWS_OF_HEADS}
        output = f"{stem}output.weight"
        return self._weights | changed | {output: np.delete(self._weights[output], gone, axis=1)}

    def _vectors(self, layers: int, weights: Mapping[str, NDArray[Any]]) -> Floats:
        core = _core.Encoder({**self._settings, "num_hidden_layers": layers}, dict(weights))
        return np.concatenate(
            [
                core.embed(
                    batch.input_ids,
                    batch.cu_seqlens,
                    self._positions(batch),
                    batch.token_type_ids,
                    pooling=self._modes,
                    num_threads=self._threads,
                )
                for batch in self._batches
            ]
        )

    def _moves(self, variants: Iterator[tuple[int, Mapping[str, NDArray[Any]]]]) -> list[float]:
        """How far each variant's vectors turn from the whole encoder's."""
        whole = self._vectors(self._layers, self._weights)
        return [float(np.mean(_turn(whole, self._vectors(*variant)))) for variant in variants]

    def _turns(self) -> list[float]:
        found = []
        for states, _ in self._passes(attentions=False):
            found.append([_turn(before, after) for before, after in itertools.pairwise(states)])
        return [float(np.mean(np.concatenate(parts))) for parts in zip(*found, strict=True)]

    def _shares(self) -> list[list[float]]:
        """Of each head, the mean over tokens of its share."""
        sums = [np.zeros(self._head_count(layer)) for layer in range(self._layers)]
        tokens = 0
        for batch, (states, attentions) in zip(self._batches, self._passes(attentions=True), strict=True):
            tokens += len(batch.input_ids)
            for layer, probabilities in enumerate(attentions):
                sums[layer] += self._added(layer, batch, states[layer], probabilities)
        return [(total / tokens).tolist() for total in sums]

    def _added(self, layer: int, batch: Tokens, x: Floats, probabilities: Floats) -> NDArray[np.float64]:
        """The sum over tokens of what each head adds, beside the length of what its layer's LayerNorm sees."""
        stem = f"layers.{layer}.attention."
        value, output = (float32(self._weights[f"{stem}{name}.weight"]) for name in ("value", "output"))
        bias, offset = (float32(self._weights[f"{stem}{name}.bias"]) for name in ("value", "output"))
        heads, size = self._head_count(layer), self._head_dim
        values = (x @ value.T + bias).reshape(len(x), heads, size)
        context = np.empty_like(values)
        at = 0
        for start, end in itertools.pairwise(batch.cu_seqlens.tolist()):
            length = end - start
            block = probabilities[at : at + heads * length * length].reshape(heads, length, length)
            context[start:end] = np.einsum("hqk,khd->qhd", block, values[start:end])
            at += block.size
        added = [context[:, head] @ output[:, head * size : (head + 1) * size].T for head in range(heads)]
        seen = np.linalg.norm(x + offset + sum(added), axis=1)
        return np.array([np.sum(np.linalg.norm(part, axis=1) / seen) for part in added], np.float64)

    def _passes(self, attentions: bool) -> Iterator[tuple[list[Floats], list[Floats]]]:
        core = _core.Encoder(self._settings, self._weights)
        for batch in self._batches:
            answer = core.forward(
                batch.input_ids,
                batch.cu_seqlens,
                self._positions(batch),
                batch.token_type_ids,
                output_hidden_states=True,
                output_attentions=attentions,
                pooler=False,
                num_threads=self._threads,
            )
            yield answer["hidden_states"], answer["attentions"] or []

    def _positions(self, batch: Tokens) -> NDArray[np.int32]:
        return packed_positions(batch.input_ids, batch.cu_seqlens, self._limits.padding_idx)


def _without_layers(weights: Mapping[str, NDArray[Any]], gone: Collection[int]) -> dict[str, NDArray[Any]]:
    """The engine's weights with those layers left out and the rest numbered anew."""
    kept: dict[str, NDArray[Any]] = {}
    for name, array in weights.items():
        if not name.startswith("layers."):
            kept[name] = array
            continue
        _, number, rest = name.split(".", 2)
        if int(number) not in gone:
            kept[f"layers.{int(number) - sum(layer < int(number) for layer in set(gone))}.{rest}"] = array
    return kept


def _turn(before: Floats, after: Floats) -> Floats:
    """1 - cos of each row's angle."""
    norms = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
    turned: Floats = 1 - np.einsum("td,td->t", before, after) / np.maximum(norms, np.finfo(np.float32).tiny)
    return turned


def _cut(tokens: Tokens) -> Iterator[Tokens]:
    """Runs of sequences of `_MOST_TOKENS` tokens or fewer, or of one sequence."""
    first, last = 0, len(tokens.cu_seqlens) - 1
    while first < last:
        end = int(np.searchsorted(tokens.cu_seqlens, tokens.cu_seqlens[first] + _MOST_TOKENS, side="right")) - 1
        end = max(end, first + 1)
        yield tokens.rows(first, end)
        first = end
