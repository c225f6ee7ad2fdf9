"""The tables of wrong and odd inputs: each raises exactly what its row says, or works as the originals do."""

from __future__ import annotations

import re
import shutil
import warnings
from typing import TYPE_CHECKING, Any

import cases_answers
import cases_checkpoints
import cases_cli
import cases_configuration
import cases_conversion
import cases_embedding
import cases_engine
import cases_heads
import cases_inputs
import cases_packed
import cases_safetensors
import cases_tasks
import cases_tokenizer
import numpy as np
import pytest
from case import Case, Raises, Works
from workshop import Workshop

from bertcpp.errors import BertcppError

if TYPE_CHECKING:
    from pathlib import Path

TABLES = {
    "safetensors": cases_safetensors.CASES,
    "configuration": cases_configuration.CASES,
    "checkpoints": cases_checkpoints.CASES,
    "conversion": cases_conversion.CASES,
    "packed": cases_packed.CASES,
    "inputs": cases_inputs.CASES,
    "tokenizer": cases_tokenizer.CASES,
    "embedding": cases_embedding.CASES,
    "tasks": cases_tasks.CASES,
    "heads": cases_heads.CASES,
    "answers": cases_answers.CASES,
    "engine": cases_engine.CASES,
    "command": cases_cli.CASES,
}
ALL = [(f"{table}: {case.name}", case) for table, cases in TABLES.items() for case in cases]


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Workshop(tmp_path_factory.mktemp("template")).folder


@pytest.fixture
def workshop(template: Path, tmp_path: Path) -> Workshop:
    shutil.copytree(template, tmp_path / "checkpoint")
    return Workshop.at(tmp_path / "checkpoint")


def parameters(kind: type[Case]) -> list[Any]:
    return [pytest.param(case, id=name) for name, case in ALL if isinstance(case, kind)]


@pytest.mark.parametrize("case", parameters(Raises))
def test_raises(case: Raises, workshop: Workshop) -> None:
    with pytest.raises(case.error) as caught:
        case.act(workshop)
    assert type(caught.value) is case.error
    message = str(caught.value)
    assert re.search(case.message, message, re.DOTALL), message
    if isinstance(caught.value, BertcppError):
        assert len(message) < 4000


@pytest.mark.parametrize("case", parameters(Works))
def test_works_as_the_original(case: Works, workshop: Workshop) -> None:
    ours = case.act(workshop)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what others say of odd inputs
        theirs = case.like(workshop)
    assert_same(ours, theirs)


def assert_same(ours: Any, theirs: Any) -> None:
    """Arrays agree as closely as everywhere; anything else is equal."""
    if isinstance(theirs, np.ndarray):
        assert ours.shape == theirs.shape
        largest = np.abs(theirs[np.isfinite(theirs)]).max(initial=0)
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-5 * largest, equal_nan=True)
    else:
        assert ours == theirs


def test_there_are_many_cases_and_each_is_named_once() -> None:
    names = [name for name, _ in ALL]
    assert len(set(names)) == len(names)
    assert len(names) >= 400
