"""Every family against transformers on random weights: masks, lengths, inputs and outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import bertcpp
import reference_models as reference

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TYPED = ("bert", "electra")  # families with two token types
POOLED = ("bert", "roberta", "xlm-roberta", "camembert", "mpnet")


def random_inputs(rng: np.random.Generator, config: Any, batch: int, length: int) -> dict[str, np.ndarray]:
    ids = rng.integers(0, config.vocab_size, (batch, length))
    inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    if getattr(config, "type_vocab_size", 1) > 1:
        inputs["token_type_ids"] = rng.integers(0, config.type_vocab_size, (batch, length))
    return inputs


@pytest.mark.parametrize("padding", ["none", "right", "left", "holes", "pad tokens"])
def test_ragged_batches(tiny: Any, padding: str, rng: np.random.Generator) -> None:
    inputs = random_inputs(rng, tiny.reference.config, batch=5, length=23)
    if padding != "none":
        mask = reference.random_mask(rng, "right" if padding == "pad tokens" else padding, 5, 23)
        inputs["attention_mask"] = mask
        if padding != "holes":
            inputs["input_ids"][mask == 0] = tiny.reference.config.pad_token_id
        if padding == "pad tokens":  # kept padding tokens: positions follow the ids, not the mask
            inputs["attention_mask"] = np.ones_like(mask)
    kept = inputs["attention_mask"] == 1
    model = bertcpp.AutoModel.from_pretrained(tiny.path)
    ours = model(**inputs, output_hidden_states=True, output_attentions=True)
    expected = reference.answer(tiny.reference, **inputs, output_hidden_states=True, output_attentions=True)
    reference.assert_agrees(ours, expected, kept)
    assert ("pooler_output" in ours) == (tiny.family in POOLED)


@pytest.mark.parametrize("length", [1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 47, 63, 64])
def test_lengths_up_to_the_limit(tiny: Any, length: int, rng: np.random.Generator) -> None:
    config = tiny.reference.config
    inputs = random_inputs(rng, config, batch=1, length=length)
    inputs["input_ids"][inputs["input_ids"] == config.pad_token_id] = config.vocab_size - 1
    model = bertcpp.AutoModel.from_pretrained(tiny.path)
    reference.assert_agrees(model(**inputs), reference.answer(tiny.reference, **inputs))


def test_one_token_over_the_limit(tiny: Any) -> None:
    model = bertcpp.AutoModel.from_pretrained(tiny.path)
    with pytest.raises(bertcpp.errors.SequenceTooLongError, match=r"row 0 has 65 tokens .* limit of 64"):
        model(np.full((1, 65), 5))


def test_padding_past_the_limit_costs_nothing(tiny: Any, rng: np.random.Generator) -> None:
    ids = np.full((2, 80), tiny.reference.config.pad_token_id)
    ids[:, :30] = rng.integers(5, 97, (2, 30))
    model = bertcpp.AutoModel.from_pretrained(tiny.path)
    wide = model(ids, (np.arange(80) < 30) & np.ones((2, 1), bool))
    assert np.array_equal(wide.last_hidden_state[:, :30], model(ids[:, :30]).last_hidden_state)


@pytest.mark.parametrize("family", [name for name in reference.FAMILIES if name != "distilbert"])
@pytest.mark.parametrize("shape", [(4, 12), (1, 12), (12,)])
def test_position_ids(
    family: str, shape: tuple[int, ...], tiny_checkpoint: Callable[[str], Any], rng: np.random.Generator
) -> None:
    tiny = tiny_checkpoint(family)
    inputs = random_inputs(rng, tiny.reference.config, batch=4, length=12)
    inputs["position_ids"] = rng.integers(0, 64, shape)
    ours = bertcpp.AutoModel.from_pretrained(tiny.path)(**inputs)
    reference.assert_agrees(ours, reference.answer(tiny.reference, **inputs))


@pytest.mark.parametrize("family", TYPED)
@pytest.mark.parametrize("shape", [(4, 12), (1, 12), (12,), (4, 1)])
def test_token_type_ids(
    family: str, shape: tuple[int, ...], tiny_checkpoint: Callable[[str], Any], rng: np.random.Generator
) -> None:
    tiny = tiny_checkpoint(family)
    inputs = random_inputs(rng, tiny.reference.config, batch=4, length=12)
    inputs["token_type_ids"] = rng.integers(0, 2, shape)
    inputs["token_type_ids"].flat[0] = 1
    ours = bertcpp.AutoModel.from_pretrained(tiny.path)(**inputs)
    reference.assert_agrees(ours, reference.answer(tiny.reference, **inputs))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_inputs_embeds(tiny: Any, dtype: Any, rng: np.random.Generator) -> None:
    width = getattr(tiny.reference.config, "embedding_size", tiny.reference.config.hidden_size)
    embeds = rng.standard_normal((3, 11, width)).astype(dtype)
    mask = reference.random_mask(rng, "right", 3, 11)
    ours = bertcpp.AutoModel.from_pretrained(tiny.path)(inputs_embeds=embeds, attention_mask=mask)
    expected = reference.answer(tiny.reference, inputs_embeds=embeds.astype(np.float32), attention_mask=mask)
    reference.assert_agrees(ours, expected, mask == 1)


@pytest.mark.parametrize("head_dim", [1, 5, 20, 33, 80])
@pytest.mark.parametrize("family", list(reference.FAMILIES))
def test_head_dims(family: str, head_dim: int, seed: int, tmp_path: Path, rng: np.random.Generator) -> None:
    heads = 3 if head_dim > 8 else 24  # LayerNorm over a handful of values amplifies rounding without bound
    changes = {"hidden_size": heads * head_dim, "num_attention_heads": heads, "intermediate_size": 7 * head_dim + 1}
    truth = reference.random_model(family, seed, **changes, num_hidden_layers=2)
    inputs = random_inputs(rng, truth.config, batch=4, length=37)
    inputs["attention_mask"] = reference.random_mask(rng, "right", 4, 37)
    model = bertcpp.AutoModel.from_pretrained(reference.save(truth, tmp_path))
    ours = model(**inputs, output_hidden_states=True)
    expected = reference.answer(truth, **inputs, output_hidden_states=True)
    reference.assert_agrees(ours, expected, inputs["attention_mask"] == 1)


def test_an_embedding_as_wide_as_the_hidden_states_is_not_projected(
    seed: int, tmp_path: Path, rng: np.random.Generator
) -> None:
    truth = reference.random_model("electra", seed, embedding_size=32)
    inputs = random_inputs(rng, truth.config, batch=2, length=9)
    model = bertcpp.AutoModel.from_pretrained(reference.save(truth, tmp_path))
    reference.assert_agrees(model(**inputs), reference.answer(truth, **inputs))


@pytest.mark.parametrize(
    ("family", "changes"),
    [("data2vec-text", {}), ("ernie", {}), ("ernie", {"use_task_id": True, "task_type_vocab_size": 4})],
)
def test_relatives(family: str, changes: dict[str, Any], seed: int, tmp_path: Path, rng: np.random.Generator) -> None:
    truth = reference.random_model(family, seed, **changes)
    inputs = random_inputs(rng, truth.config, batch=4, length=21)
    mask = reference.random_mask(rng, "left", 4, 21)
    model = bertcpp.AutoModel.from_pretrained(reference.save(truth, tmp_path))
    ours = model(**(inputs | {"attention_mask": mask}))
    reference.assert_agrees(ours, reference.answer(truth, **(inputs | {"attention_mask": mask})), mask == 1)


def test_ernies_other_tasks_are_refused(seed: int, tmp_path: Path) -> None:
    path = reference.save(reference.random_model("ernie", seed, use_task_id=True), tmp_path)
    model = bertcpp.AutoModel.from_pretrained(path)
    zeros, ids = np.zeros((1, 3), int), np.array([[5, 6, 7]])
    assert np.array_equal(model(ids, task_type_ids=zeros)[0], model(ids)[0])
    with pytest.raises(bertcpp.errors.InputError, match="task_type_ids must be 0"):
        model(ids, task_type_ids=zeros + 1)


@pytest.mark.parametrize("family", ["bert", "roberta", "mpnet"])
def test_batches_that_the_engine_computes_in_pieces(
    family: str, tiny_checkpoint: Callable[[str], Any], rng: np.random.Generator
) -> None:
    tiny = tiny_checkpoint(family)
    inputs = random_inputs(rng, tiny.reference.config, batch=150, length=64)
    inputs["attention_mask"] = reference.random_mask(rng, "left", 150, 64)
    inputs["attention_mask"][40:60] = reference.random_mask(rng, "holes", 20, 64)
    inputs["attention_mask"][100:] = 1
    model = bertcpp.AutoModel.from_pretrained(tiny.path)
    ours = model(**inputs, output_hidden_states=True, output_attentions=True)
    expected = reference.answer(tiny.reference, **inputs, output_hidden_states=True, output_attentions=True)
    reference.assert_agrees(ours, expected, inputs["attention_mask"] == 1)


# Every activation of transformers that has no parameters of its own and needs no argument.
ACTIVATIONS = [
    "gelu", "gelu_10", "gelu_accurate", "gelu_fast", "gelu_new", "gelu_python", "gelu_python_tanh",
    "gelu_pytorch_tanh", "laplace", "leaky_relu", "linear", "mish", "quick_gelu", "relu", "relu2", "relu6", "sigmoid",
    "silu", "swish", "tanh",
]  # fmt: skip


def test_no_activation_is_forgotten() -> None:
    from transformers.activations import ACT2CLS

    with_parameters = {"prelu", "xielu"}
    assert set(ACT2CLS) - with_parameters == set(ACTIVATIONS)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations(activation: str, seed: int, tmp_path: Path, rng: np.random.Generator) -> None:
    truth = reference.random_model("bert", seed, hidden_act=activation)
    inputs = random_inputs(rng, truth.config, batch=2, length=19)
    model = bertcpp.AutoModel.from_pretrained(reference.save(truth, tmp_path))
    ours = model(**inputs, output_hidden_states=True)
    reference.assert_agrees(ours, reference.answer(truth, **inputs, output_hidden_states=True))


@pytest.mark.parametrize(("family", "length"), [("bert", 2048), ("roberta", 2048), ("mpnet", 2048), ("bert", 8192)])
def test_long_sequences(family: str, length: int, seed: int, tmp_path: Path, rng: np.random.Generator) -> None:
    changes = {"hidden_size": 24, "num_attention_heads": 2, "num_hidden_layers": 2}
    truth = reference.random_model(family, seed, **changes, max_position_embeddings=length)
    if family != "mpnet":
        truth.config._attn_implementation = "sdpa"  # no [length, length] scores in memory
    ids = rng.integers(5, 97, (2 if length < 4096 else 1, length))
    mask = np.ones_like(ids)
    if len(ids) > 1:
        mask[1, length - 333 :] = 0
    model = bertcpp.AutoModel.from_pretrained(reference.save(truth, tmp_path))
    ours = model(ids, attention_mask=mask)
    reference.assert_agrees(ours, reference.answer(truth, input_ids=ids, attention_mask=mask), mask == 1)


@pytest.mark.parametrize("family", list(reference.FAMILIES))
def test_base_size(family: str, seed: int, tmp_path: Path, rng: np.random.Generator) -> None:
    truth = reference.random_model(family, seed, **reference.BASE)
    path = reference.save(truth, tmp_path)
    inputs = random_inputs(rng, truth.config, batch=3, length=150)
    inputs["attention_mask"] = (np.arange(150) < np.array([[150], [61], [1]])).astype(np.int64)
    ours = bertcpp.AutoModel.from_pretrained(path)(**inputs, output_hidden_states=True)
    expected = reference.answer(truth, **inputs, output_hidden_states=True)
    (path / "model.safetensors").unlink()  # hundreds of megabytes
    reference.assert_agrees(ours, expected, inputs["attention_mask"] == 1)
