"""Activations on scores, by PyTorch's names or as a caller's function, without importing PyTorch."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _core
from .errors import InputError
from .pooling import engine_activation

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["Activation", "softmax"]


class Activation:
    """A function on scores `[n, L]`.

    Example:
        >>> import numpy as np
        >>> from bertcpp.activations import Activation
        >>> Activation("torch.nn.modules.activation.Sigmoid")(np.zeros((1, 1), np.float32)).tolist()
        [[0.5]]
    """

    def __init__(self, function: str | Callable[[Any], Any], where: Any = "activation_fn") -> None:
        """Take a dotted name of one of torch.nn's activations, or any function.

        Args:
            function: a name; or a function of a PyTorch tensor, if PyTorch has been imported, else of an array.
            where: who names it, for messages.

        Raises:
            UnsupportedFormatError: if it is a name that the engine does not know.
            ValueError: if it is neither a name nor a function.
        """
        if not isinstance(function, str) and not callable(function):
            raise ValueError(f"{where} must be a function or the dotted name of one of torch.nn's, not {function!r}")
        self.function = function
        self._name = engine_activation(function, where) if isinstance(function, str) else ""

    def __call__(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return float32 `[n, ...]` for `scores` `[n, L]`.

        Raises:
            InputError: if a caller's function returns something else than numbers for each row.
        """
        if self._name == "identity" or not len(scores):
            return scores
        if self._name:  # by the engine, as everywhere: the product with the identity is exact
            return _core.Linear(np.eye(scores.shape[1], dtype=np.float32), None, self._name)(scores)
        assert callable(self.function)
        torch = sys.modules.get("torch")
        if torch is None or isinstance(self.function, np.ufunc):
            found = self.function(scores)
        else:
            with torch.no_grad():
                found = self.function(torch.from_numpy(scores))
        array = np.asarray(found, np.float32)
        if array.ndim < 1 or len(array) != len(scores):
            raise InputError(
                f"activation_fn returned an array of shape {list(array.shape)} for scores of shape "
                f"{list(scores.shape)}; it must keep the rows"
            )
        return array

    def __repr__(self) -> str:
        return self.function if isinstance(self.function, str) else repr(self.function)


def softmax(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the softmax of each row of `scores` `[n, L]`."""
    powers = np.exp(scores - np.max(scores, axis=1, keepdims=True))
    shares: NDArray[np.float32] = powers / np.sum(powers, axis=1, keepdims=True)
    return shares
