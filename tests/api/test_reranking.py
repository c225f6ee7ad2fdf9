"""CrossEncoder beside sentence-transformers': scores, types, activations, ranking, windows and mistakes."""

from __future__ import annotations

import pickle
import re
import warnings
from typing import TYPE_CHECKING, Any

import cross_encoder_checkpoints as checkpoints
import numpy as np
import pytest
import sentence_transformers
import torch
from embedding_checkpoints import TOKENIZERS, sentence_tokenizer

from bertcpp import CrossEncoder
from bertcpp.errors import InputError, MissingHeadError, SequenceTooLongError, UnsupportedFormatError

if TYPE_CHECKING:
    from pathlib import Path

PAIRS = [("How is the weather?", "Lovely today."), ("", "A"), ("It's sunny", ""), ("große Bäche", "special [SEP] </s>")]


def truth(folder: Path, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return sentence_transformers.CrossEncoder(str(folder), device="cpu", **options)


def predict(model: Any, pairs: Any, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.predict(pairs, show_progress_bar=False, **options)


def assert_equal(ours: Any, theirs: Any, tolerance: float = 1e-5) -> None:
    assert type(ours) is type(theirs)
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype
    assert np.abs(np.asarray(ours) - np.asarray(theirs)).max(initial=0) <= tolerance


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, seed: int) -> Path:
    return checkpoints.save(tmp_path_factory.mktemp("one"), seed, num_labels=1)


@pytest.fixture(scope="module")
def both(folder: Path) -> tuple[CrossEncoder, Any]:
    return CrossEncoder(folder, on_overflow="truncate"), truth(folder)


@pytest.mark.parametrize("labels", [1, 3])
@pytest.mark.parametrize("family", [*TOKENIZERS])
def test_every_family(tmp_path: Path, seed: int, family: str, labels: int) -> None:
    checkpoints.save(tmp_path, seed, family, num_labels=labels)
    ours, theirs = CrossEncoder(tmp_path, on_overflow="truncate"), truth(tmp_path)
    assert ours.num_labels == theirs.num_labels == labels
    pairs = [*PAIRS, ("long " * 60, "longer " * 90)]
    assert_equal(ours.predict(pairs), predict(theirs, pairs))
    assert_equal(ours.predict(pairs[0]), predict(theirs, pairs[0]))


@pytest.mark.parametrize("pairs", [200, 40])
def test_real_text(both: tuple[CrossEncoder, Any], sentences: list[str], rng: np.random.Generator, pairs: int) -> None:
    chosen = rng.choice(len(sentences), (pairs, 2))
    texts = [(sentences[first], sentences[second]) for first, second in chosen]
    ours, theirs = both
    found = ours.predict(texts)
    assert_equal(found, predict(theirs, texts))
    assert np.ptp(found) > 1e-3
    assert np.array_equal(found[::-1], ours.predict(iter(texts[::-1]), batch_size=3))
    assert all(ours.predict(text) == score for text, score in zip(texts[:10], found, strict=False))


@pytest.mark.parametrize(
    "options",
    [
        {"apply_softmax": True},
        {"convert_to_numpy": False},
        {"convert_to_tensor": True},
        {"activation_fn": torch.nn.Identity()},
        {"activation_fn": torch.tanh, "batch_size": 2},
        {"activation_fn": torch.nn.Softplus(), "apply_softmax": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("labels", [1, 3])
def test_options(tmp_path: Path, seed: int, options: dict[str, Any], labels: int) -> None:
    checkpoints.save(tmp_path, seed, num_labels=labels)
    ours, theirs = CrossEncoder(tmp_path), truth(tmp_path)
    for pairs in (PAIRS, PAIRS[0], []):
        found, expected = ours.predict(pairs, **options), predict(theirs, pairs, **options)
        if isinstance(expected, list):
            assert isinstance(found, list)
            assert len(found) == len(expected)
            for one, other in zip(found, expected, strict=True):
                assert_equal(one, other)
        else:
            assert_equal(found, expected)


def test_older_names(both: tuple[CrossEncoder, Any], folder: Path) -> None:
    model = both[0]
    scores = model.predict(sentences=PAIRS, activation_fct=torch.nn.Identity(), num_workers=2)
    assert np.array_equal(scores, model.predict(PAIRS, activation_fn="torch.nn.modules.linear.Identity"))
    again = CrossEncoder(model_name=folder, default_activation_function=torch.nn.Identity(), max_length=9)
    assert again.max_length == again.max_seq_length == 9
    assert np.array_equal(again.predict(PAIRS[1:2]), scores[1:2])
    with pytest.raises(TypeError, match="got both 'inputs' and its older name 'sentences'"):
        model.predict(inputs=PAIRS, sentences=PAIRS)
    with pytest.raises(ValueError, match="max_length must be an integer of at least 1, or None, not 0"):
        CrossEncoder(folder, max_length=0)


NAMES = {
    "torch.nn.modules.linear.Identity": torch.nn.Identity(),
    "torch.nn.modules.activation.Sigmoid": torch.nn.Sigmoid(),
    "torch.nn.modules.activation.Tanh": torch.nn.Tanh(),
    "torch.nn.modules.activation.GELU": torch.nn.GELU(),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("where", ["config.json, new", "config.json, old", "config_sentence_transformers.json"])
@pytest.mark.parametrize("labels", [1, 2])
def test_activations_of_checkpoints(tmp_path: Path, seed: int, where: str, name: str, labels: int) -> None:
    checkpoints.save(tmp_path, seed, num_labels=labels)
    other = "torch.nn.modules.activation.ReLU"
    if where == "config.json, new":
        changes: dict[str, Any] = {"sentence_transformers": {"activation_fn": name, "version": "4.1.0"}}
        checkpoints.change(tmp_path, "config.json", sbert_ce_default_activation_function=other, **changes)
    elif where == "config.json, old":
        checkpoints.change(tmp_path, "config.json", sbert_ce_default_activation_function=name)
    else:
        truth(tmp_path, activation_fn=NAMES[name]).save_pretrained(str(tmp_path))
        checkpoints.change(tmp_path, "config.json", sbert_ce_default_activation_function=other)
    ours = CrossEncoder(tmp_path)
    assert ours.activation_fn == name
    assert_equal(ours.predict(PAIRS), predict(truth(tmp_path), PAIRS))


def test_rank(both: tuple[CrossEncoder, Any], sentences: list[str]) -> None:
    ours, theirs = both
    query, documents = sentences[0], sentences[1:60]
    expected = theirs.rank(query, documents, return_documents=True, show_progress_bar=False)
    found = ours.rank(query, documents, return_documents=True)
    assert np.allclose([one["score"] for one in found], [one["score"] for one in expected], rtol=0, atol=1e-5)
    assert [one["text"] for one in found] == [documents[one["corpus_id"]] for one in found]
    assert all(list(one) == ["corpus_id", "score", "text"] and type(one["score"]) is float for one in found)
    gaps = -np.diff([one["score"] for one in expected])
    if gaps.min() > 2e-5:
        assert [one["corpus_id"] for one in found] == [one["corpus_id"] for one in expected]
    best = ours.rank(query, (text for text in documents), top_k=3)
    assert best == [{key: one[key] for key in ("corpus_id", "score")} for one in found[:3]]
    assert ours.rank(query, []) == ours.rank(query, documents, top_k=0) == []
    twins = ours.rank(query, ["the same"] * 5)
    assert [one["corpus_id"] for one in twins] == [0, 1, 2, 3, 4]


def test_pairs_in_other_containers(both: tuple[CrossEncoder, Any]) -> None:
    ours, theirs = both
    for pairs in (np.array(PAIRS), np.array(PAIRS[0]), [list(pair) for pair in PAIRS], tuple(PAIRS)):
        assert_equal(ours.predict(pairs), predict(theirs, pairs))
    assert np.array_equal(ours.predict(pair for pair in PAIRS), ours.predict(PAIRS))
    assert np.array_equal(ours.predict([np.array(pair) for pair in PAIRS]), ours.predict(PAIRS))


def test_prompts(folder: Path) -> None:
    ours = CrossEncoder(folder, prompts={"web": "web: "}, on_overflow="truncate")
    theirs = truth(folder, prompts={"web": "web: "})
    assert_equal(ours.predict(PAIRS, prompt_name="web"), predict(theirs, PAIRS, prompt_name="web"))
    assert np.array_equal(ours.predict(PAIRS, prompt="web: "), ours.predict([("web: " + a, b) for a, b in PAIRS]))
    with pytest.raises(ValueError, match="prompt_name 'x' is none of the prompts"):
        ours.predict(PAIRS, prompt_name="x")


def test_what_is_cut_is_said(folder: Path) -> None:
    model = CrossEncoder(folder, max_length=16)
    pairs = [("short", "pair"), ("query", "a document that is long " * 9)]
    with pytest.warns(UserWarning, match=r"1 of 2 texts, the first of them inputs\[1\].* 16 tokens") as said:
        model.predict(pairs)
    assert said[0].filename == __file__
    with pytest.raises(SequenceTooLongError, match=r"inputs\[1\] has \d+ tokens"):
        model.predict(pairs, on_overflow="error")
    assert_equal(model.predict(pairs, on_overflow="truncate"), predict(truth(folder, max_length=16), pairs))


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_windows(folder: Path, pooling: Any) -> None:
    model = CrossEncoder(folder, max_length=16, on_overflow="window", activation_fn="torch.nn.Identity")
    query, document = "it", "The weather is lovely today, and it's so sunny outside. " * 3
    tokenizer = sentence_tokenizer(folder)
    cut = {"truncation": "only_second", "max_length": 16, "stride": 3, "return_overflowing_tokens": True}
    rows = tokenizer(query, document, return_token_type_ids=True, padding=True, return_tensors="pt", **cut)
    rows.pop("overflow_to_sample_mapping")
    with torch.no_grad():
        logits = truth(folder).model(**rows).logits[:, 0].numpy()
    lengths = rows["attention_mask"].sum(1).numpy() - 3 - len(tokenizer(query, add_special_tokens=False)["input_ids"])
    weights = lengths - [0, *[3] * (len(lengths) - 1)]
    expected = logits.max() if pooling == "max" else np.average(logits, weights=weights)
    found = model.predict([("a", "b"), (query, document)], stride=3, window_pooling=pooling)
    assert abs(found[1] - expected) < 1e-5
    assert found[0] == model.predict(("a", "b"), on_overflow="error")
    assert model.rank(query, [document], stride=3, window_pooling=pooling)[0]["score"] == found[1]


def test_pickle_and_settings(both: tuple[CrossEncoder, Any], folder: Path) -> None:
    model = pickle.loads(pickle.dumps(both[0]))
    assert np.array_equal(model.predict(PAIRS), both[0].predict(PAIRS))
    assert model.to("cpu") is model.eval() is model
    assert model.device.type == "cpu"
    model.max_length = 8
    assert model.max_seq_length == 8
    model.activation_fn = np.tanh
    assert np.allclose(model.predict(PAIRS[1:2]), np.tanh(model.predict(PAIRS[1:2], activation_fn=lambda x: x)))
    assert re.fullmatch(r"CrossEncoder\('.*', max_seq_length=8\)", repr(model))
    assert CrossEncoder(folder, num_labels=1).num_labels == 1


def test_checkpoints_that_it_cannot_read(minilm: Path, tmp_path: Path, seed: int) -> None:
    with pytest.raises(UnsupportedFormatError, match="lists the modules Transformer, Pooling"):
        CrossEncoder(minilm)
    checkpoints.save(tmp_path, seed, auto="MaskedLM")
    with pytest.raises(MissingHeadError, match="has no head for BertForSequenceClassification"):
        CrossEncoder(tmp_path)
    checkpoints.change(tmp_path, "config_sentence_transformers.json", model_type="SparseEncoder")
    with pytest.raises(UnsupportedFormatError, match="is a 'SparseEncoder', not a CrossEncoder; use SparseEncoder"):
        CrossEncoder(tmp_path)


@pytest.mark.parametrize(
    ("act", "error", "message"),
    [
        (lambda m: m.predict(["a"]), InputError, r"inputs\[0\] is .*'a'.*; pass strings, or pairs of strings"),
        (lambda m: m.predict(["a", "b", "c"]), InputError, r"inputs\[0\] is .*of type list"),
        (lambda m: m.predict([("a", "b"), ("c",)]), InputError, r"inputs\[1\] is \('c',\)"),
        (lambda m: m.predict([("a", "b"), ("c", "d", "e")]), InputError, r"inputs\[1\] is \('c', 'd', 'e'\)"),
        (lambda m: m.predict([("a", None)]), InputError, r"inputs\[0\] is \('a', None\)"),
        (lambda m: m.predict("text"), InputError, "inputs is of type str; pass a pair"),
        (lambda m: m.predict(None), InputError, "inputs is of type NoneType"),
        (lambda m: m.predict(iter(["a", "b"])), InputError, r"inputs\[0\] is \['a'\]"),
        (lambda m: m.predict(PAIRS, batch_size=0), ValueError, "batch_size must be an integer of at least 1"),
        (lambda m: m.predict(PAIRS, device="mps"), ValueError, "device is 'mps', but bertcpp"),
        (lambda m: m.predict(PAIRS, device=["cpu", "cpu"]), ValueError, "leave out pool and lists of devices"),
        (lambda m: m.predict(PAIRS, window_pooling="sum"), ValueError, "window_pooling 'sum' is not one of"),
        (lambda m: m.predict(PAIRS, activation_fn=7), ValueError, "activation_fn must be a function"),
        (lambda m: m.predict(PAIRS, activation_fn="os.system"), UnsupportedFormatError, "'os.system' is not one of"),
        (lambda m: m.predict(PAIRS, activation_fn=lambda x: x.sum()), InputError, "must keep the rows"),
        (lambda m: m.rank(["a"], ["b"]), InputError, "query is of type list"),
        (lambda m: m.rank("a", "b"), InputError, "documents is of type str; pass a list"),
        (lambda m: m.rank("a", ["b", 7]), InputError, r"documents\[1\] is of type int"),
        (lambda m: m.rank("a", ["b"], top_k=-1), ValueError, "top_k must be a number of documents"),
    ],
)
def test_mistakes(both: tuple[CrossEncoder, Any], act: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        act(both[0])


def test_ranking_needs_one_label(tmp_path: Path, seed: int) -> None:
    checkpoints.save(tmp_path, seed, num_labels=2)
    with pytest.raises(ValueError, match="this checkpoint has 2 labels; call predict"):
        CrossEncoder(tmp_path).rank("a", ["b"])
