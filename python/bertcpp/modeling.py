"""BERT-family encoders with the names, arguments and outputs of transformers' models.

from bertcpp import AutoModel
model = AutoModel.from_pretrained(name)
hidden = model(input_ids, attention_mask=attention_mask).last_hidden_state
"""

from __future__ import annotations

from typing import Any, ClassVar

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
from .errors import InputError
from .outputs import (
    BaseModelOutputWithPastAndCrossAttentions,
    BaseModelOutputWithPooling,
    BaseModelOutputWithPoolingAndCrossAttentions,
)
from .pretrained_model import PreTrainedModel

__all__ = [
    "AutoModel",
    "BertModel",
    "CamembertModel",
    "Data2VecTextModel",
    "DistilBertModel",
    "ElectraModel",
    "ErnieModel",
    "MPNetModel",
    "PreTrainedModel",
    "RobertaModel",
    "XLMRobertaModel",
]


class _ModelWithDecoderArguments(PreTrainedModel):
    """The families whose classes in transformers can be decoders too, so that `forward` has a decoder's arguments."""

    def forward(
        self,
        input_ids: Any = None,
        attention_mask: Any = None,
        token_type_ids: Any = None,
        position_ids: Any = None,
        head_mask: None = None,
        inputs_embeds: Any = None,
        encoder_hidden_states: None = None,
        encoder_attention_mask: None = None,
        past_key_values: None = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        cache_position: None = None,
    ) -> Any:
        """Compute hidden states.

        Args:
            input_ids: token ids, integers ``[batch, sequence]``.
            attention_mask: ``[batch, sequence]``, 1 for tokens to keep and 0 for padding; None keeps all. What is
                masked is not computed: hidden states are zeros there.
            token_type_ids: integers that broadcast to ``[batch, sequence]``; None means 0.
            position_ids: integers that broadcast to ``[batch, sequence]``; None numbers tokens as the family does.
            head_mask: not supported, None.
            inputs_embeds: floats ``[batch, sequence, width of the embeddings]`` in place of ``input_ids``.
            encoder_hidden_states: of decoders, None.
            encoder_attention_mask: of decoders, None.
            past_key_values: of decoders, None.
            use_cache: of decoders, without effect.
            output_attentions: return every layer's attention weights; None follows the configuration.
            output_hidden_states: return the embeddings' output and every layer's; None follows the configuration.
            return_dict: False returns a tuple; None follows the configuration.
            cache_position: of decoders, None.

        Returns:
            The output class of the family, see `bertcpp.outputs`; float32.

        Raises:
            InputError: a shape or a dtype is wrong, the batch is empty, or an argument is not supported.
            MaskError: the mask has a wrong shape or values, or leaves nothing of a row.
            TokenIdError: a token, position or token type id is outside its table.
            SequenceTooLongError: a row has more tokens than the model has positions.

        Example:
            >>> from bertcpp import BertModel
            >>> model = BertModel.from_pretrained("all-MiniLM-L6-v2")
            >>> model([[101, 7592, 102]]).last_hidden_state.shape
            (1, 3, 384)
        """
        _refuse(
            head_mask=head_mask,
            encoder_hidden_states=encoder_hidden_states,
            encoder_attention_mask=encoder_attention_mask,
            past_key_values=past_key_values,
            cache_position=cache_position,
        )
        return self._compute(
            input_ids,
            attention_mask,
            token_type_ids,
            position_ids,
            inputs_embeds,
            output_attentions,
            output_hidden_states,
            return_dict,
        )


class BertModel(_ModelWithDecoderArguments):
    """BERT (arXiv 1810.04805), and what shares its code: MiniLM, BGE, E5, GTE ...

    Positions count columns from 0. Returns `BaseModelOutputWithPoolingAndCrossAttentions`.
    """

    config_class: ClassVar[type[PretrainedConfig]] = BertConfig
    _output_class = BaseModelOutputWithPoolingAndCrossAttentions
    _pools = True


class RobertaModel(_ModelWithDecoderArguments):
    """RoBERTa (arXiv 1907.11692).

    Positions count the tokens that are not the padding token, from ``pad_token_id + 1`` on. Returns
    `BaseModelOutputWithPoolingAndCrossAttentions`.
    """

    config_class: ClassVar[type[PretrainedConfig]] = RobertaConfig
    # Published under each other's names.
    _also_reads = frozenset({"roberta", "xlm-roberta", "camembert", "data2vec-text"})
    _output_class = BaseModelOutputWithPoolingAndCrossAttentions
    _pools = True


class XLMRobertaModel(RobertaModel):
    """XLM-RoBERTa (arXiv 1911.02116): RoBERTa on a hundred languages."""

    config_class: ClassVar[type[PretrainedConfig]] = XLMRobertaConfig


class CamembertModel(RobertaModel):
    """CamemBERT (arXiv 1911.03894): RoBERTa on French."""

    config_class: ClassVar[type[PretrainedConfig]] = CamembertConfig


class Data2VecTextModel(RobertaModel):
    """data2vec's text encoder (arXiv 2202.03555): RoBERTa, trained otherwise."""

    config_class: ClassVar[type[PretrainedConfig]] = Data2VecTextConfig


class ErnieModel(_ModelWithDecoderArguments):
    """ERNIE (arXiv 1904.09223, 1907.12412): BERT with a vector for the task beside that of the token type.

    Only task 0 is computed. Returns `BaseModelOutputWithPoolingAndCrossAttentions`.
    """

    config_class: ClassVar[type[PretrainedConfig]] = ErnieConfig
    _output_class = BaseModelOutputWithPoolingAndCrossAttentions
    _pools = True

    def forward(  # type: ignore[override]  # task_type_ids stand where transformers has them
        self,
        input_ids: Any = None,
        attention_mask: Any = None,
        token_type_ids: Any = None,
        task_type_ids: Any = None,
        position_ids: Any = None,
        *others: Any,
        **named: Any,
    ) -> Any:
        """Compute hidden states; the arguments mean what they mean for `BertModel.forward`.

        ``task_type_ids`` must be 0.
        """
        self._check_task_types(task_type_ids)
        return super().forward(input_ids, attention_mask, token_type_ids, position_ids, *others, **named)


class ElectraModel(_ModelWithDecoderArguments):
    """ELECTRA (arXiv 2003.10555), whose embeddings may be narrower than its hidden states.

    Has no pooler. Returns `BaseModelOutputWithPastAndCrossAttentions`.
    """

    config_class: ClassVar[type[PretrainedConfig]] = ElectraConfig
    _output_class = BaseModelOutputWithPastAndCrossAttentions


class DistilBertModel(PreTrainedModel):
    """DistilBERT (arXiv 1910.01108): BERT without token types and pooler. Returns `BaseModelOutput`."""

    config_class: ClassVar[type[PretrainedConfig]] = DistilBertConfig

    def forward(
        self,
        input_ids: Any = None,
        attention_mask: Any = None,
        head_mask: None = None,
        inputs_embeds: Any = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> Any:
        """Compute hidden states; the arguments mean what they mean for `BertModel.forward`."""
        _refuse(head_mask=head_mask)
        return self._compute(
            input_ids,
            attention_mask,
            None,
            None,
            inputs_embeds,
            output_attentions,
            output_hidden_states,
            return_dict,
        )


class MPNetModel(PreTrainedModel):
    """MPNet (arXiv 2004.09297): absolute positions as RoBERTa's, and a bias on attention by distance.

    Returns `BaseModelOutputWithPooling`.
    """

    config_class: ClassVar[type[PretrainedConfig]] = MPNetConfig
    _output_class = BaseModelOutputWithPooling
    _pools = True

    def forward(
        self,
        input_ids: Any = None,
        attention_mask: Any = None,
        position_ids: Any = None,
        head_mask: None = None,
        inputs_embeds: Any = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        *,
        token_type_ids: Any = None,
    ) -> Any:
        """Compute hidden states; the arguments mean what they mean for `BertModel.forward`.

        ``token_type_ids`` may be given by name, as tokenizers do, and must be 0: MPNet has no token types.
        """
        _refuse(head_mask=head_mask)
        return self._compute(
            input_ids,
            attention_mask,
            token_type_ids,
            position_ids,
            inputs_embeds,
            output_attentions,
            output_hidden_states,
            return_dict,
        )


class AutoModel(PreTrainedModel):
    """Loads a checkpoint with the class of its family.

    Example:
        >>> from bertcpp import AutoModel
        >>> type(AutoModel.from_pretrained("all-MiniLM-L6-v2")).__name__
        'BertModel'
    """

    config_class: ClassVar[type[PretrainedConfig]] = AutoConfig

    @classmethod
    def _class_for(cls, config: PretrainedConfig) -> type[PreTrainedModel]:
        return cls._families.get(config.model_type) or super()._class_for(config)


def _refuse(**arguments: Any) -> None:
    for name, value in arguments.items():
        if value is not None:
            raise InputError(f"{name} is not supported: bertcpp runs encoders whole; leave it out")
