"""What SentenceTransformer refuses: arguments, inputs and checkpoints that are wrong, and what it says of them."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import embedding_checkpoints as checkpoints
import pytest
import torch
from embedding_checkpoints import HIDDEN, TEXTS, assert_close, encode, truth

from bertcpp import SentenceTransformer
from bertcpp.errors import (
    CheckpointNotFoundError,
    ConfigError,
    CorruptCheckpointError,
    InputError,
    MissingTensorError,
    UnsupportedFormatError,
    WeightMismatchError,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory, seed: int) -> Path:
    return checkpoints.save_encoder(tmp_path_factory.mktemp("encoder"), seed)


@pytest.fixture
def folder(encoder: Path, tmp_path: Path) -> Path:
    """A tiny encoder without modules."""
    return shutil.copytree(encoder, tmp_path / "model")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, seed: int) -> SentenceTransformer:
    path = checkpoints.save_encoder(tmp_path_factory.mktemp("model"), seed)
    return SentenceTransformer(checkpoints.save_modules(path, "new", ["mean"]))


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"batch_size": 0}, "batch_size must be a positive integer, got 0"),
    ({"batch_size": -3}, "batch_size"),
    ({"batch_size": 1.5}, "batch_size"),
    ({"nonsense": 1}, r"does not know the arguments \['nonsense'\]"),
    ({"precision": "int4"}, "precision 'int4' is not one of float32"),
    ({"precision": "int8", "output_value": "token_embeddings"}, "for sentence embeddings"),
    ({"output_value": "words"}, "output_value 'words'"),
    ({"device": "mps"}, "bertcpp computes on 'cpu'"),
    ({"device": ["cpu", "mps"]}, "bertcpp computes on 'cpu'"),
    ({"device": []}, "bertcpp computes on 'cpu'"),
    ({"on_overflow": "ignore"}, "on_overflow 'ignore' is not one of 'truncate', 'warn', 'error'"),
    ({"num_threads": 0}, "num_threads must be an integer from 1 to 1024, or None for the default, not 0"),
    ({"num_threads": "2"}, "num_threads must be an integer .* not '2'"),
    ({"num_threads": True}, "num_threads must be an integer .* not True"),
    ({"truncate_dim": "5"}, "truncate_dim must be an integer of at least 1, or None for all dimensions, not '5'"),
    ({"truncate_dim": 0}, "truncate_dim must be .* not 0"),
    ({"truncate_dim": -1}, "truncate_dim must be .* not -1"),
    ({"prompt": 5}, "prompt must be a string, not 5"),
    ({"processing_kwargs": 5}, "processing_kwargs must be like .* not 5"),
    ({"processing_kwargs": {"text": 5}}, "processing_kwargs must be like .* not {'text': 5}"),
    ({"processing_kwargs": {"text": {"padding": False}}}, "processing_kwargs"),
    ({"processing_kwargs": {"text": {"max_length": 0}}}, "from 1 to 64"),
]


@pytest.mark.parametrize(("options", "message"), MISTAKES)
def test_mistakes_in_arguments(model: SentenceTransformer, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model.encode(TEXTS, **options)


@pytest.mark.parametrize(
    "wrong", [None, 3, b"bytes", object(), [None], ["a", 3], [b"a"], [("a", "b", "c")], [float("nan")]]
)
def test_inputs_that_are_no_texts(model: SentenceTransformer, wrong: Any) -> None:
    with pytest.raises(InputError, match=r"pass (a )?string"):
        model.encode(wrong)


@pytest.mark.parametrize("name", [None, 5, ""])
def test_names_that_name_no_checkpoint(name: Any) -> None:
    with pytest.raises(InputError, match="named by a folder or a hub name, not by"):
        SentenceTransformer(name)


def test_a_stream_of_one_text_is_refused_rather_than_embedded_letter_by_letter(model: SentenceTransformer) -> None:
    with pytest.raises(InputError, match="inputs is one text"):
        model.stream("a text")


def test_both_names_of_an_argument(model: SentenceTransformer) -> None:
    with pytest.raises(TypeError, match="both 'inputs' and its older name 'sentences'"):
        model.encode(inputs=TEXTS, sentences=TEXTS)


CONSTRUCTION: list[tuple[dict[str, Any], str]] = [
    ({"device": "mps"}, "bertcpp computes on 'cpu'"),
    ({"backend": "onnx"}, "backend 'onnx'"),
    ({"model_kwargs": {"torch_dtype": "float16"}}, "computes in float32"),
    ({"model_kwargs": {"quantization_config": 1}}, "quantization_config"),
    ({"on_overflow": "no"}, "on_overflow"),
    ({"similarity_fn_name": "near"}, "similarity"),
    ({"num_threads": -1}, "num_threads must be an integer from 1 to 1024"),
    ({"truncate_dim": 0}, "truncate_dim must be an integer of at least 1"),
    ({"prompts": "query: "}, "prompts must be a dictionary of strings"),
    ({"prompts": {"query": 1}}, "prompts must be a dictionary of strings"),
]


@pytest.mark.parametrize(("options", "message"), CONSTRUCTION)
def test_mistakes_in_construction(folder: Path, options: dict[str, Any], message: str) -> None:
    checkpoints.save_modules(folder, "new", ["mean"])
    with pytest.raises(ValueError, match=message):
        SentenceTransformer(folder, **options)


def test_arguments_without_effect_are_taken(folder: Path) -> None:
    checkpoints.save_modules(folder, "new", ["mean"])
    model = SentenceTransformer(
        folder,
        device="cpu",
        trust_remote_code=True,
        local_files_only=True,
        model_kwargs={"torch_dtype": torch.float32, "attn_implementation": "sdpa"},
        processor_kwargs={"use_fast": True},
    )
    assert_close(model.encode(TEXTS, task="retrieval"), encode(truth(folder), TEXTS))


def spoil(path: str, /, **changes: Any) -> Callable[[Path], None]:
    """Change fields of a JSON file; None removes one."""

    def change(folder: Path) -> None:
        file = folder / path
        value = json.loads(file.read_text())
        target = value[1] if isinstance(value, list) else value
        target.update(changes)
        for name in [name for name, field in target.items() if field is None]:
            del target[name]
        file.write_text(json.dumps(value))

    return change


SPOILED: list[tuple[Callable[[Path], Any], type[Exception], str]] = [
    (lambda folder: (folder / "1_Pooling/config.json").unlink(), CheckpointNotFoundError, "1_Pooling.config.json"),
    (lambda folder: (folder / "1_Pooling/config.json").write_text("{"), ConfigError, "not valid JSON"),
    (lambda folder: (folder / "modules.json").write_text("{}"), ConfigError, "a list is needed"),
    (lambda folder: (folder / "modules.json").write_text("[]"), UnsupportedFormatError, "lists no Transformer"),
    (lambda folder: (folder / "modules.json").write_text("[1]"), ConfigError, "each module needs"),
    (lambda folder: (folder / "modules.json").write_text("nonsense"), ConfigError, "not valid JSON"),
    (spoil("modules.json", path="../elsewhere"), CorruptCheckpointError, "leads out of"),
    (spoil("modules.json", path="/etc"), CorruptCheckpointError, "leads out of"),
    (spoil("modules.json", type="x.CNN"), UnsupportedFormatError, "a module 'CNN'"),
    (spoil("modules.json", type="x.LSTM"), UnsupportedFormatError, "a module 'LSTM'"),
    (spoil("modules.json", type="x.Router"), UnsupportedFormatError, "a module 'Router'"),
    (spoil("modules.json", type="x.Transformer"), UnsupportedFormatError, "a module 'Transformer'"),
    (spoil("modules.json", type="x.Normalize"), UnsupportedFormatError, "a module 'Normalize'"),
    (spoil("1_Pooling/config.json", pooling_mode="median"), UnsupportedFormatError, "'median' is none of"),
    (spoil("1_Pooling/config.json", pooling_mode=[]), ConfigError, "names no pooling mode"),
    (spoil("1_Pooling/config.json", pooling_mode=None), ConfigError, "names no pooling mode"),
    (spoil("1_Pooling/config.json", embedding_dimension=31), ConfigError, "31 dimensions.*hidden_size is 32"),
    (spoil("2_Dense/config.json", in_features=31), WeightMismatchError, "linear.weight.*shape"),
    (spoil("2_Dense/config.json", out_features=None), ConfigError, "out_features must be a positive integer"),
    (spoil("2_Dense/config.json", activation_function="os.system"), UnsupportedFormatError, "'os.system'"),
    (spoil("2_Dense/config.json", activation_function="torch.nn.Bogus"), UnsupportedFormatError, "Bogus"),
    (spoil("2_Dense/config.json", module_input_name="token_embeddings"), UnsupportedFormatError, "module_input_name"),
    (spoil("2_Dense/config.json", use_residual=True), MissingTensorError, "residual.weight"),
    (lambda folder: (folder / "2_Dense/model.safetensors").unlink(), CheckpointNotFoundError, "2_Dense"),
    (spoil("config_sentence_transformers.json", model_type="SparseEncoder"), UnsupportedFormatError, "SparseEncoder"),
    (spoil("config_sentence_transformers.json", prompts={"a": 1}), ConfigError, "prompts must be strings"),
    (spoil("sentence_bert_config.json", max_seq_length="9"), ConfigError, "max_seq_length must be a positive"),
    (spoil("sentence_bert_config.json", transformer_task="fill-mask"), UnsupportedFormatError, "fill-mask"),
    (spoil("sentence_bert_config.json", module_output_name="x"), UnsupportedFormatError, "asks for 'x'"),
]


@pytest.mark.parametrize(("change", "error", "message"), SPOILED)
def test_checkpoints_that_are_wrong(
    folder: Path, rng: np.random.Generator, change: Callable[[Path], Any], error: type[Exception], message: str
) -> None:
    checkpoints.save_modules(
        folder, "new", ["mean"], [checkpoints.dense(rng, HIDDEN, 8)], encoder_settings={"max_seq_length": 9}, prompts={}
    )
    SentenceTransformer(folder)
    change(folder)
    with pytest.raises(error, match=message):
        SentenceTransformer(folder)


def test_a_dense_module_of_another_width(folder: Path, rng: np.random.Generator) -> None:
    checkpoints.save_modules(folder, "new", ["mean"], [checkpoints.dense(rng, 31, 8)])
    with pytest.raises(ConfigError, match="takes 31 features but is given 32"):
        SentenceTransformer(folder)
