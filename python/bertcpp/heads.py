"""What each family puts on its encoder for a task: one row of a table for each head, from tensors' names to layers.

A new head is one more row, if its layers are those below; `head_layers` builds what a row describes, and nothing else
here knows a head.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["HEADS", "TASKS", "Decoder", "Dense", "Head", "Norm", "Step", "heads_of"]


@dataclass(frozen=True)
class Dense:
    """``activation(x W^T + b)``.

    Attributes:
        tensor: the checkpoint's name, without ``.weight`` and ``.bias``; ``{encoder}`` is the encoder's own prefix.
        width: rows of the weight: a number, ``num_labels``, or a setting of the engine.
        activation: the engine's name of it; ``*NAME`` is what the configuration's field NAME says, None for none.
    """

    tensor: str
    width: int | str
    activation: str = "identity"


@dataclass(frozen=True)
class Norm:
    """A LayerNorm; `tensor` as in `Dense`."""

    tensor: str


@dataclass(frozen=True)
class Decoder:
    """Scores for every word of the vocabulary: the product with the word embeddings, or with a matrix of its own.

    Attributes:
        tensor: the checkpoint's name of the matrix; with ``tie_word_embeddings`` it is that of the word embeddings.
        biases: its bias's names, of which a checkpoint has one or both.
    """

    tensor: str
    biases: tuple[str, ...]


Step = Dense | Norm | Decoder


@dataclass(frozen=True)
class Head:
    """Layers on the encoder's states.

    Attributes:
        reads: the states of the ``first`` token of each sequence, of ``every`` token, or the ``final`` states of the
            recurrent layers, which they reach at a sequence's ends.
        steps: the layers in order.
        recurrent: what the tensors of recurrent layers before them are called, without the dot; none where empty.
        settled: what fields of the configuration must be for these layers to be the right ones.
    """

    reads: Literal["first", "every", "final"]
    steps: tuple[Step, ...]
    recurrent: str = ""
    settled: Mapping[str, object] = field(default_factory=dict)


_POOLER = Dense("{encoder}pooler.dense", "hidden_size", "tanh")
_CLASSIFIER = Dense("classifier", "num_labels")
_ONE_SCORE = Dense("classifier", 1)
_PRE_CLASSIFIER = Dense("pre_classifier", "hidden_size", "relu")

_FIRST_POOLED = Head("first", (_POOLER, _CLASSIFIER))
_FIRST_TANH = Head(
    "first", (Dense("classifier.dense", "hidden_size", "tanh"), Dense("classifier.out_proj", "num_labels"))
)
_CHOICE_POOLED = Head("first", (_POOLER, _ONE_SCORE))
_NEXT_SENTENCE = Head("first", (_POOLER, Dense("cls.seq_relationship", 2)))
_BERT_WORDS = Head(
    "every",
    (
        Dense("cls.predictions.transform.dense", "hidden_size", "*hidden_act"),
        Norm("cls.predictions.transform.LayerNorm"),
        Decoder("cls.predictions.decoder", ("cls.predictions.bias", "cls.predictions.decoder.bias")),
    ),
)
_ROBERTA_WORDS = Head(
    "every",
    (
        Dense("lm_head.dense", "hidden_size", "gelu"),
        Norm("lm_head.layer_norm"),
        Decoder("lm_head.decoder", ("lm_head.bias", "lm_head.decoder.bias")),
    ),
)

_BERT_HEADS = {
    "sequence-classification": _FIRST_POOLED,
    "multiple-choice": _CHOICE_POOLED,
    "masked-lm": _BERT_WORDS,
    "next-sentence": _NEXT_SENTENCE,
}
_ROBERTA_HEADS = {
    "sequence-classification": _FIRST_TANH,
    "multiple-choice": _CHOICE_POOLED,
    "masked-lm": _ROBERTA_WORDS,
}
# Heads that all families have alike.
_COMMON = {
    "token-classification": Head("every", (_CLASSIFIER,)),
    "question-answering": Head("every", (Dense("qa_outputs", 2),)),
    "gru-sequence-classification": Head("final", (_CLASSIFIER,), recurrent="gru"),
    "gru-token-classification": Head("every", (_CLASSIFIER,), recurrent="gru"),
}

# head: by model_type.
HEADS: Mapping[str, Mapping[str, Head]] = {
    model_type: {**_COMMON, **heads}
    for model_type, heads in {
        "bert": _BERT_HEADS,
        "ernie": _BERT_HEADS,
        "roberta": _ROBERTA_HEADS,
        "xlm-roberta": _ROBERTA_HEADS,
        "camembert": _ROBERTA_HEADS,
        "data2vec-text": _ROBERTA_HEADS,
        "mpnet": _ROBERTA_HEADS,
        "electra": {
            "sequence-classification": Head(
                "first",
                (Dense("classifier.dense", "hidden_size", "gelu"), Dense("classifier.out_proj", "num_labels")),
            ),
            "multiple-choice": Head(
                "first",
                (Dense("sequence_summary.summary", "hidden_size", "*summary_activation"), _ONE_SCORE),
                settled={"summary_type": "first", "summary_use_proj": True},
            ),
            "masked-lm": Head(
                "every",
                (
                    Dense("generator_predictions.dense", "embedding_size", "gelu"),
                    Norm("generator_predictions.LayerNorm"),
                    Decoder("generator_lm_head", ("generator_lm_head.bias",)),
                ),
            ),
            "replaced-token": Head(
                "every",
                (
                    Dense("discriminator_predictions.dense", "hidden_size", "*hidden_act"),
                    Dense("discriminator_predictions.dense_prediction", 1),
                ),
            ),
        },
        "distilbert": {
            "sequence-classification": Head("first", (_PRE_CLASSIFIER, _CLASSIFIER)),
            "multiple-choice": Head("first", (_PRE_CLASSIFIER, _ONE_SCORE)),
            "masked-lm": Head(
                "every",
                (
                    Dense("vocab_transform", "hidden_size", "*activation"),
                    Norm("vocab_layer_norm"),
                    Decoder("vocab_projector", ("vocab_projector.bias",)),
                ),
            ),
        },
    }.items()
}

# The end of a class's name, for the classes with a GRU behind ``Gru``, and the heads that it computes; a family without
# these heads has no such class.
TASKS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("SequenceClassification", ("sequence-classification",)),
    ("TokenClassification", ("token-classification",)),
    ("QuestionAnswering", ("question-answering",)),
    ("MaskedLM", ("masked-lm",)),
    ("MultipleChoice", ("multiple-choice",)),
    ("NextSentencePrediction", ("next-sentence",)),
    ("PreTraining", ("masked-lm", "next-sentence")),
    ("PreTraining", ("replaced-token",)),
    ("GruSequenceClassification", ("gru-sequence-classification",)),
    ("GruTokenClassification", ("gru-token-classification",)),
)


def heads_of(task: str, model_type: str) -> tuple[str, ...]:
    """Return the names of the heads that a family has for a task; none where it has no such class."""
    for name, heads in TASKS:
        if name == task and all(head in HEADS[model_type] for head in heads):
            return heads
    return ()
