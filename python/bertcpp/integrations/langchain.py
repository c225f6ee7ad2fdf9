"""LangChain: `BertcppEmbeddings`, for vector stores, retrievers and whatever else takes LangChain's `Embeddings`.

from bertcpp.integrations.langchain import BertcppEmbeddings
store = InMemoryVectorStore(BertcppEmbeddings("all-MiniLM-L6-v2"))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..arguments import renamed
from ..embedding import SentenceTransformer
from ..errors import InputTypeError
from .loading import cross_encoder, embedding_model, library, named

with library("langchain-core"):
    from langchain_core.documents import BaseDocumentCompressor
    from langchain_core.embeddings import Embeddings
    from pydantic import ConfigDict, Field, PrivateAttr

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from langchain_core.documents import Document

__all__ = ["BertcppEmbeddings", "BertcppReranker"]


class BertcppEmbeddings(Embeddings):
    """A model as LangChain's `Embeddings`; the `a` variants compute in a thread of their own.

    Queries get the model's prompt for queries and documents the one for documents, where it has them.

    Args:
        model: a name, a folder, or a `SentenceTransformer`; `model_name` is another name of it.
        cache_folder: where hub checkpoints are kept.
        model_kwargs: what the model is loaded with: arguments of `SentenceTransformer`.
        encode_kwargs: arguments of `SentenceTransformer.encode`, such as `normalize_embeddings` and `batch_size`.
        query_encode_kwargs: the same for queries; None takes `encode_kwargs`.
        show_progress: show a progress bar for documents.

    Raises:
        MissingDependencyError: on import, if langchain-core is not installed.
        InputTypeError: if `model` is of another type.
        ValueError: if `model_kwargs` are given for a model that is loaded already.

    Example:
        >>> from bertcpp.integrations.langchain import BertcppEmbeddings
        >>> embeddings = BertcppEmbeddings("all-MiniLM-L6-v2", encode_kwargs={"normalize_embeddings": True})
        >>> len(embeddings.embed_query("Where is the cat?")), len(embeddings.embed_documents(["outside", "inside"]))
        (384, 2)
    """

    @renamed(model_name="model")
    def __init__(
        self,
        model: str | os.PathLike[str] | SentenceTransformer,
        *,
        cache_folder: str | None = None,
        model_kwargs: dict[str, Any] | None = None,
        encode_kwargs: dict[str, Any] | None = None,
        query_encode_kwargs: dict[str, Any] | None = None,
        show_progress: bool = False,
    ) -> None:
        self.model = _loaded(model, cache_folder, dict(model_kwargs or {}))
        self.encode_kwargs = dict(encode_kwargs or {})
        self.query_encode_kwargs = self.encode_kwargs if query_encode_kwargs is None else dict(query_encode_kwargs)
        self.show_progress = show_progress

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return the vector of each document.

        Raises:
            InputError: if `texts` is one text, or contains something else than texts.
        """
        given: Any = texts
        if isinstance(given, str):
            raise InputTypeError("embed_documents takes a list of texts; for one text call embed_query, or pass [text]")
        arguments = {"show_progress_bar": self.show_progress, **self.encode_kwargs}
        vectors: list[list[float]] = self.model.encode_document(texts, **arguments).tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of a query.

        Raises:
            InputTypeError: if `text` is no string.
        """
        if not isinstance(text, str):
            raise InputTypeError(f"embed_query takes one text, not {type(text).__name__}; embed_documents takes a list")
        arguments = {"show_progress_bar": False, **self.query_encode_kwargs}
        vector: list[float] = self.model.encode_query(text, **arguments).tolist()
        return vector

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.model!r})"


class BertcppReranker(BaseDocumentCompressor):
    """A cross-encoder as LangChain's document compressor: keeps the documents that are most relevant to the query.

    Args:
        model: a name or a folder of a checkpoint that `CrossEncoder` reads.
        top_n: documents to keep.
        model_kwargs: further arguments of `CrossEncoder`.
        predict_kwargs: further arguments of `CrossEncoder.predict`.

    Raises:
        MissingDependencyError: on import, if langchain-core is not installed.
        InputTypeError: if `model` is no name.
        MissingHeadError: if the checkpoint has no head that scores.
    """

    model: str
    top_n: int = Field(default=3, gt=0)
    model_kwargs: dict[str, Any] = Field(default_factory=dict)
    predict_kwargs: dict[str, Any] = Field(default_factory=dict)
    _scorer: Any = PrivateAttr()

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    @renamed(model_name="model")
    def __init__(self, model: str | os.PathLike[str], **settings: Any) -> None:
        super().__init__(model=named(type(self).__name__, model), **settings)
        self._scorer = cross_encoder(self.model, self.model_kwargs)

    def compress_documents(self, documents: Sequence[Document], query: str, callbacks: Any = None) -> list[Document]:
        """Return copies of the best documents, the best first; `relevance_score` in their metadata is their score.

        Raises:
            InputError: if `query` is no string.
        """
        texts = [document.page_content for document in documents]
        ranks = self._scorer.rank(query, texts, top_k=self.top_n, **self.predict_kwargs)
        return [_scored(documents[rank["corpus_id"]], rank["score"]) for rank in ranks]


def _scored(document: Document, score: float) -> Document:
    copy: Document = document.model_copy(update={"metadata": document.metadata | {"relevance_score": score}})
    return copy


def _loaded(model: Any, cache_folder: str | None, arguments: dict[str, Any]) -> SentenceTransformer:
    if cache_folder is not None:
        arguments["cache_folder"] = cache_folder
    if isinstance(model, SentenceTransformer):
        if arguments:
            raise ValueError(f"the model is loaded already; give {sorted(arguments)} to SentenceTransformer instead")
        return model
    if not hasattr(model, "__fspath__") and not isinstance(model, str):
        raise InputTypeError(
            f"model is of type {type(model).__name__}; pass a name, a folder or a bertcpp.SentenceTransformer"
        )
    return embedding_model(str(model), arguments)
