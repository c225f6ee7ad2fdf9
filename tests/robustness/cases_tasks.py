"""Task models: heads that are missing or do not fit, losses and positions that cannot be had, wrong choices."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from case import Case, Raises, Works
from workshop import CONFIG, Workshop, safetensors_bytes, tensors_of

import bertcpp
from bertcpp.batching import Tokens
from bertcpp.errors import (
    CheckpointNotFoundError,
    ConfigError,
    InputError,
    MaskError,
    MissingHeadError,
    MissingTensorError,
    SequenceTooLongError,
    TokenIdError,
    UnknownArchitectureError,
    WeightMismatchError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

IDS = np.array([[2, 5, 6, 7, 3], [2, 8, 3, 0, 0]])
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
TOKENS = Tokens(np.array([2, 5, 3, 2, 6, 7, 3], np.int32), np.array([0, 3, 7], np.int32), None)


def heads() -> dict[str, np.ndarray]:
    """The tensors of every head that BERT has."""
    rng = np.random.default_rng(21)
    hidden, words = CONFIG["hidden_size"], CONFIG["vocab_size"]
    shapes: dict[str, tuple[int, ...]] = {
        "classifier.weight": (2, hidden),
        "classifier.bias": (2,),
        "qa_outputs.weight": (2, hidden),
        "qa_outputs.bias": (2,),
        "cls.seq_relationship.weight": (2, hidden),
        "cls.seq_relationship.bias": (2,),
        "cls.predictions.transform.dense.weight": (hidden, hidden),
        "cls.predictions.transform.dense.bias": (hidden,),
        "cls.predictions.transform.LayerNorm.weight": (hidden,),
        "cls.predictions.transform.LayerNorm.bias": (hidden,),
        "cls.predictions.bias": (words,),
    }
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def furnished(w: Workshop, change: Callable[[dict[str, np.ndarray]], Any] = lambda tensors: None) -> Workshop:
    """Add every head to the checkpoint; `change` damages the tensors."""
    tensors = {**{f"bert.{name}": tensor for name, tensor in tensors_of(CONFIG).items()}, **heads()}
    change(tensors)
    w.weights.write_bytes(safetensors_bytes(tensors))
    return w


def load(w: Workshop, task: str, **options: Any) -> Any:
    return getattr(bertcpp, f"AutoModelFor{task}").from_pretrained(w.folder, **options)


def loading(
    name: str, task: str, error: type, message: str, change: Any = lambda tensors: None, **options: Any
) -> Raises:
    return Raises(name, lambda w: load(furnished(w, change), task, **options), error, message)


def call(name: str, task: str, error: type, message: str, *args: Any, **inputs: Any) -> Raises:
    return Raises(name, lambda w: load(furnished(w), task)(*args, **inputs), error, message)


def packed(name: str, task: str, error: type, message: str, tokens: Tokens, **options: Any) -> Raises:
    return Raises(name, lambda w: load(furnished(w), task).packed_logits(tokens, **options), error, message)


def without(*names: str) -> Callable[[dict[str, np.ndarray]], Any]:
    return lambda tensors: [tensors.pop(name) for name in names]


def bare(name: str, task: str, message: str) -> Raises:
    """A checkpoint of an encoder alone."""
    return Raises(name, lambda w: load(w, task), MissingHeadError, message)


def drawn(w: Workshop) -> tuple[bool, bool, int, int]:
    """Whether a head that is drawn is the same each time, and said to be so; and its answer's shape."""
    logits = []
    said = 0
    for _ in range(2):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            logits.append(load(w, "SequenceClassification", allow_missing_head=True, num_labels=3)(IDS).logits)
        said += sum("classifier.weight, classifier.bias: these weights are drawn" in str(one.message) for one in caught)
    return said == 2, bool((logits[0] == logits[1]).all()), *logits[0].shape


CASES: list[Case] = [
    # Threads.
    loading("too many threads", "TokenClassification", InputError, "from 1 to 1024.* not 1025", num_threads=1025),
    packed("2**63 threads for packed texts", "TokenClassification", InputError, "not 9223", TOKENS, num_threads=2**63),
    # Heads that are not there.
    bare(
        "an encoder for classification", "SequenceClassification", "no head for BertForSequenceClassification: classi"
    ),
    bare(
        "an encoder for tokens",
        "TokenClassification",
        "classifier.weight, classifier.bias missing; it has one for no",
    ),
    bare("an encoder for answers", "QuestionAnswering", "qa_outputs.weight, qa_outputs.bias missing"),
    bare("an encoder for words", "MaskedLM", "cls.predictions.transform.dense.weight.*cls.predictions.bias missing"),
    bare("an encoder for choices", "MultipleChoice", "it was saved from BertModel"),
    bare("an encoder for the next sentence", "NextSentencePrediction", "cls.seq_relationship.weight"),
    bare("an encoder for pretraining", "PreTraining", "allow_missing_head=True to have it drawn"),
    loading(
        "a head for another task",
        "QuestionAnswering",
        MissingHeadError,
        "it has one for .*BertForMaskedLM",
        without("qa_outputs.weight", "qa_outputs.bias"),
    ),
    loading(
        "half a head",
        "MaskedLM",
        MissingHeadError,
        "cls.predictions.transform.dense.bias missing",
        without("cls.predictions.transform.dense.bias"),
    ),
    loading(
        "a classifier without its pooler",
        "SequenceClassification",
        MissingHeadError,
        "bert.pooler.dense.weight.*BertForTokenClassification",
        without("bert.pooler.dense.weight", "bert.pooler.dense.bias"),
    ),
    loading(
        "a head without its encoder",
        "TokenClassification",
        MissingTensorError,
        "of the encoder's tensors are missing",
        without("bert.encoder.layer.0.output.dense.weight"),
    ),
    Works("a head drawn at random is always the same", drawn, lambda w: (True, True, 2, 3)),
    # Heads that do not fit.
    loading(
        "more labels than the head has",
        "SequenceClassification",
        WeightMismatchError,
        r"classifier.weight.*\[2, 8\].*\[5, 8\].*num_labels",
        num_labels=5,
    ),
    loading("choices of a classifier", "MultipleChoice", WeightMismatchError, r"classifier.weight.*\[2, 8\].*\[1, 8\]"),
    loading("no labels", "TokenClassification", ConfigError, "there are no labels; set id2label", num_labels=0),
    loading(
        "a matrix of the wrong width",
        "QuestionAnswering",
        WeightMismatchError,
        "qa_outputs.weight",
        lambda t: t.update({"qa_outputs.weight": np.ones((2, 9), np.float32)}),
    ),
    loading(
        "integers for weights",
        "QuestionAnswering",
        WeightMismatchError,
        "dtype I64",
        lambda t: t.update({"qa_outputs.weight": np.ones((2, 8), np.int64)}),
    ),
    loading("a problem that is none", "SequenceClassification", ConfigError, "problem_type", problem_type="guessing"),
    Raises(
        "a family without the task",
        lambda w: load(w.config(model_type="roberta"), "NextSentencePrediction"),
        UnknownArchitectureError,
        "AutoModelForNextSentencePrediction does not compute; known are bert, ernie",
    ),
    Raises(
        "another family's class",
        lambda w: bertcpp.DistilBertForMaskedLM.from_pretrained(w.folder),
        UnknownArchitectureError,
        "use BertForMaskedLM or AutoModelForMaskedLM",
    ),
    Raises(
        "no checkpoint",
        lambda w: bertcpp.AutoModelForMaskedLM.from_pretrained(w.folder / "no"),
        CheckpointNotFoundError,
        "no such folder",
    ),
    Raises(
        "a configuration instead of a checkpoint",
        lambda w: bertcpp.BertForMaskedLM(bertcpp.BertConfig()),
        TypeError,
        r"BertForMaskedLM.from_pretrained\(name\)",
    ),
    loading("an unknown option", "MaskedLM", TypeError, "'ignore_mismatched_sizes'", ignore_mismatched_sizes=True),
    # Calls.
    call("labels", "SequenceClassification", InputError, "labels asks for a loss", IDS, labels=np.array([0, 1])),
    call(
        "positions of answers",
        "QuestionAnswering",
        InputError,
        "start_positions asks for a loss",
        IDS,
        start_positions=[1, 1],
    ),
    call(
        "a label of the next sentence",
        "PreTraining",
        InputError,
        "next_sentence_label asks",
        IDS,
        next_sentence_label=[0, 1],
    ),
    call("a head mask", "MaskedLM", InputError, "head_mask is not supported", IDS, head_mask=[1]),
    call(
        "a decoder's states",
        "MaskedLM",
        InputError,
        "encoder_hidden_states is not supported",
        IDS,
        encoder_hidden_states=[1],
    ),
    call("an unknown argument", "MaskedLM", TypeError, r"no argument 'labls'; it has input_ids", IDS, labls=1),
    call("an argument twice", "MaskedLM", TypeError, "'input_ids' twice", IDS, input_ids=IDS),
    call("too many arguments", "TokenClassification", TypeError, "takes 10 arguments in order, but 11", *[None] * 11),
    call("nothing", "TokenClassification", InputError, "neither input_ids nor inputs_embeds"),
    call("a mask that leaves nothing", "QuestionAnswering", MaskError, "nothing of row 0", IDS, np.zeros((2, 5), int)),
    call("an id outside the vocabulary", "MaskedLM", TokenIdError, r"input_ids\[0, 0\] is 99", [[99]]),
    call("choices of a classifier of sequences", "MultipleChoice", WeightMismatchError, "classifier", IDS),
    # Positions of words.
    call("positions for classes", "TokenClassification", TypeError, "no argument 'positions'", IDS, positions=IDS == 5),
    call(
        "positions of another shape",
        "MaskedLM",
        InputError,
        r"booleans of the shape \[2, 5\]",
        IDS,
        positions=IDS[0] == 5,
    ),
    call("positions as numbers", "MaskedLM", InputError, "or a pair of arrays", IDS, positions=[1, 2]),
    call(
        "positions that are masked",
        "MaskedLM",
        InputError,
        r"\(1, 3\), where attention_mask is 0",
        IDS,
        MASK,
        positions=IDS == 0,
    ),
    call(
        "positions past the batch",
        "MaskedLM",
        InputError,
        r"\(0, 5\), which is not in a batch",
        IDS,
        positions=([0], [5]),
    ),
    call("positions of unequal length", "MaskedLM", InputError, "equally long", IDS, positions=([0], [1, 2])),
    call("positions that are floats", "MaskedLM", InputError, "arrays of integers", IDS, positions=([0.0], [1.0])),
    # Packed calls.
    packed(
        "packed positions for classes", "TokenClassification", InputError, "leave positions out", TOKENS, positions=[0]
    ),
    packed(
        "packed positions past the end",
        "MaskedLM",
        InputError,
        "from 0 to 7, but the tokens from 0 to 6",
        TOKENS,
        positions=[0, 7],
    ),
    packed("packed positions below 0", "MaskedLM", InputError, "from -1", TOKENS, positions=[-1]),
    packed(
        "packed positions as booleans", "MaskedLM", InputError, "must be integers", TOKENS, positions=np.ones(7, bool)
    ),
    packed(
        "a packed sequence that is too long",
        "MaskedLM",
        SequenceTooLongError,
        "sequence 1 has 17 tokens .* limit of 16",
        Tokens(np.full(20, 5, np.int32), np.array([0, 3, 20], np.int32), None),
    ),
    packed(
        "a packed id outside the vocabulary",
        "MaskedLM",
        TokenIdError,
        "99",
        TOKENS._replace(input_ids=np.full(7, 99, np.int32)),
    ),
    packed(
        "a packed sequence of nothing",
        "MaskedLM",
        InputError,
        "cu_seqlens must rise",
        TOKENS._replace(cu_seqlens=np.array([0, 3, 3, 7], np.int32)),
    ),
    packed(
        "offsets that do not end",
        "MaskedLM",
        InputError,
        "cu_seqlens",
        TOKENS._replace(cu_seqlens=np.array([0, 3], np.int32)),
    ),
]
