"""The kinds of task models: what their heads' answers are called, and over what they are given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .arrays import as_array, gpu_of
from .errors import InputError
from .outputs import (
    BertForPreTrainingOutput,
    MaskedLMOutput,
    ModelOutput,
    MultipleChoiceModelOutput,
    NextSentencePredictorOutput,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)
from .task_model import TaskModel

if TYPE_CHECKING:
    from .arrays import FloatArray
    from .engine_pass import EnginePass
    from .pretrained_model import PreTrainedModel

__all__ = [
    "MaskedLanguageModel",
    "MultipleChoiceModel",
    "NextSentenceModel",
    "PreTrainingModel",
    "QuestionAnsweringModel",
    "SequenceClassificationModel",
    "TokenClassificationModel",
]


_MASKED = -10000.0  # the logits of what the mask leaves out where they are compared over a row


class SequenceClassificationModel(TaskModel):
    """One vector of logits for each sequence; `config.problem_type` says how to read it."""

    _task = "SequenceClassification"
    _auto = "AutoModelForSequenceClassification"
    _families: ClassVar[dict[str, type[PreTrainedModel]]] = {}
    _output_class: ClassVar[type[ModelOutput]] = SequenceClassifierOutput

    def _answers(self, done: EnginePass, given: dict[str, Any]) -> dict[str, FloatArray]:
        return {"logits": self._of_sequences(self._heads[0], done)}


class TokenClassificationModel(TaskModel):
    """Logits for each token."""

    _task = "TokenClassification"
    _auto = "AutoModelForTokenClassification"
    _families: ClassVar[dict[str, type[PreTrainedModel]]] = {}
    _output_class: ClassVar[type[ModelOutput]] = TokenClassifierOutput

    def _answers(self, done: EnginePass, given: dict[str, Any]) -> dict[str, FloatArray]:
        return {"logits": self._of_tokens(self._heads[0], done)}


class QuestionAnsweringModel(TaskModel):
    """Logits of an answer's first and last token."""

    _task = "QuestionAnswering"
    _auto = "AutoModelForQuestionAnswering"
    _families: ClassVar[dict[str, type[PreTrainedModel]]] = {}
    _output_class: ClassVar[type[ModelOutput]] = QuestionAnsweringModelOutput

    def _answers(self, done: EnginePass, given: dict[str, Any]) -> dict[str, FloatArray]:
        logits = self._of_tokens(self._heads[0], done)
        if done.batch.cells is not None:
            kept = done.batch.pad(np.ones((done.batch.cells.size, 1), np.float32))
            logits[~kept.any(axis=2)] = _MASKED  # zeros could win over all tokens that are there
        return {
            "start_logits": np.ascontiguousarray(logits[:, :, 0]),
            "end_logits": np.ascontiguousarray(logits[:, :, 1]),
        }


class MaskedLanguageModel(TaskModel):
    """Logits of every word of the vocabulary for each token, or with ``positions`` for some of them.

    ``positions`` is an argument of `forward` by name: booleans ``[batch, sequence]``, as ``input_ids ==
    mask_token_id``, or a pair of integer arrays ``(rows, columns)``. The logits are then ``[P, vocab_size]``, in that
    order, and nothing is computed for the others.
    """

    _task = "MaskedLM"
    _auto = "AutoModelForMaskedLM"
    _families: ClassVar[dict[str, type[PreTrainedModel]]] = {}
    _output_class: ClassVar[type[ModelOutput]] = MaskedLMOutput
    _named_only: ClassVar[tuple[str, ...]] = ("positions",)

    def _answers(self, done: EnginePass, given: dict[str, Any]) -> dict[str, FloatArray]:
        return {"logits": self._of_words(self._heads[0], done, given.get("positions"))}


class MultipleChoiceModel(TaskModel):
    """A score for each of several continuations; inputs are ``[batch, choices, sequence]``."""

    _task = "MultipleChoice"
    _auto = "AutoModelForMultipleChoice"
    _families: ClassVar[dict[str, type[PreTrainedModel]]] = {}
    _output_class: ClassVar[type[ModelOutput]] = MultipleChoiceModelOutput

    def _compute_task(self, given: dict[str, Any]) -> Any:
        choices = 0
        flat = dict(given)
        for name, dimensions in _CHOICES.items():
            value = given.get(name)
            if value is None:
                continue
            shape = tuple(value.shape) if gpu_of(value, name) is not None else as_array(value, name).shape
            if len(shape) != dimensions:
                raise InputError(
                    f"{name} has the shape {list(shape)}, but choices take {dimensions} dimensions: batch, choices, "
                    f"sequence{', width' * (dimensions == 4)}"
                )
            choices = choices or shape[1]
            value = value if hasattr(value, "reshape") else as_array(value, name)
            flat[name] = value.reshape(-1, *shape[2:])
        return super()._compute_task({**flat, "choices": choices})

    def _answers(self, done: EnginePass, given: dict[str, Any]) -> dict[str, FloatArray]:
        return {"logits": self._of_sequences(self._heads[0], done).reshape(-1, given["choices"])}


# Inputs of choices: their dimensions.
_CHOICES = {"input_ids": 3, "attention_mask": 3, "token_type_ids": 3, "position_ids": 3, "inputs_embeds": 4}


class NextSentenceModel(TaskModel):
    """Logits that the second text follows the first, and that it does not."""

    _task = "NextSentencePrediction"
    _auto = "AutoModelForNextSentencePrediction"
    _families: ClassVar[dict[str, type[PreTrainedModel]]] = {}
    _output_class: ClassVar[type[ModelOutput]] = NextSentencePredictorOutput

    def _answers(self, done: EnginePass, given: dict[str, Any]) -> dict[str, FloatArray]:
        return {"logits": self._of_sequences(self._heads[0], done)}


class PreTrainingModel(TaskModel):
    """Both heads of BERT's pretraining; ``positions`` as for masked language models."""

    _task = "PreTraining"
    _auto = "AutoModelForPreTraining"
    _families: ClassVar[dict[str, type[PreTrainedModel]]] = {}
    _output_class: ClassVar[type[ModelOutput]] = BertForPreTrainingOutput
    _named_only: ClassVar[tuple[str, ...]] = ("positions",)

    def _answers(self, done: EnginePass, given: dict[str, Any]) -> dict[str, FloatArray]:
        words, sentences = self._heads
        return {
            "prediction_logits": self._of_words(words, done, given.get("positions")),
            "seq_relationship_logits": self._of_sequences(sentences, done),
        }
