"""BERT-family encoders with a task's head, by the names of transformers' models.

from bertcpp import AutoModelForSequenceClassification
model = AutoModelForSequenceClassification.from_pretrained(name)
label = model.config.id2label[model(input_ids).logits[0].argmax()]

What a head is made of is a row of `bertcpp.heads`; how models are called is `bertcpp.task_model`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from .configuration import (
    AutoConfig,
    BertConfig,
    CamembertConfig,
    Data2VecTextConfig,
    DistilBertConfig,
    ElectraConfig,
    ErnieConfig,
    MPNetConfig,
    PretrainedConfig,
    RobertaConfig,
    XLMRobertaConfig,
)
from .outputs import ElectraForPreTrainingOutput, ErnieForPreTrainingOutput, ModelOutput
from .task_kinds import (
    MaskedLanguageModel,
    MultipleChoiceModel,
    NextSentenceModel,
    PreTrainingModel,
    QuestionAnsweringModel,
    SequenceClassificationModel,
    TokenClassificationModel,
)

if TYPE_CHECKING:
    from .arrays import FloatArray
    from .engine_pass import EnginePass
    from .pretrained_model import PreTrainedModel

__all__ = [
    "AutoModelForMaskedLM",
    "AutoModelForMultipleChoice",
    "AutoModelForNextSentencePrediction",
    "AutoModelForPreTraining",
    "AutoModelForQuestionAnswering",
    "AutoModelForSequenceClassification",
    "AutoModelForTokenClassification",
    "BertForMaskedLM",
    "BertForMultipleChoice",
    "BertForNextSentencePrediction",
    "BertForPreTraining",
    "BertForQuestionAnswering",
    "BertForSequenceClassification",
    "BertForTokenClassification",
    "CamembertForMaskedLM",
    "CamembertForMultipleChoice",
    "CamembertForQuestionAnswering",
    "CamembertForSequenceClassification",
    "CamembertForTokenClassification",
    "Data2VecTextForMaskedLM",
    "Data2VecTextForMultipleChoice",
    "Data2VecTextForQuestionAnswering",
    "Data2VecTextForSequenceClassification",
    "Data2VecTextForTokenClassification",
    "DistilBertForMaskedLM",
    "DistilBertForMultipleChoice",
    "DistilBertForQuestionAnswering",
    "DistilBertForSequenceClassification",
    "DistilBertForTokenClassification",
    "ElectraForMaskedLM",
    "ElectraForMultipleChoice",
    "ElectraForPreTraining",
    "ElectraForQuestionAnswering",
    "ElectraForSequenceClassification",
    "ElectraForTokenClassification",
    "ErnieForMaskedLM",
    "ErnieForMultipleChoice",
    "ErnieForNextSentencePrediction",
    "ErnieForPreTraining",
    "ErnieForQuestionAnswering",
    "ErnieForSequenceClassification",
    "ErnieForTokenClassification",
    "MPNetForMaskedLM",
    "MPNetForMultipleChoice",
    "MPNetForQuestionAnswering",
    "MPNetForSequenceClassification",
    "MPNetForTokenClassification",
    "RobertaForMaskedLM",
    "RobertaForMultipleChoice",
    "RobertaForQuestionAnswering",
    "RobertaForSequenceClassification",
    "RobertaForTokenClassification",
    "XLMRobertaForMaskedLM",
    "XLMRobertaForMultipleChoice",
    "XLMRobertaForQuestionAnswering",
    "XLMRobertaForSequenceClassification",
    "XLMRobertaForTokenClassification",
]


class BertForSequenceClassification(SequenceClassificationModel):
    """BERT for sequence classification."""

    config_class: ClassVar[type[PretrainedConfig]] = BertConfig


class RobertaForSequenceClassification(SequenceClassificationModel):
    """RoBERTa for sequence classification."""

    config_class: ClassVar[type[PretrainedConfig]] = RobertaConfig


class XLMRobertaForSequenceClassification(SequenceClassificationModel):
    """XLM-RoBERTa for sequence classification."""

    config_class: ClassVar[type[PretrainedConfig]] = XLMRobertaConfig


class CamembertForSequenceClassification(SequenceClassificationModel):
    """CamemBERT for sequence classification."""

    config_class: ClassVar[type[PretrainedConfig]] = CamembertConfig


class Data2VecTextForSequenceClassification(SequenceClassificationModel):
    """data2vec for sequence classification."""

    config_class: ClassVar[type[PretrainedConfig]] = Data2VecTextConfig


class ErnieForSequenceClassification(SequenceClassificationModel):
    """ERNIE for sequence classification."""

    config_class: ClassVar[type[PretrainedConfig]] = ErnieConfig


class ElectraForSequenceClassification(SequenceClassificationModel):
    """ELECTRA for sequence classification."""

    config_class: ClassVar[type[PretrainedConfig]] = ElectraConfig


class DistilBertForSequenceClassification(SequenceClassificationModel):
    """DistilBERT for sequence classification."""

    config_class: ClassVar[type[PretrainedConfig]] = DistilBertConfig


class MPNetForSequenceClassification(SequenceClassificationModel):
    """MPNet for sequence classification."""

    config_class: ClassVar[type[PretrainedConfig]] = MPNetConfig


class AutoModelForSequenceClassification(SequenceClassificationModel):
    """Loads a checkpoint for sequence classification with the class of its family."""

    config_class: ClassVar[type[PretrainedConfig]] = AutoConfig


class BertForTokenClassification(TokenClassificationModel):
    """BERT for token classification."""

    config_class: ClassVar[type[PretrainedConfig]] = BertConfig


class RobertaForTokenClassification(TokenClassificationModel):
    """RoBERTa for token classification."""

    config_class: ClassVar[type[PretrainedConfig]] = RobertaConfig


class XLMRobertaForTokenClassification(TokenClassificationModel):
    """XLM-RoBERTa for token classification."""

    config_class: ClassVar[type[PretrainedConfig]] = XLMRobertaConfig


class CamembertForTokenClassification(TokenClassificationModel):
    """CamemBERT for token classification."""

    config_class: ClassVar[type[PretrainedConfig]] = CamembertConfig


class Data2VecTextForTokenClassification(TokenClassificationModel):
    """data2vec for token classification."""

    config_class: ClassVar[type[PretrainedConfig]] = Data2VecTextConfig


class ErnieForTokenClassification(TokenClassificationModel):
    """ERNIE for token classification."""

    config_class: ClassVar[type[PretrainedConfig]] = ErnieConfig


class ElectraForTokenClassification(TokenClassificationModel):
    """ELECTRA for token classification."""

    config_class: ClassVar[type[PretrainedConfig]] = ElectraConfig


class DistilBertForTokenClassification(TokenClassificationModel):
    """DistilBERT for token classification."""

    config_class: ClassVar[type[PretrainedConfig]] = DistilBertConfig


class MPNetForTokenClassification(TokenClassificationModel):
    """MPNet for token classification."""

    config_class: ClassVar[type[PretrainedConfig]] = MPNetConfig


class AutoModelForTokenClassification(TokenClassificationModel):
    """Loads a checkpoint for token classification with the class of its family."""

    config_class: ClassVar[type[PretrainedConfig]] = AutoConfig


class BertForQuestionAnswering(QuestionAnsweringModel):
    """BERT for question answering."""

    config_class: ClassVar[type[PretrainedConfig]] = BertConfig


class RobertaForQuestionAnswering(QuestionAnsweringModel):
    """RoBERTa for question answering."""

    config_class: ClassVar[type[PretrainedConfig]] = RobertaConfig


class XLMRobertaForQuestionAnswering(QuestionAnsweringModel):
    """XLM-RoBERTa for question answering."""

    config_class: ClassVar[type[PretrainedConfig]] = XLMRobertaConfig


class CamembertForQuestionAnswering(QuestionAnsweringModel):
    """CamemBERT for question answering."""

    config_class: ClassVar[type[PretrainedConfig]] = CamembertConfig


class Data2VecTextForQuestionAnswering(QuestionAnsweringModel):
    """data2vec for question answering."""

    config_class: ClassVar[type[PretrainedConfig]] = Data2VecTextConfig


class ErnieForQuestionAnswering(QuestionAnsweringModel):
    """ERNIE for question answering."""

    config_class: ClassVar[type[PretrainedConfig]] = ErnieConfig


class ElectraForQuestionAnswering(QuestionAnsweringModel):
    """ELECTRA for question answering."""

    config_class: ClassVar[type[PretrainedConfig]] = ElectraConfig


class DistilBertForQuestionAnswering(QuestionAnsweringModel):
    """DistilBERT for question answering."""

    config_class: ClassVar[type[PretrainedConfig]] = DistilBertConfig


class MPNetForQuestionAnswering(QuestionAnsweringModel):
    """MPNet for question answering."""

    config_class: ClassVar[type[PretrainedConfig]] = MPNetConfig


class AutoModelForQuestionAnswering(QuestionAnsweringModel):
    """Loads a checkpoint for question answering with the class of its family."""

    config_class: ClassVar[type[PretrainedConfig]] = AutoConfig


class BertForMaskedLM(MaskedLanguageModel):
    """BERT for masked words."""

    config_class: ClassVar[type[PretrainedConfig]] = BertConfig


class RobertaForMaskedLM(MaskedLanguageModel):
    """RoBERTa for masked words."""

    config_class: ClassVar[type[PretrainedConfig]] = RobertaConfig


class XLMRobertaForMaskedLM(MaskedLanguageModel):
    """XLM-RoBERTa for masked words."""

    config_class: ClassVar[type[PretrainedConfig]] = XLMRobertaConfig


class CamembertForMaskedLM(MaskedLanguageModel):
    """CamemBERT for masked words."""

    config_class: ClassVar[type[PretrainedConfig]] = CamembertConfig


class Data2VecTextForMaskedLM(MaskedLanguageModel):
    """data2vec for masked words."""

    config_class: ClassVar[type[PretrainedConfig]] = Data2VecTextConfig


class ErnieForMaskedLM(MaskedLanguageModel):
    """ERNIE for masked words."""

    config_class: ClassVar[type[PretrainedConfig]] = ErnieConfig


class ElectraForMaskedLM(MaskedLanguageModel):
    """ELECTRA for masked words."""

    config_class: ClassVar[type[PretrainedConfig]] = ElectraConfig


class DistilBertForMaskedLM(MaskedLanguageModel):
    """DistilBERT for masked words."""

    config_class: ClassVar[type[PretrainedConfig]] = DistilBertConfig


class MPNetForMaskedLM(MaskedLanguageModel):
    """MPNet for masked words."""

    config_class: ClassVar[type[PretrainedConfig]] = MPNetConfig


class AutoModelForMaskedLM(MaskedLanguageModel):
    """Loads a checkpoint for masked words with the class of its family."""

    config_class: ClassVar[type[PretrainedConfig]] = AutoConfig


class BertForMultipleChoice(MultipleChoiceModel):
    """BERT for multiple choice."""

    config_class: ClassVar[type[PretrainedConfig]] = BertConfig


class RobertaForMultipleChoice(MultipleChoiceModel):
    """RoBERTa for multiple choice."""

    config_class: ClassVar[type[PretrainedConfig]] = RobertaConfig


class XLMRobertaForMultipleChoice(MultipleChoiceModel):
    """XLM-RoBERTa for multiple choice."""

    config_class: ClassVar[type[PretrainedConfig]] = XLMRobertaConfig


class CamembertForMultipleChoice(MultipleChoiceModel):
    """CamemBERT for multiple choice."""

    config_class: ClassVar[type[PretrainedConfig]] = CamembertConfig


class Data2VecTextForMultipleChoice(MultipleChoiceModel):
    """data2vec for multiple choice."""

    config_class: ClassVar[type[PretrainedConfig]] = Data2VecTextConfig


class ErnieForMultipleChoice(MultipleChoiceModel):
    """ERNIE for multiple choice."""

    config_class: ClassVar[type[PretrainedConfig]] = ErnieConfig


class ElectraForMultipleChoice(MultipleChoiceModel):
    """ELECTRA for multiple choice."""

    config_class: ClassVar[type[PretrainedConfig]] = ElectraConfig


class DistilBertForMultipleChoice(MultipleChoiceModel):
    """DistilBERT for multiple choice."""

    config_class: ClassVar[type[PretrainedConfig]] = DistilBertConfig


class MPNetForMultipleChoice(MultipleChoiceModel):
    """MPNet for multiple choice."""

    config_class: ClassVar[type[PretrainedConfig]] = MPNetConfig


class AutoModelForMultipleChoice(MultipleChoiceModel):
    """Loads a checkpoint for multiple choice with the class of its family."""

    config_class: ClassVar[type[PretrainedConfig]] = AutoConfig


class BertForNextSentencePrediction(NextSentenceModel):
    """BERT for next sentence prediction."""

    config_class: ClassVar[type[PretrainedConfig]] = BertConfig


class ErnieForNextSentencePrediction(NextSentenceModel):
    """ERNIE for next sentence prediction."""

    config_class: ClassVar[type[PretrainedConfig]] = ErnieConfig


class AutoModelForNextSentencePrediction(NextSentenceModel):
    """Loads a checkpoint for next sentence prediction with the class of its family."""

    config_class: ClassVar[type[PretrainedConfig]] = AutoConfig


class BertForPreTraining(PreTrainingModel):
    """BERT with the heads of its pretraining."""

    config_class: ClassVar[type[PretrainedConfig]] = BertConfig


class ErnieForPreTraining(PreTrainingModel):
    """ERNIE with the heads of its pretraining."""

    config_class: ClassVar[type[PretrainedConfig]] = ErnieConfig
    _output_class: ClassVar[type[ModelOutput]] = ErnieForPreTrainingOutput


class ElectraForPreTraining(PreTrainingModel):
    """ELECTRA's discriminator: logits that a token was replaced, ``[batch, sequence]``."""

    config_class: ClassVar[type[PretrainedConfig]] = ElectraConfig
    _output_class: ClassVar[type[ModelOutput]] = ElectraForPreTrainingOutput
    _named_only: ClassVar[tuple[str, ...]] = ()

    def _answers(self, done: EnginePass, given: dict[str, Any]) -> dict[str, FloatArray]:
        return {"logits": self._of_tokens(self._heads[0], done)[:, :, 0]}


class AutoModelForPreTraining(PreTrainingModel):
    """Loads a checkpoint with the heads of its pretraining with the class of its family."""

    config_class: ClassVar[type[PretrainedConfig]] = AutoConfig

    @classmethod
    def _class_for(cls, config: PretrainedConfig) -> type[PreTrainedModel]:
        # Families that were pretrained on masked words alone.
        return cls._families.get(config.model_type) or AutoModelForMaskedLM._class_for(config)
