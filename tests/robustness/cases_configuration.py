"""Configurations that are damaged, contradict themselves or the tensors, or speak of what is not computed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from case import Case, Raises, Works
from workshop import CONFIG, Workshop

import bertcpp
from bertcpp.errors import (
    CheckpointNotFoundError,
    ConfigError,
    InputError,
    MissingTensorError,
    UnknownArchitectureError,
    WeightMismatchError,
)

if TYPE_CHECKING:
    import numpy as np


def field(name: str, value: Any, message: str, error: type = ConfigError) -> Raises:
    return Raises(f"{name} {value!r:.60}", lambda w: w.config(**{name: value}).load(), error, message)


def file(name: str, content: bytes, message: str, error: type = ConfigError) -> Raises:
    return Raises(name, lambda w: w.write("config.json", content).load(), error, message)


def same(name: str, **fields: Any) -> Works:
    return Works(name, lambda w: w.config(**fields).hidden(), lambda w: w.reference_hidden())


def of_family(family: str, fields: dict[str, Any], message: str) -> Raises:
    """A configuration of another family, refused before its weights are looked at."""
    return Raises(
        f"{family} {fields!r:.60}",
        lambda w: w.write("config.json", {"model_type": family} | fields).load(),
        ConfigError,
        message,
    )


def as_it_was(w: Workshop) -> np.ndarray:
    """What transformers computes with the configuration that the checkpoint had at first."""
    return w.write("config.json", CONFIG).reference_hidden()


NAN = float("nan")

CASES: list[Case] = [
    # The file.
    Raises("no config.json", lambda w: w.remove("config.json").load(), CheckpointNotFoundError, "has no config.json"),
    file("empty file", b"", "config.json is not valid JSON"),
    file("cut off", json.dumps(CONFIG).encode()[:-5], "is not valid JSON"),
    file("not UTF-8", b'{"model_type": "\xff"}', "is not valid JSON"),
    file("UTF-16", json.dumps(CONFIG).encode("utf-16"), "is not valid JSON"),
    file("a list", b"[]", "holds a JSON list where an object is needed"),
    file("a string", b'"bert"', "holds a JSON str where an object is needed"),
    file("null", b"null", "holds a JSON NoneType where an object"),
    file("nested without end", b"[" * 100_000, "is not valid JSON"),
    file("a number of 10,000 digits", b'{"vocab_size": ' + b"9" * 10_000 + b"}", "is not valid JSON"),
    file("a web page", b"<!DOCTYPE html>", "is not valid JSON"),
    file("no model_type", b"{}", "there is no model_type; add one", UnknownArchitectureError),
    Raises(
        "a folder in its place",
        lambda w: (w.remove("config.json"), (w.folder / "config.json").mkdir(), w.load()),
        CheckpointNotFoundError,
        "has no config.json",
    ),
    # The family.
    field("model_type", "gpt2", "model_type 'gpt2' is not known; bertcpp computes bert, ", UnknownArchitectureError),
    field("model_type", "roberta-prelayernorm", "is not known", UnknownArchitectureError),
    field("model_type", "BERT", "model_type 'BERT' is not known", UnknownArchitectureError),
    field("model_type", 7, "model_type 7 is not known", UnknownArchitectureError),
    field("model_type", ["bert"], r"model_type \['bert'\] is not known", UnknownArchitectureError),
    field("model_type", "", "model_type '' is not known", UnknownArchitectureError),
    field("model_type", "distilbert", "are missing: transformer.layer.0", MissingTensorError),
    field("model_type", "mpnet", "are missing: encoder.layer.0.attention.attn.q.weight", MissingTensorError),
    field("model_type", "electra", r"are missing: embeddings_project\.weight", MissingTensorError),
    Raises(
        "the wrong class",
        lambda w: bertcpp.RobertaModel.from_pretrained(w.folder),
        UnknownArchitectureError,
        "bert.*RobertaModel",
    ),
    Raises(
        "the wrong configuration class",
        lambda w: bertcpp.ElectraConfig.from_pretrained(w.folder),
        UnknownArchitectureError,
        "model_type is 'bert', which ElectraConfig does not describe; use BertConfig",
    ),
    # What is not computed.
    field("is_decoder", True, "is_decoder is True, but bertcpp computes encoders"),
    field("add_cross_attention", True, "add_cross_attention is True, but bertcpp computes encoders"),
    field("position_embedding_type", "relative_key", "position_embedding_type is 'relative_key', but.*'absolute'"),
    field("position_embedding_type", "relative_key_query", "position_embedding_type is 'relative_key_query'"),
    field("position_embedding_type", None, "position_embedding_type is None"),
    # Heads that layers have lost.
    field("pruned_heads", {"0": [0, 1]}, "pruned_heads is .*fewer than all"),
    field("pruned_heads", {"0": [2]}, "pruned_heads is .*lists of heads below 2"),
    field("pruned_heads", {"0": [-1]}, "pruned_heads is .*lists of heads below 2"),
    field("pruned_heads", {"0": [True]}, "pruned_heads is .*lists of heads below 2"),
    field("pruned_heads", {"1": [1]}, "pruned_heads is .*numbers of layers below 1"),
    field("pruned_heads", {"first": [1]}, "pruned_heads is .*numbers of layers below 1"),
    field("pruned_heads", {"0": 1}, "pruned_heads is .*to lists"),
    field("pruned_heads", [1], "pruned_heads is .*must map"),
    field("hidden_act", "gelu_typo", "unknown activation 'gelu_typo'; known are gelu"),
    field("hidden_act", 3, "hidden_act is 3, but must be a string"),
    field("hidden_act", None, "hidden_act is None, but must be a string"),
    field("hidden_act", "", "unknown activation ''"),
    # Sizes.
    field("vocab_size", 0, "vocab_size is 0, but must be an integer between 1 and"),
    field("vocab_size", -15, "vocab_size is -15, but must be"),
    field("vocab_size", "15", "vocab_size is '15', but must be an integer"),
    field("vocab_size", 15.0, r"vocab_size is 15\.0, but must be an integer"),
    field("vocab_size", True, "vocab_size is True, but must be an integer"),
    field("vocab_size", None, "vocab_size is None, but must be an integer"),
    field("vocab_size", [15], r"vocab_size is \[15\], but must be"),
    field("vocab_size", 2**40, "vocab_size is 1099511627776, but must be"),
    field("hidden_size", 0, "hidden_size is 0, but must be"),
    field("hidden_size", 9, "hidden_size 9 is not a multiple of num_attention_heads 2"),
    field("num_attention_heads", 3, "hidden_size 8 is not a multiple of num_attention_heads 3"),
    field("num_attention_heads", 0, "num_attention_heads is 0, but must be"),
    field("num_attention_heads", -2, "num_attention_heads is -2, but must be"),
    field("num_attention_heads", 16, "hidden_size 8 is not a multiple of num_attention_heads 16"),
    field("num_hidden_layers", -1, "num_hidden_layers is -1, but must be"),
    field("num_hidden_layers", 10**9, "num_hidden_layers is 1000000000, but must be an integer between 0 and 4096"),
    field("intermediate_size", 0, "intermediate_size is 0, but must be"),
    field("max_position_embeddings", 0, "max_position_embeddings is 0, but must be"),
    field("type_vocab_size", -1, "type_vocab_size is -1, but must be"),
    field("layer_norm_eps", -1e-12, "layer_norm_eps is -1e-12, but must be a number of at least 0"),
    field("layer_norm_eps", "1e-12", "layer_norm_eps is '1e-12', but must be a number"),
    field("layer_norm_eps", NAN, "layer_norm_eps is nan, but must be a number"),
    field("layer_norm_eps", None, "layer_norm_eps is None, but must be a number"),
    field("layer_norm_eps", True, "layer_norm_eps is True, but must be a number"),
    # Labels and the like.
    field("id2label", ["a"], r"id2label is \['a'\], but must be an object"),
    field("id2label", {"x": "a"}, "id2label has a key that is no integer"),
    field("label2id", "a", "label2id is 'a', but must be an object"),
    field("problem_type", "x", "problem_type is 'x', but must be one of"),
    field("num_labels", -3, "num_labels is -3"),
    field("from_dict", 1, "'from_dict' cannot be the name of a configuration's field"),
    field("__class__", "x", "'__class__' cannot be the name"),
    # Sizes that contradict the tensors.
    field(
        "vocab_size",
        16,
        r"embeddings\.word_embeddings\.weight' has the shape \[15, 8\], but config.json asks for \[16, 8\]",
        WeightMismatchError,
    ),
    field("hidden_size", 16, r"has the shape \[15, 8\], but config.json asks for \[15, 16\]", WeightMismatchError),
    field("intermediate_size", 13, r"has the shape \[12, 8\], but config.json asks for \[13, 8\]", WeightMismatchError),
    field("max_position_embeddings", 17, r"has the shape \[16, 8\], but.*\[17, 8\]", WeightMismatchError),
    field("max_position_embeddings", 15, r"has the shape \[16, 8\], but.*\[15, 8\]", WeightMismatchError),
    field("type_vocab_size", 1, r"has the shape \[2, 8\], but config.json asks for \[1, 8\]", WeightMismatchError),
    field("num_hidden_layers", 2, r"16 of the encoder's tensors are missing: encoder\.layer\.1\.", MissingTensorError),
    field("num_hidden_layers", 4096, r"65520 of the encoder's tensors.* and 65480 more", MissingTensorError),
    # Other families.
    of_family("distilbert", {"dim": 9, "n_heads": 2}, "dim 9 is not a multiple of n_heads 2"),
    of_family("distilbert", {"n_layers": "6"}, "n_layers is '6', but must be an integer"),
    of_family("distilbert", {"activation": 1}, "activation is 1, but must be a string"),
    of_family("roberta", {"pad_token_id": None}, "pad_token_id is None, but must be an integer"),
    of_family("roberta", {"pad_token_id": -1}, "pad_token_id is -1, but must be"),
    of_family("roberta", {"pad_token_id": 511}, "pad_token_id is 511, but must be an integer between 0 and 510"),
    of_family("roberta", {"max_position_embeddings": 1}, "pad_token_id is 1, but must be possible with these sizes"),
    of_family("electra", {"embedding_size": 0}, "embedding_size is 0, but must be"),
    of_family("mpnet", {"relative_attention_num_buckets": 16}, "relative_attention_num_buckets is 16, but must be"),
    of_family("camembert", {"is_decoder": True}, "is_decoder is True"),
    Raises(
        "ERNIE without its task embeddings",
        lambda w: w.config(model_type="ernie", use_task_id=True).load(),
        MissingTensorError,
        r"are missing: embeddings\.task_type_embeddings\.weight",
    ),
    # Arguments that change the configuration.
    Raises("an unknown override", lambda w: w.load(hiden_size=3), TypeError, "hiden_size"),
    Raises(
        "an unknown override of the configuration",
        lambda w: bertcpp.AutoConfig.from_pretrained(w.folder, hiden_size=3),
        InputError,
        "hiden_size: no field of BertConfig",
    ),
    Raises("an impossible override", lambda w: w.load(hidden_act="x"), ConfigError, "unknown activation 'x'"),
    Raises("a configuration that is none", lambda w: w.load(config=7), InputError, "not a int"),
    Raises(
        "a configuration that is not there",
        lambda w: w.load(config="no/such/config.json"),
        CheckpointNotFoundError,
        "no",
    ),
    # Unusual but sound.
    same("all fields default but the sizes", layer_norm_eps=..., hidden_act=..., architectures=...),
    Works("no model_type but a class", lambda w: w.config(model_type=...).hidden(), as_it_was),
    same("fields that nobody knows", mystery=[1, {"a": None}], torch_dtype="float16"),
    same("fewer layers than the checkpoint has", num_hidden_layers=0),
    same("a single head", num_attention_heads=1),
    same("as many heads as columns", num_attention_heads=8),
    same("a large epsilon", layer_norm_eps=0.5),
    same("an epsilon that is an integer", layer_norm_eps=1),
    same("an epsilon of 0", layer_norm_eps=0.0),
    same("pad_token_id null", pad_token_id=None),
    same("chunked feed forward", chunk_size_feed_forward=1),
    *(same(f"activation {name}", hidden_act=name) for name in ("gelu_new", "relu", "silu", "tanh", "quick_gelu")),
]
