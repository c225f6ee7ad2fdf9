"""Configurations with transformers' field names and defaults, without PyTorch.

A configuration holds what config.json says and the family's defaults for the rest; whether an engine can be built from
it is checked where one is built (`bertcpp.architectures`).
"""

from __future__ import annotations

import reprlib
from typing import TYPE_CHECKING, Any, ClassVar

from .errors import InputError, UnknownArchitectureError
from .pretrained_config import PretrainedConfig

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = [
    "AutoConfig",
    "BertConfig",
    "CamembertConfig",
    "Data2VecTextConfig",
    "DistilBertConfig",
    "ElectraConfig",
    "ErnieConfig",
    "MPNetConfig",
    "PretrainedConfig",
    "RobertaConfig",
    "XLMRobertaConfig",
]

_BERT: Mapping[str, Any] = {
    "vocab_size": 30522,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "initializer_range": 0.02,
    "layer_norm_eps": 1e-12,
    "pad_token_id": 0,
    "position_embedding_type": "absolute",
    "use_cache": True,
    "classifier_dropout": None,
}
_ROBERTA: Mapping[str, Any] = {**_BERT, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
_ROBERTA_LIKE = frozenset({"roberta", "xlm-roberta", "camembert", "data2vec-text"})


class BertConfig(PretrainedConfig):
    """The configuration of BERT and what shares its code."""

    model_type = "bert"
    defaults: ClassVar[Mapping[str, Any]] = _BERT


class RobertaConfig(PretrainedConfig):
    """The configuration of RoBERTa."""

    model_type = "roberta"
    _same_fields = _ROBERTA_LIKE
    defaults: ClassVar[Mapping[str, Any]] = {**_ROBERTA, "vocab_size": 50265}


class XLMRobertaConfig(PretrainedConfig):
    """The configuration of XLM-RoBERTa."""

    model_type = "xlm-roberta"
    _same_fields = _ROBERTA_LIKE
    defaults: ClassVar[Mapping[str, Any]] = _ROBERTA


class CamembertConfig(PretrainedConfig):
    """The configuration of CamemBERT."""

    model_type = "camembert"
    _same_fields = _ROBERTA_LIKE
    defaults: ClassVar[Mapping[str, Any]] = _ROBERTA


class Data2VecTextConfig(PretrainedConfig):
    """The configuration of data2vec's text encoder, which is RoBERTa's."""

    model_type = "data2vec-text"
    _same_fields = _ROBERTA_LIKE
    defaults: ClassVar[Mapping[str, Any]] = _ROBERTA


class ErnieConfig(PretrainedConfig):
    """The configuration of ERNIE: BERT's with a third kind of type embeddings, those of tasks."""

    model_type = "ernie"
    defaults: ClassVar[Mapping[str, Any]] = {**_BERT, "task_type_vocab_size": 3, "use_task_id": False}


class ElectraConfig(PretrainedConfig):
    """The configuration of ELECTRA, whose embeddings may be narrower than its hidden states."""

    model_type = "electra"
    defaults: ClassVar[Mapping[str, Any]] = {
        **_BERT,
        "embedding_size": 128,
        "hidden_size": 256,
        "num_attention_heads": 4,
        "intermediate_size": 1024,
        "summary_type": "first",
        "summary_use_proj": True,
        "summary_activation": "gelu",
        "summary_last_dropout": 0.1,
    }


class DistilBertConfig(PretrainedConfig):
    """The configuration of DistilBERT, which has its own words: ``dim``, ``n_heads``, ``n_layers``, ``hidden_dim``."""

    model_type = "distilbert"
    attribute_map: ClassVar[Mapping[str, str]] = {
        "hidden_size": "dim",
        "num_attention_heads": "n_heads",
        "num_hidden_layers": "n_layers",
    }
    defaults: ClassVar[Mapping[str, Any]] = {
        "vocab_size": 30522,
        "max_position_embeddings": 512,
        "sinusoidal_pos_embds": False,
        "n_layers": 6,
        "n_heads": 12,
        "dim": 768,
        "hidden_dim": 3072,
        "dropout": 0.1,
        "attention_dropout": 0.1,
        "activation": "gelu",
        "initializer_range": 0.02,
        "qa_dropout": 0.1,
        "seq_classif_dropout": 0.2,
        "pad_token_id": 0,
    }


class MPNetConfig(PretrainedConfig):
    """The configuration of MPNet: no token types, and relative positions in buckets."""

    model_type = "mpnet"
    defaults: ClassVar[Mapping[str, Any]] = {
        **{
            name: value
            for name, value in _ROBERTA.items()
            if name not in ("type_vocab_size", "position_embedding_type", "use_cache", "classifier_dropout")
        },
        "vocab_size": 30527,
        "relative_attention_num_buckets": 32,
    }


CONFIGS: Mapping[str, type[PretrainedConfig]] = {
    config.model_type: config
    for config in (
        BertConfig,
        RobertaConfig,
        XLMRobertaConfig,
        CamembertConfig,
        DistilBertConfig,
        ElectraConfig,
        MPNetConfig,
        Data2VecTextConfig,
        ErnieConfig,
    )
}


class AutoConfig(PretrainedConfig):
    """Reads a checkpoint's configuration with the class that it names.

    Example:
        >>> from bertcpp import AutoConfig
        >>> AutoConfig.from_pretrained("all-MiniLM-L6-v2").model_type
        'bert'
    """

    def __init__(self) -> None:
        raise InputError("AutoConfig has no instances: use AutoConfig.from_pretrained(name)")

    @classmethod
    def for_model(cls, model_type: str, **fields: Any) -> PretrainedConfig:
        """Make a configuration of the family of that name.

        Raises:
            UnknownArchitectureError: there is no such family.
        """
        return cls._class_for({"model_type": model_type}, None)(**fields)

    @classmethod
    def _class_for(cls, fields: Mapping[str, Any], path: Path | None) -> type[PretrainedConfig]:
        where = "" if path is None else f"{path}: "
        known = f"bertcpp computes {', '.join(sorted(CONFIGS))}"
        named = fields.get("model_type")
        if named is None:
            # Configurations from before 2020 have no model_type; their model's class says what they are.
            found = _family_of_class(fields.get("architectures"))
            if found is None:
                raise UnknownArchitectureError(
                    f"{where}there is no model_type; add one ({known}), or load it with its own class, as BertModel"
                )
            return found
        if not isinstance(named, str) or named not in CONFIGS:
            raise UnknownArchitectureError(f"{where}model_type {reprlib.repr(named)} is not known; {known}")
        return CONFIGS[named]


def _family_of_class(architectures: Any) -> type[PretrainedConfig] | None:
    """The configuration of the family whose name begins a model's class, as in ``["BertForMaskedLM"]``."""
    if not isinstance(architectures, list) or not architectures or not isinstance(architectures[0], str):
        return None
    for config in CONFIGS.values():
        if architectures[0].startswith(
            (config.__name__.removesuffix("Config") + "For", config.__name__[:-6] + "Model")
        ):
            return config
    return None
