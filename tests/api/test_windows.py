"""Texts over the limit in overlapping windows: the same as cutting, computing and averaging by hand."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import embedding_checkpoints as checkpoints
import numpy as np
import pytest
import torch
from embedding_checkpoints import HIDDEN, assert_close, sentence_tokenizer, truth

from bertcpp import SentenceTransformer

if TYPE_CHECKING:
    from pathlib import Path

LIMIT = 16
LONG = "The weather is lovely today, and it's so sunny outside that nobody stays at home. " * 3


@pytest.fixture(scope="module", params=["bert", "roberta"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, seed: int) -> Path:
    """A tiny encoder with mean pooling of 16 tokens at most."""
    path = checkpoints.save_encoder(tmp_path_factory.mktemp(request.param), seed, request.param)
    return checkpoints.save_modules(path, "old", ["mean"], encoder_settings={"max_seq_length": LIMIT})


def by_hand(folder: Path, rows: list[list[int]], types: list[list[int]], weights: list[int]) -> Any:
    """The weighted mean of sequences' mean states, by PyTorch."""
    encoder = truth(folder)[0].auto_model.eval()
    vectors = []
    for ids, segments in zip(rows, types, strict=True):
        inputs = {"input_ids": torch.tensor([ids])}
        if encoder.config.model_type == "bert":
            inputs["token_type_ids"] = torch.tensor([segments])
        with torch.no_grad():
            vectors.append(encoder(**inputs).last_hidden_state[0].mean(0).numpy())
    return np.average(np.array(vectors), axis=0, weights=weights)


@pytest.mark.parametrize("stride", [0, 3, 7])
def test_windows_of_a_text(folder: Path, stride: int) -> None:
    model = SentenceTransformer(folder)
    windows = sentence_tokenizer(folder)(
        LONG, truncation=True, max_length=LIMIT, stride=stride, return_overflowing_tokens=True
    )["input_ids"]
    assert len(windows) > 3
    weights = [len(ids) - 2 - (stride if place else 0) for place, ids in enumerate(windows)]
    expected = by_hand(folder, windows, [[0] * len(ids) for ids in windows], weights)
    assert_close(model.encode(LONG, on_overflow="window", stride=stride), expected)


@pytest.mark.parametrize("long_first", [False, True])
def test_windows_of_a_pair_repeat_the_shorter_text(folder: Path, long_first: bool) -> None:
    model, tokenizer = SentenceTransformer(folder, on_overflow="window"), sentence_tokenizer(folder)
    pair = (LONG, "it") if long_first else ("it", LONG)
    windows = tokenizer(
        *pair,
        truncation="only_first" if long_first else "only_second",
        max_length=LIMIT,
        stride=2,
        return_overflowing_tokens=True,
        return_token_type_ids=True,
    )
    assert len(windows["input_ids"]) > 5
    around = len(tokenizer("it")["input_ids"]) - 2 + tokenizer.num_special_tokens_to_add(pair=True)
    weights = [len(ids) - around - (2 if place else 0) for place, ids in enumerate(windows["input_ids"])]
    expected = by_hand(folder, windows["input_ids"], windows["token_type_ids"], weights)
    assert_close(model.encode([pair], stride=2)[0], expected)


def test_a_pair_of_two_long_texts_is_cut_and_says_so(folder: Path) -> None:
    model = SentenceTransformer(folder, on_overflow="window")
    with pytest.warns(UserWarning, match=r"1 of 2 texts, the first of them inputs\[1\]"):
        vectors = model.encode(["short", (LONG, LONG)])
    assert vectors.shape == (2, HIDDEN)
    room = LIMIT - sentence_tokenizer(folder).num_special_tokens_to_add(pair=True)
    ids = sentence_tokenizer(folder)(LONG, add_special_tokens=False)["input_ids"]
    first = sentence_tokenizer(folder).decode(ids[: room // 2])
    if sentence_tokenizer(folder)(first, add_special_tokens=False)["input_ids"] == ids[: room // 2]:
        assert_close(model.encode([(first, LONG)])[0], vectors[1])


def test_what_fits_has_the_same_bits_and_the_batch_does_not_matter(folder: Path) -> None:
    model = SentenceTransformer(folder, on_overflow="window")
    texts = ["short", LONG, "", ("a pair", "of texts"), LONG[:100], "It's so sunny outside."]
    together = model.encode(texts)
    alone = [model.encode([text])[0] for text in texts]
    assert np.array_equal(together, alone)
    fitting = [text for text in texts if len(str(text)) < 40]
    kept = model.encode(fitting, on_overflow="error")
    assert np.array_equal(kept, [together[texts.index(text)] for text in fitting])
    assert np.array_equal(np.concatenate(list(model.stream(texts))), together)


def test_prompts_are_repeated_in_every_window(folder: Path) -> None:
    model, tokenizer = SentenceTransformer(folder, on_overflow="window"), sentence_tokenizer(folder)
    prompt = "query: "
    ids = tokenizer(prompt + LONG)["input_ids"]
    head, tail = len(tokenizer(prompt)["input_ids"]) - 1, 1
    room = LIMIT - head - tail
    text = ids[head:-tail]
    pieces = [text[start : start + room] for start in range(0, max(len(text) - 2, 1), room - 2)]
    weights = [len(piece) - (2 if place else 0) for place, piece in enumerate(pieces)]
    windows = [ids[:head] + piece + ids[-tail:] for piece in pieces]
    expected = by_hand(folder, windows, [[0] * len(row) for row in windows], weights)
    assert_close(model.encode(LONG, prompt=prompt, stride=2), expected)
    model.set_pooling_include_prompt(False)
    assert np.abs(model.encode(LONG, prompt=prompt, stride=2) - expected).max() > 1e-3


def test_vectors_of_windows_are_brought_to_length_one_where_the_checkpoint_does(tmp_path: Path, seed: int) -> None:
    path = checkpoints.save_encoder(tmp_path, seed)
    settings = {"max_seq_length": LIMIT}
    checkpoints.save_modules(path, "new", ["cls"], [("Normalize", {}, {})], encoder_settings=settings)
    vectors = SentenceTransformer(path).encode(["short", LONG], on_overflow="window")
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    cut = SentenceTransformer(path, on_overflow="window").encode([LONG], truncate_dim=8, normalize_embeddings=True)
    assert np.allclose(cut[0], vectors[1, :8] / np.linalg.norm(vectors[1, :8]), atol=1e-6)


def test_each_token_of_a_long_text_has_one_vector(folder: Path) -> None:
    model, tokenizer = SentenceTransformer(folder, on_overflow="window"), sentence_tokenizer(folder)
    everything = model.encode([LONG, "short", ("one", LONG)], output_value=None, stride=4)
    ids = [tokenizer(LONG)["input_ids"], tokenizer("short")["input_ids"], tokenizer("one", LONG)["input_ids"]]
    assert [found["input_ids"].tolist() for found in everything] == ids
    tokens = model.encode([LONG, "short", ("one", LONG)], output_value="token_embeddings", stride=4)
    for found, states in zip(everything, tokens, strict=True):
        assert np.array_equal(found["token_embeddings"], states)
        assert found["attention_mask"].sum() == len(states)
    start = model.encode(LONG, output_value="token_embeddings", on_overflow="truncate")
    assert np.array_equal(tokens[0][: LIMIT - 1], start[:-1])
    vectors = model.encode([LONG, "short"], stride=4)
    assert np.array_equal(everything[0]["sentence_embedding"], vectors[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert np.array_equal(everything[1]["sentence_embedding"], vectors[1])
