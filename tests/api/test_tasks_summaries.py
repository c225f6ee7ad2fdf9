"""Extractive summaries: where sentences end, which of them are chosen, and in what form they are answered."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import bertcpp
from bertcpp.errors import InputError
from bertcpp.tasks.sentences import sentence_spans
from bertcpp.tasks.summarization import choose

if TYPE_CHECKING:
    from pathlib import Path

STORY = (
    "The harbour of Bergen was founded in 1070. Ships brought fish and grain through the harbour. "
    "Fish and grain came through the harbour on ships. Dr. Olsen keeps a small museum of knots there! "
    "Is it open in winter? Nobody has ever asked."
)


@pytest.fixture(scope="module")
def summarize(minilm: Path) -> Any:
    return bertcpp.pipeline("summarization", model=str(minilm))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        (
            "Mr. Smith met Dr. J. Jones at 5.30 p.m. in St. Ives.",
            ["Mr. Smith met Dr. J. Jones at 5.30 p.m. in St. Ives."],
        ),
        ("It costs $3.50. That is, e.g. Monday, too much.", ["It costs $3.50.", "That is, e.g. Monday, too much."]),
        ('"Stop!" he cried. "Why?" she asked.', ['"Stop!" he cried.', '"Why?" she asked.']),
        ("He left (at last.) She stayed.", ["He left (at last.)", "She stayed."]),
        ("Wait... what? Yes.", ["Wait... what?", "Yes."]),
        ("今日は雨です。明日は晴れ!多分。", ["今日は雨です。", "明日は晴れ!多分。"]),
        ("我去。你呢?「好。」他说。", ["我去。", "你呢?「好。」", "他说。"]),
        ("A title\n\nA first line\nthat goes on. End.", ["A title", "A first line\nthat goes on.", "End."]),
        ("1. First thing. 2. Second thing.", ["1. First thing.", "2. Second thing."]),
        ("क्या हाल है। सब ठीक है।", ["क्या हाल है।", "सब ठीक है।"]),
        ("no end", ["no end"]),
        ("   \n\n  ", []),
        ("", []),
        ("...", ["..."]),
        ("😀 Fun. 😀 More fun.", ["😀 Fun.", "😀 More fun."]),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    assert [text[start:end] for start, end in sentence_spans(text)] == expected


def test_sentences_cover_a_text(sentences: list[str]) -> None:
    text = " ".join(sentences)
    spans = sentence_spans(text)
    assert "".join(text[start:end] for start, end in spans).replace(" ", "") == text.replace(" ", "")
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))
    assert len(spans) > 500


def test_choices_are_those_of_the_formula(rng: np.random.Generator) -> None:
    for _ in range(200):
        count, diversity = int(rng.integers(1, 6)), float(rng.random())
        # Two sentences are always equally close to their mean.
        vectors = rng.standard_normal((int(rng.choice([1, 3, 4, 5, 8, 12])), 8)).astype(np.float32)
        unit = vectors.astype(np.float64) / np.linalg.norm(vectors, axis=1, keepdims=True)
        whole = unit.mean(axis=0) / np.linalg.norm(unit.mean(axis=0))
        chosen: list[int] = []
        while len(chosen) < min(count, len(unit)):
            scores = {
                place: (1 - diversity) * (unit[place] @ whole)
                - (diversity * max(unit[place] @ unit[other] for other in chosen) if chosen else 0)
                for place in range(len(unit))
                if place not in chosen
            }
            chosen.append(max(scores, key=scores.__getitem__))
        places, relevance = choose(vectors, count, diversity)
        assert places == sorted(chosen)
        np.testing.assert_allclose(relevance, unit @ whole, atol=1e-5)


def test_number_and_share(summarize: Any) -> None:
    sentences = [STORY[start:end] for start, end in sentence_spans(STORY)]
    assert len(sentences) == 6
    for number in (1, 2, 3, 6, 99):
        (answer,) = summarize(STORY, num_sentences=number, return_sentences=True)
        chosen = [part["text"] for part in answer["sentences"]]
        assert chosen == [sentence for sentence in sentences if sentence in chosen]  # in the text's order
        assert len(chosen) == min(number, 6)
        assert answer["summary_text"] == " ".join(chosen)
        for part in answer["sentences"]:
            assert STORY[part["start"] : part["end"]] == part["text"]
            assert -1 <= part["score"] <= 1
    for ratio, number in ((0.01, 1), (0.34, 2), (0.5, 3), (1, 6)):
        (answer,) = summarize(STORY, ratio=ratio, return_sentences=True)
        assert len(answer["sentences"]) == number
    assert summarize(STORY) == summarize(STORY, num_sentences=3)


def test_redundancy_is_left_out(summarize: Any) -> None:
    # Two sentences say the same of fish and grain: relevance alone takes both.
    (both,) = summarize(STORY, num_sentences=2, diversity=0)
    assert both["summary_text"].lower().count("fish and grain") == 2
    (one,) = summarize(STORY, num_sentences=2, diversity=0.6)
    assert one["summary_text"].lower().count("fish and grain") == 1


def test_a_length_in_tokens(summarize: Any) -> None:
    (answer,) = summarize(STORY, num_sentences=6, max_length=25, return_sentences=True)
    tokens = summarize.model.tokenizer(answer["summary_text"], add_special_tokens=False)["input_ids"]
    assert 0 < len(tokens) <= 25
    assert summarize(STORY, max_length=1) == [{"summary_text": ""}]


def test_forms_of_answers(summarize: Any) -> None:
    one = summarize(STORY)
    assert isinstance(one, list)
    assert list(one[0]) == ["summary_text"]
    assert summarize([STORY, "Short."]) == [one[0], {"summary_text": "Short."}]
    assert summarize(["", "  \n\n "]) == [{"summary_text": ""}] * 2
    (japanese,) = summarize("今日は雨です。明日は晴れです。", num_sentences=2)
    assert japanese["summary_text"] == "今日は雨です。明日は晴れです。"


def test_defaults_give_way_to_the_call(minilm: Path) -> None:
    made = bertcpp.pipeline("summarization", model=str(minilm), ratio=0.5, return_sentences=True)
    assert len(made(STORY)[0]["sentences"]) == 3
    assert len(made(STORY, num_sentences=1)[0]["sentences"]) == 1
    assert len(made(STORY, ratio=1.0)[0]["sentences"]) == 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_sentences": 0}, "num_sentences must be at least 1"),
        ({"num_sentences": 1, "ratio": 0.5}, "not both"),
        ({"ratio": 0}, "ratio must be a share"),
        ({"ratio": 1.5}, "ratio must be a share"),
        ({"ratio": True}, "ratio must be a share"),
        ({"diversity": 2}, "diversity must be a number from 0 to 1"),
        ({"diversity": "much"}, "diversity must be a number"),
        ({"max_length": 0}, "max_length must be at least 1"),
        ({"do_sample": False}, "does not know the option 'do_sample'"),
    ],
    ids=str,
)
def test_impossible_options(options: dict[str, Any], message: str, summarize: Any) -> None:
    with pytest.raises(InputError, match=message):
        summarize(STORY, **options)
