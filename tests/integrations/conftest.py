"""What the tests with other libraries share: no telemetry, no network, our model and the real one side by side."""

from __future__ import annotations

import json
import os
import shutil
import socket
from typing import TYPE_CHECKING, Any

# Before the libraries are imported.
os.environ.update(
    ANONYMIZED_TELEMETRY="False",
    DO_NOT_TRACK="1",
    HAYSTACK_TELEMETRY_ENABLED="False",
    HF_DATASETS_OFFLINE="1",
    HF_HUB_OFFLINE="1",
)

import pytest

from bertcpp import SentenceTransformer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def pytest_configure(config: pytest.Config) -> None:
    # The libraries warn of each other's age. What is ours is tested by name.
    config.addinivalue_line("filterwarnings", "default")


@pytest.fixture(autouse=True)
def calls_home(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Refuse whatever leaves this machine, and fail even where a library carries on without."""
    tried: list[Any] = []

    def refuse(*where: Any, **more: Any) -> Any:
        tried.append(where)
        raise OSError(f"a test asked for the network: {where}")

    connect = socket.socket.connect

    def connect_here(self: socket.socket, address: Any) -> Any:
        local = self.family == socket.AF_UNIX or address[0] in ("127.0.0.1", "::1")
        return connect(self, address) if local else refuse(address)

    monkeypatch.setattr(socket.socket, "connect", connect_here)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    yield tried
    assert tried == []


@pytest.fixture(scope="session")
def model() -> SentenceTransformer:
    return SentenceTransformer("all-MiniLM-L6-v2")


@pytest.fixture(scope="session")
def reference(minilm: Path) -> Any:
    """The same checkpoint in sentence-transformers."""
    import sentence_transformers

    return sentence_transformers.SentenceTransformer(str(minilm), device="cpu")


@pytest.fixture(scope="session")
def prompted(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint with prompts for queries and documents, as E5 has them."""
    folder = tmp_path_factory.mktemp("prompted") / "prompted-minilm"
    shutil.copytree(minilm, folder, copy_function=os.link)
    settings = folder / "config_sentence_transformers.json"
    content = json.loads(settings.read_text()) if settings.is_file() else {}
    settings.unlink(missing_ok=True)
    settings.write_text(json.dumps(content | {"prompts": {"query": "query: ", "document": "passage: "}}))
    return folder


@pytest.fixture(scope="session")
def prompted_reference(prompted: Path) -> Any:
    import sentence_transformers

    return sentence_transformers.SentenceTransformer(str(prompted), device="cpu")


@pytest.fixture
def threads_used(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """The threads that `encode` ran in."""
    import threading

    used: set[int] = set()
    encode = SentenceTransformer.encode

    def watched(*args: Any, **kwargs: Any) -> Any:
        used.add(threading.get_ident())
        return encode(*args, **kwargs)

    monkeypatch.setattr(SentenceTransformer, "encode", watched)
    return used
