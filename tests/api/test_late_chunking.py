"""Late chunking: the same as one pass by PyTorch and a mean over each chunk's tokens by hand."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import embedding_checkpoints as checkpoints
import numpy as np
import pytest
import torch
from embedding_checkpoints import HIDDEN, assert_close, sentence_tokenizer, truth

from bertcpp import SentenceTransformer
from bertcpp.errors import ConfigError, InputError, SequenceTooLongError

if TYPE_CHECKING:
    from pathlib import Path

TEXT = "The weather is lovely today. It's so sunny outside! Zwei große Bäche fließen über Wiesen."
SPANS = [match.span() for match in re.finditer(r"[^.!]+[.!]", TEXT)]
CHUNKS = [TEXT[start:end] for start, end in SPANS]


@pytest.fixture(scope="module", params=["bert", "roberta", "xlm-roberta"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, seed: int) -> Path:
    """A tiny encoder that takes 128 tokens."""
    path = checkpoints.save_encoder(tmp_path_factory.mktemp(request.param), seed, request.param)
    return checkpoints.save_modules(path, "new", ["mean", "max"])


def by_hand(folder: Path, text: str, spans: list[tuple[int, int]], prompt: str = "") -> Any:
    """The mean and the maximum over each span's tokens of one pass by PyTorch."""
    batch = sentence_tokenizer(folder)(
        prompt + text, return_offsets_mapping=True, return_special_tokens_mask=True, return_tensors="pt"
    )
    offsets, special = batch.pop("offset_mapping")[0].tolist(), batch.pop("special_tokens_mask")[0].tolist()
    encoder = truth(folder)[0].auto_model.eval()
    with torch.no_grad():
        states = encoder(**batch).last_hidden_state[0].numpy()
    vectors = []
    for start, end in spans:
        inside = [
            place
            for place, (first, last) in enumerate(offsets)
            if not special[place] and start <= max(first, last - 1) - len(prompt) < end
        ]
        vectors.append(np.concatenate([states[inside].mean(0), states[inside].max(0)]))
    return np.array(vectors)


@pytest.mark.parametrize("prompt", ["", "passage: "])
def test_chunks_are_pooled_from_one_pass(folder: Path, prompt: str) -> None:
    model = SentenceTransformer(folder)
    assert len(SPANS) == 3
    found = model.encode_chunks(TEXT, SPANS, prompt=prompt)
    assert found.spans == SPANS
    assert_close(found.embeddings, by_hand(folder, TEXT, SPANS, prompt))


def test_chunks_of_several_texts_do_not_depend_on_the_batch(folder: Path) -> None:
    model = SentenceTransformer(folder)
    halves = [(0, 20), (10, len(TEXT))]
    several = model.encode_chunks((text for text in [TEXT, "short", TEXT]), [SPANS, [(0, 5)], halves])
    assert [found.spans for found in several] == [SPANS, [(0, 5)], halves]
    assert np.array_equal(several[0].embeddings, model.encode_chunks(TEXT, SPANS).embeddings)
    assert_close(several[2].embeddings, by_hand(folder, TEXT, halves))
    tensors = model.encode_chunks([TEXT], [SPANS], convert_to_tensor=True)
    assert torch.is_tensor(tensors[0].embeddings)
    assert np.array_equal(tensors[0].embeddings.numpy(), several[0].embeddings)


@pytest.mark.parametrize("size", [1, 4, 9, 1000])
def test_chunks_of_a_number_of_tokens(folder: Path, size: int) -> None:
    model, tokenizer = SentenceTransformer(folder), sentence_tokenizer(folder)
    text = TEXT[: SPANS[1][1]]  # ASCII: RoBERTa's tokens may be parts of other characters
    found = model.encode_chunks(text, chunk_tokens=size)
    assert_close(found.embeddings, by_hand(folder, text, found.spans))
    covered = {place for start, end in found.spans for place in range(start, end)}
    assert all(place in covered for place, letter in enumerate(text) if letter != " ")
    assert [end for _, end in found.spans] == sorted(end for _, end in found.spans)
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    for start, end in found.spans:
        inside = [place for place, (_, last) in enumerate(encoded["offset_mapping"]) if start < last <= end]
        assert len(inside) <= size or len({encoded.word_ids()[place] for place in inside}) == 1


def test_texts_over_the_limit_are_computed_in_windows_or_refused(folder: Path) -> None:
    model = SentenceTransformer(folder)
    model.max_seq_length = 24
    with pytest.raises(SequenceTooLongError, match=r"inputs\[1\] has \d+ tokens"):
        model.encode_chunks(["short", TEXT], chunk_tokens=5, on_overflow="error")
    found = model.encode_chunks(TEXT, SPANS, stride=8)
    assert found.embeddings.shape == (3, 2 * HIDDEN)
    states = model.encode(TEXT, output_value="token_embeddings", on_overflow="window", stride=8)
    last = sentence_tokenizer(folder)(TEXT[: SPANS[0][1]])["input_ids"]
    assert_close(found.embeddings[0, :HIDDEN], states[1 : len(last) - 1].mean(0))


def test_vectors_pass_through_the_modules_and_settings(tmp_path: Path, seed: int, rng: np.random.Generator) -> None:
    path = checkpoints.save_encoder(tmp_path, seed)
    heads = [checkpoints.dense(rng, HIDDEN, 12), ("Normalize", {}, {})]
    checkpoints.save_modules(path, "new", ["mean_sqrt_len_tokens"], heads)
    model = SentenceTransformer(path)
    vectors = model.encode_chunks(TEXT, SPANS).embeddings
    assert vectors.shape == (3, 12)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    cut = model.encode_chunks(TEXT, SPANS, truncate_dim=5, normalize_embeddings=True).embeddings
    assert np.allclose(cut, vectors[:, :5] / np.linalg.norm(vectors[:, :5], axis=1, keepdims=True), atol=1e-6)
    nothing = model.encode_chunks(["", "  "], chunk_tokens=3, truncate_dim=5)
    assert [(found.spans, found.embeddings.shape) for found in nothing] == [([], (0, 5))] * 2
    assert model.encode_chunks([], chunk_tokens=3) == []


@pytest.mark.parametrize("mode", ["cls", "lasttoken", "weightedmean"])
def test_checkpoints_that_pool_single_tokens_are_refused(tmp_path: Path, seed: int, mode: str) -> None:
    path = checkpoints.save_modules(checkpoints.save_encoder(tmp_path, seed), "new", [mode])
    with pytest.raises(ConfigError, match=f"pools by '{mode}'.*on_overflow='window'"):
        SentenceTransformer(path).encode_chunks(TEXT, SPANS)


@pytest.mark.parametrize(
    ("inputs", "options", "error", "message"),
    [
        (TEXT, {}, ValueError, "either spans or chunk_tokens"),
        (TEXT, {"spans": SPANS, "chunk_tokens": 3}, ValueError, "either spans or chunk_tokens"),
        (TEXT, {"chunk_tokens": 0}, ValueError, "chunk_tokens must be an integer of at least 1, or None, not 0"),
        (TEXT, {"spans": [(0, 400)]}, InputError, r"spans\[0\]\[0\] is \(0, 400\), which is no part of the \d+"),
        (TEXT, {"spans": [(0, 4), (5, 5)]}, InputError, r"spans\[0\]\[1\] is \(5, 5\)"),
        (TEXT, {"spans": [3]}, InputError, r"spans\[0\]\[0\] is 3; pass \(start, end\)"),
        (TEXT, {"spans": [(28, 29)]}, InputError, r"\(28, 29\), holds no token of inputs\[0\]"),
        ([TEXT], {"spans": [SPANS, SPANS]}, InputError, "there are 1 texts but spans of 2"),
        ([TEXT], {"spans": [7]}, InputError, r"spans\[0\] is of type int"),
        ([None], {"spans": [SPANS]}, InputError, r"inputs\[0\] is of type NoneType"),
        (["a", ("b", "c")], {"chunk_tokens": 2}, InputError, r"inputs\[1\] is of type tuple; pass strings"),
        (7, {"chunk_tokens": 2}, InputError, "inputs is of type int"),
        (TEXT, {"chunk_tokens": 2, "on_overflow": "truncate"}, ValueError, "on_overflow 'truncate' is not one of"),
    ],
)
def test_mistakes(minilm: Path, inputs: Any, options: dict[str, Any], error: type[Exception], message: str) -> None:
    model = SentenceTransformer(minilm)
    with pytest.raises(error, match=message):
        model.encode_chunks(inputs, **options)
