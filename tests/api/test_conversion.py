"""Checkpoints that TensorFlow and Keras wrote, converted, against transformers' own readers of them."""

from __future__ import annotations

import json
import shutil
import sys
import types
import warnings
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import bertcpp
import reference_models as reference
from bertcpp.conversion import convert
from bertcpp.tensor_bundle import TensorBundle

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import torch
    import transformers
    from transformers.modeling_tf_pytorch_utils import load_tf2_state_dict_in_pytorch_model
    from transformers.models.bert.modeling_bert import load_tf_weights_in_bert

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
sys.path.insert(0, str(FIXTURES))
from source_values import HEADS, SIZES, values  # noqa: E402

GOOGLE = FIXTURES / "google_bert"
KERAS = FIXTURES / "keras_bert"
NAMES: dict[str, dict[str, list[int]]] = json.loads((KERAS / "names.json").read_text())


def tensorflow_that_reads(variables: dict[str, np.ndarray]) -> types.ModuleType:
    """As much of TensorFlow as transformers' converter asks for."""
    tensorflow = types.ModuleType("tensorflow")
    tensorflow.train = types.SimpleNamespace(  # type: ignore[attr-defined]
        list_variables=lambda path: [(name, list(array.shape)) for name, array in variables.items()],
        load_variable=lambda path, name: variables[name],
    )
    return tensorflow


def google_reference(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What transformers makes of the numbers that were written."""
    variables = {name: values(name, array.shape) for name, array in TensorBundle(folder / "bert_model.ckpt").items()}
    monkeypatch.setitem(sys.modules, "tensorflow", tensorflow_that_reads(variables))
    config = transformers.BertConfig.from_json_file(folder / "bert_config.json")
    model = load_tf_weights_in_bert(transformers.BertForPreTraining(config), config, "any").eval()
    for parameter in model.parameters():  # another layout in memory is another order of sums
        parameter.data = parameter.data.contiguous()
    return model


def answers(model: Any, ids: np.ndarray) -> dict[str, np.ndarray]:
    found = reference.answer(model, input_ids=ids)
    return {name: value for name, value in found.items() if isinstance(value, np.ndarray)}


def loaded(name: str, folder: Path) -> Any:
    """A converted checkpoint by transformers, which must miss nothing and leave nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model, told = getattr(transformers, name).from_pretrained(folder, output_loading_info=True)
    assert not told["missing_keys"]
    # TensorFlow's MPNet has a pooler under every head, PyTorch's has not.
    assert {key.replace("mpnet.pooler.dense", "") for key in told["unexpected_keys"]} <= {".weight", ".bias"}
    assert not told["mismatched_keys"]
    return model.eval()


def assert_same_answers(ours: Any, theirs: Any, ids: np.ndarray) -> None:
    found, wanted = answers(ours, ids), answers(theirs, ids)
    assert found.keys() == wanted.keys()
    for name in wanted:
        assert np.array_equal(found[name], wanted[name]), name


def test_the_reader_gives_the_numbers_that_tensorflow_wrote() -> None:
    bundle = TensorBundle(GOOGLE / "bert_model.ckpt")
    assert len(bundle) == 51
    assert int(bundle["global_step"]) == 0
    for name in set(bundle) - {"global_step"}:
        assert np.array_equal(bundle[name], values(name, bundle[name].shape)), name


def test_every_dtype() -> None:
    bundle = TensorBundle(FIXTURES / "odd.ckpt")
    numbers = np.arange(6, dtype=np.float32).reshape(2, 3) / 4
    assert np.array_equal(bundle["half"], numbers.astype(np.float16))
    assert np.array_equal(bundle["double"], numbers.astype(np.float64))
    assert np.array_equal((bundle["bfloat16"].astype(np.uint32) << 16).view(np.float32), numbers)
    assert bundle["bool"].tolist() == [True, False]
    assert bundle["int64"].tolist() == [-1, 2**40]
    assert bundle["scalar"] == 7
    assert bundle["empty"].shape == (0, 3)
    assert [bundle.dtype_of(name) for name in ("bfloat16", "half", "string")] == ["BF16", "F16", "?"]


def test_googles_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    out = convert(GOOGLE, tmp_path / "out")
    truth = google_reference(GOOGLE, monkeypatch)
    ids = rng.integers(0, 15, (3, 9))
    assert_same_answers(loaded("BertForPreTraining", out), truth, ids)
    ours = bertcpp.AutoModel.from_pretrained(out)(ids)
    reference.assert_agrees(ours, reference.answer(truth.bert, input_ids=ids))
    heads = bertcpp.BertForPreTraining.from_pretrained(out)(ids)
    reference.assert_agrees(heads, reference.answer(truth, input_ids=ids))


def test_googles_tokenizer_and_configuration(tmp_path: Path) -> None:
    out = convert(GOOGLE, tmp_path / "out")
    config = transformers.AutoConfig.from_pretrained(out)
    assert (config.model_type, config.architectures, config.layer_norm_eps) == ("bert", ["BertForPreTraining"], 1e-12)
    text = "The cats sat on a Dog."
    for tokenizer in (bertcpp.AutoTokenizer, transformers.AutoTokenizer):
        ours = tokenizer.from_pretrained(out)
        assert ours.tokenize(text) == ["[UNK]", "cat", "##s", "sat", "on", "a", "Dog", "."]
        assert ours.model_max_length == 16
    slow = transformers.BertTokenizer.from_pretrained(out)
    assert slow(text)["input_ids"] == bertcpp.AutoTokenizer.from_pretrained(out)(text)["input_ids"]
    lower = convert(GOOGLE / "bert_model.ckpt", tmp_path / "lower", lower_case=True)
    assert bertcpp.AutoTokenizer.from_pretrained(lower).tokenize("The Cat") == ["the", "cat"]


def test_googles_files_that_lie_apart(tmp_path: Path) -> None:
    for path in GOOGLE.glob("bert_model*"):
        shutil.copy(path, tmp_path / path.name.replace("bert_model.ckpt", "model.ckpt-7"))
    files = {"config_file": GOOGLE / "bert_config.json", "vocab_file": GOOGLE / "vocab.txt"}
    for source in ("model.ckpt-7", "model.ckpt-7.index", ""):
        convert(tmp_path / source, tmp_path.parent / "apart", **files, overwrite=True)
        same = (tmp_path.parent / "apart/model.safetensors").read_bytes()
        assert (
            same == (convert(GOOGLE, tmp_path.parent / "together", overwrite=True) / "model.safetensors").read_bytes()
        )


def test_what_keras_wrote(tmp_path: Path, rng: np.random.Generator) -> None:
    out = convert(KERAS / "tf_model.h5", tmp_path / "out")
    assert {"vocab.txt", "config.json", "model.safetensors"} <= {path.name for path in out.iterdir()}
    assert not (out / "tf_model.h5").exists()
    head = "BertForSequenceClassification"
    ids = rng.integers(0, 15, (3, 9))
    truth = keras_reference(head)
    assert_same_answers(loaded(head, out), truth, ids)
    ours = bertcpp.AutoModelForSequenceClassification.from_pretrained(out)(ids).logits
    assert np.abs(ours - reference.answer(truth, input_ids=ids)["logits"]).max() <= 2e-5


def keras_variables(head: str) -> dict[str, np.ndarray]:
    return {name: values(name, tuple(shape)) for name, shape in NAMES[head].items()}


def keras_reference(head: str) -> Any:
    """What transformers makes of the numbers that were written."""
    family = head.partition("For")[0].removesuffix("Model")
    config = getattr(transformers, f"{family}Config")(**SIZES[head])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = getattr(transformers, head)(config)
        # Base models of PyTorch have no prefix, and each name begins with that of the model.
        load_tf2_state_dict_in_pytorch_model(model, keras_variables(head))
        model.tie_weights()
    return model.eval()


def write_keras(folder: Path, head: str) -> Path:
    """A checkpoint as transformers' TensorFlow classes left it: each layer's weights under its name."""
    folder.mkdir()
    keras_reference(head).config.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "architectures": [head]}))
    with h5py.File(folder / "tf_model.h5", "w") as file:
        layers: dict[str, list[str]] = {}
        for name in NAMES[head]:
            layers.setdefault(name.split("/")[1], []).append(name)
        file.attrs["layer_names"] = [layer.encode() for layer in layers]
        for layer, names in layers.items():
            group = file.create_group(layer)
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name in names:
                group[name] = values(name, tuple(NAMES[head][name]))
    return folder


@pytest.mark.parametrize("head", HEADS)
def test_every_familys_keras_names(head: str, tmp_path: Path, rng: np.random.Generator) -> None:
    out = convert(write_keras(tmp_path / "keras", head), tmp_path / "out")
    ids = rng.integers(3, 15, (3, 9))
    truth = keras_reference(head)
    model = loaded(head, out)
    for name, parameter in truth.state_dict().items():
        assert torch.equal(model.state_dict()[name], parameter), name
    assert_same_answers(model, truth, ids)
    ours = bertcpp.AutoModel.from_pretrained(out, add_pooling_layer=False)(ids)
    base = getattr(truth, truth.base_model_prefix, truth)
    expected = reference.answer(base, input_ids=ids)
    error = np.abs(ours.last_hidden_state - expected["last_hidden_state"]).max()
    assert error <= reference.TOLERANCE * np.abs(expected["last_hidden_state"]).max()


def test_names_in_several_attributes(tmp_path: Path) -> None:
    """Keras cuts lists of names that are longer than HDF5 takes in one attribute."""
    one = convert(write_keras(tmp_path / "keras", "BertModel"), tmp_path / "one")
    with h5py.File(tmp_path / "keras/tf_model.h5", "a") as file:
        names = file["bert"].attrs["weight_names"]
        del file["bert"].attrs["weight_names"]
        for number, part in enumerate(np.array_split(names, 12)):
            file["bert"].attrs[f"weight_names{number}"] = part
    several = convert(tmp_path / "keras", tmp_path / "several")
    assert (one / "model.safetensors").read_bytes() == (several / "model.safetensors").read_bytes()


@pytest.mark.parametrize("safe", [True, False])
def test_pytorchs_own_files(safe: bool, seed: int, tmp_path: Path, rng: np.random.Generator) -> None:
    model = reference.random_model("bert", seed).to(torch.bfloat16)
    reference.save(model, tmp_path / "in", safe_serialization=safe)
    out = convert(tmp_path / "in", tmp_path / "out")
    ids = rng.integers(0, 97, (2, 8))
    ours, same = (bertcpp.AutoModel.from_pretrained(folder)(ids) for folder in (out, tmp_path / "in"))
    assert np.array_equal(ours.last_hidden_state, same.last_hidden_state)
    assert bertcpp.checkpoints.open_weights(out).dtype_of("pooler.dense.weight") == "BF16"


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from bertcpp.cli import main

    assert main(["convert", str(GOOGLE), str(tmp_path / "out"), "--uncased"]) == 0
    assert "bert, 2 layers, vocabulary of 15, 1,537 parameters" in capsys.readouterr().out
    assert main(["convert", str(GOOGLE), str(tmp_path / "out")]) == 1
    assert "is there already" in capsys.readouterr().err
    assert main(["convert", str(GOOGLE), str(tmp_path / "out"), "--overwrite", "--quiet"]) == 0
    assert capsys.readouterr().out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
