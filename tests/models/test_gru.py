"""The recurrent head against torch.nn.GRU: ragged batches, layers, directions, and whole models around it."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

import bertcpp
import reference_models as reference
from bertcpp import _core
from bertcpp.batching import Tokens

if TYPE_CHECKING:
    from pathlib import Path

LENGTHS = [[1], [7], [3, 1, 9, 9, 2], [40, 1, 1, 33, 17, 17, 5, 28, 2, 40, 11, 3, 39, 8, 24, 6, 13, 30]]
SHAPES = [(1, 1), (5, 3), (32, 24), (20, 67), (48, 129)]  # input and hidden size


def random_gru(rng: np.random.Generator, shape: tuple[int, int], **options: Any) -> torch.nn.GRU:
    """Weights as at the start of a training: larger ones may make chaos of the last bits, in PyTorch as here."""
    gru = torch.nn.GRU(*shape, batch_first=True, **options)
    with torch.no_grad():
        for parameter in gru.parameters():
            values = rng.uniform(-1, 1, tuple(parameter.shape)) / gru.hidden_size**0.5
            parameter.copy_(torch.from_numpy(values))
    return gru


def ours_of(gru: torch.nn.GRU) -> _core.GRU:
    weights = {name: tensor.numpy() for name, tensor in gru.state_dict().items()}
    return _core.GRU(weights, num_layers=gru.num_layers, bidirectional=gru.bidirectional)


def offsets(lengths: Any) -> np.ndarray:
    return np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)


def expected_of(gru: torch.nn.GRU, x: np.ndarray, lengths: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """What PyTorch computes: states of the tokens end to end, and what each layer and direction ends with."""
    rows = torch.split(torch.from_numpy(x), lengths)
    packed = torch.nn.utils.rnn.pack_sequence(rows, enforce_sorted=False)
    with torch.no_grad():
        states, finals = gru(packed)
    padded, _ = torch.nn.utils.rnn.pad_packed_sequence(states, batch_first=True)
    return np.concatenate([padded[row, :length].numpy() for row, length in enumerate(lengths)]), finals.numpy()


def assert_close(actual: np.ndarray, wanted: np.ndarray) -> None:
    assert actual.shape == wanted.shape
    error = np.abs(actual - wanted).max() / np.abs(wanted).max()
    assert error <= reference.TOLERANCE, f"off by {error:.2e} of the largest magnitude"


@pytest.mark.parametrize("lengths", LENGTHS, ids=lambda lengths: f"{len(lengths)} sequences")
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{shape[0]} to {shape[1]}")
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("layers", [1, 2, 4])
def test_ragged_batches(
    lengths: list[int], shape: tuple[int, int], bidirectional: bool, layers: int, rng: np.random.Generator
) -> None:
    gru = random_gru(rng, shape, num_layers=layers, bidirectional=bidirectional, bias=len(lengths) > 1)
    x = rng.standard_normal((sum(lengths), shape[0])).astype(np.float32)
    states, finals = ours_of(gru)(x, offsets(lengths), num_threads=len(lengths) % 3 + 1)
    wanted_states, wanted_finals = expected_of(gru, x, lengths)
    assert_close(states, wanted_states)
    assert_close(finals, wanted_finals)


def test_errors_do_not_grow_along_a_sequence(rng: np.random.Generator) -> None:
    gru = random_gru(rng, (16, 24), bidirectional=True)
    x = rng.standard_normal((1500, 16)).astype(np.float32)
    states, finals = ours_of(gru)(x, offsets([1500]))
    wanted_states, wanted_finals = expected_of(gru, x, [1500])
    assert_close(states, wanted_states)
    assert_close(finals, wanted_finals)


def test_same_sequence_same_bits(rng: np.random.Generator) -> None:
    """In any batch, at any place of it, with any number of threads, across the pieces that large batches go through."""
    gru = ours_of(random_gru(rng, (24, 40), num_layers=2, bidirectional=True))
    pool = [rng.standard_normal((length, 24)).astype(np.float32) for length in [*range(1, 30), 64, 200, 700]]
    alone = [gru(x, offsets([len(x)]), num_threads=1) for x in pool]
    for size in [2, 3, 5, 8, 13, 21, 34, 55, 300]:
        chosen = rng.integers(0, len(pool), size)
        lengths = [len(pool[index]) for index in chosen]
        bounds = offsets(lengths)
        x = np.concatenate([pool[index] for index in chosen])
        states, finals = gru(x, bounds, num_threads=int(rng.integers(1, 6)))
        for row, index in enumerate(chosen):
            assert states[bounds[row] : bounds[row + 1]].tobytes() == alone[index][0].tobytes()
            assert finals[:, row].tobytes() == alone[index][1][:, 0].tobytes()


def test_one_gru_in_many_threads(rng: np.random.Generator) -> None:
    from concurrent.futures import ThreadPoolExecutor

    gru = ours_of(random_gru(rng, (12, 20), num_layers=2, bidirectional=True))
    batches = [rng.standard_normal((length, 12)).astype(np.float32) for length in range(1, 60)]
    expected = [gru(x, offsets([len(x)]))[0].tobytes() for x in batches]
    with ThreadPoolExecutor(4) as pool:
        answers = pool.map(lambda x: gru(x, offsets([len(x)]), num_threads=2)[0].tobytes(), batches)
    assert list(answers) == expected


PROGRAM = """
import sys
import numpy as np
from bertcpp import _core

assert _core.instruction_set() == sys.argv[1]
case = dict(np.load(sys.argv[2]))
x, cu_seqlens = case.pop("x"), case.pop("cu_seqlens")
states, finals = _core.GRU(case, num_layers=2, bidirectional=True)(x, cu_seqlens, num_threads=2)
np.savez(sys.argv[3], states=states, finals=finals)
"""


@pytest.mark.parametrize("instruction_set", bertcpp.instruction_sets())
def test_instruction_sets(instruction_set: str, tmp_path: Path, rng: np.random.Generator) -> None:
    lengths = LENGTHS[-1]
    gru = random_gru(rng, (24, 37), num_layers=2, bidirectional=True)
    x = rng.standard_normal((sum(lengths), 24)).astype(np.float32)
    weights = {name: tensor.numpy() for name, tensor in gru.state_dict().items()}
    np.savez(tmp_path / "case.npz", x=x, cu_seqlens=offsets(lengths), **weights)
    command = [sys.executable, "-c", PROGRAM, instruction_set, str(tmp_path / "case.npz"), str(tmp_path / "out.npz")]
    environment = os.environ | {"BERTCPP_ISA": instruction_set}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    out = np.load(tmp_path / "out.npz")
    wanted_states, wanted_finals = expected_of(gru, x, lengths)
    assert_close(out["states"], wanted_states)
    assert_close(out["finals"], wanted_finals)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_in_half_precision(dtype: Any, rng: np.random.Generator) -> None:
    gru = random_gru(rng, (12, 20), bidirectional=True).to(dtype)
    bits = {
        name: tensor.view(torch.uint16).numpy() if dtype is torch.bfloat16 else tensor.numpy()
        for name, tensor in gru.state_dict().items()
    }
    x = rng.standard_normal((30, 12)).astype(np.float32)
    states, _ = _core.GRU(bits, bidirectional=True)(x, offsets([10, 20]))
    assert_close(states, expected_of(gru.float(), x, [10, 20])[0])


class Tagger(torch.nn.Module):
    """What a user trains in PyTorch: an encoder of transformers, a GRU over its states, and a classifier."""

    def __init__(self, rng: np.random.Generator, family: str, hidden: int, **options: Any) -> None:
        super().__init__()
        self.encoder = reference.random_model(family, 5, num_hidden_layers=1)
        self.gru = random_gru(rng, (32, hidden), **options)
        self.classifier = torch.nn.Linear(hidden * (2 if self.gru.bidirectional else 1), 5)

    def head(self) -> dict[str, torch.Tensor]:
        return {name: value for name, value in self.state_dict().items() if not name.startswith("encoder.")}

    def answer(self, inputs: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Logits of the kept tokens end to end, and of the sequences."""
        hidden = reference.answer(self.encoder, **inputs)["last_hidden_state"]
        kept = inputs["attention_mask"] == 1
        states, finals = expected_of(self.gru, hidden[kept], kept.sum(axis=1).tolist())
        last = np.concatenate(list(finals[-2 if self.gru.bidirectional else -1 :]), axis=1)
        with torch.no_grad():
            return tuple(self.classifier(torch.from_numpy(part)).numpy() for part in (states, last))  # type: ignore[return-value]


def random_inputs(rng: np.random.Generator, padding: str) -> dict[str, np.ndarray]:
    mask = reference.random_mask(rng, padding, 5, 21)
    return {"input_ids": rng.integers(5, 97, mask.shape), "attention_mask": mask}


@pytest.mark.parametrize("family", [*reference.FAMILIES, *reference.RELATIVES])
@pytest.mark.parametrize("padding", ["right", "left", "holes"])
def test_models_with_a_gru(family: str, padding: str, tmp_path: Path, rng: np.random.Generator) -> None:
    tagger = Tagger(rng, family, 12, num_layers=2, bidirectional=padding != "holes")
    reference.save(tagger.encoder, tmp_path)
    inputs = random_inputs(rng, padding)
    tokens, sequences = tagger.answer(inputs)
    prefix = (reference.FAMILIES | reference.RELATIVES)[family]
    options = {"head": tagger.head(), "num_labels": 5}
    model = getattr(bertcpp, f"{prefix}GruForTokenClassification").from_pretrained(tmp_path, **options)
    kept = inputs["attention_mask"] == 1
    logits = model(**inputs).logits
    assert_close(logits[kept], tokens)
    assert not logits[~kept].any()
    model = getattr(bertcpp, f"{prefix}GruForSequenceClassification").from_pretrained(tmp_path, **options)
    assert_close(model(**inputs).logits, sequences)
    count = sum(parameter.numel() for parameter in [*tagger.gru.parameters(), *tagger.classifier.parameters()])
    pooler = sum(value.numel() for name, value in tagger.encoder.named_parameters() if name.startswith("pooler."))
    assert model.num_parameters() == tagger.encoder.num_parameters() - pooler + count


def bert_tagger(rng: np.random.Generator, folder: Path, **options: Any) -> Tagger:
    tagger = Tagger(rng, "bert", 8, **options)
    reference.save(tagger.encoder, folder)
    return tagger


def save_whole(tagger: Tagger, folder: Path, **fields: Any) -> None:
    """One checkpoint of encoder and head, as the documents describe it."""
    from safetensors.torch import save_file

    encoder = {f"bert.{name}": value.contiguous() for name, value in tagger.encoder.state_dict().items()}
    save_file(encoder | tagger.head(), folder / "model.safetensors")
    config = bertcpp.BertConfig.from_pretrained(folder)
    config.num_labels = 5
    for name, value in fields.items():
        setattr(config, name, value)
    config.save_pretrained(folder)


def test_automatic_classes_find_the_gru(tmp_path: Path, rng: np.random.Generator) -> None:
    tagger = bert_tagger(rng, tmp_path, num_layers=2, bidirectional=True)
    save_whole(tagger, tmp_path, gru_hidden_size=8, gru_num_layers=2, gru_bidirectional=True)
    inputs = random_inputs(rng, "right")
    tokens, sequences = tagger.answer(inputs)
    model = bertcpp.AutoModelForTokenClassification.from_pretrained(tmp_path)
    assert type(model) is bertcpp.BertGruForTokenClassification
    assert_close(model(**inputs).logits[inputs["attention_mask"] == 1], tokens)
    model = bertcpp.AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert type(model) is bertcpp.BertGruForSequenceClassification
    assert_close(model(**inputs).logits, sequences)
    again = pickle.loads(pickle.dumps(model))
    assert np.array_equal(again(**inputs).logits, model(**inputs).logits)
    with pytest.raises(bertcpp.errors.UnknownArchitectureError, match="use BertGruForTokenClassification or AutoModel"):
        bertcpp.BertForTokenClassification.from_pretrained(tmp_path)


@pytest.mark.parametrize("name", ["head.safetensors", "head.bin"])
def test_a_head_in_a_file_of_its_own(name: str, tmp_path: Path, rng: np.random.Generator) -> None:
    from safetensors.torch import save_file

    tagger = bert_tagger(rng, tmp_path, bidirectional=True)
    if name.endswith(".bin"):
        torch.save(tagger.head(), tmp_path / name)
    else:
        save_file(tagger.head(), tmp_path / name)
    inputs = random_inputs(rng, "right")
    expected = tagger.answer(inputs)[1]
    for head in (name, tmp_path / name, {part: value.numpy() for part, value in tagger.head().items()}):
        model = bertcpp.BertGruForSequenceClassification.from_pretrained(tmp_path, head=head, num_labels=5)
        assert_close(model(**inputs).logits, expected)


def test_a_plain_head_of_its_own(tmp_path: Path, rng: np.random.Generator) -> None:
    """A classifier that was trained on frozen states, in bfloat16, beside an encoder that had none."""
    encoder = reference.random_model("bert", 5, num_hidden_layers=1)
    reference.save(encoder, tmp_path)
    linear = torch.nn.Linear(32, 4).to(torch.bfloat16)
    head = {f"classifier.{name}": value for name, value in linear.state_dict().items()}
    model = bertcpp.BertForTokenClassification.from_pretrained(tmp_path, head=head, num_labels=4)
    inputs = random_inputs(rng, "right")
    kept = inputs["attention_mask"] == 1
    hidden = reference.answer(encoder, **inputs)["last_hidden_state"][kept]
    with torch.no_grad():
        assert_close(model(**inputs).logits[kept], linear.float()(torch.from_numpy(hidden)).numpy())


@pytest.mark.parametrize("task", ["Token", "Sequence"])
def test_packed_logits(task: str, tmp_path: Path, rng: np.random.Generator) -> None:
    tagger = bert_tagger(rng, tmp_path, bidirectional=True)
    kind = getattr(bertcpp, f"BertGruFor{task}Classification")
    model = kind.from_pretrained(tmp_path, head=tagger.head(), num_labels=5)
    lengths = [9, 1, 30, 12]
    ids = rng.integers(5, 97, sum(lengths)).astype(np.int32)
    tokens = Tokens(ids, offsets(lengths), None)
    together = model.packed_logits(tokens, num_threads=3)
    for row in range(4):
        alone = model(tokens.rows(row, row + 1).input_ids[None]).logits
        part = together[row] if task == "Sequence" else together[tokens.cu_seqlens[row] : tokens.cu_seqlens[row + 1]]
        assert part.tobytes() == alone.tobytes()


def test_a_head_that_is_drawn_has_the_shape_that_is_asked_for(tmp_path: Path, rng: np.random.Generator) -> None:
    bert_tagger(rng, tmp_path)
    options = {"gru_hidden_size": 6, "gru_num_layers": 3, "gru_bidirectional": False, "num_labels": 2}
    with pytest.warns(UserWarning, match=r"gru\.weight_ih_l0, gru\.weight_hh_l0.*drawn at random"):
        model = bertcpp.BertGruForTokenClassification.from_pretrained(tmp_path, allow_missing_head=True, **options)
    assert model([[2, 5, 6, 3]]).logits.shape == (1, 4, 2)
