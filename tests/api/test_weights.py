"""Reading tensors: every layout and dtype, without copies, and given back when read."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
import safetensors.torch
import torch

import reference_models as reference
from bertcpp.architectures import load_encoder
from bertcpp.checkpoints import open_weights, read_tensors
from bertcpp.errors import (
    CheckpointNotFoundError,
    CorruptCheckpointError,
    MissingDependencyError,
    UnsupportedFormatError,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def tiny(seed: int, tmp_path: Path) -> Path:
    return reference.save(reference.random_model("bert", seed, num_hidden_layers=1), tmp_path / "tiny")


def shift(path: Path) -> None:
    """Give a safetensors file's data an odd address, which the format allows."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = data[8 : 8 + length].rstrip()
    header += b" " * (1 - len(header) % 2)
    path.write_bytes(len(header).to_bytes(8, "little") + header + data[8 + length :])


class TestWeights:
    DTYPES = (
        torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.int32, torch.int16, torch.int8,
        torch.uint8, torch.bool, torch.complex64,
    )  # fmt: skip

    @pytest.mark.parametrize("dtype", DTYPES, ids=str)
    def test_tensors_are_those_that_safetensors_reads(self, dtype: torch.dtype, tmp_path: Path) -> None:
        generator = torch.Generator().manual_seed(1)
        tensors = {
            "matrix": (torch.randn(5, 7, generator=generator) * 100).to(dtype),
            "scalar": torch.tensor(1).to(dtype),
            "empty": torch.zeros(0, 3, dtype=dtype),
            "odd": torch.ones(3, dtype=dtype),
        }
        safetensors.torch.save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
        ours = read_tensors(tmp_path)
        assert set(ours) == set(tensors)
        for name, tensor in tensors.items():
            expected = tensor.view(torch.uint16) if dtype is torch.bfloat16 else tensor
            np.testing.assert_array_equal(ours[name], expected.numpy(), strict=True)
            assert not ours[name].flags.writeable or ours[name].size == 0

    @pytest.mark.parametrize("zipped", [True, False])
    def test_pickles_by_the_safe_loader(self, zipped: bool, tmp_path: Path) -> None:
        tensors = {
            "f32": torch.arange(6.0).reshape(2, 3),
            "strided": torch.arange(6.0).reshape(2, 3).T,
            "bf16": torch.tensor([1.0, -2.5]).bfloat16(),
            "f16": torch.nn.Parameter(torch.ones(2).half()),
        }
        if zipped:  # torch cannot read uint16 from its older files
            tensors["u16"] = torch.tensor([1, 2], dtype=torch.uint16)
        torch.save(tensors, tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)
        ours = read_tensors(tmp_path)
        np.testing.assert_array_equal(ours["strided"], tensors["strided"].numpy(), strict=True)
        np.testing.assert_array_equal(ours["bf16"], tensors["bf16"].view(torch.uint16).numpy(), strict=True)
        assert not zipped or ours["u16"].dtype == np.int32
        assert ours["f16"].dtype == np.float16

    @pytest.mark.parametrize("layout", ["one file", "shards", "pickle", "sharded pickle", "bfloat16", "odd offsets"])
    def test_layouts_give_the_same_engine(self, layout: str, seed: int, tmp_path: Path) -> None:
        model = reference.random_model("bert", seed)
        if layout == "bfloat16":
            model = model.bfloat16()
        safe = "pickle" not in layout
        size = "20KB" if "shard" in layout else "5GB"
        path = reference.save(model, tmp_path, safe_serialization=safe, max_shard_size=size)
        assert (len(list(path.glob("*-00001-of-*"))) == 1) == ("shard" in layout)
        if layout == "odd offsets":
            shift(path / "model.safetensors")
        engine, limits = load_encoder(path)
        ids = np.array([3, 1, 4, 1, 5, 9], np.int32)
        ours = engine.forward(ids, np.array([0, 6], np.int32), np.arange(6, dtype=np.int32))
        theirs = reference.answer(model.float(), input_ids=ids[None])
        for name in ("last_hidden_state", "pooler_output"):
            expected = theirs[name].reshape(ours[name].shape)
            assert np.abs(ours[name] - expected).max() <= 2e-5 * np.abs(expected).max()
        assert limits.max_length == 64

    def test_use_safetensors_chooses(self, tiny: Path) -> None:
        torch.save({"a": torch.ones(1)}, tiny / "pytorch_model.bin")
        assert set(open_weights(tiny, use_safetensors=False)) == {"a"}
        assert "a" not in open_weights(tiny)
        (tiny / "model.safetensors").unlink()
        assert set(open_weights(tiny)) == {"a"}
        with pytest.raises(CheckpointNotFoundError, match="has weights, but not with use_safetensors=True"):
            open_weights(tiny, use_safetensors=True)

    def test_old_or_missing_torch_is_refused(self, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tiny / "model.safetensors").unlink()
        torch.save({"a": torch.ones(1)}, tiny / "pytorch_model.bin")
        with monkeypatch.context() as patch:
            patch.setattr(torch, "__version__", "2.9.1+cpu")
            with pytest.raises(MissingDependencyError, match=r"torch 2\.9\.1\+cpu is not safe.*torch>=2\.10"):
                open_weights(tiny)
        monkeypatch.setitem(sys.modules, "torch", None)
        with pytest.raises(MissingDependencyError, match=r"pip install 'torch>=2\.10', or convert"):
            open_weights(tiny)

    def test_other_frameworks_are_named(self, tiny: Path) -> None:
        (tiny / "model.safetensors").rename(tiny / "tf_model.h5")
        with pytest.raises(UnsupportedFormatError, match="only TensorFlow weights"):
            open_weights(tiny)

    def test_files_are_not_copied_and_can_be_replaced(self, tiny: Path, tmp_path: Path) -> None:
        weights = open_weights(tiny)
        name = "embeddings.word_embeddings.weight"
        before = weights[name].copy()
        assert weights[name].base is not None
        (tmp_path / "new").write_bytes(b"\0" * 100)
        (tmp_path / "new").replace(tiny / "model.safetensors")  # as downloads do
        np.testing.assert_array_equal(weights[name], before)
        with weights.released_while_read(weights):
            pass

    def test_a_file_rewritten_while_it_is_read_is_noticed(self, tiny: Path) -> None:
        weights = open_weights(tiny)
        with (
            pytest.raises(CorruptCheckpointError, match="was rewritten while it was read"),
            weights.released_while_read(weights),
        ):
            os.utime(tiny / "model.safetensors", (1, 1))

    def test_releasing_changes_no_value(self, tiny: Path) -> None:
        weights = open_weights(tiny)
        copies = {name: weights[name].copy() for name in weights}
        weights.release(weights)
        for name, copy in copies.items():
            np.testing.assert_array_equal(weights[name], copy)
