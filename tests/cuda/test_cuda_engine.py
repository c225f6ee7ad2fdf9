"""The engine on a GPU against transformers in float32 on the processor. Not one of these has run on a GPU yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import reference_models as reference
from bertcpp import architectures, devices
from bertcpp.checkpoints import open_weights
from bertcpp.configuration import AutoConfig
from bertcpp.errors import DeviceError, DeviceMemoryError, InputError, TokenIdError

if TYPE_CHECKING:
    from pathlib import Path

# dtype: how far a hidden state may be off, relative to the largest magnitude, and the least cosine of a token's.
DTYPES = {"float32": (2e-5, 0.999999), "float16": (2e-2, 0.9999), "bfloat16": (2e-2, 0.9999), "tf32": (2e-2, 0.9999)}
LENGTHS = (1, 200, 64, 7, 65, 129, 33)
SIZES = {"hidden_size": 256, "num_attention_heads": 4, "intermediate_size": 512, "max_position_embeddings": 256}


class Case:
    """A random model of a family, and a ragged batch with what transformers makes of each sequence alone."""

    def __init__(self, family: str, seed: int, folder: Path, **changes: Any) -> None:
        rng = np.random.default_rng(seed)
        self.model = reference.random_model(family, seed, **(SIZES | changes))
        self.folder = reference.save(self.model, folder)
        config = AutoConfig.from_pretrained(folder)
        self.settings: dict[str, Any] = dict(architectures.engine_config(config))
        weights, _ = architectures.engine_weights(config, open_weights(folder))
        self.weights = {name: np.array(weight) for name, weight in weights.items()}
        self.settings["has_pooler"] = "pooler.weight" in weights
        padding = architectures.input_limits(config).padding_idx
        self.first_position = 0 if padding is None else padding + 1
        self.sequences = [rng.integers(5, 97, length, dtype=np.int32) for length in LENGTHS]

    def encoder(self, device: devices.Device, dtype: str) -> Any:
        return devices.encoder(self.settings, self.weights, devices.Target(device, dtype))

    def batch(self, sequences: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        lengths = [len(sequence) for sequence in sequences]
        positions = [np.arange(length, dtype=np.int32) + self.first_position for length in lengths]
        return np.concatenate(sequences), np.cumsum([0, *lengths]).astype(np.int32), np.concatenate(positions)

    def truth(self) -> dict[str, Any]:
        answers = [
            reference.answer(self.model, input_ids=sequence[None], output_hidden_states=True, output_attentions=True)
            for sequence in self.sequences
        ]
        layers = len(answers[0]["hidden_states"])
        truth: dict[str, Any] = {
            "last_hidden_state": np.concatenate([answer["last_hidden_state"][0] for answer in answers]),
            "hidden_states": [
                np.concatenate([answer["hidden_states"][i][0] for answer in answers]) for i in range(layers)
            ],
            "attentions": [
                np.concatenate([answer["attentions"][i].ravel() for answer in answers]) for i in range(layers - 1)
            ],
        }
        if "pooler_output" in answers[0]:
            truth["pooler_output"] = np.concatenate([answer["pooler_output"] for answer in answers])
        return truth


def assert_close(ours: np.ndarray, truth: np.ndarray, dtype: str) -> None:
    tolerance, least_cosine = DTYPES[dtype]
    assert ours.dtype == np.float32
    assert ours.shape == truth.shape
    assert np.abs(ours - truth).max() <= tolerance * np.abs(truth).max()
    if truth.ndim == 2:
        lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(truth, axis=1)
        assert ((ours * truth).sum(1) / lengths).min() >= least_cosine


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", [*reference.FAMILIES, *reference.RELATIVES])
def test_agrees_with_transformers(gpu: devices.Device, family: str, dtype: str, seed: int, tmp_path: Path) -> None:
    case = Case(family, seed, tmp_path)
    encoder = case.encoder(gpu, dtype)
    ours = encoder.forward(*case.batch(case.sequences), output_hidden_states=True, output_attentions=True)
    for name, truth in case.truth().items():
        pairs = zip(ours[name], truth, strict=True) if isinstance(truth, list) else [(ours[name], truth)]
        for actual, wanted in pairs:
            assert_close(actual, wanted, dtype)
    assert encoder.config["hidden_size"] == SIZES["hidden_size"]
    assert encoder.nbytes > 0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("heads", [2, 4, 8, 16, 3])
def test_agrees_for_every_width_of_heads(
    gpu: devices.Device, heads: int, dtype: str, seed: int, tmp_path: Path
) -> None:
    """128, 64, 32 and 16 values, and 13, whose rows are of no round width."""
    width = {"hidden_size": 39, "intermediate_size": 71} if heads == 3 else {}
    case = Case("bert", seed, tmp_path, num_attention_heads=heads, **width)
    ours = case.encoder(gpu, dtype).forward(*case.batch(case.sequences))
    assert_close(ours["last_hidden_state"], case.truth()["last_hidden_state"], dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_same_bits_twice_and_in_any_batch(gpu: devices.Device, dtype: str, seed: int, tmp_path: Path) -> None:
    case = Case("bert", seed, tmp_path)
    encoder = case.encoder(gpu, dtype)
    states = encoder.forward(*case.batch(case.sequences))["last_hidden_state"]
    assert np.array_equal(states, encoder.forward(*case.batch(case.sequences))["last_hidden_state"])
    backwards = encoder.forward(*case.batch(case.sequences[::-1]))["last_hidden_state"]
    first = 0
    for i, sequence in enumerate(case.sequences):
        together = states[first : first + len(sequence)]
        after = sum(map(len, case.sequences[i + 1 :]))
        assert np.array_equal(together, backwards[after : after + len(sequence)])
        assert np.array_equal(together, encoder.forward(*case.batch([sequence]))["last_hidden_state"])
        first += len(sequence)


@pytest.mark.parametrize("dtype", DTYPES)
def test_pools_as_the_processor_does(gpu: devices.Device, dtype: str, seed: int, tmp_path: Path) -> None:
    case = Case("mpnet", seed, tmp_path)
    modes = ["cls", "mean", "max", "mean_sqrt_len", "weightedmean", "lasttoken"]
    weights = np.random.default_rng(seed).integers(0, 2, sum(LENGTHS)).astype(np.float32)
    batch = case.batch(case.sequences)
    cpu = devices.encoder(case.settings, case.weights)
    for given in (None, weights):
        ours = case.encoder(gpu, dtype).embed(*batch, pooling=modes, pooling_weights=given)
        assert_close(ours, cpu.embed(*batch, pooling=modes, pooling_weights=given), dtype)


def test_running_out_of_memory_leaves_the_model_working(gpu: devices.Device, seed: int, tmp_path: Path) -> None:
    """A batch whose attention probabilities need more memory than any GPU has."""
    case = Case("bert", seed, tmp_path, max_position_embeddings=100_000)
    encoder = case.encoder(gpu, "float16")
    before = encoder.forward(*case.batch(case.sequences))["last_hidden_state"]
    longest = case.batch([np.full(100_000, 7, np.int32)])
    with pytest.raises(DeviceMemoryError, match="MiB"):
        encoder.forward(*longest, output_attentions=True)
    assert np.array_equal(before, encoder.forward(*case.batch(case.sequences))["last_hidden_state"])


def test_refuses_what_the_processor_refuses(gpu: devices.Device, seed: int, tmp_path: Path) -> None:
    case = Case("bert", seed, tmp_path)
    encoder = case.encoder(gpu, "float16")
    ids, cu_seqlens, positions = case.batch(case.sequences)
    with pytest.raises(TokenIdError):
        encoder.forward(ids + 97, cu_seqlens, positions)
    with pytest.raises(InputError):
        encoder.forward(ids, cu_seqlens[:-1], positions)
    with pytest.raises(InputError, match="there is no dtype"):
        case.encoder(gpu, "int8")
    with pytest.raises(DeviceError, match="the driver offers"):
        devices.resolve("cuda:9999")
