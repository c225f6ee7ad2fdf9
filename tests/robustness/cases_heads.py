"""Heads of their own, and recurrent ones: files and arrays that are none, sizes that contradict each other."""

from __future__ import annotations

from typing import Any

import numpy as np
from case import Case, Raises
from cases_tasks import furnished, load, loading

import bertcpp
from bertcpp.errors import (
    CheckpointNotFoundError,
    ConfigError,
    InputError,
    MissingHeadError,
    WeightMismatchError,
)


def gru(without: str = "", **shapes: tuple[int, ...]) -> dict[str, np.ndarray]:
    """A GRU of one layer of width 4 and a classifier over it."""
    shapes = {"weight_ih_l0": (12, 8), "weight_hh_l0": (12, 4), "bias_ih_l0": (12,), "bias_hh_l0": (12,)} | shapes
    tensors = {f"gru.{name}": np.ones(shape, np.float32) for name, shape in shapes.items()}
    tensors |= {"classifier.weight": np.ones((2, 4), np.float32), "classifier.bias": np.ones(2, np.float32)}
    tensors.pop(without, None)
    return tensors


def with_gru(name: str, error: type, message: str, **options: Any) -> Raises:
    options = {"head": gru()} | options
    return Raises(
        name, lambda w: bertcpp.BertGruForTokenClassification.from_pretrained(w.folder, **options), error, message
    )


CASES: list[Case] = [
    loading(
        "a head in no file",
        "MaskedLM",
        CheckpointNotFoundError,
        "head='no.safetensors': there is no",
        head="no.safetensors",
    ),
    loading("a head of another type", "MaskedLM", InputError, "head must be a file, or arrays by name", head=[1]),
    loading(
        "a head of lists",
        "MaskedLM",
        InputError,
        r"head\['a'\] must be a NumPy array or a PyTorch tensor, not a list",
        head={"a": [1]},
    ),
    loading(
        "a head of another shape",
        "QuestionAnswering",
        WeightMismatchError,
        r"head: tensor 'qa_outputs.bias' has the shape \[3\]",
        head={"qa_outputs.bias": np.ones(3, np.float32)},
    ),
    loading(
        "a head that is misspelt",
        "QuestionAnswering",
        InputError,
        "head has qa_output.bias, which this class has no layer for; it takes qa_outputs.bias, qa_outputs.weight",
        head={"qa_output.bias": np.ones(2, np.float32)},
    ),
    loading(
        "a whole model for a head",
        "QuestionAnswering",
        InputError,
        "a model that was trained whole is a checkpoint",
        head={"bert.pooler.dense.bias": np.ones(8, np.float32)},
    ),
    with_gru(
        "a GRU of no size", MissingHeadError, "gru.weight_ih_l0, classifier.weight, classifier.bias missing", head={}
    ),
    with_gru("half a GRU", MissingHeadError, "gru.bias_hh_l0 missing", head=gru(without="gru.bias_hh_l0")),
    with_gru(
        "a GRU without a classifier",
        MissingHeadError,
        "classifier.weight missing",
        head=gru(without="classifier.weight"),
    ),
    with_gru(
        "a GRU of another width",
        WeightMismatchError,
        r"gru.weight_ih_l0.*\[12, 9\].*\[12, 8\]",
        head=gru(weight_ih_l0=(12, 9)),
    ),
    with_gru(
        "a GRU that is not as large as stated",
        WeightMismatchError,
        r"\[12, 8\], but config.json asks for \[15, 8\].*gru_hidden_size",
        gru_hidden_size=5,
    ),
    with_gru(
        "a GRU of more layers than stated",
        ConfigError,
        "weight_ih_l1, of which gru_num_layers=1 knows nothing",
        head=gru(weight_ih_l1=(12, 4)),
        gru_num_layers=1,
    ),
    with_gru("a GRU of fewer layers than stated", MissingHeadError, "gru.weight_ih_l1", gru_num_layers=2),
    with_gru(
        "a GRU of two directions, stated as one",
        ConfigError,
        "weight_ih_l0_reverse",
        head=gru(weight_ih_l0_reverse=(12, 8)),
        gru_bidirectional=False,
    ),
    with_gru(
        "a classifier that is too narrow",
        WeightMismatchError,
        r"classifier.weight.*\[2, 5\].*\[2, 4\]",
        head=gru() | {"classifier.weight": np.ones((2, 5), np.float32)},
    ),
    with_gru(
        "a GRU of a size that is none",
        ConfigError,
        "gru_hidden_size is 0, but must be an integer between 1",
        gru_hidden_size=0,
    ),
    with_gru(
        "directions that are none",
        ConfigError,
        "gru_bidirectional is 'yes', but must be true or false",
        gru_bidirectional="yes",
    ),
    Raises(
        "a GRU drawn without a size",
        lambda w: bertcpp.BertGruForTokenClassification.from_pretrained(w.folder, allow_missing_head=True),
        ConfigError,
        "add gru_hidden_size to config.json, or pass it",
    ),
    Raises(
        "a GRU for words", lambda w: load(furnished(w), "MaskedLM", gru_hidden_size=4), TypeError, "'gru_hidden_size'"
    ),
]
