from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import chromadb
import numpy as np
import pytest
from chromadb.config import Settings
from chromadb.utils.embedding_functions import config_to_embedding_function, known_embedding_functions
from example_texts import DOCUMENTS, QUERY

from bertcpp import errors
from bertcpp.integrations.chroma import BertcppEmbeddingFunction

if TYPE_CHECKING:
    from pathlib import Path

NAME = "all-MiniLM-L6-v2"
IDS = [str(place) for place in range(len(DOCUMENTS))]


def test_vectors_are_those_of_sentence_transformers(reference: Any) -> None:
    vectors = BertcppEmbeddingFunction(NAME)(DOCUMENTS)
    np.testing.assert_allclose(vectors, reference.encode(DOCUMENTS), atol=2e-6)
    assert all(vector.dtype == np.float32 for vector in vectors)
    vectors = BertcppEmbeddingFunction(NAME, normalize_embeddings=True)(DOCUMENTS)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_queries_and_documents_get_their_prompts(prompted: Path, prompted_reference: Any) -> None:
    function = BertcppEmbeddingFunction(prompted)
    np.testing.assert_allclose(function(DOCUMENTS), prompted_reference.encode_document(DOCUMENTS), atol=2e-6)
    np.testing.assert_allclose(function.embed_query([QUERY]), prompted_reference.encode_query([QUERY]), atol=2e-6)


def test_a_collection_finds_the_document(prompted: Path) -> None:
    client = chromadb.EphemeralClient(Settings(anonymized_telemetry=False, allow_reset=True))
    client.reset()
    collection = client.create_collection("cats", embedding_function=BertcppEmbeddingFunction(prompted))
    collection.add(ids=IDS, documents=DOCUMENTS)
    found = collection.query(query_texts=[QUERY, "How do I bake?"], n_results=1)
    assert found["ids"] == [["0"], ["2"]]
    assert collection.configuration["hnsw"]["space"] == "cosine"


OPENING = """
import sys
import chromadb
from chromadb.config import Settings
import bertcpp.integrations.chroma
client = chromadb.PersistentClient(sys.argv[1], Settings(anonymized_telemetry=False))
print(client.get_collection("cats").query(query_texts=[sys.argv[2]], n_results=1)["ids"])
"""


def test_a_stored_collection_opens_in_another_program(tmp_path: Path) -> None:
    client = chromadb.PersistentClient(str(tmp_path), Settings(anonymized_telemetry=False))
    function = BertcppEmbeddingFunction(NAME, normalize_embeddings=True, truncate_dim=128)
    client.create_collection("cats", embedding_function=function).add(ids=IDS, documents=DOCUMENTS)
    command = [sys.executable, "-c", OPENING, str(tmp_path), "What did the bank do?"]
    completed = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert completed.returncode == 0, completed.stderr
    assert completed.stdout.strip() == "[['1']]"


def test_settings_survive_writing() -> None:
    assert known_embedding_functions["bertcpp"] is BertcppEmbeddingFunction
    function = BertcppEmbeddingFunction(NAME, normalize_embeddings=True, truncate_dim=16, on_overflow="truncate")
    again = config_to_embedding_function({"name": function.name(), "config": function.get_config()})
    assert again.get_config() == function.get_config()
    np.testing.assert_array_equal(again(DOCUMENTS), function(DOCUMENTS))
    assert again._model is function._model
    assert not function.is_legacy()


@pytest.mark.parametrize(("similarity", "space"), [("cosine", "cosine"), ("dot", "ip"), ("euclidean", "l2")])
def test_the_distance_is_the_models(similarity: str, space: str) -> None:
    function = BertcppEmbeddingFunction(NAME, similarity_fn_name=similarity)
    assert function.default_space() == space
    assert space in function.supported_spaces()


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"model_name": None}, errors.InputTypeError, "takes a model's name or folder, not NoneType"),
        ({"model_name": "no/such-model"}, errors.CheckpointNotFoundError, "no/such-model"),
        ({"model_name": NAME, "token": object()}, errors.InputError, "token is of type object, which cannot be stored"),
        ({"model_name": NAME, "device": "mps"}, ValueError, "device is 'mps', but bertcpp"),
        ({"model_name": NAME, "normalise": True}, TypeError, "normalise"),
    ],
)
def test_what_cannot_be_made(arguments: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        BertcppEmbeddingFunction(**arguments)


@pytest.mark.parametrize(
    "config", [{}, {"model_name": 3}, {"model_name": NAME, "kwargs": []}, {"model_name": NAME, "secret": 1}]
)
def test_damaged_descriptions(config: dict[str, Any]) -> None:
    with pytest.raises(errors.ConfigError, match="the stored configuration"):
        BertcppEmbeddingFunction.build_from_config(config)
