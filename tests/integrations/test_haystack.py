from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from example_texts import DOCUMENTS, QUERY
from haystack import Document, Pipeline
from haystack.components.retrievers.in_memory import InMemoryEmbeddingRetriever
from haystack.components.writers import DocumentWriter
from haystack.core.errors import DeserializationError
from haystack.document_stores.in_memory import InMemoryDocumentStore

from bertcpp import errors
from bertcpp.integrations.haystack import BertcppDocumentEmbedder, BertcppTextEmbedder

if TYPE_CHECKING:
    from pathlib import Path

    from bertcpp import SentenceTransformer

NAME = "all-MiniLM-L6-v2"


def documents() -> list[Document]:
    return [Document(content=text, meta={"title": f"Title {i}", "empty": None}) for i, text in enumerate(DOCUMENTS)]


def embeddings(result: dict[str, Any]) -> list[list[float]]:
    return [document.embedding for document in result["documents"]]


def test_vectors_are_those_of_sentence_transformers(reference: Any) -> None:
    result = BertcppDocumentEmbedder(NAME).run(documents())
    np.testing.assert_allclose(embeddings(result), reference.encode(DOCUMENTS), atol=2e-6)
    assert [document.content for document in result["documents"]] == DOCUMENTS
    vector = BertcppTextEmbedder(NAME).run(QUERY)["embedding"]
    np.testing.assert_allclose(vector, reference.encode(QUERY), atol=2e-6)
    assert type(vector[0]) is float
    assert BertcppDocumentEmbedder(NAME).run([]) == {"documents": []}


def test_documents_given_stay_as_they_are() -> None:
    given = documents()
    BertcppDocumentEmbedder(NAME).run(given)
    assert all(document.embedding is None for document in given)


def test_queries_and_documents_get_their_prompts(prompted: Path, prompted_reference: Any) -> None:
    vector = BertcppTextEmbedder(prompted, normalize_embeddings=True).run(QUERY)["embedding"]
    expected = prompted_reference.encode_query(QUERY, normalize_embeddings=True)
    np.testing.assert_allclose(vector, expected, atol=2e-6)
    result = BertcppDocumentEmbedder(prompted, normalize_embeddings=True).run(documents())
    expected = prompted_reference.encode_document(DOCUMENTS, normalize_embeddings=True)
    np.testing.assert_allclose(embeddings(result), expected, atol=2e-6)


def test_what_is_put_around_the_texts(model: SentenceTransformer) -> None:
    embedder = BertcppTextEmbedder(NAME, prefix="ask: ", suffix=" now", truncate_dim=16)
    expected = model.encode(f"ask: {QUERY} now", truncate_dim=16)
    np.testing.assert_array_equal(embedder.run(QUERY)["embedding"], expected)
    documents_embedder = BertcppDocumentEmbedder(
        NAME,
        prefix="tell: ",
        suffix=" now",
        meta_fields_to_embed=["title", "empty", "absent"],
        embedding_separator=" | ",
    )
    expected = model.encode([f"tell: Title {i} | {text} now" for i, text in enumerate(DOCUMENTS)])
    np.testing.assert_array_equal(embeddings(documents_embedder.run(documents())), expected)
    assert len(embeddings(BertcppDocumentEmbedder(NAME).run([Document(content=None)]))[0]) == 384


def searching(index: str) -> tuple[Pipeline, Pipeline]:
    store = InMemoryDocumentStore(embedding_similarity_function="cosine", index=index)
    indexing = Pipeline()
    indexing.add_component("embedder", BertcppDocumentEmbedder(NAME))
    indexing.add_component("writer", DocumentWriter(store))
    indexing.connect("embedder.documents", "writer.documents")
    search = Pipeline()
    search.add_component("embedder", BertcppTextEmbedder(NAME))
    search.add_component("retriever", InMemoryEmbeddingRetriever(store, top_k=1))
    search.connect("embedder.embedding", "retriever.query_embedding")
    return indexing, search


def test_documents_are_stored_and_found() -> None:
    indexing, search = searching("found")
    assert indexing.run({"embedder": {"documents": documents()}}) == {"writer": {"documents_written": len(DOCUMENTS)}}
    found = search.run({"embedder": {"text": QUERY}})["retriever"]["documents"]
    assert [document.content for document in found] == DOCUMENTS[:1]
    again = asyncio.run(search.run_async({"embedder": {"text": QUERY}}))
    assert again["retriever"]["documents"] == found


def test_a_stored_plan_works_again() -> None:
    indexing, search = searching("again")
    written = search.dumps()
    assert "bertcpp.integrations.haystack.BertcppTextEmbedder" in written
    with pytest.raises(DeserializationError, match=r"allowed_modules=\['bertcpp\.integrations\.haystack'\]"):
        Pipeline.loads(written)
    again = Pipeline.loads(written, allowed_modules=["bertcpp.integrations"])
    assert again.to_dict() == search.to_dict()
    indexing.run({"embedder": {"documents": documents()}})
    found = again.run({"embedder": {"text": "How do I bake?"}})["retriever"]["documents"]
    assert [document.content for document in found] == DOCUMENTS[2:3]


def test_settings_survive_writing() -> None:
    embedder = BertcppDocumentEmbedder(
        NAME,
        prefix="p",
        suffix="s",
        batch_size=3,
        progress_bar=False,
        normalize_embeddings=True,
        truncate_dim=9,
        meta_fields_to_embed=["title"],
        embedding_separator="-",
        model_kwargs={"on_overflow": "truncate"},
        encode_kwargs={"num_threads": 1},
    )
    again = BertcppDocumentEmbedder.from_dict(embedder.to_dict())
    assert again.to_dict() == embedder.to_dict()
    assert embeddings(again.run(documents())) == embeddings(embedder.run(documents()))
    again_text = BertcppTextEmbedder.from_dict(BertcppTextEmbedder(NAME, truncate_dim=9).to_dict())
    assert len(again_text.run(QUERY)["embedding"]) == 9


def test_asynchronous_calls_leave_the_event_loop_alone(threads_used: set[int]) -> None:
    text, several = BertcppTextEmbedder(NAME), BertcppDocumentEmbedder(NAME)

    async def both() -> tuple[Any, Any]:
        return await text.run_async(QUERY), await several.run_async(documents())

    vector, result = asyncio.run(both())
    assert threads_used
    assert threading.get_ident() not in threads_used
    assert vector == text.run(QUERY)
    assert embeddings(result) == embeddings(several.run(documents()))


def test_a_model_is_loaded_when_it_is_needed() -> None:
    embedder = BertcppTextEmbedder("no/such-model")
    with pytest.raises(errors.CheckpointNotFoundError, match="no/such-model"):
        embedder.warm_up()


def test_mistaken_calls(model: SentenceTransformer) -> None:
    with pytest.raises(errors.InputTypeError, match="takes a model's name or folder, not SentenceTransformer"):
        BertcppTextEmbedder(model)  # type: ignore[arg-type]
    with pytest.raises(errors.InputTypeError, match="goes to BertcppDocumentEmbedder"):
        BertcppTextEmbedder(NAME).run(documents())  # type: ignore[arg-type]
    with pytest.raises(errors.InputTypeError, match="a string goes to BertcppTextEmbedder"):
        BertcppDocumentEmbedder(NAME).run(QUERY)  # type: ignore[arg-type]
    with pytest.raises(errors.InputTypeError, match=r"list of haystack\.Document"):
        BertcppDocumentEmbedder(NAME).run([documents()[0], QUERY])  # type: ignore[list-item]
