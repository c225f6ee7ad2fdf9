"""Classifying texts by labels that the caller makes up, with a model of natural language inference."""

from __future__ import annotations

import itertools
import re
from string import Formatter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..errors import InputError
from .long_texts import OVERFLOW_OPTIONS, Overflow, TextClassifier, WindowedText
from .scores import softmax
from .task import Batch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..batching import Tokens

__all__ = ["ZeroShotClassification"]

_TEMPLATE = "This example is {}."


class _Settings(NamedTuple):
    labels: list[str]
    hypotheses: list[str]
    multi_label: bool
    overflow: Overflow | None


class ZeroShotClassification(TextClassifier):
    """Say which of the caller's labels fit a text, by asking a model of inference whether it entails each.

    An input is a string. The answer is ``{"sequence", "labels", "scores"}``, best label first.

    Options:
        candidate_labels: the labels, a list or a string with commas between them; may also follow the inputs.
        hypothesis_template: the sentence that a label is put into, at ``{}``; "This example is {}." by default.
        multi_label: score each label by itself, entailment against contradiction; else the scores add up to 1.
        on_overflow: what becomes of texts that are over the limit with their hypotheses: ``"truncate"`` cuts them, as
            is done where this is not given; ``"warn"`` says so, too; ``"error"`` refuses; ``"window"`` cuts them into
            overlapping windows, each with the whole hypothesis, and pools the windows' logits.
        max_length: a lower limit, with `on_overflow`.
        stride: tokens that a window shares with the one before; by default a quarter of a window.
        window_pooling: ``"mean"`` (the default) weights each window by the tokens that it adds to those before it,
            ``"max"`` takes each label's largest logit.

    Example:
        >>> import bertcpp
        >>> classify = bertcpp.pipeline("zero-shot-classification", model="./my-nli-model")  # doctest: +SKIP
        >>> classify("The film moved me.", ["cinema", "cooking"])["labels"]  # doctest: +SKIP
        ['cinema', 'cooking']
    """

    task = "zero-shot-classification"
    head = "ForSequenceClassification"
    loader = "AutoModelForSequenceClassification"
    options = (
        frozenset({"candidate_labels", "hypothesis_template", "max_length", "multi_label", "multi_class"})
        | OVERFLOW_OPTIONS
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._entailment = self._entailment_id()

    def __call__(self, inputs: Any, candidate_labels: Any = None, **options: Any) -> Any:
        """Classify; see the class, and `Task.__call__`."""
        if candidate_labels is not None:
            options["candidate_labels"] = candidate_labels
        if "candidate_labels" not in {**self._defaults, **options}:
            raise InputError("candidate_labels are missing: pass a list of labels, such as ['politics', 'sport']")
        return super().__call__(inputs, **options)

    def _entailment_id(self) -> int:
        """The label that says that a hypothesis follows.

        Raises:
            InputError: the configuration names none.
        """
        config = self.model.config
        for index, label in sorted(config.id2label.items()):
            if str(label).lower().startswith("entail"):
                return int(index)
        raise InputError(
            f"none of the model's labels ({', '.join(map(str, config.id2label.values()))}) is 'entailment': zero-shot "
            "classification needs a model of natural language inference, or a config.json whose id2label says which "
            "label is entailment"
        )

    def _settings(self, options: dict[str, Any]) -> _Settings:
        chosen = super()._settings(options)
        template = chosen.get("hypothesis_template")
        template = _TEMPLATE if template is None else template
        labels = chosen.get("candidate_labels", ["a label"])  # before a call there need not be any
        if isinstance(labels, str):
            labels = [label.strip() for label in labels.split(",") if label.strip()]
        if not isinstance(labels, (list, tuple)) or not labels or not all(isinstance(label, str) for label in labels):
            raise InputError(
                f"candidate_labels must be one label or more, a list of strings or a string with commas, not {labels!r}"
            )
        hypotheses = _filled(template, labels)
        multi_label = chosen.get("multi_label", chosen.get("multi_class"))
        overflow = self._overflow(chosen)
        if overflow is None and chosen.get("max_length") is not None:
            raise InputError("max_length goes with on_overflow: say what becomes of longer texts")
        return _Settings(list(labels), hypotheses, bool(multi_label), overflow)

    def _sequences_per_item(self, settings: _Settings) -> int:
        return len(settings.labels)

    def _item(self, value: Any, place: int, settings: Any) -> Any:
        text = super()._item(value, place, settings)
        if not text:
            raise InputError(f"inputs[{place}] is empty; there is nothing to classify")
        return text

    def _prepared(self, items: list[str], settings: _Settings, first: int) -> Batch:
        pairs = list(itertools.product(items, settings.hypotheses))
        if settings.overflow is not None:
            batch = self._packed_texts(items, pairs, settings.overflow, first)
            if settings.overflow.mode == "window" or not batch.cuts.texts:
                return batch
            # What is cut is the text, whichever of the two is longer.
            return batch._replace(tokens=self._cut(pairs, settings.overflow.limit))
        bounds = np.arange(len(items) + 1) * len(settings.labels)
        return Batch(self._cut(pairs, None), bounds, [WindowedText(item, None) for item in items])

    def _cut(self, pairs: list[tuple[str, str]], limit: int | None) -> Tokens:
        """The tokens of pairs, their first texts cut to what the limit leaves them."""
        try:
            return self._pairs(pairs, "only_first", limit)
        except InputError:  # a text too short to give way to its hypothesis stays whole, as it does elsewhere
            parts = [self._pair(pair, limit) for pair in pairs]
            ids = [part.input_ids.tolist() for part in parts]
            types = [part.token_type_ids.tolist() for part in parts if part.token_type_ids is not None]
            return self._packed(ids, types or None)

    def _pair(self, pair: tuple[str, str], limit: int | None) -> Tokens:
        try:
            return self._pairs([pair], "only_first", limit)
        except InputError:
            return self._pairs([pair], "do_not_truncate", None)

    def _pairs(self, pairs: list[tuple[str, str]], truncation: str, limit: int | None) -> Tokens:
        return self._encoded(pairs, {"truncation": truncation, **({} if limit is None else {"max_length": limit})})

    def _solved(self, batch: Batch, settings: _Settings) -> Iterator[Any]:
        logits = self._pooled_logits(batch, settings.overflow).reshape(len(batch.details), len(settings.labels), -1)
        if settings.multi_label or len(settings.labels) == 1:
            contradiction = -1 if self._entailment == 0 else 0
            scores = softmax(logits[:, :, [contradiction, self._entailment]])[:, :, 1]
        else:
            scores = softmax(logits[:, :, self._entailment])
        for detail, row in zip(batch.details, scores, strict=True):
            order = row.argsort()[::-1].tolist()
            yield {
                "sequence": detail.text,
                "labels": [settings.labels[i] for i in order],
                "scores": row[order].tolist(),
            }


def _filled(template: Any, labels: Sequence[str]) -> list[str]:
    """Put each label into the template.

    Raises:
        InputError: it is no text with a place for a label, or it pads labels to widths that no sentence has.
    """
    try:
        fields = [(name, form or "") for _, name, form, _ in Formatter().parse(template) if name is not None]
        if any(re.search(r"\d{4}|\{", form) for _, form in fields):
            raise ValueError("labels would be padded to thousands of characters")
        hypotheses = [template.format(label) for label in labels]
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"hypothesis_template={template!r} cannot be filled in ({error}): write {{}} once") from None
    if not fields:
        raise InputError(f"hypothesis_template={template!r} has no place for the label: write {{}} where it goes")
    return hypotheses
