"""From logits to scores, in float32, safe for any size of logit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["sigmoid", "softmax"]


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities that add up to 1 over the last axis.

    Example:
        >>> import numpy as np
        >>> from bertcpp.tasks.scores import softmax
        >>> softmax(np.float32([[0, 0], [1000, 0]])).tolist()
        [[0.5, 0.5], [1.0, 0.0]]
    """
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    scores: NDArray[np.float32] = powers / powers.sum(axis=-1, keepdims=True)
    return scores


def sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """A probability for each logit by itself.

    Example:
        >>> import numpy as np
        >>> from bertcpp.tasks.scores import sigmoid
        >>> sigmoid(np.float32([0, -1000])).tolist()
        [0.5, 0.0]
    """
    # 1 / (1 + exp(-x)) overflows far below zero; exp of a negative number does not.
    powers = np.exp(-np.abs(logits))
    scores: NDArray[np.float32] = np.where(logits < 0, powers, np.float32(1)) / (1 + powers)
    return scores
