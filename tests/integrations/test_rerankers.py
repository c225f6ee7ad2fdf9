"""The cross-encoder in LangChain, LlamaIndex, Haystack and MTEB, beside that of sentence-transformers."""

from __future__ import annotations

import asyncio
import pickle
import threading
from typing import TYPE_CHECKING, Any

import mteb
import numpy as np
import pytest
from datasets import Dataset
from example_texts import DOCUMENTS, QUERY
from haystack import Document as HaystackDocument
from haystack import Pipeline
from langchain_core.documents import Document as LangChainDocument
from llama_index.core import QueryBundle
from llama_index.core.schema import NodeWithScore, TextNode
from mteb.abstasks import AbsTaskRetrieval
from mteb.abstasks.retrieval_dataset_loaders import RetrievalSplitData
from mteb.abstasks.task_metadata import TaskMetadata
from mteb.models.models_protocols import CrossEncoderProtocol

from bertcpp import CrossEncoder, errors
from bertcpp.integrations.haystack import BertcppRanker
from bertcpp.integrations.langchain import BertcppReranker
from bertcpp.integrations.llama_index import BertcppRerank

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def scorer(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cross-encoder with a head of random weights, on the encoder of all-MiniLM-L6-v2."""
    import torch
    import transformers

    folder = tmp_path_factory.mktemp("rerankers") / "scorer"
    torch.manual_seed(3)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(minilm, num_labels=1)
    torch.nn.init.normal_(model.classifier.weight, std=0.5)
    model.save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(minilm).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def expected(scorer: Path) -> list[tuple[int, float]]:
    """The places of the documents and their scores, the best first, by sentence-transformers."""
    import sentence_transformers

    ranks = sentence_transformers.CrossEncoder(str(scorer), device="cpu").rank(QUERY, DOCUMENTS)
    scores = [float(rank["score"]) for rank in ranks]
    assert min(-np.diff(scores)) > 1e-4
    return [(int(rank["corpus_id"]), score) for rank, score in zip(ranks, scores, strict=True)]


@pytest.fixture
def scoring_threads(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    used: set[int] = set()
    predict = CrossEncoder.predict

    def watched(*args: Any, **kwargs: Any) -> Any:
        used.add(threading.get_ident())
        return predict(*args, **kwargs)

    monkeypatch.setattr(CrossEncoder, "predict", watched)
    return used


def same(found: list[tuple[int, float]], expected: list[tuple[int, float]]) -> None:
    assert [place for place, _ in found] == [place for place, _ in expected]
    np.testing.assert_allclose([score for _, score in found], [score for _, score in expected], atol=1e-5)


def test_langchain(scorer: Path, expected: list[tuple[int, float]], scoring_threads: set[int]) -> None:
    documents = [LangChainDocument(page_content=text, metadata={"place": i}) for i, text in enumerate(DOCUMENTS)]
    reranker = BertcppReranker(scorer, top_n=4)
    best = reranker.compress_documents(documents, QUERY)
    same([(document.metadata["place"], document.metadata["relevance_score"]) for document in best], expected[:4])
    assert all("relevance_score" not in document.metadata for document in documents)
    assert best[0].page_content == DOCUMENTS[expected[0][0]]
    scoring_threads.clear()
    assert asyncio.run(reranker.acompress_documents(documents, QUERY)) == best
    assert scoring_threads
    assert threading.get_ident() not in scoring_threads
    assert reranker.compress_documents([], QUERY) == []
    assert pickle.loads(pickle.dumps(reranker)).compress_documents(documents, QUERY) == best


def nodes() -> list[NodeWithScore]:
    return [NodeWithScore(node=TextNode(text=text, id_=str(i)), score=0.5) for i, text in enumerate(DOCUMENTS)]


def test_llama_index(scorer: Path, expected: list[tuple[int, float]], scoring_threads: set[int]) -> None:
    reranker = BertcppRerank(scorer, top_n=3, keep_retrieval_score=True)
    best = reranker.postprocess_nodes(nodes(), query_str=QUERY)
    same([(int(node.node.node_id), node.score or 0.0) for node in best], expected[:3])
    assert [node.node.metadata for node in best] == [{"retrieval_score": 0.5}] * 3
    scoring_threads.clear()
    again = asyncio.run(reranker.apostprocess_nodes(nodes(), query_bundle=QueryBundle(QUERY)))
    assert [node.score for node in again] == [node.score for node in best]
    assert threading.get_ident() not in scoring_threads
    assert reranker.postprocess_nodes([], query_str=QUERY) == []
    for copy in (BertcppRerank.from_dict(reranker.to_dict()), pickle.loads(pickle.dumps(reranker))):
        assert copy.to_dict() == reranker.to_dict()
        assert [node.score for node in copy.postprocess_nodes(nodes(), query_str=QUERY)] == [n.score for n in best]


def haystack_documents() -> list[HaystackDocument]:
    return [HaystackDocument(content=text, meta={"place": i, "title": f"T{i}"}) for i, text in enumerate(DOCUMENTS)]


def found(result: dict[str, Any]) -> list[tuple[int, float]]:
    return [(document.meta["place"], document.score) for document in result["documents"]]


def test_haystack(scorer: Path, expected: list[tuple[int, float]], scoring_threads: set[int]) -> None:
    ranker = BertcppRanker(scorer)
    documents = haystack_documents()
    result = ranker.run(QUERY, documents + documents[:2])
    same(found(result), expected)
    assert all(document.score is None for document in documents)
    same(found(ranker.run(QUERY, documents, top_k=2)), expected[:2])
    threshold = (expected[2][1] + expected[3][1]) / 2
    same(found(ranker.run(QUERY, documents, score_threshold=threshold)), expected[:3])
    scoring_threads.clear()
    assert asyncio.run(ranker.run_async(QUERY, documents)) == result
    assert threading.get_ident() not in scoring_threads
    assert ranker.run(QUERY, []) == {"documents": []}


def test_haystack_settings(scorer: Path) -> None:
    ranker = BertcppRanker(
        scorer,
        top_k=4,
        query_prefix="q: ",
        query_suffix=" ?",
        document_prefix="d: ",
        document_suffix=" .",
        meta_fields_to_embed=["title", "absent"],
        embedding_separator=" | ",
        score_threshold=0.0,
        batch_size=2,
        model_kwargs={"max_length": 64},
        predict_kwargs={"num_threads": 1},
    )
    texts = [f"d: T{i} | {text} ." for i, text in enumerate(DOCUMENTS)]
    ranks = CrossEncoder(scorer, max_length=64).rank(f"q: {QUERY} ?", texts, top_k=4)
    result = ranker.run(QUERY, haystack_documents())
    assert found(result) == [(rank["corpus_id"], rank["score"]) for rank in ranks]
    plan = Pipeline()
    plan.add_component("ranker", ranker)
    again = Pipeline.loads(plan.dumps(), allowed_modules=["bertcpp.integrations"])
    assert again.to_dict() == plan.to_dict()
    assert again.run({"ranker": {"query": QUERY, "documents": haystack_documents()}})["ranker"] == result


def loaded(kind: Any, folder: Path) -> None:
    ranker = kind(folder)
    ranker.warm_up()  # Haystack's components load when they are needed


@pytest.mark.parametrize("kind", [BertcppReranker, BertcppRerank, BertcppRanker])
def test_what_cannot_be_made(kind: Any, scorer: Path, minilm: Path) -> None:
    with pytest.raises(errors.InputTypeError, match="takes a model's name or folder, not CrossEncoder"):
        kind(CrossEncoder(scorer))
    with pytest.raises((ValueError, TypeError), match="top"):
        kind(scorer, top_k=0, top_n=0)
    with pytest.raises(errors.BertcppError, match="head"):
        loaded(kind, minilm)


def test_mistaken_calls(scorer: Path) -> None:
    with pytest.raises(errors.InputError, match="pass query_str or query_bundle"):
        BertcppRerank(scorer).postprocess_nodes(nodes())
    with pytest.raises(errors.InputError, match="query is of type int"):
        BertcppReranker(scorer).compress_documents([], 3)  # type: ignore[arg-type]
    with pytest.raises(errors.InputTypeError, match="one string as its query, not int"):
        BertcppRanker(scorer).run(3, [])  # type: ignore[arg-type]
    with pytest.raises(errors.InputTypeError, match="BertcppRanker takes a list of"):
        BertcppRanker(scorer).run(QUERY, DOCUMENTS)  # type: ignore[arg-type]


class Reranking(AbsTaskRetrieval):
    metadata = TaskMetadata(
        name="BertcppReranking",
        type="Reranking",
        main_score="ndcg_at_10",
        description="A query and five documents.",
        dataset={"path": "none", "revision": "1"},
        eval_splits=["test"],
        eval_langs=["eng-Latn"],
        category="t2t",
    )

    def load_data(self, *args: Any, **kwargs: Any) -> None:
        split = RetrievalSplitData(
            queries=Dataset.from_list([{"id": "q", "text": QUERY}, {"id": "r", "text": "What did the bank do?"}]),
            corpus=Dataset.from_list([{"id": f"d{i}", "text": text} for i, text in enumerate(DOCUMENTS)]),
            relevant_docs={"q": {"d0": 1, "d3": 2}, "r": {"d1": 1}},
            top_ranked={"q": ["d0", "d1", "d2", "d3", "d4"], "r": ["d1", "d3", "d4"]},
        )
        self.dataset = {"default": {"test": split}}
        self.data_loaded = True


def test_mteb(scorer: Path) -> None:
    import sentence_transformers

    def scores(model: Any) -> dict[str, float]:
        (result,) = mteb.evaluate(model, Reranking(), cache=None, show_progress_bar=False).task_results
        found = result.scores["test"][0]
        return {name: value for name, value in found.items() if isinstance(value, float) and not np.isnan(value)}

    model = CrossEncoder(scorer)
    assert isinstance(model, CrossEncoderProtocol)
    assert scores(model) == pytest.approx(scores(sentence_transformers.CrossEncoder(str(scorer))), abs=1e-4)
    assert model.mteb_model_meta.model_type == ["cross-encoder"]
    assert model.mteb_model_meta.name == "local/scorer"
