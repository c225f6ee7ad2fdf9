"""Layers that have lost heads, against transformers' `prune_heads`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import bertcpp
import reference_models as reference
from bertcpp.errors import ConfigError, WeightMismatchError

if TYPE_CHECKING:
    from pathlib import Path

PRUNED = {0: [1], 2: [0, 2, 3]}  # of four heads; layer 1 keeps all


def pruned_checkpoint(family: str, seed: int, folder: Path) -> Any:
    model = reference.random_model(family, seed)
    model.prune_heads({layer: list(heads) for layer, heads in PRUNED.items()})
    reference.save(model, folder)
    return model


@pytest.mark.parametrize("family", [name for name in (*reference.FAMILIES, "ernie") if name != "mpnet"])
def test_pruned_models_agree(family: str, seed: int, tmp_path: Path, rng: np.random.Generator) -> None:
    truth = pruned_checkpoint(family, seed, tmp_path)
    mask = reference.random_mask(rng, "holes", 5, 23)
    inputs = {"input_ids": rng.integers(3, truth.config.vocab_size, (5, 23)), "attention_mask": mask}
    wanted = {"output_hidden_states": True, "output_attentions": True}
    model = bertcpp.AutoModel.from_pretrained(tmp_path)
    ours = model(**inputs, **wanted)
    assert [layer.shape[1] for layer in ours.attentions] == [3, 4, 1]
    reference.assert_agrees(ours, reference.answer(truth, **inputs, **wanted), mask == 1)
    assert model.num_parameters() == sum(value.numel() for value in truth.parameters())


def test_pruned_heads_cost_nothing(seed: int, tmp_path: Path) -> None:
    reference.save(reference.random_model("bert", seed), tmp_path / "whole")
    pruned_checkpoint("bert", seed, tmp_path / "pruned")
    whole, pruned = (bertcpp.AutoModel.from_pretrained(tmp_path / name) for name in ("whole", "pruned"))
    assert pruned._core.nbytes < whole._core.nbytes


def test_same_bits_in_any_batch_and_with_any_threads(seed: int, tmp_path: Path, rng: np.random.Generator) -> None:
    pruned_checkpoint("bert", seed, tmp_path)
    ids = rng.integers(3, 97, (6, 40))
    mask = reference.random_mask(rng, "right", 6, 40)
    alone, together = (bertcpp.AutoModel.from_pretrained(tmp_path, num_threads=count) for count in (1, 3))
    states = together(ids, mask).last_hidden_state
    for row in range(6):
        kept = mask[row] == 1
        assert np.array_equal(alone(ids[row : row + 1, kept]).last_hidden_state[0], states[row][kept])


@pytest.mark.parametrize("heads", [{"0": [1]}, {"0": [1], "1": [2], "2": [0, 2, 3]}, {}])
def test_a_configuration_of_other_heads_than_the_weights(heads: Any, seed: int, tmp_path: Path) -> None:
    pruned_checkpoint("bert", seed, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "pruned_heads": heads}))
    with pytest.raises(WeightMismatchError, match=r"has the shape .* config.json asks for"):
        bertcpp.AutoModel.from_pretrained(tmp_path)


def test_mpnet_has_no_heads_to_lose(seed: int, tmp_path: Path) -> None:
    truth = pruned_checkpoint("mpnet", seed, tmp_path)
    with pytest.raises(RuntimeError):  # nor has it in transformers
        reference.answer(truth, input_ids=np.full((1, 4), 5))
    with pytest.raises(ConfigError, match="share a table of biases"):
        bertcpp.AutoModel.from_pretrained(tmp_path)
