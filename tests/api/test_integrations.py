"""The adapters where their libraries are absent; tests/integrations has them with the libraries."""

from __future__ import annotations

import pickle
import subprocess
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bertcpp import SentenceTransformer, errors

if TYPE_CHECKING:
    from pathlib import Path

PACKAGES = {
    "langchain": "langchain-core",
    "llama_index": "llama-index-core",
    "haystack": "haystack-ai",
    "chroma": "chromadb",
    "mteb": "mteb",
}
IMPORTING = """
import importlib, sys
for library in ("langchain_core", "llama_index", "haystack", "chromadb", "mteb"):
    sys.modules[library] = None
import bertcpp.integrations
from bertcpp.errors import MissingDependencyError
for name in sys.argv[1:]:
    try:
        importlib.import_module(f"bertcpp.integrations.{name}")
    except MissingDependencyError as error:
        print(name, error)
"""


def test_what_is_missing_is_named() -> None:
    command = [sys.executable, "-c", IMPORTING, *PACKAGES]
    completed = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    lines = completed.stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(PACKAGES)
    for line, package in zip(lines, PACKAGES.values(), strict=True):
        assert f"this adapter is for {package}, which is not installed" in line
        assert line.endswith(f"pip install {package}")


@pytest.fixture(scope="module")
def model(minilm: Path) -> SentenceTransformer:
    return SentenceTransformer(minilm)


@pytest.mark.parametrize("library", ["bertopic", "keybert"])
def test_a_model_is_an_embedder_where_a_library_has_such(
    model: SentenceTransformer, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "bertopic.backend", raising=False)
    monkeypatch.delitem(sys.modules, "keybert.backend", raising=False)

    class BaseEmbedder:
        pass

    assert model.__class__ is SentenceTransformer
    assert not isinstance(model, BaseEmbedder)
    backend: Any = ModuleType(f"{library}.backend")
    monkeypatch.setitem(sys.modules, backend.__name__, backend)
    assert not isinstance(model, BaseEmbedder)  # while the library is being imported
    backend.BaseEmbedder = BaseEmbedder
    assert isinstance(model, BaseEmbedder)
    assert isinstance(model, SentenceTransformer)
    assert type(model) is SentenceTransformer
    assert isinstance(pickle.loads(pickle.dumps(model)), SentenceTransformer)
    assert not isinstance(model, str)


def test_the_word_that_they_go_by_is_not_ours() -> None:
    words = ("flair", "spacy", "gensim", "saved_model", "model2vec", "fastembed", "pipeline", "sentence_transformers")
    assert [word for word in words if word in str(SentenceTransformer)] == []


def test_what_they_call(model: SentenceTransformer, capsys: pytest.CaptureFixture[str]) -> None:
    texts = ["one text", "another"]
    expected = model.encode(texts)
    for call in (model.embed, model.embed_documents, model.embed_words):
        np.testing.assert_array_equal(call(texts), expected)
    assert capsys.readouterr().err == ""
    np.testing.assert_array_equal(model.embed(texts, verbose=True), expected)


def test_mteb_has_to_be_there_to_be_answered(model: SentenceTransformer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "mteb", raising=False)
    assert not hasattr(model, "mteb_model_meta")
    with pytest.raises(AttributeError, match="pip install mteb"):
        _ = model.mteb_model_meta
    monkeypatch.setitem(sys.modules, "mteb", None)
    monkeypatch.delitem(sys.modules, "bertcpp.integrations.mteb", raising=False)
    with pytest.raises(errors.MissingDependencyError, match="mteb"):
        model.encode([], task_metadata=None)
