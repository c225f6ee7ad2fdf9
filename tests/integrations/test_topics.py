"""BERTopic and KeyBERT, which take a model as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import bertopic.backend
import keybert.backend
import numpy as np
import pytest
from bertopic import BERTopic
from bertopic.backend._utils import select_backend as topic_backend
from bertopic.representation import KeyBERTInspired, MaximalMarginalRelevance
from example_texts import DOCUMENTS
from hdbscan import HDBSCAN
from keybert import KeyBERT
from keybert.backend._utils import select_backend as keyword_backend
from sklearn.decomposition import PCA

if TYPE_CHECKING:
    from pathlib import Path

    from bertcpp import SentenceTransformer


def test_both_libraries_use_the_model_itself(model: SentenceTransformer) -> None:
    assert topic_backend(model) is model
    assert keyword_backend(model) is model
    assert isinstance(model, bertopic.backend.BaseEmbedder)
    assert isinstance(model, keybert.backend.BaseEmbedder)
    assert isinstance(model, type(model))


def test_what_they_call(model: SentenceTransformer, capsys: pytest.CaptureFixture[str]) -> None:
    expected = model.encode(DOCUMENTS)
    for call in (model.embed, model.embed_documents, model.embed_words):
        np.testing.assert_array_equal(call(DOCUMENTS), expected)
        np.testing.assert_array_equal(call(DOCUMENTS, verbose=False), expected)
    assert capsys.readouterr().err == ""


def test_keywords_are_those_of_sentence_transformers(
    model: SentenceTransformer, reference: Any, sentences: list[str]
) -> None:
    texts = [" ".join(sentences[start : start + 4]) for start in range(0, 24, 4)]
    options: list[dict[str, Any]] = [
        {},
        {"keyphrase_ngram_range": (1, 2), "use_mmr": True, "diversity": 0.6},
        {"seed_keywords": ["exception"], "top_n": 3},
    ]
    for arguments in options:
        ours = KeyBERT(model=model).extract_keywords(texts, **arguments)
        theirs = KeyBERT(model=reference).extract_keywords(texts, **arguments)
        for own, other in zip(ours, theirs, strict=True):
            assert [word for word, _ in own] == [word for word, _ in other]
            np.testing.assert_allclose([score for _, score in own], [score for _, score in other], atol=1.1e-4)


def topic_model(embedding_model: Any, **arguments: Any) -> BERTopic:
    return BERTopic(
        embedding_model=embedding_model,
        umap_model=PCA(n_components=5, random_state=0),
        hdbscan_model=HDBSCAN(min_cluster_size=8, prediction_data=True),
        **arguments,
    )


@pytest.fixture(scope="module")
def texts(sentences: list[str]) -> list[str]:
    return sentences[:400]


@pytest.fixture(scope="module")
def fitted(model: SentenceTransformer, texts: list[str]) -> tuple[BERTopic, list[int]]:
    topics = topic_model(model)
    found, _ = topics.fit_transform(texts)
    return topics, list(found)


def test_topics_are_those_of_sentence_transformers(
    fitted: tuple[BERTopic, list[int]], reference: Any, texts: list[str]
) -> None:
    topics, found = fitted
    theirs = topic_model(reference)
    expected, _ = theirs.fit_transform(texts)
    assert len(set(found)) >= 3
    assert found == list(expected)
    assert topics.get_topic_info()["Name"].tolist() == theirs.get_topic_info()["Name"].tolist()


def test_words_and_new_documents_are_embedded_too(
    fitted: tuple[BERTopic, list[int]], model: SentenceTransformer, texts: list[str]
) -> None:
    topics, found = fitted
    assert topics.embedding_model is model
    assert len(topics.transform(texts[:5])[0]) == 5
    assert len(topics.find_topics("exceptions and errors", top_n=2)[0]) == 2
    assert -1 not in topics.reduce_outliers(texts, found, strategy="embeddings")
    for representation in (KeyBERTInspired(), MaximalMarginalRelevance(diversity=0.3)):
        topics.update_topics(texts, topics=found, representation_model=representation)
        assert all(len(words) >= 5 for words in topics.get_topics().values())


@pytest.mark.parametrize("serialization", ["pickle", "safetensors"])
def test_saved_topics_are_used_again(
    fitted: tuple[BERTopic, list[int]], model: SentenceTransformer, texts: list[str], serialization: str, tmp_path: Path
) -> None:
    topics, _ = fitted
    path = str(tmp_path / "topics")
    if serialization == "pickle":
        topics.save(path, serialization=serialization)
        again = BERTopic.load(path)
        assert isinstance(again.embedding_model, type(model))
    else:
        topics.save(path, serialization=serialization)
        again = BERTopic.load(path, embedding_model=model)
        assert again.embedding_model is model
    assert len(again.transform(texts[:5])[0]) == 5


def test_guided_topics(model: SentenceTransformer, texts: list[str]) -> None:
    topics = topic_model(model, seed_topic_list=[["exception", "error"], ["import", "module"]])
    assert len(topics.fit_transform(texts)[0]) == len(texts)
