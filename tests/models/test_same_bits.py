"""Same sequence, same bits: neither the batch, nor the place in it, nor the number of threads changes a byte."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import bertcpp
import reference_models as reference

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RECOMPOSITIONS = 1000


def alone(model: Any, pool: list[np.ndarray]) -> list[tuple[bytes, bytes]]:
    """Each sequence by itself on one thread: the bytes of its hidden states and of its pooler's output."""
    model.num_threads = 1
    return [bits(model(ids[None]), 0, slice(0, len(ids))) for ids in pool]


def bits(outputs: Any, row: int, columns: slice) -> tuple[bytes, bytes]:
    pooled = outputs["pooler_output"][row].tobytes() if "pooler_output" in outputs else b""
    return outputs.last_hidden_state[row, columns].tobytes(), pooled


def recompose(model: Any, pool: list[np.ndarray], rounds: int, largest: int, rng: np.random.Generator) -> None:
    """Random batches of the pool's sequences, padded left or right, on 1 to 4 threads."""
    expected = alone(model, pool)
    for _ in range(rounds):
        chosen = rng.choice(len(pool), rng.integers(1, largest + 1))
        width = max(len(pool[index]) for index in chosen) + int(rng.integers(0, 3))
        left = model.config.model_type != "distilbert" and bool(rng.integers(0, 2))  # it takes no position_ids
        ids = np.full((len(chosen), width), model.config.pad_token_id)
        mask = np.zeros_like(ids)
        places = []
        for row, index in enumerate(chosen):
            length = len(pool[index])
            places.append(slice(width - length, width) if left else slice(0, length))
            ids[row, places[row]] = pool[index]
            mask[row, places[row]] = 1
        # Column numbers are BERT's positions; to stay the same sequence, a shifted one keeps its own.
        positions = np.maximum(np.cumsum(mask, axis=1) - 1, 0)
        offset = reference.POSITION_OFFSET.get(model.config.model_type, 0)
        options = {} if model.config.model_type == "distilbert" else {"position_ids": positions + offset}
        model.num_threads = int(rng.integers(1, 5))
        outputs = model(ids, attention_mask=mask, **options)
        for row, index in enumerate(chosen):
            hidden, pooled = bits(outputs, row, places[row])
            assert hidden == expected[index][0], f"{len(pool[index])} tokens in row {row} of {len(chosen)}"
            if places[row].start == 0:
                assert pooled == expected[index][1]


def random_pool(rng: np.random.Generator, config: Any, lengths: Any) -> list[np.ndarray]:
    return [rng.integers(5, config.vocab_size, length) for length in lengths]


@pytest.mark.parametrize("family", list(reference.FAMILIES))
def test_recompositions_of_tiny_models(
    family: str, tiny_checkpoint: Callable[[str], Any], rng: np.random.Generator
) -> None:
    checkpoint = tiny_checkpoint(family)
    model = bertcpp.AutoModel.from_pretrained(checkpoint.path)
    pool = random_pool(rng, model.config, [*range(1, 41), 50, 63, 64])
    recompose(model, pool, RECOMPOSITIONS, 12, rng)


@pytest.mark.parametrize("family", ["bert", "mpnet"])
def test_pieces_of_large_batches(family: str, tiny_checkpoint: Callable[[str], Any], rng: np.random.Generator) -> None:
    """The engine cuts a batch of many tokens into pieces: where it cuts does not show."""
    model = bertcpp.AutoModel.from_pretrained(tiny_checkpoint(family).path)
    pool = random_pool(rng, model.config, [*range(30, 65, 2)])
    recompose(model, pool, 10, 300, rng)


def test_pieces_that_all_threads_share(seed: int, tmp_path: Path, rng: np.random.Generator) -> None:
    """A layer of many weights is not computed by each thread for itself: 4270 tokens are two pieces of all threads."""
    wide = {"hidden_size": 1024, "num_attention_heads": 16, "num_hidden_layers": 1, "intermediate_size": 1024}
    model = bertcpp.AutoModel.from_pretrained(reference.save(reference.random_model("bert", seed, **wide), tmp_path))
    ids = rng.integers(5, model.config.vocab_size, (70, 61))
    model.num_threads = 1
    expected = [bits(model(ids[row : row + 1]), 0, slice(0, 61)) for row in range(70)]
    for threads in (2, 3):
        model.num_threads = threads
        together = model(ids)
        assert [bits(together, row, slice(0, 61)) for row in range(70)] == expected


def test_recompositions_of_real_text(minilm: Path, sentences: list[str], rng: np.random.Generator) -> None:
    model = bertcpp.AutoModel.from_pretrained(minilm)
    tokenizer = bertcpp.AutoTokenizer.from_pretrained(minilm)
    pool = [np.array(tokenizer(sentences[index])["input_ids"][:64]) for index in rng.choice(len(sentences), 60)]
    recompose(model, pool, RECOMPOSITIONS, 5, rng)


def test_attentions_and_hidden_states_keep_their_bits(tiny: Any, rng: np.random.Generator) -> None:
    model = bertcpp.AutoModel.from_pretrained(tiny.path)
    ids = rng.integers(5, 97, (6, 37))
    together = model(ids, output_hidden_states=True, output_attentions=True)
    plain = model(ids)
    assert plain.last_hidden_state.tobytes() == together.last_hidden_state.tobytes()
    for row in range(6):
        single = model(ids[row : row + 1], output_hidden_states=True, output_attentions=True)
        for name in ("hidden_states", "attentions"):
            for one, many in zip(single[name], together[name], strict=True):
                assert one[0].tobytes() == many[row].tobytes(), name


@pytest.mark.parametrize("depth", [400, 600, 1100, 3072])
def test_the_sign_of_a_sum_that_is_zero(depth: int) -> None:
    """Where a product cuts its depth depends on the number of rows; what is carried over a cut stays -0."""
    weight = np.full((3, depth), -1, np.float32)
    weight[:, :256] = 1e-30
    rows = np.zeros((200, depth), np.float32)
    rows[:, :256] = -1e-30
    linear = bertcpp._core.Linear(weight, np.full(3, -0.0, np.float32))
    together = linear(rows)
    for count in (1, 20, 57, 100):
        assert linear(rows[:count]).tobytes() == together[:count].tobytes()
