"""BERT-family encoders with a GRU between their states and a classifier.

The GRU is a ``torch.nn.GRU(hidden_size, gru_hidden_size, gru_num_layers, batch_first=True, bidirectional=...)`` and the
classifier a ``torch.nn.Linear`` over its last layer's states: of every token, or what it ends with in each direction,
side by side, for the sequence. In a checkpoint they lie beside the encoder under the names that PyTorch gives them,
``gru.weight_ih_l0`` ... and ``classifier.weight``, ``classifier.bias``; config.json may state ``gru_hidden_size``,
``gru_num_layers``, ``gru_bidirectional`` and ``gru_bias``, and ``AutoModelForTokenClassification`` and
``AutoModelForSequenceClassification`` then find the class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from .configuration import (
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
from .task_kinds import SequenceClassificationModel, TokenClassificationModel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .pretrained_model import PreTrainedModel

__all__ = [
    "BertGruForSequenceClassification",
    "BertGruForTokenClassification",
    "CamembertGruForSequenceClassification",
    "CamembertGruForTokenClassification",
    "Data2VecTextGruForSequenceClassification",
    "Data2VecTextGruForTokenClassification",
    "DistilBertGruForSequenceClassification",
    "DistilBertGruForTokenClassification",
    "ElectraGruForSequenceClassification",
    "ElectraGruForTokenClassification",
    "ErnieGruForSequenceClassification",
    "ErnieGruForTokenClassification",
    "MPNetGruForSequenceClassification",
    "MPNetGruForTokenClassification",
    "RobertaGruForSequenceClassification",
    "RobertaGruForTokenClassification",
    "XLMRobertaGruForSequenceClassification",
    "XLMRobertaGruForTokenClassification",
]


class _GruForSequenceClassification(SequenceClassificationModel):
    """A GRU over the states of a sequence, and a classifier over what it ends with in each direction."""

    _task = "GruSequenceClassification"
    _families: ClassVar[dict[str, type[PreTrainedModel]]] = {}
    _recurrent = True


class _GruForTokenClassification(TokenClassificationModel):
    """A GRU over the states of a sequence, and a classifier over its own states."""

    _task = "GruTokenClassification"
    _families: ClassVar[dict[str, type[PreTrainedModel]]] = {}
    _recurrent = True


# The kind of model without a GRU: the classes with one, by model_type.
KINDS: Mapping[str, Mapping[str, type[PreTrainedModel]]] = {
    "SequenceClassification": _GruForSequenceClassification._families,
    "TokenClassification": _GruForTokenClassification._families,
}


class BertGruForSequenceClassification(_GruForSequenceClassification):
    """BERT with a GRU for sequence classification."""

    config_class: ClassVar[type[PretrainedConfig]] = BertConfig


class CamembertGruForSequenceClassification(_GruForSequenceClassification):
    """CamemBERT with a GRU for sequence classification."""

    config_class: ClassVar[type[PretrainedConfig]] = CamembertConfig


class Data2VecTextGruForSequenceClassification(_GruForSequenceClassification):
    """data2vec with a GRU for sequence classification."""

    config_class: ClassVar[type[PretrainedConfig]] = Data2VecTextConfig


class DistilBertGruForSequenceClassification(_GruForSequenceClassification):
    """DistilBERT with a GRU for sequence classification."""

    config_class: ClassVar[type[PretrainedConfig]] = DistilBertConfig


class ElectraGruForSequenceClassification(_GruForSequenceClassification):
    """ELECTRA with a GRU for sequence classification."""

    config_class: ClassVar[type[PretrainedConfig]] = ElectraConfig


class ErnieGruForSequenceClassification(_GruForSequenceClassification):
    """ERNIE with a GRU for sequence classification."""

    config_class: ClassVar[type[PretrainedConfig]] = ErnieConfig


class MPNetGruForSequenceClassification(_GruForSequenceClassification):
    """MPNet with a GRU for sequence classification."""

    config_class: ClassVar[type[PretrainedConfig]] = MPNetConfig


class RobertaGruForSequenceClassification(_GruForSequenceClassification):
    """RoBERTa with a GRU for sequence classification."""

    config_class: ClassVar[type[PretrainedConfig]] = RobertaConfig


class XLMRobertaGruForSequenceClassification(_GruForSequenceClassification):
    """XLM-RoBERTa with a GRU for sequence classification."""

    config_class: ClassVar[type[PretrainedConfig]] = XLMRobertaConfig


class BertGruForTokenClassification(_GruForTokenClassification):
    """BERT with a GRU for token classification."""

    config_class: ClassVar[type[PretrainedConfig]] = BertConfig


class CamembertGruForTokenClassification(_GruForTokenClassification):
    """CamemBERT with a GRU for token classification."""

    config_class: ClassVar[type[PretrainedConfig]] = CamembertConfig


class Data2VecTextGruForTokenClassification(_GruForTokenClassification):
    """data2vec with a GRU for token classification."""

    config_class: ClassVar[type[PretrainedConfig]] = Data2VecTextConfig


class DistilBertGruForTokenClassification(_GruForTokenClassification):
    """DistilBERT with a GRU for token classification."""

    config_class: ClassVar[type[PretrainedConfig]] = DistilBertConfig


class ElectraGruForTokenClassification(_GruForTokenClassification):
    """ELECTRA with a GRU for token classification."""

    config_class: ClassVar[type[PretrainedConfig]] = ElectraConfig


class ErnieGruForTokenClassification(_GruForTokenClassification):
    """ERNIE with a GRU for token classification."""

    config_class: ClassVar[type[PretrainedConfig]] = ErnieConfig


class MPNetGruForTokenClassification(_GruForTokenClassification):
    """MPNet with a GRU for token classification."""

    config_class: ClassVar[type[PretrainedConfig]] = MPNetConfig


class RobertaGruForTokenClassification(_GruForTokenClassification):
    """RoBERTa with a GRU for token classification."""

    config_class: ClassVar[type[PretrainedConfig]] = RobertaConfig


class XLMRobertaGruForTokenClassification(_GruForTokenClassification):
    """XLM-RoBERTa with a GRU for token classification."""

    config_class: ClassVar[type[PretrainedConfig]] = XLMRobertaConfig
