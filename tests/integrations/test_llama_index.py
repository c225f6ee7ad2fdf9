from __future__ import annotations

import asyncio
import pickle
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from example_texts import DOCUMENTS, QUERY
from llama_index.core import Document, Settings, StorageContext, VectorStoreIndex, load_index_from_storage
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.storage.kvstore import SimpleKVStore

from bertcpp import errors
from bertcpp.integrations.llama_index import BertcppEmbedding

if TYPE_CHECKING:
    from pathlib import Path

    from bertcpp import SentenceTransformer


@pytest.fixture
def embedding() -> BertcppEmbedding:
    return BertcppEmbedding("all-MiniLM-L6-v2")


def test_vectors_are_those_of_sentence_transformers(embedding: BertcppEmbedding, reference: Any) -> None:
    expected = reference.encode(DOCUMENTS, normalize_embeddings=True)
    np.testing.assert_allclose(embedding.get_text_embedding_batch(DOCUMENTS), expected, atol=2e-6)
    np.testing.assert_allclose(embedding.get_text_embedding(DOCUMENTS[1]), expected[1], atol=2e-6)
    expected = reference.encode(QUERY, normalize_embeddings=True)
    np.testing.assert_allclose(embedding.get_query_embedding(QUERY), expected, atol=2e-6)
    assert embedding.get_text_embedding_batch([]) == []


def test_queries_and_texts_get_their_prompts(prompted: Path, prompted_reference: Any) -> None:
    embedding = BertcppEmbedding(prompted, normalize=False)
    expected = prompted_reference.encode_query(QUERY)
    np.testing.assert_allclose(embedding.get_query_embedding(QUERY), expected, atol=2e-6)
    expected = prompted_reference.encode_document(DOCUMENTS)
    np.testing.assert_allclose(embedding.get_text_embedding_batch(DOCUMENTS), expected, atol=2e-6)


def test_instructions_and_lengths(model: SentenceTransformer) -> None:
    embedding = BertcppEmbedding(
        "all-MiniLM-L6-v2", query_instruction="ask: ", text_instruction="tell: ", max_length=6, normalize=False
    )
    limit: Any = {"processing_kwargs": {"text": {"max_length": 6}}, "on_overflow": "truncate"}
    with pytest.warns(UserWarning, match="were cut"):
        vector = embedding.get_query_embedding(QUERY)
    np.testing.assert_array_equal(vector, model.encode(QUERY, prompt="ask: ", **limit))
    with pytest.warns(UserWarning, match="were cut"):
        vector = embedding.get_text_embedding(DOCUMENTS[0])
    np.testing.assert_array_equal(vector, model.encode(DOCUMENTS[0], prompt="tell: ", **limit))
    assert embedding._model.max_seq_length == 256  # which others share


def test_an_index_finds_the_document_now_and_when_stored(embedding: BertcppEmbedding, tmp_path: Path) -> None:
    index = VectorStoreIndex.from_documents([Document(text=text) for text in DOCUMENTS], embed_model=embedding)
    assert index.as_retriever(similarity_top_k=1).retrieve(QUERY)[0].node.get_content() == DOCUMENTS[0]
    index.storage_context.persist(tmp_path)
    stored = load_index_from_storage(StorageContext.from_defaults(persist_dir=str(tmp_path)), embed_model=embedding)
    assert stored.as_retriever(similarity_top_k=1).retrieve("What did the bank do?")[0].text == DOCUMENTS[1]


def test_settings_and_ingestion(embedding: BertcppEmbedding, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Settings, "_embed_model", None)
    Settings.embed_model = embedding
    assert Settings.embed_model is embedding
    ingestion = IngestionPipeline(transformations=[SentenceSplitter(chunk_size=64, chunk_overlap=0), embedding])
    nodes = ingestion.run(documents=[Document(text=text) for text in DOCUMENTS])
    assert [len(node.embedding or []) for node in nodes] == [384] * len(DOCUMENTS)


def test_asynchronous_calls_leave_the_event_loop_alone(embedding: BertcppEmbedding, threads_used: set[int]) -> None:
    async def all_three() -> tuple[Any, Any, Any]:
        return (
            await embedding.aget_query_embedding(QUERY),
            await embedding.aget_text_embedding(DOCUMENTS[0]),
            await embedding.aget_text_embedding_batch(DOCUMENTS),
        )

    query, text, texts = asyncio.run(all_three())
    assert threads_used
    assert threading.get_ident() not in threads_used
    assert query == embedding.get_query_embedding(QUERY)
    assert texts == embedding.get_text_embedding_batch(DOCUMENTS)
    assert text == texts[0]


def test_batches_do_not_change_results(embedding: BertcppEmbedding) -> None:
    one_by_one = BertcppEmbedding("all-MiniLM-L6-v2", embed_batch_size=1)
    assert one_by_one.get_text_embedding_batch(DOCUMENTS) == embedding.get_text_embedding_batch(DOCUMENTS)


def test_known_vectors_come_from_the_cache(embedding: BertcppEmbedding, threads_used: set[int]) -> None:
    cached = BertcppEmbedding("all-MiniLM-L6-v2", embeddings_cache=SimpleKVStore())
    first = cached.get_text_embedding_batch(DOCUMENTS)
    threads_used.clear()
    assert cached.get_text_embedding_batch(DOCUMENTS) == first
    assert not threads_used


def test_written_down_and_read_again(prompted: Path) -> None:
    embedding = BertcppEmbedding(
        prompted, query_instruction="ask: ", normalize=False, model_kwargs={"truncate_dim": 16}, embed_batch_size=7
    )
    for again in (
        BertcppEmbedding.from_dict(embedding.to_dict()),
        BertcppEmbedding.from_json(embedding.to_json()),
        pickle.loads(pickle.dumps(embedding)),
    ):
        assert again.to_dict() == embedding.to_dict()
        assert again.get_query_embedding(QUERY) == embedding.get_query_embedding(QUERY)
        assert len(again.get_text_embedding(QUERY)) == 16
    assert embedding.to_dict()["class_name"] == BertcppEmbedding.class_name() == "BertcppEmbedding"


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"model_name": None}, errors.InputTypeError, "takes a model's name or folder, not NoneType"),
        ({"model_name": "no/such-model"}, errors.CheckpointNotFoundError, "no/such-model"),
        ({"model_name": "all-MiniLM-L6-v2", "pooling": "cls"}, ValueError, r"does not know \['pooling'\]"),
        ({"model_name": "all-MiniLM-L6-v2", "max_length": 0}, ValueError, "max_length"),
        ({"model_name": "all-MiniLM-L6-v2", "model_kwargs": {"device": "tpu"}}, ValueError, "device is 'tpu'"),
    ],
)
def test_what_cannot_be_made(arguments: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        BertcppEmbedding(**arguments)


def test_a_loaded_model_is_no_name(model: SentenceTransformer) -> None:
    with pytest.raises(errors.InputTypeError, match="not SentenceTransformer: the name is written down"):
        BertcppEmbedding(model)  # type: ignore[arg-type]
