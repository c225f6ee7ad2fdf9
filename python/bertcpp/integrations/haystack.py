"""Haystack 2: `BertcppTextEmbedder` for queries, `BertcppDocumentEmbedder` and `BertcppRanker` for documents.

from bertcpp.integrations.haystack import BertcppDocumentEmbedder, BertcppTextEmbedder
documents = BertcppDocumentEmbedder("all-MiniLM-L6-v2").run(documents)["documents"]
"""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
from typing import TYPE_CHECKING, Any

from ..arguments import checked_count
from ..errors import InputTypeError
from .loading import cross_encoder, embedding_model, library, named

with library("haystack-ai"):
    from haystack import Document, component, default_from_dict, default_to_dict

if TYPE_CHECKING:
    import os

    from typing_extensions import Self

    from ..embedding import SentenceTransformer
    from ..reranking import CrossEncoder

__all__ = ["BertcppDocumentEmbedder", "BertcppRanker", "BertcppTextEmbedder"]


class _Written:
    """What all components have: the arguments that they are made with, kept by their names, are written down."""

    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` needs to make the same component again."""
        names = list(inspect.signature(type(self).__init__).parameters)[1:]
        settings: dict[str, Any] = default_to_dict(self, **{name: getattr(self, name) for name in names})
        return settings

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Return the component that `to_dict` described."""
        made: Self = default_from_dict(cls, data)
        return made


class _Embedder(_Written):
    """What both embedders have: their settings, and a model that is loaded at the first run."""

    def __init__(
        self,
        model: str | os.PathLike[str],
        prefix: str,
        suffix: str,
        batch_size: int,
        progress_bar: bool,
        normalize_embeddings: bool,
        truncate_dim: int | None,
        model_kwargs: dict[str, Any] | None,
        encode_kwargs: dict[str, Any] | None,
    ) -> None:
        self.model = named(type(self).__name__, model)
        self.prefix = prefix
        self.suffix = suffix
        self.batch_size = batch_size
        self.progress_bar = progress_bar
        self.normalize_embeddings = normalize_embeddings
        self.truncate_dim = truncate_dim
        self.model_kwargs = model_kwargs
        self.encode_kwargs = encode_kwargs
        self._loaded: SentenceTransformer | None = None

    def warm_up(self) -> None:
        """Load the model, which the first run does otherwise."""
        if self._loaded is None:
            self._loaded = embedding_model(self.model, self.model_kwargs or {})

    def _ready(self) -> SentenceTransformer:
        self.warm_up()
        assert self._loaded is not None
        return self._loaded

    def _arguments(self) -> dict[str, Any]:
        return {
            "prompt": self.prefix or None,
            "batch_size": self.batch_size,
            "show_progress_bar": self.progress_bar,
            "normalize_embeddings": self.normalize_embeddings,
            "truncate_dim": self.truncate_dim,
            **(self.encode_kwargs or {}),
        }


def _check_documents(owner: str, documents: Any) -> None:
    if not isinstance(documents, list) or not all(isinstance(document, Document) for document in documents):
        raise InputTypeError(f"{owner} takes a list of haystack.Document; a string goes to BertcppTextEmbedder")


def _texts(documents: list[Document], fields: list[str], separator: str) -> list[str]:
    """Return the contents, each after the named fields of the metadata that the document has."""
    found = [[document.meta.get(name) for name in fields] + [document.content or ""] for document in documents]
    return [separator.join(str(part) for part in parts if part is not None) for parts in found]


@component
class BertcppTextEmbedder(_Embedder):
    """Embeds a text, which is usually a query: it gets the model's prompt for queries, where there is one.

    Args:
        model: a name or a folder.
        prefix: put before the text in place of the model's prompt.
        suffix: put after the text.
        batch_size: bounds memory; see `SentenceTransformer.encode`.
        progress_bar: show a progress bar.
        normalize_embeddings: bring vectors to length 1.
        truncate_dim: leading dimensions to keep.
        model_kwargs: further arguments of `SentenceTransformer`.
        encode_kwargs: further arguments of `SentenceTransformer.encode`.

    Raises:
        MissingDependencyError: on import, if haystack-ai is not installed.
        InputTypeError: if `model` is no name.

    Example:
        >>> from bertcpp.integrations.haystack import BertcppTextEmbedder
        >>> len(BertcppTextEmbedder("all-MiniLM-L6-v2").run("Where is the cat?")["embedding"])
        384
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        *,
        prefix: str = "",
        suffix: str = "",
        batch_size: int = 32,
        progress_bar: bool = False,
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
        model_kwargs: dict[str, Any] | None = None,
        encode_kwargs: dict[str, Any] | None = None,
    ) -> None:
        _Embedder.__init__(  # the decorator makes another class of this one, which super() does not find
            self,
            model,
            prefix,
            suffix,
            batch_size,
            progress_bar,
            normalize_embeddings,
            truncate_dim,
            model_kwargs,
            encode_kwargs,
        )

    @component.output_types(embedding=list[float])
    def run(self, text: str) -> dict[str, Any]:
        """Return `{"embedding": [...]}`.

        Raises:
            InputTypeError: if `text` is no string.
        """
        if not isinstance(text, str):
            raise InputTypeError(
                f"BertcppTextEmbedder takes one string, not {type(text).__name__}; a list of documents goes to "
                "BertcppDocumentEmbedder"
            )
        return {"embedding": self._ready().encode_query(text + self.suffix, **self._arguments()).tolist()}

    @component.output_types(embedding=list[float])
    async def run_async(self, text: str) -> dict[str, Any]:
        """Do what `run` does in a thread of its own."""
        return await asyncio.to_thread(self.run, text)


@component
class BertcppDocumentEmbedder(_Embedder):
    """Embeds documents: their contents, after the model's prompt for documents, where there is one.

    Args:
        model: a name or a folder.
        prefix: put before each text in place of the model's prompt.
        suffix: put after each text.
        batch_size: bounds memory; see `SentenceTransformer.encode`.
        progress_bar: show a progress bar.
        normalize_embeddings: bring vectors to length 1.
        truncate_dim: leading dimensions to keep.
        meta_fields_to_embed: fields of a document's metadata that are embedded with it, before its content.
        embedding_separator: put between these and the content.
        model_kwargs: further arguments of `SentenceTransformer`.
        encode_kwargs: further arguments of `SentenceTransformer.encode`.

    Raises:
        MissingDependencyError: on import, if haystack-ai is not installed.
        InputTypeError: if `model` is no name.

    Example:
        >>> from haystack import Document
        >>> from bertcpp.integrations.haystack import BertcppDocumentEmbedder
        >>> embedded = BertcppDocumentEmbedder("all-MiniLM-L6-v2").run([Document(content="The cat is outside.")])
        >>> len(embedded["documents"][0].embedding)
        384
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        *,
        prefix: str = "",
        suffix: str = "",
        batch_size: int = 32,
        progress_bar: bool = False,
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
        meta_fields_to_embed: list[str] | None = None,
        embedding_separator: str = "\n",
        model_kwargs: dict[str, Any] | None = None,
        encode_kwargs: dict[str, Any] | None = None,
    ) -> None:
        _Embedder.__init__(  # the decorator makes another class of this one, which super() does not find
            self,
            model,
            prefix,
            suffix,
            batch_size,
            progress_bar,
            normalize_embeddings,
            truncate_dim,
            model_kwargs,
            encode_kwargs,
        )
        self.meta_fields_to_embed = list(meta_fields_to_embed or [])
        self.embedding_separator = embedding_separator

    @component.output_types(documents=list[Document])
    def run(self, documents: list[Document]) -> dict[str, Any]:
        """Return `{"documents": [...]}`: copies of the documents that carry their embeddings.

        Raises:
            InputTypeError: if `documents` is no list of documents.
        """
        _check_documents("BertcppDocumentEmbedder", documents)
        texts = _texts(documents, self.meta_fields_to_embed, self.embedding_separator)
        texts = [text + self.suffix for text in texts]
        vectors = self._ready().encode_document(texts, **self._arguments()).tolist()
        pairs = zip(documents, vectors, strict=True)
        return {"documents": [dataclasses.replace(document, embedding=vector) for document, vector in pairs]}

    @component.output_types(documents=list[Document])
    async def run_async(self, documents: list[Document]) -> dict[str, Any]:
        """Do what `run` does in a thread of its own."""
        return await asyncio.to_thread(self.run, documents)


@component
class BertcppRanker(_Written):
    """Orders documents by their relevance to a query, which a cross-encoder scores.

    Args:
        model: a name or a folder of a checkpoint that `CrossEncoder` reads.
        top_k: documents to keep.
        query_prefix: put before the query.
        query_suffix: put after the query.
        document_prefix: put before each document.
        document_suffix: put after each document.
        meta_fields_to_embed: fields of a document's metadata that are read with it, before its content.
        embedding_separator: put between these and the content.
        score_threshold: leave out documents of lower scores.
        batch_size: bounds memory; see `CrossEncoder.predict`.
        model_kwargs: further arguments of `CrossEncoder`.
        predict_kwargs: further arguments of `CrossEncoder.predict`.

    Raises:
        MissingDependencyError: on import, if haystack-ai is not installed.
        InputTypeError: if `model` is no name.
        ValueError: if `top_k` is not positive.
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        *,
        top_k: int = 10,
        query_prefix: str = "",
        query_suffix: str = "",
        document_prefix: str = "",
        document_suffix: str = "",
        meta_fields_to_embed: list[str] | None = None,
        embedding_separator: str = "\n",
        score_threshold: float | None = None,
        batch_size: int = 32,
        model_kwargs: dict[str, Any] | None = None,
        predict_kwargs: dict[str, Any] | None = None,
    ) -> None:
        self.model = named(type(self).__name__, model)
        self.top_k = checked_count("top_k", top_k, 10)
        self.query_prefix = query_prefix
        self.query_suffix = query_suffix
        self.document_prefix = document_prefix
        self.document_suffix = document_suffix
        self.meta_fields_to_embed = list(meta_fields_to_embed or [])
        self.embedding_separator = embedding_separator
        self.score_threshold = score_threshold
        self.batch_size = batch_size
        self.model_kwargs = model_kwargs
        self.predict_kwargs = predict_kwargs
        self._loaded: CrossEncoder | None = None

    def warm_up(self) -> None:
        """Load the model, which the first run does otherwise."""
        if self._loaded is None:
            self._loaded = cross_encoder(self.model, self.model_kwargs or {})

    @component.output_types(documents=list[Document])
    def run(
        self, query: str, documents: list[Document], top_k: int | None = None, score_threshold: float | None = None
    ) -> dict[str, Any]:
        """Return `{"documents": [...]}`: copies of the best documents with their scores, the best first.

        A document that comes twice is taken once. `top_k` and `score_threshold` replace those of the component.

        Raises:
            InputTypeError: if `query` is no string, or `documents` no list of documents.
            ValueError: if `top_k` is not positive.
        """
        if not isinstance(query, str):
            raise InputTypeError(f"BertcppRanker takes one string as its query, not {type(query).__name__}")
        _check_documents("BertcppRanker", documents)
        limit = self.top_k if top_k is None else checked_count("top_k", top_k, 10)
        least = self.score_threshold if score_threshold is None else score_threshold
        self.warm_up()
        assert self._loaded is not None
        distinct = list({document.id: document for document in documents}.values())
        texts = _texts(distinct, self.meta_fields_to_embed, self.embedding_separator)
        ranks = self._loaded.rank(
            self.query_prefix + query + self.query_suffix,
            [self.document_prefix + text + self.document_suffix for text in texts],
            top_k=limit,
            batch_size=self.batch_size,
            **(self.predict_kwargs or {}),
        )
        kept = [rank for rank in ranks if least is None or rank["score"] >= least]
        return {"documents": [dataclasses.replace(distinct[rank["corpus_id"]], score=rank["score"]) for rank in kept]}

    @component.output_types(documents=list[Document])
    async def run_async(
        self, query: str, documents: list[Document], top_k: int | None = None, score_threshold: float | None = None
    ) -> dict[str, Any]:
        """Do what `run` does in a thread of its own."""
        return await asyncio.to_thread(self.run, query, documents, top_k, score_threshold)
