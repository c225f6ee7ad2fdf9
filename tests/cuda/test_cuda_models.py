"""The classes for users on a GPU: the device's name, moving, results in NumPy and PyTorch. Not run on a GPU yet."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

import bertcpp
import reference_models as reference
from bertcpp.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from bertcpp.devices import Device

TEXTS = ["A man is eating.", "Someone is having a meal, and it is a long one.", "The moon."]


@pytest.fixture
def checkpoint(seed: int, tmp_path: Path) -> Path:
    return reference.save(reference.random_model("bert", seed), tmp_path)


def test_a_model_moves_there_and_back(gpu: Device, checkpoint: Path) -> None:
    ids = np.arange(24).reshape(2, 12) + 5
    mask = np.array([[1] * 12, [1] * 5 + [0] * 7])
    model = bertcpp.AutoModel.from_pretrained(checkpoint)
    on_cpu = model(ids, mask, output_hidden_states=True)
    assert model.to("cuda") is model
    assert (model.device, model.device.type, model.device.index) == ("cuda:0", "cuda", 0)
    reference.assert_agrees(model(ids, mask, output_hidden_states=True), dict(on_cpu), mask == 1)
    half = model.half()(ids, mask).last_hidden_state
    assert 0 < np.abs(half - on_cpu.last_hidden_state).max() <= 2e-2 * np.abs(on_cpu.last_hidden_state).max()
    assert np.array_equal(model.cpu()(ids, mask).last_hidden_state, on_cpu.last_hidden_state)
    assert model.device == "cpu"


def test_a_model_is_loaded_there(gpu: Device, checkpoint: Path) -> None:
    model = bertcpp.BertModel.from_pretrained(checkpoint, device="cuda:0", dtype="bfloat16")
    twin = pickle.loads(pickle.dumps(model))
    ids = torch.arange(12)[None] + 5
    states = model(ids).last_hidden_state
    assert isinstance(states, torch.Tensor)
    assert torch.equal(states, twin(ids).last_hidden_state)
    assert twin.device == model.device == gpu
    with pytest.raises(InputError, match="GPUs compute in"):
        model.to("int8")
    assert torch.equal(states, model(ids).last_hidden_state)


def test_a_task_model_with_its_encoder_there(gpu: Device, checkpoint: Path) -> None:
    load = bertcpp.AutoModelForSequenceClassification.from_pretrained
    with pytest.warns(UserWarning, match="random"):
        models = [load(checkpoint, device=device, allow_missing_head=True) for device in ("cpu", "cuda")]
    cpu, cuda = (model(np.arange(12)[None] + 5).logits for model in models)
    assert np.abs(cpu - cuda).max() <= 2e-5 * max(1, np.abs(cpu).max())


@pytest.mark.parametrize(("dtype", "least"), [("float32", 0.999999), ("float16", 0.9999), ("bfloat16", 0.9995)])
def test_sentences(gpu: Device, dtype: str, least: float, minilm: Path) -> None:
    cpu = bertcpp.SentenceTransformer(str(minilm)).encode(TEXTS, normalize_embeddings=True)
    model = bertcpp.SentenceTransformer(str(minilm), device="cuda", model_kwargs={"dtype": dtype})
    assert model.device.type == "cuda"
    ours = model.encode(TEXTS, normalize_embeddings=True)
    assert (ours * cpu).sum(1).min() >= least
    assert np.array_equal(ours, model.encode(TEXTS, device="cuda", normalize_embeddings=True))


def test_vectors_as_tensors_lie_there(gpu: Device, minilm: Path) -> None:
    model = bertcpp.SentenceTransformer(str(minilm), device="cuda")
    expected = model.encode(TEXTS)
    vectors = model.encode(TEXTS, convert_to_tensor=True)
    assert str(vectors.device) == model.device
    assert np.array_equal(vectors.cpu().numpy(), expected)
    rows = model.encode(TEXTS, convert_to_numpy=False)
    assert all(row.is_cuda for row in rows)
    assert model.encode(TEXTS, convert_to_tensor=True, precision="ubinary").device.type == "cpu"
    assert model.encode([], convert_to_tensor=True).shape == (0,)
