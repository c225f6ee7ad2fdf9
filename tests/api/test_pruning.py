"""Checkpoints without some of their layers and heads, against transformers' `prune_heads` and its layers taken out."""

from __future__ import annotations

import json
import warnings
from typing import TYPE_CHECKING, Any

import embedding_checkpoints
import numpy as np
import pytest

import bertcpp
import reference_models as reference
from bertcpp import SentenceTransformer
from bertcpp.cli import main
from bertcpp.errors import ConfigError, InputError
from bertcpp.importance import Probe
from bertcpp.pruning import choose, prune

if TYPE_CHECKING:
    from pathlib import Path

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import torch
    import transformers

LAYERS, HEADS = [1], {0: [1, 3], 2: [0]}
TEXTS = ["The weather is lovely today.", "It's so sunny outside", "a", "She drove to the stadium, and back again."]


def layers_of(model: Any) -> Any:
    return model.transformer.layer if model.config.model_type == "distilbert" else model.encoder.layer


def pruned_reference(model: Any, heads: dict[int, list[int]]) -> Any:
    """The same by transformers."""
    if heads:
        model.prune_heads({layer: list(gone) for layer, gone in heads.items()})
    stack = layers_of(model)
    for layer in LAYERS:
        del stack[layer]
    return model


def loaded(folder: Path, name: str = "AutoModel") -> Any:
    """A checkpoint by transformers, which must miss nothing and leave nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kind = getattr(transformers, name)
        model, told = kind.from_pretrained(folder, output_loading_info=True, attn_implementation="eager")
    assert not any(told[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    return model.eval()


@pytest.mark.parametrize("family", list(reference.FAMILIES))
def test_every_family(family: str, seed: int, tmp_path: Path, rng: np.random.Generator) -> None:
    model = reference.random_model(family, seed)
    reference.save(model, tmp_path / "in")
    heads = {} if family == "mpnet" else HEADS
    out = prune(tmp_path / "in", tmp_path / "out", layers=LAYERS, heads=heads)
    ids = rng.integers(3, 97, (4, 19))
    mask = reference.random_mask(rng, "right", 4, 19)
    inputs = {"input_ids": ids, "attention_mask": mask, "output_hidden_states": True}
    expected = reference.answer(pruned_reference(model, heads), **inputs)
    theirs = reference.answer(loaded(out), **inputs)
    assert np.array_equal(theirs["last_hidden_state"], expected["last_hidden_state"])
    reference.assert_agrees(bertcpp.AutoModel.from_pretrained(out)(**inputs), expected, mask == 1)
    assert (out / "model.safetensors").stat().st_size < (tmp_path / "in/model.safetensors").stat().st_size


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_pruned_checkpoint_with_a_head_pruned_again(
    dtype: torch.dtype, seed: int, tmp_path: Path, rng: np.random.Generator
) -> None:
    torch.manual_seed(seed)
    model = transformers.BertForSequenceClassification(reference.config_of("bert")).eval().to(dtype)
    reference.save(model, tmp_path / "in")
    once = prune(tmp_path / "in", tmp_path / "once", heads={1: [2], 2: [3]})
    twice = prune(once, tmp_path / "twice", layers=[0], heads={2: [0, 3]})
    assert json.loads((twice / "config.json").read_text())["pruned_heads"] == {"0": [2], "1": [0, 3]}
    assert bertcpp.checkpoints.open_weights(twice).dtype_of("classifier.weight") == {
        torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"
    }[dtype]  # fmt: skip
    model.float().prune_heads({1: [2], 2: [0, 3]})
    del model.bert.encoder.layer[0]
    ids = rng.integers(3, 97, (2, 8))
    theirs = loaded(twice, "BertForSequenceClassification").float()
    wanted = reference.answer(model, input_ids=ids)["logits"]
    assert np.abs(reference.answer(theirs, input_ids=ids)["logits"] - wanted).max() <= 1e-6 * np.abs(wanted).max()
    ours = bertcpp.AutoModelForSequenceClassification.from_pretrained(twice)(ids, output_attentions=True)
    assert np.abs(ours.logits - wanted).max() <= reference.TOLERANCE * np.abs(wanted).max()
    assert [layer.shape[1] for layer in ours.attentions] == [3, 2]


def test_a_sentence_embedding_checkpoint(tmp_path: Path, minilm: Path) -> None:
    out = prune(minilm, tmp_path / "out", layers=[2, 4], heads={0: [0, 11], 5: [3]})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sentence_transformers import SentenceTransformer as Theirs

        expected = Theirs(str(out), device="cpu").encode(TEXTS)
    ours = SentenceTransformer(out).encode(TEXTS)
    assert np.abs(ours - expected).max() <= 2e-6
    assert {path.name for path in out.iterdir()} >= {"modules.json", "1_Pooling", "tokenizer.json"}
    assert SentenceTransformer(out).max_seq_length == SentenceTransformer(minilm).max_seq_length


@pytest.fixture
def model(tmp_path: Path, seed: int) -> Path:
    """A tiny checkpoint with a tokenizer, pooled by its first token."""
    folder = embedding_checkpoints.save_encoder(tmp_path / "model", seed)
    return embedding_checkpoints.save_modules(folder, "new", ["cls"], [])


def vectors(model: Any, folder: Path) -> np.ndarray:
    """The first tokens' states by transformers."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    rows = [tokenizer(text, return_tensors="np") for text in TEXTS]
    return np.stack([reference.answer(model, **row)["last_hidden_state"][0, 0] for row in rows])


def turn(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(one, axis=-1) * np.linalg.norm(other, axis=-1)
    return np.asarray(1 - (one * other).sum(-1) / norms)


def test_importance_by_leaving_out(model: Path) -> None:
    whole = vectors(loaded(model), model)
    probe = Probe(model, TEXTS)
    for layer, measured in enumerate(probe.layers("output")):
        without = loaded(model)
        del layers_of(without)[layer]
        assert measured == pytest.approx(turn(whole, vectors(without, model)).mean(), rel=1e-3, abs=1e-6)
    for layer, row in enumerate(probe.heads("output")):
        for head, measured in enumerate(row):
            without = loaded(model)
            without.prune_heads({layer: [head]})
            assert measured == pytest.approx(turn(whole, vectors(without, model)).mean(), rel=1e-3, abs=1e-6)


def test_importance_where_it_stands(model: Path) -> None:
    """The formulas once more, in PyTorch's words."""
    truth = loaded(model)
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    turns: list[Any] = [[] for _ in layers_of(truth)]
    shares: list[Any] = [[] for _ in layers_of(truth)]
    for text in TEXTS:
        with torch.no_grad():
            row = tokenizer(text, return_tensors="pt")
            answer = truth(**row, output_hidden_states=True, output_attentions=True)
        for index, layer in enumerate(layers_of(truth)):
            x, after = (answer.hidden_states[index + step][0].numpy() for step in (0, 1))
            turns[index].append(turn(x, after))
            value, dense = layer.attention.self.value, layer.attention.output.dense
            with torch.no_grad():
                values = value(torch.from_numpy(x)).unflatten(1, (truth.config.num_attention_heads, -1))
                context = torch.einsum("hqk,khd->hqd", answer.attentions[index][0], values)
                blocks = dense.weight.unflatten(1, (truth.config.num_attention_heads, -1))
                added = torch.einsum("hqd,ohd->hqo", context, blocks)
                seen = torch.from_numpy(x) + dense.bias + added.sum(0)
                shares[index].append((added.norm(dim=2) / seen.norm(dim=1)).numpy())
    probe = Probe(model, TEXTS)
    assert probe.layers("local") == pytest.approx([np.concatenate(rows).mean() for rows in turns], rel=1e-3)
    for measured, rows in zip(probe.heads("local"), shares, strict=True):
        assert measured == pytest.approx(np.concatenate(rows, axis=1).mean(axis=1), rel=1e-3)


@pytest.mark.parametrize("measure", ["output", "local"])
def test_the_least_important_go_and_each_layer_keeps_a_head(measure: Any, model: Path, tmp_path: Path) -> None:
    chosen = choose(model, TEXTS, layer_count=1, measure=measure)
    least = min(chosen.layer_importance, key=lambda layer: chosen.layer_importance[layer])
    assert chosen.layers == (least,)
    config = bertcpp.AutoConfig.from_pretrained(model)
    layers, heads = config.num_hidden_layers, config.num_attention_heads
    most = choose(model, TEXTS, head_count=layers * (heads - 1), measure=measure)
    assert [len(most.heads[layer]) for layer in range(layers)] == [heads - 1] * layers
    for layer, gone in most.heads.items():
        row = most.head_importance[layer]
        assert set(row) - set(gone) == {max(row, key=lambda head: row[head])}
    out = prune(model, tmp_path / "out", layers=most.layers, heads=most.heads)
    assert np.isfinite(SentenceTransformer(out).encode(TEXTS)).all()
    again = Probe(out, TEXTS)
    assert again.heads("output") == [[float("inf")]] * layers
    assert [len(row) for row in again.heads("local")] == [1] * layers


def test_the_command(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS) + "\n\n")
    out, texts = str(tmp_path / "out"), str(tmp_path / "texts.txt")
    assert main(["prune", str(model), out, "--layers", "0", "--heads", "1:0"]) == 0
    assert "bert, 2 layers" in capsys.readouterr().out
    by_importance = ["prune", str(model), out, "--overwrite", "--texts", texts, "--drop-layers", "1"]
    assert main([*by_importance, "--drop-heads", "1"]) == 0
    assert "left out" in capsys.readouterr().out
    assert main([*by_importance, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["layer_importance"]) == 3


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"layers": [3]}, InputError, "there is no layer 3: the model has 3"),
        ({"layers": [-1]}, InputError, "there is no layer -1"),
        ({"layers": [0, 1, 2]}, InputError, "all 3 layers would be left out"),
        ({"heads": {3: [0]}}, InputError, "there is no layer 3"),
        ({"heads": {0: [4]}}, InputError, "there is no head 4 in layer 0: it has 4"),
        ({"heads": {0: [0, 1, 2, 3]}}, InputError, "all 4 heads of layer 0 would be left out"),
    ],
)
def test_what_cannot_be_left_out(options: Any, error: type, message: str, seed: int, tmp_path: Path) -> None:
    reference.save(reference.random_model("bert", seed), tmp_path / "in")
    with pytest.raises(error, match=message):
        prune(tmp_path / "in", tmp_path / "out", **options)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_mpnets_heads_stay(seed: int, tmp_path: Path) -> None:
    reference.save(reference.random_model("mpnet", seed), tmp_path / "in")
    with pytest.raises(ConfigError, match="heads of mpnet cannot be left out"):
        prune(tmp_path / "in", tmp_path / "out", heads={0: [1]})


def test_what_cannot_be_chosen(model: Path) -> None:
    for options, message in [
        ({"layer_count": 3}, "3 of 3 layers cannot be left out"),
        ({"head_count": 99}, "99 heads cannot be left out"),
    ]:
        with pytest.raises(InputError, match=message):
            choose(model, TEXTS, **options)
    with pytest.raises(InputError, match="there are none"):
        choose(model, [], layer_count=1)
