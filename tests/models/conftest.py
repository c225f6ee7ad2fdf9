"""Tiny random checkpoints of every family, made once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

import reference_models as reference

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Checkpoint(NamedTuple):
    family: str
    path: Path
    reference: Any  # the transformers model that was saved


@pytest.fixture(scope="session")
def tiny_checkpoint(seed: int, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Checkpoint]:
    """A function that gives the tiny checkpoint of a family."""
    made: dict[str, Checkpoint] = {}

    def make(family: str) -> Checkpoint:
        if family not in made:
            model = reference.random_model(family, seed)
            made[family] = Checkpoint(family, reference.save(model, tmp_path_factory.mktemp(family)), model)
        return made[family]

    return make


@pytest.fixture(params=list(reference.FAMILIES))
def tiny(request: pytest.FixtureRequest, tiny_checkpoint: Callable[[str], Checkpoint]) -> Checkpoint:
    """The tiny checkpoint of each family in turn."""
    return tiny_checkpoint(request.param)
