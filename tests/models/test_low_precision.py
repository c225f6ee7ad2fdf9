"""bfloat16 and int8 against float32: how far they are off, and that the contracts hold in them, too."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import bertcpp
import reference_models as reference

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DTYPES = ("bfloat16", "int8")
# Least cosine of a token's hidden state to float32's. Random weights make narrow, badly conditioned states.
COSINES = {"bfloat16": 0.999, "int8": 0.99}
TEXTS = 600


def cosines(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.sum(a * b, axis=-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_family(dtype: str, tiny: Any, rng: np.random.Generator) -> None:
    mask = reference.random_mask(rng, "right", 5, 40)
    ids = rng.integers(5, 97, mask.shape)
    low = bertcpp.AutoModel.from_pretrained(tiny.path, dtype=dtype)
    full = bertcpp.AutoModel.from_pretrained(tiny.path)
    ours, expected = (m(ids, attention_mask=mask, output_hidden_states=True) for m in (low, full))
    assert ours.last_hidden_state.dtype == np.float32
    assert not np.array_equal(ours.last_hidden_state, expected.last_hidden_state)
    for mine, theirs in zip(ours.hidden_states, expected.hidden_states, strict=True):
        assert cosines(mine[mask == 1], theirs[mask == 1]).min() > COSINES[dtype]
    assert np.array_equal(ours.hidden_states[0], expected.hidden_states[0])  # the embeddings stay float32
    if "pooler_output" in expected:
        assert cosines(ours.pooler_output, expected.pooler_output).min() > 0.98


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_same_bits_in_any_batch(dtype: str, minilm: Path, sentences: list[str], rng: np.random.Generator) -> None:
    """Enough tokens for the feed-forward network to go in chunks, and few enough for it not to."""
    model = bertcpp.SentenceTransformer(str(minilm), model_kwargs={"dtype": dtype})
    alone = np.stack([model.encode(text) for text in sentences[:60]])
    for threads in (1, 2, 3, 4):
        model.num_threads = threads
        for _ in range(5):
            chosen = rng.permutation(60)[: rng.integers(1, 61)]
            assert np.array_equal(model.encode([sentences[i] for i in chosen]), alone[chosen])


def test_what_real_text_loses(minilm: Path, sentences: list[str]) -> None:
    texts = sentences[:TEXTS]
    full = bertcpp.SentenceTransformer(str(minilm)).encode(texts)
    for dtype, (mean, worst) in {"bfloat16": (0.9999, 0.9995), "int8": (0.999, 0.995)}.items():
        low = bertcpp.SentenceTransformer(str(minilm), model_kwargs={"dtype": dtype}).encode(texts)
        off = cosines(low, full)
        assert off.mean() >= mean, dtype
        assert off.min() >= worst, dtype


PROGRAM = """
import sys
import numpy as np
import bertcpp

assert bertcpp.instruction_set() == sys.argv[1]
for dtype in ("bfloat16", "int8"):
    model = bertcpp.AutoModel.from_pretrained(sys.argv[2], dtype=dtype)
    np.save(f"{sys.argv[3]}/{dtype}.npy", model(np.load(sys.argv[4])).last_hidden_state)
"""


@pytest.mark.parametrize("instruction_set", bertcpp.instruction_sets())
def test_every_instruction_set(instruction_set: str, minilm: Path, tmp_path: Path, rng: np.random.Generator) -> None:
    """Bytes are multiplied exactly everywhere; only the float32 around them is rounded otherwise."""
    ids = rng.integers(1000, 30000, (3, 50))
    np.save(tmp_path / "ids.npy", ids)
    command = [sys.executable, "-c", PROGRAM, instruction_set, minilm, tmp_path, tmp_path / "ids.npy"]
    environment = os.environ | {"BERTCPP_ISA": instruction_set}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    for dtype in DTYPES:
        here = bertcpp.AutoModel.from_pretrained(minilm, dtype=dtype)(ids).last_hidden_state
        there = np.load(tmp_path / f"{dtype}.npy")
        alike = cosines(here, there)
        assert alike.mean() > 0.9995
        # Where float32 rounds otherwise a byte moves by one step, and the layers after it see that.
        assert alike.min() > 0.998


@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_is_not_hidden(dtype: str, tiny_checkpoint: Callable[[str], Any], rng: np.random.Generator) -> None:
    path = tiny_checkpoint("bert").path
    model = bertcpp.AutoModel.from_pretrained(path, dtype=dtype)
    embeds = rng.standard_normal((2, 7, model.config.hidden_size), dtype=np.float32)
    embeds[1, 3, 2] = np.nan
    states = model(inputs_embeds=embeds).last_hidden_state
    assert np.isfinite(states[0]).all()
    assert np.isnan(states[1]).all()


def test_what_auto_takes(tiny_checkpoint: Callable[[str], Any]) -> None:
    path = tiny_checkpoint("bert").path
    ids = np.arange(5, 25)[None]
    auto = bertcpp.AutoModel.from_pretrained(path, dtype="auto")(ids).last_hidden_state
    fast = bertcpp.instruction_set() in ("amx", "avx512_bf16", "avx512_vnni", "avx2_vnni", "neon_dotprod")
    named = bertcpp.AutoModel.from_pretrained(path, dtype="int8" if fast else "float32")(ids).last_hidden_state
    assert np.array_equal(auto, named)
