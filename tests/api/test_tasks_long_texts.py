"""Classifiers over texts that exceed the limit: windows as computed by hand, and the other policies."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import task_checkpoints as checkpoints
import torch
import transformers

import bertcpp
from bertcpp.errors import SequenceTooLongError

if TYPE_CHECKING:
    from pathlib import Path

LIMIT = 24
LONG = "The weather is lovely today, and it's so sunny outside that nobody stays at home. " * 4
TEXTS = ["short", LONG, "It's so sunny outside.", LONG[100:220], "a"]
LABELS = ["weather", "a game of chess"]
TEMPLATE = "It is about {}."


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory, minilm: Path) -> Path:
    return checkpoints.save(tmp_path_factory.mktemp("classifier"), "text-classification", minilm, num_labels=3)


@pytest.fixture(scope="module")
def inference(tmp_path_factory: pytest.TempPathFactory, minilm: Path) -> Path:
    labels = checkpoints.named(checkpoints.INFERENCE)
    return checkpoints.save(tmp_path_factory.mktemp("inference"), "text-classification", minilm, **labels)


def windows_by_hand(folder: Path, text: str, pair: str | None, stride: int) -> tuple[np.ndarray, list[int]]:
    """Logits of the windows that transformers' tokenizer cuts, by PyTorch, and what each window adds."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    windows = tokenizer(
        text, pair, truncation="only_first", max_length=LIMIT, stride=stride, return_overflowing_tokens=True
    )
    logits, weights = [], []
    for place, (ids, types) in enumerate(zip(windows["input_ids"], windows["token_type_ids"], strict=True)):
        with torch.no_grad():
            found = model(torch.tensor([ids]), token_type_ids=torch.tensor([types])).logits[0]
        logits.append(found.numpy())
        around = len(tokenizer("", pair)["input_ids"])
        weights.append(len(ids) - around - (stride if place else 0))
    assert len(logits) > 3
    return np.array(logits), weights


def pooled(logits: np.ndarray, weights: list[int], pooling: str) -> torch.Tensor:
    return torch.tensor(logits.max(0) if pooling == "max" else np.average(logits, axis=0, weights=weights))


@pytest.mark.parametrize("pooling", ["mean", "max"])
@pytest.mark.parametrize("stride", [0, 5])
@pytest.mark.parametrize("pair", [None, "a picnic"])
def test_logits_of_windows_are_pooled_before_they_become_scores(
    classifier: Path, pair: str | None, stride: int, pooling: str
) -> None:
    task = bertcpp.pipeline("text-classification", str(classifier), on_overflow="window", max_length=LIMIT)
    expected = pooled(*windows_by_hand(classifier, LONG, pair, stride), pooling)
    item = LONG if pair is None else {"text": LONG, "text_pair": pair}
    for function, scores in (("none", expected), ("softmax", expected.softmax(0)), ("sigmoid", expected.sigmoid())):
        found = task([item], top_k=None, function_to_apply=function, stride=stride, window_pooling=pooling)[0]
        by_label = {answer["label"]: answer["score"] for answer in found}
        assert [by_label[f"LABEL_{index}"] for index in range(3)] == pytest.approx(scores.tolist(), abs=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "max"])
@pytest.mark.parametrize("multi_label", [False, True])
def test_zero_shot_pools_the_windows_of_each_label(inference: Path, multi_label: bool, pooling: str) -> None:
    task = bertcpp.pipeline("zero-shot-classification", str(inference), hypothesis_template=TEMPLATE)
    rows = [pooled(*windows_by_hand(inference, LONG, TEMPLATE.format(label), 4), pooling).numpy() for label in LABELS]
    logits = torch.tensor(np.array(rows))
    scores = logits[:, [0, 2]].softmax(1)[:, 1] if multi_label else logits[:, 2].softmax(0)
    options = {"on_overflow": "window", "max_length": LIMIT, "stride": 4, "window_pooling": pooling}
    found = task(["short", LONG], LABELS, multi_label=multi_label, **options)[1]
    assert found["sequence"] == LONG
    by_label = dict(zip(found["labels"], found["scores"], strict=True))
    assert [by_label[label] for label in LABELS] == pytest.approx(scores.tolist(), abs=1e-5)


@pytest.mark.parametrize("mode", ["truncate", "warn", "error", "window"])
def test_what_fits_has_the_same_bits_under_every_policy(classifier: Path, inference: Path, mode: str) -> None:
    short = [text for text in TEXTS if len(text) < 60]
    task = bertcpp.pipeline("text-classification", str(classifier), top_k=None)
    assert task(short, on_overflow=mode, max_length=LIMIT) == task(short)
    asked: dict[str, Any] = {"candidate_labels": LABELS, "hypothesis_template": TEMPLATE}
    zero_shot = bertcpp.pipeline("zero-shot-classification", str(inference), **asked)
    assert zero_shot(short, on_overflow=mode, max_length=LIMIT) == zero_shot(short)


def test_short_texts_beside_long_ones_and_one_by_one(classifier: Path, inference: Path) -> None:
    options: dict[str, Any] = {"on_overflow": "window", "max_length": LIMIT}
    task = bertcpp.pipeline("text-classification", str(classifier), top_k=None, **options)
    together = task(TEXTS)
    assert together == [task(text)[0] for text in TEXTS] == list(task(iter(TEXTS), batch_size=2))
    assert together[0] == task("short", on_overflow="error")[0]
    zero_shot = bertcpp.pipeline("zero-shot-classification", str(inference), candidate_labels=LABELS, **options)
    assert zero_shot(TEXTS) == [zero_shot(text) for text in TEXTS] == list(zero_shot(iter(TEXTS), batch_size=2))


def test_cutting_is_that_of_transformers_and_said_where_asked(classifier: Path, inference: Path) -> None:
    task = bertcpp.pipeline("text-classification", str(classifier))
    cut = task(TEXTS, truncation=True, max_length=LIMIT)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert task(TEXTS, on_overflow="truncate", max_length=LIMIT) == cut
    said = rf"2 of 5 texts, the first of them inputs\[1\], were longer than {LIMIT} tokens.*raise max_length"
    with pytest.warns(UserWarning, match=said) as caught:
        assert task(TEXTS, on_overflow="warn", max_length=LIMIT) == cut
    assert [warning.filename for warning in caught] == [__file__]
    with pytest.warns(UserWarning, match="1 of 1 texts"):
        task(LONG, on_overflow="warn", max_length=LIMIT)
    book = LONG * 20
    zero_shot = bertcpp.pipeline("zero-shot-classification", str(inference), candidate_labels=LABELS)
    with pytest.warns(UserWarning, match=r"1 of 3 texts, the first of them inputs\[2\], were longer than 512 tokens"):
        assert zero_shot(["a", "b", book], on_overflow="warn") == zero_shot(["a", "b", book])
    assert zero_shot([book], on_overflow="truncate") == zero_shot([book])


def test_refusing_names_the_input(classifier: Path, inference: Path) -> None:
    task = bertcpp.pipeline("text-classification", str(classifier), on_overflow="error", max_length=LIMIT)
    with pytest.raises(SequenceTooLongError, match=rf"inputs\[1\] has \d+ tokens, more than max_length {LIMIT}"):
        task(TEXTS)
    zero_shot = bertcpp.pipeline("zero-shot-classification", str(inference), candidate_labels=LABELS)
    with pytest.raises(SequenceTooLongError, match=rf"inputs\[2\] has \d+ tokens, more than max_length {LIMIT}"):
        zero_shot(["a", "b", LONG], on_overflow="error", max_length=LIMIT)


def test_two_long_texts_of_a_pair_are_cut_and_said(classifier: Path) -> None:
    task = bertcpp.pipeline("text-classification", str(classifier), on_overflow="window", max_length=LIMIT)
    with pytest.warns(UserWarning, match=r"1 of 2 texts, the first of them inputs\[1\]"):
        assert len(task(["short", {"text": LONG, "text_pair": LONG}])) == 2
