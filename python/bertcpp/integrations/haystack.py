"""Haystack 2: `BertcppTextEmbedder` for queries and `BertcppDocumentEmbedder` for documents.

from bertcpp.integrations.haystack import BertcppDocumentEmbedder, BertcppTextEmbedder
documents = BertcppDocumentEmbedder("all-MiniLM-L6-v2").run(documents)["documents"]
"""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING, Any

from ..errors import InputTypeError
from .loading import embedding_model, library, named

with library("haystack-ai"):
    from haystack import Document, component, default_from_dict, default_to_dict

if TYPE_CHECKING:
    import os

    from ..embedding import SentenceTransformer

__all__ = ["BertcppDocumentEmbedder", "BertcppTextEmbedder"]


class _Embedder:
    """What both embedders have: settings that can be written down, and a model that is loaded at the first run."""

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

    def _settings(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "prefix": self.prefix,
            "suffix": self.suffix,
            "batch_size": self.batch_size,
            "progress_bar": self.progress_bar,
            "normalize_embeddings": self.normalize_embeddings,
            "truncate_dim": self.truncate_dim,
            "model_kwargs": self.model_kwargs,
            "encode_kwargs": self.encode_kwargs,
        }

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

    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` needs to make the same embedder again."""
        settings: dict[str, Any] = default_to_dict(self, **self._settings())
        return settings

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> BertcppTextEmbedder:
        """Return the embedder that `to_dict` described."""
        embedder: BertcppTextEmbedder = default_from_dict(cls, data)
        return embedder


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
        if not isinstance(documents, list) or not all(isinstance(document, Document) for document in documents):
            raise InputTypeError(
                "BertcppDocumentEmbedder takes a list of haystack.Document; a string goes to BertcppTextEmbedder"
            )
        texts = [self._text(document) for document in documents]
        vectors = self._ready().encode_document(texts, **self._arguments()).tolist()
        pairs = zip(documents, vectors, strict=True)
        return {"documents": [dataclasses.replace(document, embedding=vector) for document, vector in pairs]}

    @component.output_types(documents=list[Document])
    async def run_async(self, documents: list[Document]) -> dict[str, Any]:
        """Do what `run` does in a thread of its own."""
        return await asyncio.to_thread(self.run, documents)

    def _text(self, document: Document) -> str:
        fields = [document.meta.get(name) for name in self.meta_fields_to_embed]
        parts = [str(field) for field in fields if field is not None] + [document.content or ""]
        return self.embedding_separator.join(parts) + self.suffix

    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` needs to make the same embedder again."""
        settings: dict[str, Any] = default_to_dict(
            self,
            **self._settings(),
            meta_fields_to_embed=self.meta_fields_to_embed,
            embedding_separator=self.embedding_separator,
        )
        return settings

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> BertcppDocumentEmbedder:
        """Return the embedder that `to_dict` described."""
        embedder: BertcppDocumentEmbedder = default_from_dict(cls, data)
        return embedder
