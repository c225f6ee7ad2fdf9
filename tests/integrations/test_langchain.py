from __future__ import annotations

import asyncio
import os
import pickle
import shutil
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from example_texts import DOCUMENTS, QUERY
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import InMemoryVectorStore

from bertcpp import errors
from bertcpp.integrations.langchain import BertcppEmbeddings

if TYPE_CHECKING:
    from pathlib import Path

    from bertcpp import SentenceTransformer


def test_vectors_are_those_of_sentence_transformers(model: SentenceTransformer, reference: Any) -> None:
    embeddings = BertcppEmbeddings(model)
    assert isinstance(embeddings, Embeddings)
    vectors = embeddings.embed_documents(DOCUMENTS)
    np.testing.assert_allclose(vectors, reference.encode(DOCUMENTS), atol=2e-6)
    np.testing.assert_allclose(embeddings.embed_query(QUERY), reference.encode(QUERY), atol=2e-6)
    assert all(type(value) is float for value in vectors[0])
    assert embeddings.embed_documents([]) == []


def test_queries_and_documents_get_their_prompts(prompted: Path, prompted_reference: Any) -> None:
    embeddings = BertcppEmbeddings(prompted, encode_kwargs={"normalize_embeddings": True})
    expected = prompted_reference.encode_query(QUERY, normalize_embeddings=True)
    np.testing.assert_allclose(embeddings.embed_query(QUERY), expected, atol=2e-6)
    expected = prompted_reference.encode_document(DOCUMENTS, normalize_embeddings=True)
    np.testing.assert_allclose(embeddings.embed_documents(DOCUMENTS), expected, atol=2e-6)
    assert not np.allclose(embeddings.embed_query(DOCUMENTS[0]), embeddings.embed_documents(DOCUMENTS)[0])


def test_arguments_for_queries_alone(model: SentenceTransformer) -> None:
    embeddings = BertcppEmbeddings(
        model, encode_kwargs={"truncate_dim": 32}, query_encode_kwargs={"truncate_dim": 32, "prompt": "query: "}
    )
    expected = model.encode(f"query: {QUERY}", truncate_dim=32)
    np.testing.assert_array_equal(embeddings.embed_query(QUERY), expected)
    assert len(embeddings.embed_documents(DOCUMENTS)[0]) == 32


def test_a_vector_store_finds_the_document(model: SentenceTransformer) -> None:
    store = InMemoryVectorStore(BertcppEmbeddings(model))
    store.add_documents([Document(page_content=text, metadata={"place": i}) for i, text in enumerate(DOCUMENTS)])
    assert [found.page_content for found in store.similarity_search(QUERY, k=1)] == DOCUMENTS[:1]
    retriever = store.as_retriever(search_kwargs={"k": 1})
    assert retriever.invoke("What did the bank decide?")[0].metadata == {"place": 1}
    assert asyncio.run(retriever.ainvoke("How do I bake?"))[0].metadata == {"place": 2}


def test_asynchronous_calls_leave_the_event_loop_alone(model: SentenceTransformer, threads_used: set[int]) -> None:
    embeddings = BertcppEmbeddings(model)

    async def both() -> tuple[list[float], list[list[float]]]:
        return await embeddings.aembed_query(QUERY), await embeddings.aembed_documents(DOCUMENTS)

    assert asyncio.run(both()) == (embeddings.embed_query(QUERY), embeddings.embed_documents(DOCUMENTS))
    assert threads_used - {threading.get_ident()}
    threads_used.clear()
    asyncio.run(both())
    assert threading.get_ident() not in threads_used


def test_pickling_keeps_the_settings(prompted: Path) -> None:
    embeddings = BertcppEmbeddings(prompted, encode_kwargs={"normalize_embeddings": True})
    restored = pickle.loads(pickle.dumps(embeddings))
    assert restored.embed_query(QUERY) == embeddings.embed_query(QUERY)


def test_adapters_share_a_model(minilm: Path) -> None:
    first, second = BertcppEmbeddings(minilm), BertcppEmbeddings(model_name=str(minilm))
    assert first.model is second.model
    assert BertcppEmbeddings(minilm, model_kwargs={"truncate_dim": 8}).model is not first.model


def test_a_folder_with_other_files_is_another_model(prompted: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(prompted, folder)
    first = BertcppEmbeddings(folder)
    os.utime(folder / "config.json", ns=(10**18, 10**19 // 5))
    assert BertcppEmbeddings(folder).model is not first.model


def test_a_text_that_is_cut_is_named_where_it_was_given(model: SentenceTransformer) -> None:
    with pytest.warns(UserWarning, match="1 of 2 texts, the first of them inputs.1., were longer") as said:
        BertcppEmbeddings(model).embed_documents(["short", "long " * 300])
    assert said[0].filename == __file__


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"model": 3}, errors.InputTypeError, "int; pass a name, a folder or a bertcpp.SentenceTransformer"),
        ({"model": "no/such-model"}, errors.CheckpointNotFoundError, "no/such-model"),
        ({"model": "all-MiniLM-L6-v2", "model_kwargs": {"device": "mps"}}, ValueError, "device is 'mps', but bertcpp"),
        ({"model": "all-MiniLM-L6-v2", "model_kwargs": {"normalize": True}}, TypeError, "normalize"),
    ],
)
def test_what_cannot_be_loaded(arguments: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        BertcppEmbeddings(**arguments)


def test_mistaken_calls(model: SentenceTransformer) -> None:
    with pytest.raises(ValueError, match=r"loaded already; give \['truncate_dim'\] to SentenceTransformer"):
        BertcppEmbeddings(model, model_kwargs={"truncate_dim": 8})
    embeddings = BertcppEmbeddings(model)
    with pytest.raises(errors.InputTypeError, match="for one text call embed_query"):
        embeddings.embed_documents(QUERY)  # type: ignore[arg-type]
    with pytest.raises(errors.InputTypeError, match="embed_documents takes a list"):
        embeddings.embed_query(DOCUMENTS)  # type: ignore[arg-type]
    with pytest.raises(errors.InputError, match=r"inputs\[1\] is None"):
        embeddings.embed_documents(["a", None])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="normalize"):
        BertcppEmbeddings(model, encode_kwargs={"normalize": True}).embed_query(QUERY)
