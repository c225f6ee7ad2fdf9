"""What models return: the classes, field names and field order of transformers' ``modeling_outputs``."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, fields
from typing import Any, NoReturn

__all__ = [
    "BaseModelOutput",
    "BaseModelOutputWithPastAndCrossAttentions",
    "BaseModelOutputWithPooling",
    "BaseModelOutputWithPoolingAndCrossAttentions",
    "BertForPreTrainingOutput",
    "ElectraForPreTrainingOutput",
    "ErnieForPreTrainingOutput",
    "MaskedLMOutput",
    "ModelOutput",
    "MultipleChoiceModelOutput",
    "NextSentencePredictorOutput",
    "QuestionAnsweringModelOutput",
    "SequenceClassifierOutput",
    "TokenClassifierOutput",
]


class ModelOutput(OrderedDict[str, Any]):
    """An answer whose fields are reached by attribute, by key, by index and by slice.

    Fields that are None are left out of the keys, of the indices and of :meth:`to_tuple`. Iterating yields keys, as
    over any dictionary. Subclasses are dataclasses whose fields default to None.

    Example:
        >>> from bertcpp.outputs import BaseModelOutput
        >>> output = BaseModelOutput(last_hidden_state=[[1.0]], attentions=([0.5],))
        >>> output.last_hidden_state is output["last_hidden_state"] is output[0]
        True
        >>> list(output), output.hidden_states, output[1]
        (['last_hidden_state', 'attentions'], None, ([0.5],))
    """

    def __post_init__(self) -> None:
        for name, value in self.__dict__.items():  # the fields, in their order
            if value is not None:
                super().__setitem__(name, value)

    def to_tuple(self) -> tuple[Any, ...]:
        """The fields that are not None, in their order."""
        return tuple(self.values())

    def __getitem__(self, key: str | int | slice) -> Any:
        if isinstance(key, str):
            return super().__getitem__(key)
        return self.to_tuple()[key]

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        super().__setattr__(key, value)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self:
            if value is None:
                super().__delitem__(name)
            else:
                super().__setitem__(name, value)
        super().__setattr__(name, value)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), tuple(getattr(self, field.name) for field in fields(self))  # type: ignore[arg-type]  # a dataclass

    def __delitem__(self, key: str) -> NoReturn:
        self._refuse("__delitem__")

    def pop(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refused: the fields of an output stay together."""
        self._refuse("pop")

    def popitem(self, last: bool = True) -> NoReturn:
        """Refused: the fields of an output stay together."""
        self._refuse("popitem")

    def setdefault(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refused: the fields of an output stay together."""
        self._refuse("setdefault")

    def update(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refused: the fields of an output stay together."""
        self._refuse("update")

    def _refuse(self, method: str) -> NoReturn:
        raise TypeError(f"{type(self).__name__} does not support {method}(); copy it first: dict(output)")


@dataclass(eq=False)
class BaseModelOutput(ModelOutput):
    """Hidden states of an encoder without a pooler.

    Attributes:
        last_hidden_state: float32 ``[batch, sequence, hidden_size]``; zeros where the attention mask is 0.
        hidden_states: with ``output_hidden_states=True`` the embeddings' output and each layer's, a tuple of
            ``num_hidden_layers + 1`` arrays shaped like ``last_hidden_state``.
        attentions: with ``output_attentions=True`` each layer's attention weights after the softmax, a tuple of
            ``num_hidden_layers`` arrays ``[batch, num_attention_heads, sequence, sequence]``.
    """

    last_hidden_state: Any = None
    hidden_states: tuple[Any, ...] | None = None
    attentions: tuple[Any, ...] | None = None


@dataclass(eq=False)
class BaseModelOutputWithPooling(ModelOutput):
    """Hidden states of an encoder and the pooled first token.

    Attributes:
        last_hidden_state: float32 ``[batch, sequence, hidden_size]``; zeros where the attention mask is 0.
        pooler_output: float32 ``[batch, hidden_size]``: the first token's last hidden state after the pooler's
            linear layer and tanh; None if the model was loaded with ``add_pooling_layer=False``.
        hidden_states: with ``output_hidden_states=True`` the embeddings' output and each layer's, a tuple of
            ``num_hidden_layers + 1`` arrays shaped like ``last_hidden_state``.
        attentions: with ``output_attentions=True`` each layer's attention weights after the softmax, a tuple of
            ``num_hidden_layers`` arrays ``[batch, num_attention_heads, sequence, sequence]``.
    """

    last_hidden_state: Any = None
    pooler_output: Any = None
    hidden_states: tuple[Any, ...] | None = None
    attentions: tuple[Any, ...] | None = None


@dataclass(eq=False)
class BaseModelOutputWithPoolingAndCrossAttentions(ModelOutput):
    """What BERT and RoBERTa models return: as :class:`BaseModelOutputWithPooling`, with a decoder's fields.

    Attributes:
        last_hidden_state: float32 ``[batch, sequence, hidden_size]``; zeros where the attention mask is 0.
        pooler_output: float32 ``[batch, hidden_size]``, or None without a pooler.
        hidden_states: ``num_hidden_layers + 1`` arrays, or None.
        past_key_values: None; encoders keep no cache.
        attentions: ``num_hidden_layers`` arrays ``[batch, num_attention_heads, sequence, sequence]``, or None.
        cross_attentions: None; encoders have no cross-attention.
    """

    last_hidden_state: Any = None
    pooler_output: Any = None
    hidden_states: tuple[Any, ...] | None = None
    past_key_values: Any = None
    attentions: tuple[Any, ...] | None = None
    cross_attentions: tuple[Any, ...] | None = None


@dataclass(eq=False)
class BaseModelOutputWithPastAndCrossAttentions(ModelOutput):
    """What ELECTRA models return: as :class:`BaseModelOutput`, with a decoder's fields.

    Attributes:
        last_hidden_state: float32 ``[batch, sequence, hidden_size]``; zeros where the attention mask is 0.
        past_key_values: None; encoders keep no cache.
        hidden_states: ``num_hidden_layers + 1`` arrays, or None.
        attentions: ``num_hidden_layers`` arrays ``[batch, num_attention_heads, sequence, sequence]``, or None.
        cross_attentions: None; encoders have no cross-attention.
    """

    last_hidden_state: Any = None
    past_key_values: Any = None
    hidden_states: tuple[Any, ...] | None = None
    attentions: tuple[Any, ...] | None = None
    cross_attentions: tuple[Any, ...] | None = None


@dataclass(eq=False)
class SequenceClassifierOutput(ModelOutput):
    """What models for sequence classification return.

    Attributes:
        loss: None; bertcpp computes no losses.
        logits: float32 ``[batch, num_labels]``, before softmax or sigmoid; of a regression, the values themselves.
        hidden_states: as in :class:`BaseModelOutput`.
        attentions: as in :class:`BaseModelOutput`.
    """

    loss: Any = None
    logits: Any = None
    hidden_states: tuple[Any, ...] | None = None
    attentions: tuple[Any, ...] | None = None


@dataclass(eq=False)
class TokenClassifierOutput(ModelOutput):
    """What models for token classification return.

    Attributes:
        loss: None; bertcpp computes no losses.
        logits: float32 ``[batch, sequence, num_labels]``, before the softmax; zeros where the attention mask is 0.
        hidden_states: as in :class:`BaseModelOutput`.
        attentions: as in :class:`BaseModelOutput`.
    """

    loss: Any = None
    logits: Any = None
    hidden_states: tuple[Any, ...] | None = None
    attentions: tuple[Any, ...] | None = None


@dataclass(eq=False)
class QuestionAnsweringModelOutput(ModelOutput):
    """What models for question answering return.

    Attributes:
        loss: None; bertcpp computes no losses.
        start_logits: float32 ``[batch, sequence]``, that the answer begins at a token; -10000 where the mask is 0.
        end_logits: the same for the answer's last token.
        hidden_states: as in :class:`BaseModelOutput`.
        attentions: as in :class:`BaseModelOutput`.
    """

    loss: Any = None
    start_logits: Any = None
    end_logits: Any = None
    hidden_states: tuple[Any, ...] | None = None
    attentions: tuple[Any, ...] | None = None


@dataclass(eq=False)
class MaskedLMOutput(ModelOutput):
    """What masked language models return.

    Attributes:
        loss: None; bertcpp computes no losses.
        logits: float32 ``[batch, sequence, vocab_size]``, before the softmax, zeros where the attention mask is 0; with
            ``positions`` ``[len(positions), vocab_size]``, for these tokens alone.
        hidden_states: as in :class:`BaseModelOutput`.
        attentions: as in :class:`BaseModelOutput`.
    """

    loss: Any = None
    logits: Any = None
    hidden_states: tuple[Any, ...] | None = None
    attentions: tuple[Any, ...] | None = None


@dataclass(eq=False)
class MultipleChoiceModelOutput(ModelOutput):
    """What models for multiple choice return.

    Attributes:
        loss: None; bertcpp computes no losses.
        logits: float32 ``[batch, choices]``, before the softmax.
        hidden_states: as in :class:`BaseModelOutput`.
        attentions: as in :class:`BaseModelOutput`.
    """

    loss: Any = None
    logits: Any = None
    hidden_states: tuple[Any, ...] | None = None
    attentions: tuple[Any, ...] | None = None


@dataclass(eq=False)
class NextSentencePredictorOutput(ModelOutput):
    """What models for next sentence prediction return.

    Attributes:
        loss: None; bertcpp computes no losses.
        logits: float32 ``[batch, 2]``, before the softmax: that the second text follows the first, that it does not.
        hidden_states: as in :class:`BaseModelOutput`.
        attentions: as in :class:`BaseModelOutput`.
    """

    loss: Any = None
    logits: Any = None
    hidden_states: tuple[Any, ...] | None = None
    attentions: tuple[Any, ...] | None = None


@dataclass(eq=False)
class BertForPreTrainingOutput(ModelOutput):
    """What BERT's models with both heads of its pretraining return.

    Attributes:
        loss: None; bertcpp computes no losses.
        prediction_logits: as ``logits`` of :class:`MaskedLMOutput`.
        seq_relationship_logits: as ``logits`` of :class:`NextSentencePredictorOutput`.
        hidden_states: as in :class:`BaseModelOutput`.
        attentions: as in :class:`BaseModelOutput`.
    """

    loss: Any = None
    prediction_logits: Any = None
    seq_relationship_logits: Any = None
    hidden_states: tuple[Any, ...] | None = None
    attentions: tuple[Any, ...] | None = None


@dataclass(eq=False)
class ErnieForPreTrainingOutput(BertForPreTrainingOutput):
    """What ERNIE's models with both heads of its pretraining return: the fields of `BertForPreTrainingOutput`."""


@dataclass(eq=False)
class ElectraForPreTrainingOutput(ModelOutput):
    """What ELECTRA's discriminators return.

    Attributes:
        loss: None; bertcpp computes no losses.
        logits: float32 ``[batch, sequence]``, that a token was replaced, before the sigmoid; zeros where the mask is 0.
        hidden_states: as in :class:`BaseModelOutput`.
        attentions: as in :class:`BaseModelOutput`.
    """

    loss: Any = None
    logits: Any = None
    hidden_states: tuple[Any, ...] | None = None
    attentions: tuple[Any, ...] | None = None
