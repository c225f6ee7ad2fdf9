"""The layouts and dtypes in which checkpoints are stored: what is computed is the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

import bertcpp
import reference_models as reference

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

IDS = np.arange(5, 35).reshape(2, 15)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_storage_is_computed_in_float32(
    dtype: str, tiny_checkpoint: Callable[[str], Any], seed: int, tmp_path: Path
) -> None:
    for family in reference.FAMILIES:
        truth = reference.random_model(family, seed)
        path = reference.save(truth.to(getattr(torch, dtype)), tmp_path / family)
        model = bertcpp.AutoModel.from_pretrained(path)
        assert model.dtype == np.float32
        reference.assert_agrees(model(IDS), reference.answer(truth.float(), input_ids=IDS))


def test_shards(tiny: Any, tmp_path: Path) -> None:
    path = reference.save(tiny.reference, tmp_path, max_shard_size="20KB")
    assert len(list(path.glob("model-*-of-*.safetensors"))) > 2
    whole = bertcpp.AutoModel.from_pretrained(tiny.path)(IDS)
    sharded = bertcpp.AutoModel.from_pretrained(path)(IDS)
    assert np.array_equal(whole.last_hidden_state, sharded.last_hidden_state)


def test_torch_files(tiny: Any, tmp_path: Path) -> None:
    path = reference.save(tiny.reference, tmp_path, safe_serialization=False)
    assert (path / "pytorch_model.bin").is_file()
    safe = bertcpp.AutoModel.from_pretrained(tiny.path)(IDS)
    pickled = bertcpp.AutoModel.from_pretrained(path)(IDS)
    assert np.array_equal(safe.last_hidden_state, pickled.last_hidden_state)


def test_sharded_torch_files(tiny_checkpoint: Callable[[str], Any], tmp_path: Path) -> None:
    tiny = tiny_checkpoint("bert")
    path = reference.save(tiny.reference, tmp_path, safe_serialization=False, max_shard_size="20KB")
    assert (path / "pytorch_model.bin.index.json").is_file()
    safe = bertcpp.AutoModel.from_pretrained(tiny.path)(IDS)
    pickled = bertcpp.AutoModel.from_pretrained(path)(IDS)
    assert np.array_equal(safe.last_hidden_state, pickled.last_hidden_state)


def test_subfolder(tiny_checkpoint: Callable[[str], Any], tmp_path: Path) -> None:
    tiny = tiny_checkpoint("bert")
    reference.save(tiny.reference, tmp_path / "inner")
    ours = bertcpp.BertModel.from_pretrained(tmp_path, subfolder="inner")(IDS)
    whole = bertcpp.BertModel.from_pretrained(tiny.path)(IDS)
    assert np.array_equal(ours.last_hidden_state, whole.last_hidden_state)


@pytest.mark.parametrize("task", ["ForMaskedLM", "ForSequenceClassification"])
def test_checkpoints_of_task_models_carry_an_encoder(
    task: str, tiny_checkpoint: Callable[[str], Any], tmp_path: Path
) -> None:
    import transformers

    for family, prefix in reference.FAMILIES.items():
        tiny = tiny_checkpoint(family)
        whole = getattr(transformers, prefix + task)(tiny.reference.config).eval()
        encoder = getattr(whole, whole.base_model_prefix)
        encoder.load_state_dict(tiny.reference.state_dict(), strict=False)
        path = reference.save(whole, tmp_path / family)
        ours = bertcpp.AutoModel.from_pretrained(path, add_pooling_layer=False)(IDS)
        expected = bertcpp.AutoModel.from_pretrained(tiny.path)(IDS)
        assert np.array_equal(ours.last_hidden_state, expected.last_hidden_state), family
