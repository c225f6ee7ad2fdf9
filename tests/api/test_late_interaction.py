"""MultiVectorEncoder: the same as padding, masking and multiplying by hand with PyTorch, for each layout on disk."""

from __future__ import annotations

import json
import pickle
import string
import warnings
from typing import TYPE_CHECKING, Any

import cross_encoder_checkpoints
import embedding_checkpoints as checkpoints
import numpy as np
import pytest
import torch
import transformers
from embedding_checkpoints import HIDDEN, assert_close, sentence_tokenizer
from safetensors.numpy import load_file, save_file

from bertcpp import MultiVectorEncoder
from bertcpp.errors import ConfigError, InputError, UnsupportedFormatError
from bertcpp.maxsim import maxsim, maxsim_pairwise

if TYPE_CHECKING:
    from pathlib import Path

QUERIES = ["What is it?", "How are you, my friend, on this lovely day outside in the garden? " * 2, ""]
DOCUMENTS = ["The weather is lovely today.", "It's so sunny; isn't it?", "...", "Long text here. " * 30]
WIDTH = 16


def projection(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((WIDTH, HIDDEN)).astype(np.float32)


def by_hand(
    folder: Path, texts: list[str], weight: np.ndarray, length: int, expansion: dict[str, Any] | None, skip: str
) -> list[np.ndarray]:
    """The vectors of each text, one at a time, by transformers."""
    tokenizer = sentence_tokenizer(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = transformers.AutoModel.from_pretrained(folder).eval()
    skipped = [tokenizer.convert_tokens_to_ids(word) for word in skip]
    found = []
    for text in texts:
        ids = tokenizer(text, truncation=True, max_length=length)["input_ids"]
        mask = [1] * len(ids)
        if expansion is not None:
            added = max(expansion["length"] - len(ids), 0)
            ids, mask = ids + [tokenizer.mask_token_id] * added, mask + [int(expansion["attend"])] * added
        with torch.no_grad():
            states = model(torch.tensor([ids]), attention_mask=torch.tensor([mask])).last_hidden_state[0].numpy()
        vectors = (states @ weight.T)[[token not in skipped for token in ids]]
        found.append(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    return found


def assert_vectors(ours: list[Any], expected: list[np.ndarray]) -> None:
    assert [vectors.shape for vectors in ours] == [vectors.shape for vectors in expected]
    for one, other in zip(ours, expected, strict=True):
        assert_close(one, other)


def save(folder: Path, family: str, seed: int, weight: np.ndarray, **knobs: Any) -> Path:
    """What sentence-transformers 6 writes."""
    checkpoints.save_encoder(folder, seed, family)
    kinds = ["Transformer", "Dense", "MultiVectorMask", "Normalize"]
    dense = {"in_features": HIDDEN, "out_features": WIDTH, "bias": False, "module_input_name": "token_embeddings"}
    configs: dict[str, dict[str, Any]] = {
        "Dense": dense | {"activation_function": "torch.nn.modules.linear.Identity"},
        "MultiVectorMask": {"skiplist_words": list(string.punctuation), "skiplist_tasks": ["document"]},
        "Normalize": {"module_input_name": "token_embeddings"},
    }
    modules = []
    for place, kind in enumerate(kinds):
        path = f"{place}_{kind}" if place else ""
        modules.append({"idx": place, "name": str(place), "path": path, "type": f"sentence_transformers.x.{kind}"})
        if place:
            (folder / path).mkdir()
            (folder / path / "config.json").write_text(json.dumps(configs[kind]))
    save_file({"linear.weight": weight}, folder / "1_Dense" / "model.safetensors")
    (folder / "modules.json").write_text(json.dumps(modules))
    cross_encoder_checkpoints.change(folder, "sentence_bert_config.json", **knobs)
    settings = {"model_type": "MultiVectorEncoder", "prompts": {"query": "[Q] ", "document": "[D] "}}
    return cross_encoder_checkpoints.change(folder, "config_sentence_transformers.json", **settings)


EXPANSIONS = [
    None,
    {"strategy": "fixed", "length": 12, "attend": False},
    {"strategy": "min", "length": 12, "attend": True},
]


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert"])
@pytest.mark.parametrize("expansion", EXPANSIONS, ids=str)
def test_own_layout(tmp_path: Path, seed: int, rng: np.random.Generator, family: str, expansion: Any) -> None:
    weight = projection(rng)
    save(tmp_path, family, seed, weight, query_expansion=expansion, document_length=20)
    model = MultiVectorEncoder(tmp_path, on_overflow="truncate")
    length = 12 if expansion is not None and expansion["strategy"] == "fixed" else 64
    queries = by_hand(tmp_path, ["[Q] " + text for text in QUERIES], weight, length, expansion, "")
    assert_vectors(model.encode_query(QUERIES), queries)
    documents = by_hand(tmp_path, ["[D] " + text for text in DOCUMENTS], weight, 20, None, string.punctuation)
    found = model.encode_document(DOCUMENTS, convert_to_numpy=True)
    assert_vectors(found, documents)
    assert all(
        np.array_equal(model.encode_document(DOCUMENTS[3 - n], convert_to_numpy=True), found[3 - n]) for n in range(4)
    )
    scores = np.array([[(q @ d.T).max(1).sum() for d in documents] for q in queries])
    assert torch.is_tensor(model.similarity(model.encode_query(QUERIES), found))
    assert_close(model.similarity(model.encode_query(QUERIES, convert_to_numpy=True), found), scores)
    assert_close(model.similarity_pairwise(queries, documents[:3]), np.diag(scores))
    model.similarity_fn_name = "meanmaxsim"
    assert_close(model.similarity(queries, documents), scores / np.array([[len(q)] for q in queries]))
    again = pickle.loads(pickle.dumps(model))
    assert all(np.array_equal(a, b) for a, b in zip(again.encode_document(DOCUMENTS), found, strict=True))


def test_pylate_layout(tmp_path: Path, seed: int, rng: np.random.Generator) -> None:
    weight = projection(rng)
    save(tmp_path, "bert", seed, weight)
    modules = json.loads((tmp_path / "modules.json").read_text())[:2]
    modules[1]["type"] = "pylate.models.Dense.Dense"
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    settings = {"query_prefix": "[Q] ", "document_prefix": "[D] ", "query_length": 10, "document_length": 18}
    cross_encoder_checkpoints.change(
        tmp_path, "config_sentence_transformers.json", model_type="ColBERT", prompts={}, **settings
    )
    model = MultiVectorEncoder(tmp_path, on_overflow="truncate")
    expansion = {"length": 10, "attend": False}
    queries = by_hand(tmp_path, ["[Q] " + text for text in QUERIES], weight, 10, expansion, "")
    assert_vectors(model.encode_query(QUERIES), queries)
    documents = by_hand(tmp_path, ["[D] " + text for text in DOCUMENTS], weight, 18, None, string.punctuation)
    assert_vectors(model.encode_document(DOCUMENTS), documents)


def test_stanford_layout(tmp_path: Path, seed: int, rng: np.random.Generator) -> None:
    weight = projection(rng)
    checkpoints.save_encoder(tmp_path, seed)
    tensors = load_file(tmp_path / "model.safetensors") | {"linear.weight": weight}
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    cross_encoder_checkpoints.change(tmp_path, "config.json", architectures=["HF_ColBERT"])
    metadata = {"query_maxlen": 9, "doc_maxlen": 17, "query_token_id": "the", "doc_token_id": "a"}
    (tmp_path / "artifact.metadata").write_text(json.dumps(metadata))
    model = MultiVectorEncoder(tmp_path, on_overflow="truncate")
    expansion = {"length": 9, "attend": False}
    assert_vectors(
        model.encode_query(QUERIES), by_hand(tmp_path, ["the " + text for text in QUERIES], weight, 9, expansion, "")
    )
    documents = by_hand(tmp_path, ["a " + text for text in DOCUMENTS], weight, 17, None, string.punctuation)
    assert_vectors(model.encode_document(DOCUMENTS), documents)
    with pytest.warns(UserWarning, match="2 of 3 texts|1 of 3 texts"):
        MultiVectorEncoder(tmp_path).encode_query(QUERIES)


def test_an_encoder_without_projection_says_so(minilm: Path) -> None:
    with pytest.warns(UserWarning, match="has no projection for late interaction"):
        model = MultiVectorEncoder(minilm, on_overflow="window")
    model.max_seq_length = 16
    long = model.encode("The weather is lovely today. " * 10, convert_to_numpy=True)
    assert long.shape == (62, 384)
    assert np.allclose(np.linalg.norm(long, axis=1), 1, atol=1e-5)
    assert model.encode([]) == []
    assert model.get_embedding_dimension() == 384
    for act, error, message in (
        (lambda: model.encode("a", task="x"), ValueError, "task 'x' is not one of"),
        (lambda: model.encode("a", output_value="sentence_embedding"), ValueError, "output_value"),
        (lambda: model.encode([None]), InputError, r"inputs\[0\] is None"),
        (lambda: setattr(model, "similarity_fn_name", "cosine"), ValueError, "'cosine' is not one of"),
    ):
        with pytest.raises(error, match=message):
            act()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    ("knobs", "error", "message"),
    [
        ({"query_expansion": {"strategy": "odd", "length": 3}}, UnsupportedFormatError, "no strategy that is known"),
        ({"query_expansion": {"strategy": "fixed"}}, ConfigError, "must be a positive integer, got None"),
        ({"query_expansion": {"strategy": "fixed", "length": 3, "token": "?!"}}, ConfigError, r"by '\?!', which is no"),
        ({"document_length": 0}, ConfigError, "must be a positive integer, got 0"),
    ],
)
def test_impossible_settings(
    tmp_path: Path, seed: int, rng: np.random.Generator, knobs: Any, error: type[Exception], message: str
) -> None:
    save(tmp_path, "bert", seed, projection(rng), **knobs)
    with pytest.raises(error, match=message):
        MultiVectorEncoder(tmp_path)


def test_maxsim_takes_arrays_tensors_and_lists(rng: np.random.Generator) -> None:
    queries, documents = rng.standard_normal((2, 3, 4)), [rng.standard_normal((n, 4)) for n in (5, 0, 1)]
    scores = maxsim(queries, documents)
    assert scores.shape == (2, 3)
    assert scores[0, 1] == scores[1, 1] == np.float32(-1e9)
    assert_close(scores[1, 0], (queries[1] @ documents[0].T).max(1).sum())
    assert_close(maxsim(torch.from_numpy(queries), documents), scores)
    assert_close(maxsim(queries[0], documents[0]), scores[:1, :1])
    assert_close(maxsim_pairwise(list(queries), documents[:2]), [scores[0, 0], scores[1, 1]])
    with pytest.raises(InputError, match="2 queries but 3 documents"):
        maxsim_pairwise(queries, documents)
    with pytest.raises(InputError, match="of 4 and 5 dimensions cannot be compared"):
        maxsim(queries, [np.ones((1, 5))])
    with pytest.raises(InputError, match="queries must be arrays"):
        maxsim([np.ones(3)], documents)
