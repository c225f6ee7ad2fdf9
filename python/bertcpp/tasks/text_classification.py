"""Classifying texts, and pairs of texts, by a checkpoint's own labels."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..errors import InputError, InputTypeError
from ..sequence_building import whole_number
from .long_texts import OVERFLOW_OPTIONS, Overflow, TextClassifier, WindowedText
from .scores import sigmoid, softmax
from .task import Batch, name_of_choice, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["TextClassification"]

# Options by name that the tokenizer is given as they are.
_TOKENIZER_OPTIONS = frozenset(
    {"add_special_tokens", "max_length", "padding", "return_token_type_ids", "split_special_tokens", "truncation"}
)
_FUNCTIONS = ("default", "sigmoid", "softmax", "none")
_OF_PROBLEM = {
    "regression": "none",
    "multi_label_classification": "sigmoid",
    "single_label_classification": "softmax",
}


class _Settings(NamedTuple):
    function: str
    top_k: int | None
    best_alone: bool  # one dictionary instead of a list
    as_ranked: bool  # best first; else in the labels' order
    tokenizer: Mapping[str, Any]
    overflow: Overflow | None


class TextClassification(TextClassifier):
    """Classify texts, or pairs of texts.

    An input is a string, or ``{"text": ..., "text_pair": ...}``. The answer is ``{"label", "score"}``, in a list of
    its own for a single string; with ``top_k`` a list of the best labels, best first.

    Options:
        top_k: how many labels; None gives all. Not given, or ``""``, the best one is answered as a dictionary.
        function_to_apply: ``"sigmoid"``, ``"softmax"``, ``"none"``, or by default what ``problem_type`` asks for:
            nothing for regression, sigmoid for several labels at once or a single one, else softmax.
        return_all_scores: the older way to ask for all labels, in their own order.
        truncation, max_length, add_special_tokens ...: for the tokenizer.
        on_overflow: what becomes of texts over `max_length`, the tokenizer's limit or the model's: ``"truncate"`` cuts
            them, ``"warn"`` says so, too, ``"error"`` refuses, and ``"window"`` cuts the longer text into overlapping
            windows and pools the windows' logits. Not given, `truncation` decides, as in transformers.
        stride: tokens that a window shares with the one before; by default a quarter of a window.
        window_pooling: ``"mean"`` (the default) weights each window by the tokens that it adds to those before it,
            ``"max"`` takes each label's largest logit.

    Example:
        >>> import bertcpp
        >>> classify = bertcpp.pipeline("text-classification", model="./my-classifier")  # doctest: +SKIP
        >>> classify("A film to see twice.")  # doctest: +SKIP
        [{'label': 'POSITIVE', 'score': 0.9998}]
    """

    task = "text-classification"
    head = "ForSequenceClassification"
    loader = "AutoModelForSequenceClassification"
    options = frozenset({"top_k", "function_to_apply", "return_all_scores"}) | _TOKENIZER_OPTIONS | OVERFLOW_OPTIONS

    def __call__(self, inputs: Any, **options: Any) -> Any:
        """Classify; see the class, and `Task.__call__`."""
        result = super().__call__(inputs, **options)
        return [result] if isinstance(inputs, str) and "top_k" not in options else result

    def _settings(self, options: dict[str, Any]) -> _Settings:
        chosen = super()._settings(options)
        top_k, all_scores = chosen.get("top_k", ""), chosen.get("return_all_scores")
        if all_scores is None:
            all_scores = getattr(self.model.config, "return_all_scores", None)
        elif top_k == "":
            warnings.warn(
                "return_all_scores is deprecated: pass top_k=None for all labels, top_k=1 for the best", stacklevel=4
            )
        ranked = top_k is None or not isinstance(top_k, str)
        if ranked:
            top_k = None if top_k is None else whole_number("top_k", top_k, 1)
        elif top_k != "":
            raise InputError(f"top_k={top_k!r} is not a number of labels, None or ''")
        function = chosen.get("function_to_apply")
        return _Settings(
            function="default" if function is None else name_of_choice("function_to_apply", function, _FUNCTIONS),
            top_k=top_k if ranked else None,
            best_alone=not ranked and not all_scores,
            as_ranked=ranked,
            tokenizer={name: value for name, value in chosen.items() if name in _TOKENIZER_OPTIONS},
            overflow=self._overflow(chosen),
        )

    def _overflow(self, chosen: Mapping[str, Any]) -> Overflow | None:
        overflow = super()._overflow(chosen)
        beside = _TOKENIZER_OPTIONS - {"max_length", "padding"}
        given = sorted(name for name in beside if chosen.get(name) is not None)
        if overflow is not None and given:
            raise InputError(f"on_overflow says how texts become tokens; leave out {', '.join(given)}")
        return overflow

    def _item(self, value: Any, place: int, settings: Any) -> Any:
        if isinstance(value, str):
            return value
        if isinstance(value, Mapping):
            unknown = sorted(set(value) - {"text", "text_pair"})
            text, pair = value.get("text"), value.get("text_pair")
            if unknown or not isinstance(text, str) or not (pair is None or isinstance(pair, str)):
                raise InputError(
                    f"inputs[{place}] is {shown(dict(value))}; a dictionary has 'text' and perhaps 'text_pair', both "
                    "strings"
                )
            return (text, pair) if pair else text
        if isinstance(value, list) and len(value) == 1 and _is_pair(value[0]):
            return tuple(value[0])  # [["a text", "its pair"]]: the older way to pass one
        raise InputTypeError(
            f"inputs[{place}] is {shown(value)}, of type {type(value).__name__}; pass a string, or a pair as "
            "{'text': ..., 'text_pair': ...}"
        )

    def _prepared(self, items: list[Any], settings: _Settings, first: int) -> Batch:
        if settings.overflow is not None:
            return self._packed_texts(items, items, settings.overflow, first)
        tokens = self._encoded(items, settings.tokenizer)
        return Batch(tokens, np.arange(len(items) + 1), [WindowedText(item, None) for item in items])

    def _solved(self, batch: Batch, settings: _Settings) -> Iterator[Any]:
        scores = self._scores(self._pooled_logits(batch, settings.overflow), settings.function)
        labels = self.model.config.id2label
        if settings.best_alone:
            best = scores.argmax(axis=1)
            for index, score in zip(best.tolist(), scores.max(axis=1).tolist(), strict=True):
                yield {"label": labels[index], "score": score}
            return
        for row in scores:
            order = np.argsort(-row, kind="stable")[: settings.top_k] if settings.as_ranked else np.arange(len(row))
            yield [{"label": labels[index], "score": row[index].item()} for index in order.tolist()]

    def _scores(self, logits: NDArray[np.float32], function: str) -> NDArray[np.float32]:
        if function == "default":
            problem = _OF_PROBLEM.get(self.model.config.problem_type)
            function = problem or ("sigmoid" if logits.shape[1] == 1 else "softmax")
            if problem == "softmax" and logits.shape[1] == 1:
                function = "sigmoid"
        return sigmoid(logits) if function == "sigmoid" else softmax(logits) if function == "softmax" else logits


def _is_pair(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 2 and all(isinstance(part, str) for part in value)
