"""The spans of a window over a context that answer a question best."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Spans", "best_spans"]

_MASKED = np.float32(-10000)  # the logit of what cannot be an answer


class Spans(NamedTuple):
    """Spans of tokens, `starts` to `ends` inclusive, with the probability of each, and that of no answer."""

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    scores: NDArray[np.float32]
    no_answer: float


def best_spans(
    start_logits: NDArray[np.float32],
    end_logits: NDArray[np.float32],
    possible: NDArray[np.bool_],
    count: int,
    longest: int,
) -> Spans:
    """Return the likeliest spans of one window, likeliest first.

    Args:
        start_logits: float32 ``[n]``.
        end_logits: float32 ``[n]``.
        possible: bool ``[n]``, the tokens that an answer may begin and end with, and the first one, which stands for
            no answer.
        count: how many spans.
        longest: tokens of a span at most.

    Example:
        >>> import numpy as np
        >>> from bertcpp.tasks.answer_spans import best_spans
        >>> starts, ends = np.float32([0, 1, 9, 1, 0]), np.float32([0, 1, 1, 9, 0])
        >>> spans = best_spans(starts, ends, np.array([True, False, True, True, False]), 1, 15)
        >>> spans.starts.tolist(), spans.ends.tolist()
        ([2], [3])
    """
    start, end = _probabilities(start_logits, possible), _probabilities(end_logits, possible)
    no_answer = (start[0] * end[0]).item()
    start[0] = end[0] = 0
    starts, ends, scores = _banded(start, end, count, longest)
    if len(scores) < count:
        # Too few spans have any probability: what else is taken is then as in the full table.
        starts, ends, scores = _tabled(start, end, count, longest)
        wanted = possible[starts] & possible[ends]
        starts, ends, scores = starts[wanted], ends[wanted], scores[wanted]
    return Spans(starts, ends, scores, no_answer)


def _probabilities(logits: NDArray[np.float32], possible: NDArray[np.bool_]) -> NDArray[np.float32]:
    masked = np.where(possible, logits, _MASKED)
    powers = np.exp(masked - masked.max())
    scores: NDArray[np.float32] = powers / powers.sum()
    return scores


def _banded(
    start: NDArray[np.float32], end: NDArray[np.float32], count: int, longest: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """The best spans that have a probability: ``[n, longest]`` products instead of ``[n, n]``."""
    width = min(longest, len(end))
    padded = np.concatenate((end, np.zeros(width - 1, np.float32)))
    products = start[:, None] * np.lib.stride_tricks.sliding_window_view(padded, width)
    flat = products.ravel()
    best = np.argpartition(flat, -count)[-count:] if count < len(flat) else np.arange(len(flat))
    best = best[np.argsort(-flat[best], kind="stable")]
    best = best[flat[best] > 0]
    starts, lengths = np.divmod(best, width)
    return starts, starts + lengths, flat[best]


def _tabled(
    start: NDArray[np.float32], end: NDArray[np.float32], count: int, longest: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """The best cells of the table of all starts and ends, those that are no spans among them with 0."""
    table = np.tril(np.triu(np.outer(start, end)), min(longest, len(end)) - 1)
    flat = table.ravel()
    if count == 1:
        best = np.array([flat.argmax()])
    elif len(flat) < count:
        best = np.argsort(-flat)
    else:
        best = np.argpartition(-flat, count)[:count] if count < len(flat) else np.arange(len(flat))
        best = best[np.argsort(-flat[best])]
    starts, ends = np.divmod(best, len(end))
    return starts, ends, flat[best]
