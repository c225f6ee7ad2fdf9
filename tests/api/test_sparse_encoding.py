"""SparseEncoder beside sentence-transformers': vectors, types, similarity, words, long texts and mistakes."""

from __future__ import annotations

import json
import pickle
import sys
import warnings
from typing import TYPE_CHECKING, Any

import cross_encoder_checkpoints as checkpoints
import numpy as np
import pytest
import sentence_transformers
import torch
from embedding_checkpoints import TEXTS, TOKENIZERS, assert_close, sentence_tokenizer

from bertcpp import SparseEncoder
from bertcpp.errors import InputError, MissingHeadError, SequenceTooLongError, UnsupportedFormatError
from bertcpp.sparse_vectors import SparseVectors

if TYPE_CHECKING:
    from pathlib import Path

LONG = "The weather is lovely today, and it's so sunny outside that nobody stays at home. " * 3


def truth(folder: Path, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return sentence_transformers.SparseEncoder(str(folder), device="cpu", **options)


def encode(model: Any, inputs: Any, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.encode(inputs, show_progress_bar=False, **options)


def assert_same(ours: Any, theirs: Any) -> None:
    assert type(ours) is type(theirs)
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype
    assert ours.layout == theirs.layout
    assert_close(ours.to_dense().numpy(), theirs.to_dense().numpy())


def save_modules(folder: Path, layout: str, **pooling: Any) -> Path:
    """What sentence-transformers writes beside a masked language model, before version 5.4 and since."""
    first = "sparse_encoder.models.MLMTransformer" if layout == "old" else "base.modules.transformer.Transformer"
    second = "sparse_encoder.models.SpladePooling" if layout == "old" else "sparse_encoder.modules.SpladePooling"
    entries = [("0", "", first), ("1", "1_SpladePooling", second)]
    modules = [
        {"idx": place, "name": name, "path": path, "type": f"sentence_transformers.{kind}"}
        for place, (name, path, kind) in enumerate(entries)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_SpladePooling").mkdir(exist_ok=True)
    (folder / "1_SpladePooling" / "config.json").write_text(json.dumps(pooling))
    if layout == "new":
        modality = {"text": {"method": "forward", "method_output_name": "logits"}}
        settings = {"transformer_task": "fill-mask", "modality_config": modality}
        checkpoints.change(folder, "sentence_bert_config.json", module_output_name="token_embeddings", **settings)
    checkpoints.change(
        folder, "config_sentence_transformers.json", model_type="SparseEncoder", prompts={"query": "q: "}
    )
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, seed: int) -> Path:
    path = checkpoints.save(tmp_path_factory.mktemp("splade"), seed, auto="MaskedLM")
    return save_modules(path, "new", pooling_strategy="max", activation_function="relu")


@pytest.fixture(scope="module")
def both(folder: Path) -> tuple[SparseEncoder, Any]:
    return SparseEncoder(folder, on_overflow="truncate"), truth(folder)


@pytest.mark.parametrize("family", [*TOKENIZERS])
def test_every_family_without_modules(tmp_path: Path, seed: int, family: str) -> None:
    checkpoints.save(tmp_path, seed, family, "MaskedLM")
    assert_same(SparseEncoder(tmp_path, on_overflow="truncate").encode(TEXTS), encode(truth(tmp_path), TEXTS))


@pytest.mark.parametrize("layout", ["old", "new"])
@pytest.mark.parametrize("strategy", ["max", "sum"])
@pytest.mark.parametrize("activation", ["relu", "log1p_relu"])
def test_pooling(tmp_path: Path, seed: int, layout: str, strategy: str, activation: str) -> None:
    checkpoints.save(tmp_path, seed, auto="MaskedLM")
    save_modules(tmp_path, layout, pooling_strategy=strategy, activation_function=activation)
    ours = SparseEncoder(tmp_path, on_overflow="truncate")
    found = ours.encode(TEXTS)
    assert_same(found, encode(truth(tmp_path), TEXTS))
    for size in (1, 7):
        ours.splade_pooling_chunk_size = size
        again = ours.encode(TEXTS[::-1], batch_size=2)
        assert torch.equal(again.to_dense().flip(0), found.to_dense())
        assert ours.splade_pooling_chunk_size == size


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"convert_to_sparse_tensor": False},
        {"convert_to_tensor": False},
        {"convert_to_tensor": False, "convert_to_sparse_tensor": False},
        {"max_active_dims": 9},
        {"prompt": "query: ", "save_to_cpu": True},
        {"prompt_name": "query"},
    ],
    ids=str,
)
def test_options(both: tuple[SparseEncoder, Any], options: dict[str, Any]) -> None:
    ours, theirs = both
    for inputs in (TEXTS, TEXTS[0], []):
        found, expected = ours.encode(inputs, **options), encode(theirs, inputs, **options)
        if isinstance(expected, list):
            assert isinstance(found, list)
            assert len(found) == len(expected)
            for one, other in zip(found, expected, strict=True):
                assert_same(one, other)
        else:
            assert_same(found, expected)
    assert_same(ours.encode_query(TEXTS), theirs.encode_query(TEXTS, show_progress_bar=False))
    assert_same(ours.encode_document(TEXTS[0]), theirs.encode_document(TEXTS[0], show_progress_bar=False))


def test_real_text_in_any_batch(both: tuple[SparseEncoder, Any], sentences: list[str]) -> None:
    texts = sentences[:200]
    found = both[0].encode(texts, convert_to_numpy=True)
    assert_close(found.to_dense(), encode(both[1], texts, convert_to_sparse_tensor=False).numpy())
    assert np.array_equal(both[0].encode(texts[7], convert_to_numpy=True).to_dense(), found[7].to_dense())


def test_without_torch(both: tuple[SparseEncoder, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    ours = both[0]
    expected = ours.encode(TEXTS).to_dense().numpy()
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    found = ours.encode(TEXTS)
    assert isinstance(found, SparseVectors)
    assert repr(found) == f"SparseVectors(shape={expected.shape}, nnz={np.count_nonzero(expected)})"
    assert np.array_equal(found.to_dense(), expected)
    assert np.array_equal(ours.encode(TEXTS, convert_to_sparse_tensor=False), expected)
    assert ours.encode(TEXTS[0]).shape == (expected.shape[1],)
    assert np.array_equal(found[-1].to_dense(), expected[-1])
    assert [len(row.values) for row in found] == np.count_nonzero(expected, axis=1).tolist()
    assert np.allclose(ours.similarity(found, found), expected @ expected.T, rtol=1e-5)
    assert ours.encode([]).shape == (0, expected.shape[1])


@pytest.mark.parametrize("name", ["dot", "cosine", "euclidean", "manhattan"])
def test_similarity(both: tuple[SparseEncoder, Any], name: str) -> None:
    ours, theirs = both
    texts = TEXTS * 12
    vectors = ours.encode(texts)
    ours.similarity_fn_name = theirs.similarity_fn_name = name
    dense = vectors.to_dense().double()  # single precision leaves little of the distances of like vectors
    expected = theirs.similarity(dense, dense[:40]).numpy()
    for a, b in ((vectors, vectors.to_dense()[:40]), (list(vectors), list(vectors)[:40])):
        found = ours.similarity(a, b)
        assert torch.is_tensor(found)
        assert_close(found, expected, 2e-4)
    rows = SparseVectors.of(vectors)
    assert_close(ours.similarity(rows, rows.to_dense()[:40]), expected, 2e-4)
    turned = theirs.similarity_pairwise(dense, dense.flip(0))
    assert_close(ours.similarity_pairwise(rows, rows.to_dense()[::-1]), turned, 2e-4)
    ours.similarity_fn_name = theirs.similarity_fn_name = "dot"
    assert_close(ours.similarity(vectors[0], vectors), theirs.similarity(vectors.to_dense()[0], vectors.to_dense()))


def test_words(both: tuple[SparseEncoder, Any]) -> None:
    ours, theirs = both
    vectors = ours.encode(TEXTS)
    for given in (vectors, vectors[0], vectors.to_dense()):
        for top_k in (None, 5):
            found, expected = ours.decode(given, top_k=top_k), theirs.decode(given, top_k=top_k)
            assert found == expected or [[w for _, w in row] for row in found] == [
                [w for _, w in row] for row in expected
            ]
    assert ours.decode(SparseVectors.of(vectors), top_k=3) == ours.decode(vectors, top_k=3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what PyTorch says of its sparse tensors
        assert ours.sparsity(vectors) == pytest.approx(theirs.sparsity(vectors))
        assert_same(ours.intersection(vectors[0], vectors), theirs.intersection(vectors[0], vectors))
        assert_same(ours.intersection(vectors[0], vectors[1]), theirs.intersection(vectors[0], vectors[1]))
    none = SparseVectors.from_rows([], vectors.shape[1])
    assert ours.decode(none) == []
    assert ours.sparsity(none) == {"active_dims": 0.0, "sparsity_ratio": 1.0}


def test_long_texts(folder: Path) -> None:
    model = SparseEncoder(folder)
    model.max_seq_length = 16
    with pytest.warns(UserWarning, match=r"1 of 2 texts, the first of them inputs\[1\]"):
        model.encode(["short", LONG])
    with pytest.raises(SequenceTooLongError, match=r"inputs\[0\] has \d+ tokens"):
        model.encode(LONG, on_overflow="error")
    cut = {"truncation": True, "max_length": 16, "stride": 4, "return_overflowing_tokens": True}
    rows = sentence_tokenizer(folder)(LONG, **cut)["input_ids"]
    expected = np.zeros(model.get_embedding_dimension(), np.float32)
    classifier = truth(folder).transformers_model
    for place, ids in enumerate(rows):
        with torch.no_grad():
            scores = classifier(input_ids=torch.tensor([ids])).logits[0].numpy()
        own = scores[5 if place else 0 : len(ids) if place == len(rows) - 1 else -1]
        expected = np.maximum(expected, np.log1p(np.maximum(own, 0)).max(0))
    found = model.encode(["short", LONG], on_overflow="window", stride=4, convert_to_numpy=True)
    assert_close(found[1].to_dense(), expected)
    short = model.encode("short", convert_to_numpy=True)
    assert np.array_equal(found[0].to_dense(), short.to_dense())


def test_pickle_and_settings(folder: Path, both: tuple[SparseEncoder, Any]) -> None:
    model = pickle.loads(pickle.dumps(both[0]))
    assert torch.equal(model.encode(TEXTS).to_dense(), both[0].encode(TEXTS).to_dense())
    assert model.get_sentence_embedding_dimension() == both[1].get_embedding_dimension()
    few = SparseEncoder(folder, max_active_dims=3, similarity_fn_name="cosine", on_overflow="truncate")
    assert few.similarity_fn_name == "cosine"
    assert max(len(row) for row in few.decode(few.encode(TEXTS))) == 3


def test_checkpoints_that_it_cannot_read(minilm: Path, tmp_path: Path, seed: int) -> None:
    with pytest.raises(UnsupportedFormatError, match=r"lists the modules Transformer, Pooling.*SpladePooling"):
        SparseEncoder(minilm)
    checkpoints.save(tmp_path, seed)
    with pytest.raises(MissingHeadError, match="has no head for BertForMaskedLM"):
        SparseEncoder(tmp_path)
    save_modules(tmp_path, "old", pooling_strategy="mean")
    with pytest.raises(UnsupportedFormatError, match="pools by 'mean' after 'relu'; known are 'max' and 'sum'"):
        SparseEncoder(tmp_path)


@pytest.mark.parametrize(
    ("act", "error", "message"),
    [
        (lambda m: m.encode(None), InputError, "inputs is of type NoneType"),
        (lambda m: m.encode(["a", 7]), InputError, r"inputs\[1\] is 7"),
        (lambda m: m.encode("a", batch_size=-1), ValueError, "batch_size must be an integer of at least 1"),
        (lambda m: m.encode("a", max_active_dims=0), ValueError, "max_active_dims must be an integer of at least 1"),
        (lambda m: m.encode("a", pool={}), ValueError, "leave out pool"),
        (lambda m: m.decode("a"), InputError, "embeddings must be vectors"),
        (lambda m: m.decode(np.zeros((1, 3))), InputError, r"have 3 dimensions, but this model's vocabulary"),
        (lambda m: m.decode(np.zeros((1, 3, 3))), InputError, r"not ndarray of 3 dimensions"),
        (lambda m: m.decode(m.encode("a"), top_k=0), ValueError, "top_k must be an integer of at least 1"),
        (lambda m: m.similarity(np.ones((1, 3)), np.ones((1, 4))), ValueError, "3 and of 4 dimensions"),
        (lambda m: m.similarity_pairwise(np.ones((1, 3)), np.ones((2, 3))), ValueError, "as many rows"),
        (lambda m: m.intersection(np.ones((2, 3)), np.ones(3)), InputError, "embeddings_1 must be one vector"),
        (lambda m: m.encode(["a"], convert_to_numpy=True)[3], IndexError, "there are 1 vectors, and none at 3"),
        (lambda m: m.encode(["a"], convert_to_numpy=True)[:1], InputError, "take one vector of several"),
        (lambda m: setattr(m, "similarity_fn_name", "maxsim"), ValueError, "no similarity function 'maxsim'"),
    ],
)
def test_mistakes(both: tuple[SparseEncoder, Any], act: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        act(both[0])
