"""Classifiers of whole texts, and what becomes of texts over the limit: cut, said, refused, or pooled from windows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..arguments import ON_OVERFLOW, checked_stride
from ..errors import InputError
from ..sequence_building import whole_number
from ..text_packing import Cuts, TextPacker, say_what_was_cut
from ..windows import Windows
from .task import Batch, Task, name_of_choice

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from ..batching import Tokens

__all__ = ["OVERFLOW_OPTIONS", "Overflow", "TextClassifier", "WindowedText"]

OVERFLOW_OPTIONS = frozenset({"on_overflow", "stride", "window_pooling"})
_POOLINGS = ("mean", "max")


class Overflow(NamedTuple):
    """A policy for long texts.

    Attributes:
        mode: one of `ON_OVERFLOW`.
        limit: tokens that stay of a text, or of a window.
        stride: tokens that two windows share.
        pooling: how windows' logits become one row.
    """

    mode: str
    limit: int
    stride: int
    pooling: str


class WindowedText(NamedTuple):
    """An input, and which of its sequences are windows of one; None where none is."""

    text: Any
    windows: Windows | None


class TextClassifier(Task):
    """A task over logits of whole texts, or of several pairs for each text."""

    def _overflow(self, chosen: Mapping[str, Any]) -> Overflow | None:
        """Read the policy from a call's options; None leaves long texts to what transformers does.

        Raises:
            InputError: an option has a value that it cannot have, or has no effect beside the others.
        """
        mode = chosen.get("on_overflow")
        stride, pooling = chosen.get("stride"), chosen.get("window_pooling")
        if mode != "window":
            for name, value in (("stride", stride), ("window_pooling", pooling)):
                if value is not None:
                    raise InputError(f"{name} is for windows: pass on_overflow='window', too")
        if mode is None:
            return None
        mode = name_of_choice("on_overflow", mode, ON_OVERFLOW)
        length = chosen.get("max_length")
        limit = min(self.tokenizer.model_max_length, self._max_length)
        if length is not None:
            limit = min(limit, whole_number("max_length", length, 1))
        pooling = "mean" if pooling is None else name_of_choice("window_pooling", pooling, _POOLINGS)
        return Overflow(mode, limit, checked_stride(stride, limit), pooling)

    def _packer(self) -> TextPacker:
        return TextPacker(self.tokenizer, self.model._packer.limits, limit_name="max_length")

    def _packed_texts(self, items: Sequence[Any], sequences: Sequence[Any], overflow: Overflow, first: int) -> Batch:
        """Tokenize under a policy.

        Args:
            items: n inputs.
            sequences: the texts, or pairs of texts, that they become: as many for each.
            overflow: the policy.
            first: the place of the first input.

        Returns:
            The batch, with `WindowedText` as details.
        """
        each = len(sequences) // len(items)
        if overflow.mode != "window":
            tokens, cuts = self._packer().pack(
                sequences, overflow.limit, may_cut=overflow.mode != "error", first=first, each=each
            )
            windows = None
        else:
            tokens, windows, cuts = self._packer().pack_windows(
                sequences, overflow.limit, overflow.stride, first=first, each=each
            )
        return _batch(items, tokens, windows, each, cuts)

    def _pooled_logits(self, batch: Batch, overflow: Overflow | None) -> NDArray[np.float32]:
        """What the head says of each text or pair, ``[n, labels]``, those in windows pooled."""
        logits = self._logits(batch.tokens)
        if all(detail.windows is None for detail in batch.details):
            return logits
        rows = []
        for detail, start, end in zip(batch.details, batch.bounds[:-1], batch.bounds[1:], strict=True):
            own, windows = logits[start:end], detail.windows
            if windows is not None:
                own = windows.largest(own) if overflow and overflow.pooling == "max" else windows.pooled(own)
            rows.append(own)
        return np.concatenate(rows)

    def _say_cuts(self, cuts: Cuts, count: int, settings: Any) -> None:
        overflow = settings.overflow
        if overflow is not None and overflow.mode != "truncate":
            say_what_was_cut(cuts, count, overflow.limit, self._max_length, "max_length")


def _batch(items: Sequence[Any], tokens: Tokens, windows: Windows | None, each: int, cuts: Cuts) -> Batch:
    """Put sequences, of which each input has `each` before they are cut into windows, to their inputs."""
    if windows is None:
        return Batch(tokens, np.arange(len(items) + 1) * each, [WindowedText(item, None) for item in items], cuts)
    bounds = windows.cu_windows[::each].astype(np.int64)
    details = []
    for place, item in enumerate(items):
        start, end = bounds[place : place + 2].tolist()
        ends = windows.cu_windows[place * each : (place + 1) * each + 1] - np.int32(start)
        cut = Windows(ends, windows.own[start:end], windows.weights[start:end])
        details.append(WindowedText(item, cut if end - start > each else None))
    return Batch(tokens, bounds, details, cuts)
