"""Tasks over tiny checkpoints, asked for in ways that are wrong: each mistake is named, with its remedy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from case import Case, Raises, Works
from workshop import CONFIG, Workshop

import bertcpp
from bertcpp.errors import (
    CheckpointNotFoundError,
    InputError,
    InputTypeError,
    MissingHeadError,
    SequenceTooLongError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

WIDTH, WORDS = CONFIG["hidden_size"], CONFIG["vocab_size"]
INFERENCE = {"id2label": {"0": "no", "1": "maybe", "2": "entailment"}, "label2id": {"entailment": 2}}
LONG = "the cat sat on the mat. " * 5
LABELS = {"candidate_labels": ["cat", "dog"]}
PAIR = {"question": "the cat", "context": "a cat sat on the mat"}


def head(stem: str, rows: int) -> dict[str, np.ndarray]:
    ones = np.linspace(-1, 1, rows * WIDTH, dtype=np.float32).reshape(rows, WIDTH)
    return {f"{stem}.weight": ones, f"{stem}.bias": np.zeros(rows, np.float32)}


TENSORS = {
    "text-classification": head("classifier", 2),
    "token-classification": head("classifier", 2),
    "zero-shot-classification": head("classifier", 3),
    "question-answering": head("qa_outputs", 2),
    "fill-mask": {
        **head("cls.predictions.transform.dense", WIDTH),
        "cls.predictions.transform.LayerNorm.weight": np.ones(WIDTH, np.float32),
        "cls.predictions.transform.LayerNorm.bias": np.zeros(WIDTH, np.float32),
        "cls.predictions.bias": np.zeros(WORDS, np.float32),
    },
}


def made(w: Workshop, task: str, **options: Any) -> Any:
    w.tensors(lambda tensors: tensors.update(TENSORS.get(task, {})))
    if task == "zero-shot-classification":
        w.config(**INFERENCE)
    return bertcpp.pipeline(task, model=str(w.folder), **options)


def ask(
    name: str, task: str, message: str, *inputs: Any, error: type = InputError, made_with: Any = None, **options: Any
) -> Raises:
    return Raises(f"{task}: {name}", lambda w: made(w, task, **(made_with or {}))(*inputs, **options), error, message)


def make(name: str, message: str, act: Callable[[Workshop], Any], error: type = InputError) -> Raises:
    return Raises(f"made of {name}", act, error, message)


CASES: list[Case] = [
    # Making a task.
    make("nothing", "name a task or a model", lambda w: bertcpp.pipeline()),
    make("no model", "name the model for 'ner', as by model=", lambda w: bertcpp.pipeline("ner")),
    make("an unknown task", "no task 'translation'; there are feature-", lambda w: made(w, "translation")),
    make("a task that is a number", "there is no task 7", lambda w: bertcpp.pipeline(7, str(w.folder))),  # type: ignore[arg-type]
    make("no such folder", "", lambda w: bertcpp.pipeline("ner", "./gone"), CheckpointNotFoundError),
    make("another framework", "framework='tf' is not known", lambda w: made(w, "ner", framework="tf")),
    make("another device", "device is 'mps', but bertcpp", lambda w: made(w, "text-classification", device="mps")),
    make("another dtype", "float16", lambda w: made(w, "text-classification", dtype="float16")),
    make(
        "a checkpoint without the head",
        "classifier",
        lambda w: bertcpp.pipeline("text-classification", str(w.folder)),
        MissingHeadError,
    ),
    make("a model without the head", r"head \.\.\.ForTokenClassification", lambda w: bertcpp.pipeline("ner", w.load())),
    make("a number for a model", "needs a model with the head", lambda w: bertcpp.pipeline("ner", 7)),
    make(
        "a bad tokenizer", "tokenizer must be one of bertcpp's", lambda w: made(w, "text-classification", tokenizer=3)
    ),
    make(
        "a tokenizer beside its own",
        "uses the tokenizer of its SentenceTransformer",
        lambda w: made(w, "summarization", tokenizer=str(w.folder)),
    ),
    make("a batch of 0", "batch_size must be at least 1", lambda w: made(w, "text-classification", batch_size=0)),
    make("arguments that are a number", "model_kwargs must be a dict", lambda w: made(w, "ner", model_kwargs=3)),
    make("arguments without names", "must be a dict.* not {1: 2}", lambda w: made(w, "ner", model_kwargs={1: 2})),
    make(
        "no threads",
        "num_threads must be an integer from 1 to 1024",
        lambda w: made(w, "text-classification", num_threads=0),
    ),
    make(
        "2**63 threads",
        "num_threads must be .* not 9223372036854775808",
        lambda w: made(w, "text-classification", num_threads=2**63),
    ),
    make(
        "an architecture without a task",
        "does not tell its task",
        lambda w: bertcpp.pipeline(model=str(w.config(architectures=["BertForRhymes"]).folder)),
    ),
    # Text classification.
    ask("an unknown option", "text-classification", "does not know the option 'topk'; it has", "a", topk=3),
    ask("an unknown function", "text-classification", "function_to_apply='relu' is not", "a", function_to_apply="relu"),
    ask("no labels", "text-classification", "top_k must be at least 1", "a", top_k=0),
    ask("a word for a number", "text-classification", "top_k='all' is not a number", "a", top_k="all"),
    ask("None", "text-classification", r"inputs\[0\] is None", None, error=InputTypeError),
    ask("bytes", "text-classification", r"inputs\[0\] is b'a'", b"a", error=InputTypeError),
    ask("a number among texts", "text-classification", r"inputs\[1\] is 3", ["a", 3], error=InputTypeError),
    ask("a list as a pair", "text-classification", "'text_pair'", [["a", "b"]], error=InputTypeError),
    ask("a dictionary of other keys", "text-classification", "has 'text' and", {"texts": "a"}),
    ask(
        "too long a text",
        "text-classification",
        r"inputs\[1\] has \d+ tokens.*truncation=True",
        ["a", LONG],
        error=SequenceTooLongError,
    ),
    ask("an unknown policy", "text-classification", "on_overflow='split' is not", "a", on_overflow="split"),
    ask("a stride of nothing", "text-classification", "stride is for windows", "a", stride=3),
    ask("a stride of all", "text-classification", "stride, the tokens", "a", on_overflow="window", stride=10**6),
    ask("a stride in words", "text-classification", "stride, the tokens", "a", on_overflow="window", stride="half"),
    ask("pooled cuts", "text-classification", "is for windows", "a", on_overflow="warn", window_pooling="max"),
    ask("unknown pooling", "text-classification", "='sum' is not", "a", on_overflow="window", window_pooling="sum"),
    ask(
        "two policies",
        "text-classification",
        "leave out truncation",
        "a",
        on_overflow="window",
        truncation=True,
    ),
    ask(
        "windows without room",
        "text-classification",
        "leave no room for the text in windows of 2 tokens; raise max_length$",
        LONG,
        on_overflow="window",
        max_length=2,
    ),
    ask("windows of 0", "text-classification", "max_length must be", "a", on_overflow="window", max_length=0),
    ask("windows of 2", "text-classification", "no room", LONG, on_overflow="window", max_length=2),
    ask(
        "a long text refused",
        "text-classification",
        r"inputs\[1\] has \d+ tokens, more than max_length",
        ["a", LONG],
        on_overflow="error",
        error=SequenceTooLongError,
    ),
    ask("a lone surrogate", "text-classification", "lone surrogate", "\ud800"),
    # Token classification.
    ask("an unknown strategy", "token-classification", "'none', 'simple'", "a", aggregation_strategy="best"),
    ask("a stride without a strategy", "token-classification", "stride needs an aggregation_strategy", "a", stride=1),
    ask(
        "too long a stride",
        "token-classification",
        "stride=16 must be less than the 14 tokens of a text",
        "a",
        stride=16,
        aggregation_strategy="simple",
    ),
    ask(
        "a stride over what stays",
        "token-classification",
        "stride=14 must be less than the 14 tokens .* model_max_length, 16, 2 of them special",
        "a",
        stride=14,
        aggregation_strategy="simple",
    ),
    ask(
        "words that are no list",
        "token-classification",
        "pass lists of words",
        "a",
        is_split_into_words=True,
        error=InputTypeError,
    ),
    ask("a list of words unasked", "token-classification", "is_split_into_words=True", [["a"]], error=InputTypeError),
    ask("labels that are one number", "token-classification", "must be a list of labels", "a", ignore_labels=3),
    ask(
        "a number between words",
        "token-classification",
        "delimiter must be a string",
        ["a", "b"],
        is_split_into_words=True,
        delimiter=3,
    ),
    ask("too few offsets", "token-classification", "1 entries for the 3 tokens", "a", offset_mapping=[(0, 1)]),
    # Question answering.
    ask(
        "half a character in a context", "question-answering", "holds a lone surrogate", question="a", context="\ud800"
    ),
    Works(
        "question-answering: windows and answers of any length",
        lambda w: made(w, "question-answering")(PAIR, max_answer_len=10**30, max_seq_len=10**30, top_k=50),
        lambda w: made(w, "question-answering")(PAIR, max_answer_len=64, max_seq_len=16, top_k=50),
    ),
    ask("an empty context", "question-answering", r"context of inputs\[0\] is empty", question="a", context=""),
    ask("an empty question", "question-answering", r"question of inputs\[0\] is empty", question="", context="a"),
    ask("no context", "question-answering", "pass question= and context=", question="a"),
    ask("nothing", "question-answering", "pass question= and context="),
    ask("a text alone", "question-answering", "pass question= and context=", "a"),
    ask("a list of texts", "question-answering", "with two strings", ["a", "b"], error=InputTypeError),
    ask("another key", "question-answering", "with two strings", {"question": "a", "text": "b"}, error=InputTypeError),
    ask("more questions", "question-answering", "2 questions but 1 contexts", question=["a", "b"], context=["a"]),
    ask("inputs twice", "question-answering", "not both", PAIR, question="a", context="b"),
    ask("no answers", "question-answering", "top_k must be at least 1", PAIR, top_k=0),
    ask("answers of no length", "question-answering", "max_answer_len must be at least 1", PAIR, max_answer_len=0),
    ask("a stride over a window", "question-answering", "doc_stride=99 must be less", PAIR, doc_stride=99),
    ask(
        "a stride over what is left",
        "question-answering",
        "doc_stride=8 must be less than the 7 tokens",
        question="the cat",
        context=LONG,
        doc_stride=8,
        max_seq_len=12,
    ),
    ask("a question too long", "question-answering", "leaves none of max_seq_len=16", question=LONG, context="a"),
    ask(
        "a window over the model",
        "question-answering",
        "pass a smaller max_seq_len",
        question="a",
        context=LONG,
        max_seq_len=40,
        error=SequenceTooLongError,
    ),
    # Fill-mask.
    ask("no mask", "fill-mask", r"inputs\[1\] has no mask token; write \[MASK\]", ["a [MASK]", "a cat"]),
    ask(
        "a mask that is cut off",
        "fill-mask",
        "has no mask token",
        LONG + "[MASK]",
        tokenizer_kwargs={"truncation": True},
    ),
    ask("no targets", "fill-mask", "targets holds no word", "a [MASK]", targets=[]),
    ask("targets that are numbers", "fill-mask", "targets must be words", "a [MASK]", targets=[3]),
    ask("targets that are one number", "fill-mask", r"targets must be words.* not \[3\]", "a [MASK]", targets=3),
    ask(
        "unknown options",
        "fill-mask",
        "holds 'return_tensors', 'truncate', which fill-mask has no use for; it takes add_special_tokens, max_length",
        "a [MASK]",
        tokenizer_kwargs={"truncate": True, "return_tensors": "np"},
    ),
    ask("a number for options", "fill-mask", "tokenizer_kwargs must be a dict", "a [MASK]", tokenizer_kwargs=3),
    ask("no guesses", "fill-mask", "top_k must be at least 1", "a [MASK]", top_k=0),
    make(
        "a tokenizer without a mask",
        "the tokenizer has no mask token",
        lambda w: made(w, "fill-mask", tokenizer=(str(w.folder), {"mask_token": None})),
    ),
    # Zero-shot classification.
    ask("no labels", "zero-shot-classification", "candidate_labels are missing", "a"),
    ask("an unknown policy", "zero-shot-classification", "='cut' is not", "a", ["b"], on_overflow="cut"),
    ask("a limit alone", "zero-shot-classification", "max_length goes with", "a", ["b"], max_length=9),
    ask("a stride alone", "zero-shot-classification", "stride is for windows", "a", ["b"], stride=3),
    ask(
        "a long text refused",
        "zero-shot-classification",
        r"inputs\[1\] has \d+ tokens, more than max_length",
        ["a", LONG],
        **LABELS,
        on_overflow="error",
        error=SequenceTooLongError,
    ),
    ask("an empty list of labels", "zero-shot-classification", "must be one label or more", "a", []),
    ask("a text of no labels", "zero-shot-classification", "must be one label or more", "a", " , "),
    ask("labels that are numbers", "zero-shot-classification", "must be one label or more", "a", [1, 2]),
    ask(
        "a template without a place",
        "zero-shot-classification",
        "has no place for the label",
        "a",
        hypothesis_template="a cat",
        **LABELS,
    ),
    ask(
        "a template of two places",
        "zero-shot-classification",
        "cannot be filled in",
        "a",
        hypothesis_template="{} {}",
        **LABELS,
    ),
    ask(
        "a template of escaped braces",
        "zero-shot-classification",
        "has no place for the label",
        "a",
        hypothesis_template="{{}}",
        **LABELS,
    ),
    ask(
        "a template of a huge width",
        "zero-shot-classification",
        "padded to thousands of characters",
        "a",
        hypothesis_template="{:>99999999999}",
        **LABELS,
    ),
    ask(
        "a template whose width is a label",
        "zero-shot-classification",
        "cannot be filled in",
        "a",
        ["99999999999"],
        hypothesis_template="{0:{0}}",
    ),
    Works(
        "zero-shot-classification: a label of braces",
        lambda w: made(w, "zero-shot-classification")("a", ["{}", "cat"], hypothesis_template="so {}")["labels"],
        lambda w: ["{}", "cat"],
    ),
    ask(
        "a template that is none",
        "zero-shot-classification",
        "cannot be filled in",
        "a",
        hypothesis_template=3,
        **LABELS,
    ),
    ask("an empty text", "zero-shot-classification", r"inputs\[1\] is empty", ["a", ""], **LABELS),
    make(
        "a model without the label entailment",
        "none of the model's labels .LABEL_0, LABEL_1. is 'entailment'",
        lambda w: bertcpp.pipeline("zero-shot-classification", made(w, "text-classification").model),
    ),
    # Features, similarity, summaries.
    ask("too long a text", "feature-extraction", "pass truncation=True", LONG, error=SequenceTooLongError),
    ask(
        "truncation twice",
        "feature-extraction",
        "given twice",
        "a",
        truncation=True,
        tokenize_kwargs={"truncation": True},
    ),
    ask("an unknown tokenizer option", "feature-extraction", "holds 'trim'", "a", tokenize_kwargs={"trim": 1}),
    ask("other tensors", "feature-extraction", "return_tensors='tf' is not known", "a", return_tensors="tf"),
    ask("one text for many", "sentence-similarity", "must be a list of strings", "a", "b", error=InputTypeError),
    ask("nothing to compare", "sentence-similarity", "'source_sentence'", "a", error=InputTypeError),
    ask("numbers to compare", "sentence-similarity", "'source_sentence'", "a", [1], error=InputTypeError),
    ask("inputs twice", "sentence-similarity", "not both", {"source_sentence": "a", "sentences": []}, ["b"]),
    ask("a number", "summarization", r"inputs\[0\] is of type int", 7, error=InputTypeError),
]
