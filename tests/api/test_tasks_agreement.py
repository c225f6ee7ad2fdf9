"""Every task of `bertcpp.pipeline` beside transformers' on the same checkpoints, over real, random and nasty texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import task_checkpoints as checkpoints
import tokenizer_checkpoints

import bertcpp

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FAMILIES = ("bert", "roberta", "xlm-roberta")
Opener = "Callable[..., checkpoints.Sides]"


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory, minilm: Path) -> Callable[..., checkpoints.Sides]:
    """Both sides' task over a checkpoint of a family, each made once."""
    known: dict[Any, checkpoints.Sides] = {}

    def open_task(task: str, family: str = "bert", **changes: Any) -> checkpoints.Sides:
        key = (task, family, repr(changes))
        if key not in known:
            folder = checkpoints.save(tmp_path_factory.mktemp("checkpoint"), task, minilm, family, **changes)
            known[key] = checkpoints.sides(folder, task)
        return known[key]

    return open_task


@pytest.fixture(scope="module")
def texts(sentences: list[str]) -> list[str]:
    """220 texts: real English, odd ones of many scripts, and random ones from a word to 200 words."""
    words = " ".join(sentences).split()
    drawn = checkpoints.ragged_texts(np.random.default_rng(5), words, 15, 200)
    odd = [text for text in tokenizer_checkpoints.TEXTS if text]
    chosen = [*sentences[:: max(1, len(sentences) // 180)][:181], *odd, *drawn]
    assert len(chosen) >= 200
    return chosen


# Text classification.


@pytest.mark.parametrize("family", FAMILIES)
def test_text_classification(family: str, opened: Any, texts: list[str]) -> None:
    pair = opened("text-classification", family, **checkpoints.named({0: "bad", 1: "so-so", 2: "good", 3: "?"}))
    texts = checkpoints.fitting(texts, family)
    answers = checkpoints.agree(pair, texts)
    if family == "bert":  # random weights of the others give one label the most, whatever the text
        assert len({answer["label"] for answer in answers}) > 1
    for text in texts[:8]:
        checkpoints.agree(pair, text)


@pytest.mark.parametrize("top_k", [None, 1, 2, 3, 9, ""])
def test_text_classification_top_k(top_k: Any, opened: Any, texts: list[str]) -> None:
    pair = opened("text-classification", num_labels=4)
    checkpoints.agree(pair, texts[::9], top_k=top_k)
    checkpoints.agree(pair, texts[0], top_k=top_k)
    made = checkpoints.sides(pair.folder, "text-classification", top_k=top_k)
    checkpoints.agree(made, texts[:3])
    checkpoints.agree(made, texts[0])


@pytest.mark.parametrize("function", ["sigmoid", "softmax", "none"])
def test_text_classification_functions(function: str, opened: Any, texts: list[str]) -> None:
    pair = opened("text-classification", num_labels=4)
    checkpoints.agree(pair, texts[::9], function_to_apply=function, top_k=None)


@pytest.mark.parametrize(
    "fields",
    [
        {"num_labels": 1},
        {"num_labels": 1, "problem_type": "regression"},
        {"num_labels": 1, "problem_type": "single_label_classification"},
        {"num_labels": 3, "problem_type": "regression"},
        {"num_labels": 3, "problem_type": "multi_label_classification"},
        {"num_labels": 3, "problem_type": "single_label_classification"},
    ],
    ids=str,
)
def test_text_classification_by_problem_type(fields: dict[str, Any], opened: Any, texts: list[str]) -> None:
    pair = opened("text-classification", **fields)
    checkpoints.agree(pair, texts[::9])
    checkpoints.agree(pair, texts[::9], top_k=None)


def test_text_classification_of_pairs(opened: Any, texts: list[str]) -> None:
    pair = opened("text-classification", num_labels=4)
    pairs = [{"text": a, "text_pair": b} for a, b in zip(texts, reversed(texts), strict=True)]
    checkpoints.agree(pair, [item for item in pairs if len(item["text"] + item["text_pair"]) < 1000])
    checkpoints.agree(pair, pairs[0])
    checkpoints.agree(pair, {"text": "alone"})
    checkpoints.agree(pair, [{"text": "one", "text_pair": ""}, "two", pairs[1]])
    checkpoints.agree(pair, [[["the older way", "to pass a pair"]]])


def test_text_classification_of_long_texts(opened: Any, texts: list[str]) -> None:
    pair = opened("text-classification", num_labels=4)
    long = [" ".join(texts[:120]), "short", " ".join(texts[100:])]
    checkpoints.agree(pair, long, truncation=True)
    checkpoints.agree(pair, long, truncation=True, max_length=17)
    with pytest.raises(bertcpp.errors.SequenceTooLongError, match=r"inputs\[2\] has \d+ tokens.*truncation=True"):
        pair.ours(["a", "b", long[0]])


@pytest.mark.parametrize("all_scores", [True, False])
def test_text_classification_with_the_older_option(all_scores: bool, opened: Any, texts: list[str]) -> None:
    pair = opened("text-classification", num_labels=4)
    checkpoints.agree(pair, texts[::20], return_all_scores=all_scores)
    checkpoints.agree(pair, texts[0], return_all_scores=all_scores)
    with pytest.warns(UserWarning, match="top_k=None"):
        pair.ours("a text", return_all_scores=all_scores)


# Zero-shot classification.


@pytest.mark.parametrize("multi_label", [False, True])
def test_zero_shot(multi_label: bool, opened: Any, texts: list[str]) -> None:
    pair = opened("zero-shot-classification", **checkpoints.named(checkpoints.INFERENCE))
    answers = checkpoints.agree(
        pair, texts, candidate_labels=["politics", "the weather", "Kunst"], multi_label=multi_label
    )
    assert len({answer["labels"][0] for answer in answers}) > 1


def test_zero_shot_arguments(opened: Any, texts: list[str]) -> None:
    pair = opened("zero-shot-classification", **checkpoints.named(checkpoints.INFERENCE))
    checkpoints.agree(pair, texts[0], "one, two ,,three")
    checkpoints.agree(pair, texts[0], candidate_labels="alone")
    checkpoints.agree(pair, texts[0], candidate_labels=["b", "a"], multi_label=True)
    checkpoints.agree(pair, texts[:9], ["b", "a"], hypothesis_template="Es geht um {}.")
    checkpoints.agree(pair, texts[:3], candidate_labels=["x", "x y"], hypothesis_template="{0}? {0}!")
    checkpoints.agree(pair, " ".join(texts), ["b", "a"])  # cut
    # A text that cannot give way to a long hypothesis stays whole.
    checkpoints.agree(pair, ["short", texts[3]], candidate_labels=["long " * 400, "b"])


@pytest.mark.parametrize("place", [0, 1])
def test_zero_shot_wherever_entailment_is(place: int, opened: Any, texts: list[str]) -> None:
    labels = ["entailment", "other", "contradiction"] if place == 0 else ["not", "entails", "neutral"]
    pair = opened("zero-shot-classification", **checkpoints.named(dict(enumerate(labels))))
    checkpoints.agree(pair, texts[:20], ["a", "b", "c"], multi_label=True)
    checkpoints.agree(pair, texts[:20], ["a", "b", "c"])


# Fill-mask.


def masked(texts: list[str], mask: str, rng: np.random.Generator) -> list[str]:
    """Each text with one of its words masked."""
    found = []
    for text in texts:
        words = [word for word in text.split() if "[" not in word and "<" not in word] or ["word"]
        words[rng.integers(len(words))] = mask
        found.append(" ".join(words))
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_fill_mask(family: str, opened: Any, texts: list[str]) -> None:
    pair = opened("fill-mask", family)
    mask = pair.ours.tokenizer.mask_token
    prompts = masked(checkpoints.fitting(texts, family), mask, np.random.default_rng(6))
    checkpoints.agree(pair, prompts)
    checkpoints.agree(pair, prompts[0])
    checkpoints.agree(pair, prompts[:1])


@pytest.mark.parametrize("top_k", [1, 2, 40])
def test_fill_mask_top_k(top_k: int, opened: Any, texts: list[str]) -> None:
    pair = opened("fill-mask")
    checkpoints.agree(pair, masked(texts[:20], "[MASK]", np.random.default_rng(7)), top_k=top_k)


def test_fill_mask_with_several_masks(opened: Any, texts: list[str]) -> None:
    pair = opened("fill-mask")
    once = masked(texts[:20], "[MASK]", np.random.default_rng(8))
    twice = masked(once, "[MASK]", np.random.default_rng(9))
    several = [*twice, "[MASK] [MASK][MASK]", "one [MASK]"]
    checkpoints.agree(pair, several)
    checkpoints.agree(pair, several, top_k=2, targets=["the", "house", "Cat"])


def test_fill_mask_with_targets(opened: Any, texts: list[str]) -> None:
    pair = opened("fill-mask")
    prompts = masked(texts[:20], "[MASK]", np.random.default_rng(10))
    checkpoints.agree(pair, prompts, targets=["house", "##ing", "house", "cat"])
    checkpoints.agree(pair, prompts[0], targets="house")
    checkpoints.agree(pair, prompts[:4], targets=["unheardofword", "house", "a"], top_k=2)
    checkpoints.agree(pair, "with [PAD] and [MASK] in it")
    long = " ".join(["a [MASK]", *texts])
    checkpoints.agree(pair, long, tokenizer_kwargs={"truncation": True})


# Features.


@pytest.mark.parametrize("family", FAMILIES)
def test_features(family: str, opened: Any, texts: list[str]) -> None:
    pair = opened("feature-extraction", family)
    texts = checkpoints.fitting(texts, family)
    theirs = [np.array(checkpoints.quietly(pair.reference, text)) for text in texts]
    ours = pair.ours(texts)
    assert isinstance(ours[0][0][0][0], float)
    for mine, other in zip(ours, theirs, strict=True):
        array = np.array(mine)
        assert array.shape == other.shape
        assert np.abs(array - other).max() <= 2e-5 * np.abs(other).max()


def test_features_of_the_real_checkpoint(minilm: Path, sentences: list[str]) -> None:
    pair = checkpoints.sides(minilm, "feature-extraction")
    for text in sentences[:40]:
        theirs = checkpoints.quietly(pair.reference, text, return_tensors=True)
        ours = pair.ours(text, return_tensors=True)
        assert type(ours) is type(theirs)
        assert ours.shape == theirs.shape
        assert float((ours - theirs).abs().max()) <= 2e-5 * float(theirs.abs().max())
        assert np.array_equal(pair.ours(text, return_tensors="np"), ours.numpy())
    long = " ".join(sentences[:60])
    ours = pair.ours(long, truncation=True, return_tensors="np")
    assert ours.shape == (1, 512, 384)
    theirs = checkpoints.quietly(pair.reference, long, truncation=True, return_tensors=True)
    assert np.abs(ours - theirs.numpy()).max() < 1e-4
    short = pair.ours(long, tokenize_kwargs={"truncation": True, "max_length": 9, "add_special_tokens": False})
    assert np.array(short).shape == (1, 9, 384)
