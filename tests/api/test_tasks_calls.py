"""How tasks are made and called: by name or object, one input, lists, generators, datasets, threads, and mistakes."""

from __future__ import annotations

import itertools
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import task_checkpoints as checkpoints
import torch

import bertcpp
from bertcpp.errors import InputError
from bertcpp.tasks import ALIASES, TASKS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WITH_HEADS = ("fill-mask", "question-answering", "text-classification", "token-classification")
TEXTS = [f"{'word ' * (place % 7)}text [MASK] number {place}." for place in range(30)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, minilm: Path) -> dict[str, Path]:
    """A checkpoint for each task."""
    found = {"sentence-similarity": minilm, "summarization": minilm, "feature-extraction": minilm}
    for task in WITH_HEADS:
        found[task] = checkpoints.save(tmp_path_factory.mktemp(task), task, minilm)
    found["zero-shot-classification"] = checkpoints.save(
        tmp_path_factory.mktemp("inference"), "text-classification", minilm, **checkpoints.named(checkpoints.INFERENCE)
    )
    return found


def inputs_of(task: str) -> list[Any]:
    """Inputs of a task's kind."""
    if task == "question-answering":
        return [{"question": "Which?", "context": text} for text in TEXTS]
    if task == "sentence-similarity":
        return [{"source_sentence": text, "sentences": TEXTS[place : place + 3]} for place, text in enumerate(TEXTS)]
    return list(TEXTS)


def made(task: str, folders: dict[str, Path], **options: Any) -> Any:
    if task == "zero-shot-classification":
        options["candidate_labels"] = ["this", "that"]
    return bertcpp.pipeline(task, model=str(folders[task]), **options)


@pytest.mark.parametrize("task", sorted(TASKS))
def test_an_answer_is_the_same_whatever_it_is_asked_with(task: str, folders: dict[str, Path]) -> None:
    answer, inputs = made(task, folders), inputs_of(task)
    together = answer(inputs)
    assert len(together) == len(inputs)
    for place in (0, 1, 5, 29):
        alone = answer(inputs[place])
        wrapped = isinstance(alone, list) and isinstance(together[place], dict)
        assert (alone[0] if wrapped else alone) == together[place]  # the same bits
    lazily = list(answer(iter(inputs)))
    assert [_unwrapped(item, other) for item, other in zip(lazily, together, strict=True)] == together
    assert list(answer(iter(inputs), batch_size=7)) == lazily
    assert answer(inputs[::-1])[::-1] == together
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(answer, [inputs] * 4)) == [together] * 4


def _unwrapped(item: Any, like: Any) -> Any:
    return item[0] if isinstance(item, list) and isinstance(like, dict) else item


@pytest.mark.parametrize("task", sorted(TASKS))
def test_generators_are_asked_no_more_than_needed(task: str, folders: dict[str, Path]) -> None:
    answer = made(task, folders)
    taken = []

    def endless() -> Iterator[Any]:
        for item in itertools.cycle(inputs_of(task)):
            taken.append(item)
            yield item

    answers = answer(endless())
    assert taken == []
    next(answers)
    assert len(taken) == 1
    next(answers)
    assert len(taken) == 2
    answers = answer(endless(), batch_size=4)
    next(answers)
    assert len(taken) == 6
    made_with = made(task, folders, batch_size=5)
    next(made_with(endless()))
    assert len(taken) == 11
    with pytest.raises(TypeError, match="no length"):
        len(answers)


@pytest.mark.parametrize("task", sorted(TASKS))
def test_datasets(task: str, folders: dict[str, Path]) -> None:
    inputs = inputs_of(task)[:9]

    class Rows(torch.utils.data.Dataset[Any]):
        def __len__(self) -> int:
            return len(inputs)

        def __getitem__(self, place: int) -> Any:
            return inputs[place]

    class Stream(torch.utils.data.IterableDataset[Any]):
        def __iter__(self) -> Iterator[Any]:
            return iter(inputs)

    answer = made(task, folders)
    answers = answer(Rows())
    assert len(answers) == 9
    assert list(answers) == list(answer(Stream())) == list(answer(iter(inputs)))


@pytest.mark.parametrize("task", sorted(TASKS))
def test_empty_lists_and_other_sequences(task: str, folders: dict[str, Path]) -> None:
    answer, inputs = made(task, folders), inputs_of(task)[:4]
    assert answer([]) == []
    assert answer(tuple(inputs)) == answer(inputs)
    array = np.empty(4, object)
    array[:] = inputs
    assert answer(array) == answer(inputs)


@pytest.mark.parametrize("task", sorted(TASKS))
def test_models_and_tokenizers_as_objects(task: str, folders: dict[str, Path]) -> None:
    named = made(task, folders)
    answer = bertcpp.pipeline(task, model=named.model, **named._defaults)
    inputs = inputs_of(task)[:5]
    assert answer.model is named.model
    assert answer(inputs) == named(inputs)
    assert "pipeline" not in str(type(answer)).lower()
    assert "pipeline" not in str(type(answer.model)).lower()
    if task not in ("sentence-similarity", "summarization"):
        for tokenizer in (named.tokenizer, str(folders[task]), (str(folders[task]), {"use_fast": True})):
            same = bertcpp.pipeline(task, model=named.model, tokenizer=tokenizer, **named._defaults)
            assert same(inputs) == named(inputs)


@pytest.mark.parametrize("task", [*WITH_HEADS, "feature-extraction"])
def test_the_model_tells_its_task(task: str, folders: dict[str, Path]) -> None:
    assert bertcpp.pipeline(model=str(folders[task])).task == task
    assert bertcpp.pipeline(model=made(task, folders).model).task == task


def test_other_names_of_tasks(folders: dict[str, Path]) -> None:
    for name, task in ALIASES.items():
        assert type(bertcpp.pipeline(name, model=folders[task])) is type(made(task, folders))


def test_arguments_of_transformers_that_change_nothing(folders: dict[str, Path]) -> None:
    answer = bertcpp.pipeline(
        "text-classification",
        str(folders["text-classification"]),
        framework="pt",
        device=-1,
        dtype="float32",
        use_fast=True,
        trust_remote_code=False,
        num_workers=2,
        model_kwargs={"local_files_only": True},
        num_threads=1,
    )
    assert answer(TEXTS[:3], num_workers=0) == made("text-classification", folders)(TEXTS[:3])


def test_configurations_beside_the_checkpoint(folders: dict[str, Path]) -> None:
    config = bertcpp.AutoConfig.from_pretrained(
        folders["text-classification"], id2label={0: "no", 1: "yes"}, label2id={"no": 0, "yes": 1}
    )
    answer = bertcpp.pipeline("text-classification", str(folders["text-classification"]), config=config)
    assert answer("a text")[0]["label"] in ("no", "yes")


def test_tasks_warn_of_nothing_by_themselves(folders: dict[str, Path]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for task in TASKS:
            made(task, folders)(inputs_of(task)[:2])


@pytest.mark.parametrize("task", WITH_HEADS)
def test_another_head_is_refused(task: str, folders: dict[str, Path]) -> None:
    other = "fill-mask" if task != "fill-mask" else "text-classification"
    with pytest.raises(InputError, match=r"needs a model with the head \.\.\.For"):
        bertcpp.pipeline(task, model=made(other, folders).model)
    with pytest.raises(bertcpp.errors.MissingTensorError):
        bertcpp.pipeline(task, model=str(folders["feature-extraction"]))


@pytest.mark.parametrize("task", ["feature-extraction", "sentence-similarity", "summarization"])
def test_other_objects_are_refused(task: str) -> None:
    with pytest.raises(InputError, match=f"{task} needs a"):
        bertcpp.pipeline(task, model=torch.nn.Linear(1, 1))


def test_similarity_is_that_of_the_model(minilm: Path, sentences: list[str]) -> None:
    model = bertcpp.SentenceTransformer(str(minilm))
    compare = bertcpp.pipeline("sentence-similarity", model=model)
    vectors = model.encode(sentences[:200])
    for start in range(0, 200, 20):
        group = sentences[start : start + 20]
        expected = model.similarity(vectors[start], vectors[start + 1 : start + 20])[0]
        assert compare(group[0], group[1:]) == expected.tolist()
        assert compare(source_sentence=group[0], sentences=group[1:]) == expected.tolist()
    assert compare("alone", []) == []
