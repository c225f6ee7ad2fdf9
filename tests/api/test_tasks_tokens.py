"""Token classification and question answering beside transformers: entities, spans, windows, offsets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import task_checkpoints as checkpoints
import tokenizer_checkpoints
import transformers

import bertcpp
from bertcpp.tasks.answer_spans import best_spans

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FAMILIES = ("bert", "roberta", "xlm-roberta")
STRATEGIES = ("none", "simple", "first", "average", "max")


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory, minilm: Path) -> Callable[..., checkpoints.Sides]:
    """Both sides' task over a checkpoint of a family, each made once."""
    known: dict[Any, checkpoints.Sides] = {}

    def open_task(task: str, family: str = "bert") -> checkpoints.Sides:
        if (task, family) not in known:
            labels = checkpoints.named(checkpoints.ENTITIES) if task == "token-classification" else {}
            folder = checkpoints.save(tmp_path_factory.mktemp("checkpoint"), task, minilm, family, **labels)
            known[task, family] = checkpoints.sides(folder, task)
        return known[task, family]

    return open_task


@pytest.fixture(scope="module")
def texts(sentences: list[str]) -> list[str]:
    """220 texts: real English, odd ones of many scripts, and random ones from a word to 200 words."""
    words = " ".join(sentences).split()
    drawn = checkpoints.ragged_texts(np.random.default_rng(11), words, 15, 200)
    chosen = [*sentences[:: max(1, len(sentences) // 180)][:181], *tokenizer_checkpoints.TEXTS, *drawn]
    assert len(chosen) >= 200
    return chosen


# Token classification.


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("family", FAMILIES)
def test_entities(family: str, strategy: str, opened: Any, texts: list[str]) -> None:
    pair = opened("token-classification", family)
    chosen = checkpoints.fitting(texts, family)
    if strategy not in ("none", "average"):
        chosen = chosen[::3]
    answers = checkpoints.agree(pair, chosen, aggregation_strategy=strategy)
    assert sum(map(len, answers)) > len(chosen)
    for text, entities in zip(chosen, answers, strict=True):
        assert all(0 <= entity["start"] <= entity["end"] <= len(text) for entity in entities)
    checkpoints.agree(pair, texts[0], aggregation_strategy=strategy)


@pytest.mark.parametrize("strategy", ["none", "simple", "max"])
def test_labels_to_ignore(strategy: str, opened: Any, texts: list[str]) -> None:
    pair = opened("token-classification")
    for ignored in ([], ["O", "MISC"], ["PER", "B-LOC", "I-LOC"]):
        checkpoints.agree(pair, texts[::9], aggregation_strategy=strategy, ignore_labels=ignored)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("stride", [0, 3, 20])
def test_long_texts_in_overlapping_windows(stride: int, family: str, opened: Any, texts: list[str]) -> None:
    folder = opened("token-classification", family).folder
    options = {"aggregation_strategy": "simple", "stride": stride}
    theirs = transformers.AutoTokenizer.from_pretrained(folder, model_max_length=40)
    ours = bertcpp.AutoTokenizer.from_pretrained(folder, model_max_length=40)
    reference = checkpoints.quietly(transformers.pipeline, "ner", model=str(folder), tokenizer=theirs, **options)
    pair = checkpoints.Sides(folder, bertcpp.pipeline("ner", str(folder), tokenizer=ours, **options), reference)
    long = [" ".join(texts[start : start + 8]) for start in range(0, 60, 8)]
    checkpoints.agree(pair, [*long, *texts[:20], ""])
    checkpoints.agree(pair, long[0])


def test_long_texts_are_cut_without_a_stride(opened: Any, texts: list[str]) -> None:
    checkpoints.agree(opened("token-classification"), " ".join(texts))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("strategy", ["none", "simple", "first", "average"])
def test_texts_split_into_words(strategy: str, family: str, opened: Any, texts: list[str]) -> None:
    pair = opened("token-classification", family)
    words = [text.split() for text in texts[::7] if text.split()]
    options = {"is_split_into_words": True, "aggregation_strategy": strategy}
    checkpoints.agree(pair, words, **options)
    checkpoints.agree(pair, words[0], **options)
    checkpoints.agree(pair, words[:3], delimiter=" / ", **options)


def test_offsets_of_the_callers_own(opened: Any) -> None:
    pair = opened("token-classification")
    text = "the cat sat"
    offsets = [(0, 0), (0, 3), (4, 7), (8, 11), (0, 0)]
    checkpoints.agree(pair, text, offset_mapping=offsets, ignore_labels=[])
    assert pair.ours([text, text], offset_mapping=[offsets, offsets]) == pair.ours([text, text])
    with pytest.raises(bertcpp.errors.InputError, match="offset_mapping has 1 entries for 2 inputs"):
        pair.ours([text, text], offset_mapping=[offsets])


@pytest.mark.parametrize("older", [{"grouped_entities": True}, {"grouped_entities": True, "ignore_subwords": True}])
def test_older_options_of_entities(older: dict[str, bool], opened: Any, texts: list[str]) -> None:
    pair = opened("token-classification")
    checkpoints.agree(pair, texts[::20], **older)
    with pytest.warns(UserWarning, match="aggregation_strategy="):
        pair.ours(texts[0], **older)


def test_a_tokenizer_that_does_not_mark_words_is_told_of(opened: Any) -> None:
    with pytest.warns(UserWarning, match="does not mark"):
        opened("token-classification", "roberta").ours("two words", aggregation_strategy="first")


# Question answering.


def questions(texts: list[str]) -> list[dict[str, str]]:
    """A question for each text, out of another one."""
    found = []
    for place, text in enumerate(texts):
        words = texts[(place * 7 + 3) % len(texts)].split()[:12] or ["what"]
        found.append({"question": " ".join(words) + "?", "context": text or "nothing"})
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_answers(family: str, opened: Any, texts: list[str]) -> None:
    pair = opened("question-answering", family)
    asked = questions(checkpoints.fitting(texts, family))
    # What is only white space has no spans; neither side has an answer to compare with.
    asked = [item for item in asked if item["context"].strip("\u200b\x00 \t\r\n")]
    answers = checkpoints.agree(pair, asked)
    for item, answer in zip(asked, answers, strict=True):
        assert item["context"][answer["start"] : answer["end"]] == answer["answer"]


@pytest.mark.parametrize(
    "options",
    [
        {"top_k": 3},
        {"top_k": 20, "max_answer_len": 3},
        {"max_answer_len": 1},
        {"align_to_words": False},
        {"align_to_words": False, "top_k": 4},
        {"handle_impossible_answer": True},
        {"handle_impossible_answer": True, "top_k": 5},
        {"max_answer_len": 100, "top_k": 2},
    ],
    ids=str,
)
def test_options_of_answers(options: dict[str, Any], opened: Any, texts: list[str]) -> None:
    pair = opened("question-answering")
    asked = [item for item in questions(texts[:181:5]) if len(item["context"].split()) > 8]
    checkpoints.agree(pair, asked, **options)


@pytest.mark.parametrize("options", [{}, {"max_seq_len": 50, "doc_stride": 10}, {"max_seq_len": 64, "doc_stride": 0}])
@pytest.mark.parametrize("family", FAMILIES)
def test_long_contexts(family: str, options: dict[str, int], opened: Any, texts: list[str]) -> None:
    pair = opened("question-answering", family)
    contexts = [" ".join(texts[start : start + 40]) for start in range(0, 160 if family == "bert" else 80, 40)]
    asked = [{"question": f"What is number {place}?", "context": text} for place, text in enumerate(contexts)]
    checkpoints.agree(pair, asked, top_k=3, **options)
    checkpoints.agree(pair, asked[0], handle_impossible_answer=True, **options)
    checkpoints.agree(pair, asked[1], align_to_words=False, **options)


def test_answers_with_a_tokenizer_that_cuts_on_the_left(opened: Any, texts: list[str]) -> None:
    folder = opened("question-answering").folder
    theirs = transformers.AutoTokenizer.from_pretrained(folder, truncation_side="left")
    ours = bertcpp.AutoTokenizer.from_pretrained(folder, truncation_side="left")
    reference = checkpoints.quietly(transformers.pipeline, "question-answering", model=str(folder), tokenizer=theirs)
    pair = checkpoints.Sides(folder, bertcpp.pipeline("question-answering", str(folder), tokenizer=ours), reference)
    asked = [{"question": "What is it?", "context": text} for text in (*texts[:10], " ".join(texts[:60]))]
    checkpoints.agree(pair, asked, max_seq_len=60, doc_stride=8, top_k=2)


def test_answers_with_a_tokenizer_that_pads_on_the_left(opened: Any, texts: list[str]) -> None:
    # The context then comes first. transformers lets answers begin in the question too, which is not followed here.
    tokenizer = bertcpp.AutoTokenizer.from_pretrained(opened("question-answering").folder, padding_side="left")
    task = bertcpp.pipeline("question-answering", str(opened("question-answering").folder), tokenizer=tokenizer)
    context = " ".join(texts[:60])
    for answer in task(question="What is it?", context=context, top_k=9, max_seq_len=60, doc_stride=8):
        assert answer["answer"] == context[answer["start"] : answer["end"]] != ""


def test_ways_to_ask(opened: Any) -> None:
    pair = opened("question-answering")
    context = "Ada Lovelace lived in London and wrote about engines."
    asked = ["Who?", "Where did she live?"]
    checkpoints.agree(pair, question=asked[0], context=context)
    checkpoints.agree(pair, question=asked, context=context)
    checkpoints.agree(pair, question=asked, context=[context, "Another one."])
    checkpoints.agree(pair, question=asked[:1], context=context)
    checkpoints.agree(pair, {"question": asked[0], "context": context})
    checkpoints.agree(pair, [{"question": asked[0], "context": context}])
    checkpoints.agree(pair, asked[0], context)
    checkpoints.agree(pair, [transformers.SquadExample(None, asked[0], context, None, None, None)])
    item = {"question": asked[0], "context": context}
    assert list(pair.ours(item for _ in range(2))) == [pair.ours(item)] * 2
    assert pair.ours(data=item) == pair.ours(item)


def test_a_context_without_tokens(opened: Any) -> None:
    pair = opened("question-answering")
    asked = {"question": "what?", "context": " \n\t "}
    assert not checkpoints.quietly(pair.reference, asked).get("answer", "")
    assert not pair.ours(asked).get("answer", "")


def test_a_question_without_end_is_cut(opened: Any, caplog: pytest.LogCaptureFixture) -> None:
    pair = opened("question-answering")
    long = "and why? " * 200
    answer = pair.ours(question=long, context="Because of the rain.")
    assert answer == pair.ours(question="and why? " * 21 + "and", context="Because of the rain.")
    assert "has 600 tokens and is cut to 64" in caplog.text


def test_the_best_spans_are_those_of_the_whole_table(rng: np.random.Generator) -> None:
    for _ in range(100):
        length, longest, count = int(rng.integers(3, 40)), int(rng.integers(1, 20)), int(rng.integers(1, 30))
        start, end = (rng.normal(0, 2, length).astype(np.float32) for _ in range(2))
        possible = rng.random(length) < 0.7
        possible[0] = True
        spans = best_spans(start, end, possible, count, longest)
        scores = {}
        p, q = (np.where(possible, np.exp(x), 0) / np.exp(x[possible]).sum() for x in (start, end))
        for i in range(1, length):
            for j in range(i, min(i + longest, length)):
                if possible[i] and possible[j]:
                    scores[i, j] = p[i] * q[j]
        expected = sorted(scores.items(), key=lambda item: -item[1])[:count]
        found = list(zip(zip(spans.starts.tolist(), spans.ends.tolist(), strict=True), spans.scores, strict=True))
        certain = [item for item in found if item[1] > 0]
        assert [span for span, _ in certain] == [span for span, _ in expected[: len(certain)]]
        assert len(certain) == min(count, len(scores))
        np.testing.assert_allclose([score for _, score in certain], [score for _, score in expected], rtol=1e-4)
        assert spans.no_answer == pytest.approx(p[0] * q[0], rel=1e-4)
