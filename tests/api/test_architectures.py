"""The table of families: names, prefixes, poolers, and the families without a class of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import safetensors.torch
import torch

import bertcpp
import reference_models as reference
from bertcpp.architectures import load_encoder
from bertcpp.errors import (
    WeightMismatchError,
)

if TYPE_CHECKING:
    from pathlib import Path


class TestFamilies:
    def save_renamed(self, model: Any, path: Path, rename: Any) -> Path:
        reference.save(model, path)
        tensors = safetensors.torch.load_file(path / "model.safetensors")
        renamed = {rename(name): tensor for name, tensor in tensors.items()}
        safetensors.torch.save_file(
            {k: v for k, v in renamed.items() if k}, path / "model.safetensors", {"format": "pt"}
        )
        return path

    def outputs(self, path: Path, **options: Any) -> dict[str, Any]:
        engine, limits = load_encoder(path, **options)
        start = 0 if limits.padding_idx is None else limits.padding_idx + 1
        ids = np.array([7, 12, 45, 6], np.int32)
        return engine.forward(ids, np.array([0, 4], np.int32), np.arange(start, start + 4, dtype=np.int32))

    @pytest.mark.parametrize("family", list(reference.FAMILIES))
    @pytest.mark.parametrize("prefix", ["own", "model.", "module.bert.", "0.auto_model."])
    def test_prefixes(self, family: str, prefix: str, seed: int, tmp_path: Path) -> None:
        model = reference.random_model(family, seed, num_hidden_layers=1)
        prefix = model.base_model_prefix + "." if prefix == "own" else prefix
        plain = self.outputs(reference.save(model, tmp_path / "plain"))
        renamed = self.outputs(self.save_renamed(model, tmp_path / "renamed", lambda name: prefix + name))
        np.testing.assert_array_equal(renamed["last_hidden_state"], plain["last_hidden_state"])

    def test_names_from_tensorflow(self, seed: int, tmp_path: Path) -> None:
        model = reference.random_model("bert", seed, num_hidden_layers=1)
        plain = self.outputs(reference.save(model, tmp_path / "plain"))

        def rename(name: str) -> str:
            return name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")

        old = self.outputs(self.save_renamed(model, tmp_path / "old", rename))
        np.testing.assert_array_equal(old["last_hidden_state"], plain["last_hidden_state"])

    def test_two_encoders_are_ambiguous(self, seed: int, tmp_path: Path) -> None:
        model = reference.random_model("bert", seed, num_hidden_layers=1)
        path = reference.save(model, tmp_path)
        tensors = safetensors.torch.load_file(path / "model.safetensors")
        both = {f"{side}.{name}": tensor.clone() for side in ("query", "document") for name, tensor in tensors.items()}
        safetensors.torch.save_file(both, path / "model.safetensors")
        with pytest.raises(WeightMismatchError, match=r"holds 2 encoders \(document\., query\.\)"):
            load_encoder(path)

    def test_a_missing_pooler_is_not_made_up(self, seed: int, tmp_path: Path) -> None:
        model = reference.random_model("bert", seed, num_hidden_layers=1)
        path = self.save_renamed(model, tmp_path, lambda name: "" if name.startswith("pooler") else name)
        assert self.outputs(path)["pooler_output"] is None
        assert self.outputs(reference.save(model, tmp_path / "b"), add_pooling_layer=False)["pooler_output"] is None

    def test_fewer_layers_than_the_checkpoint_has(self, seed: int, tmp_path: Path) -> None:
        model = reference.random_model("bert", seed)
        path = reference.save(model, tmp_path)
        config = bertcpp.AutoConfig.from_pretrained(path, num_hidden_layers=1)
        assert load_encoder(path, config)[0].config["num_hidden_layers"] == 1

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
    @pytest.mark.parametrize("use_task_id", [False, True])
    def test_ernie_and_its_tasks(self, use_task_id: bool, dtype: torch.dtype, seed: int, tmp_path: Path) -> None:
        import transformers

        config = transformers.ErnieConfig(**reference.TINY, use_task_id=use_task_id, attn_implementation="eager")
        torch.manual_seed(seed)
        model = transformers.ErnieModel(config).eval().to(dtype)
        ours = self.outputs(reference.save(model, tmp_path))
        theirs = reference.answer(model.float(), input_ids=np.array([[7, 12, 45, 6]]))
        for name in ("last_hidden_state", "pooler_output"):
            expected = theirs[name].reshape(ours[name].shape)
            assert np.abs(ours[name] - expected).max() <= 2e-5 * np.abs(expected).max()

    def test_data2vec(self, seed: int, tmp_path: Path) -> None:
        import transformers

        config = transformers.Data2VecTextConfig(**reference.TINY, attn_implementation="eager")
        torch.manual_seed(seed)
        model = transformers.Data2VecTextModel(config).eval()
        ours = self.outputs(reference.save(model, tmp_path))
        theirs = reference.answer(model, input_ids=np.array([[7, 12, 45, 6]]))["last_hidden_state"][0]
        assert np.abs(ours["last_hidden_state"] - theirs).max() <= 2e-5 * np.abs(theirs).max()

    def test_mpnet_uses_32_buckets_of_a_larger_table(self, seed: int, tmp_path: Path) -> None:
        model = reference.random_model("mpnet", seed, num_hidden_layers=1, relative_attention_num_buckets=40)
        ours = self.outputs(reference.save(model, tmp_path))["last_hidden_state"]
        theirs = reference.answer(model, input_ids=np.array([[7, 12, 45, 6]]))["last_hidden_state"][0]
        assert np.abs(ours - theirs).max() <= 2e-5 * np.abs(theirs).max()

    def test_float64_tensors_are_rounded(self, seed: int, tmp_path: Path) -> None:
        model = reference.random_model("bert", seed, num_hidden_layers=1)
        plain = self.outputs(reference.save(model, tmp_path / "plain"))
        double = self.outputs(reference.save(model.double(), tmp_path / "double"))
        np.testing.assert_array_equal(double["last_hidden_state"], plain["last_hidden_state"])
