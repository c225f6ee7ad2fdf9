"""LlamaIndex: `BertcppEmbedding`, for `Settings.embed_model`, indexes and ingestion.

from bertcpp.integrations.llama_index import BertcppEmbedding
index = VectorStoreIndex.from_documents(documents, embed_model=BertcppEmbedding("all-MiniLM-L6-v2"))
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from .loading import embedding_model, library, named

with library("llama-index-core"):
    from llama_index.core.base.embeddings.base import BaseEmbedding
    from llama_index.core.bridge.pydantic import Field, PrivateAttr

if TYPE_CHECKING:
    import os

    from llama_index.core.callbacks import CallbackManager

__all__ = ["BertcppEmbedding"]


class BertcppEmbedding(BaseEmbedding):
    """A model as LlamaIndex's embedding; the `a` variants compute in a thread of their own.

    Queries get the model's prompt for queries and texts the one for documents, where it has them.

    Args:
        model_name: a name or a folder.
        max_length: tokens that stay of a text; None takes the model's.
        query_instruction: put before queries in place of the model's prompt.
        text_instruction: put before texts in place of the model's prompt.
        normalize: bring vectors to length 1.
        embed_batch_size: texts that LlamaIndex hands over at once; the engine cuts them by tokens itself.
        cache_folder: where hub checkpoints are kept.
        show_progress_bar: show a progress bar for each of these batches.
        callback_manager: LlamaIndex's.
        num_workers: LlamaIndex's: batches that the asynchronous calls have under way.
        embeddings_cache: LlamaIndex's: a store of vectors that are known already.
        model_kwargs: further arguments of `SentenceTransformer`.
        encode_kwargs: further arguments of `SentenceTransformer.encode`.

    Raises:
        MissingDependencyError: on import, if llama-index-core is not installed.
        InputTypeError: if `model_name` is no name.

    Example:
        >>> from bertcpp.integrations.llama_index import BertcppEmbedding
        >>> embedding = BertcppEmbedding("all-MiniLM-L6-v2")
        >>> len(embedding.get_query_embedding("Where is the cat?")), len(embedding.get_text_embedding("It is outside."))
        (384, 384)
    """

    max_length: int | None = Field(default=None, description="Tokens that stay of a text.", gt=0)
    query_instruction: str | None = Field(default=None, description="Put before queries.")
    text_instruction: str | None = Field(default=None, description="Put before texts.")
    normalize: bool = Field(default=True, description="Bring vectors to length 1.")
    cache_folder: str | None = Field(default=None, description="Where hub checkpoints are kept.")
    show_progress_bar: bool = Field(default=False, description="Show a progress bar for each batch.")
    model_kwargs: dict[str, Any] = Field(default_factory=dict, description="Arguments of SentenceTransformer.")
    encode_kwargs: dict[str, Any] = Field(default_factory=dict, description="Arguments of encode.")
    _model: Any = PrivateAttr()

    def __init__(
        self,
        model_name: str | os.PathLike[str],
        *,
        max_length: int | None = None,
        query_instruction: str | None = None,
        text_instruction: str | None = None,
        normalize: bool = True,
        embed_batch_size: int = 256,
        cache_folder: str | None = None,
        show_progress_bar: bool = False,
        callback_manager: CallbackManager | None = None,
        num_workers: int | None = None,
        embeddings_cache: Any = None,
        model_kwargs: dict[str, Any] | None = None,
        encode_kwargs: dict[str, Any] | None = None,
        **more: Any,
    ) -> None:
        name = named(type(self).__name__, model_name)
        if unknown := sorted(set(more) - {"class_name"}):  # from_dict passes on what to_dict has written
            raise ValueError(
                f"BertcppEmbedding does not know {unknown}; arguments of SentenceTransformer go into "
                "model_kwargs, those of encode into encode_kwargs"
            )
        super().__init__(
            model_name=name,
            max_length=max_length,
            query_instruction=query_instruction,
            text_instruction=text_instruction,
            normalize=normalize,
            embed_batch_size=embed_batch_size,
            cache_folder=cache_folder,
            show_progress_bar=show_progress_bar,
            callback_manager=callback_manager,
            num_workers=num_workers,
            embeddings_cache=embeddings_cache,
            model_kwargs=dict(model_kwargs or {}),
            encode_kwargs=dict(encode_kwargs or {}),
        )
        arguments = self.model_kwargs | ({} if cache_folder is None else {"cache_folder": cache_folder})
        self._model = embedding_model(name, arguments)

    @classmethod
    def class_name(cls) -> str:
        """Return the name that LlamaIndex writes down for the class."""
        return "BertcppEmbedding"

    def _arguments(self, instruction: str | None) -> dict[str, Any]:
        arguments: dict[str, Any] = {
            "prompt": instruction,
            "normalize_embeddings": self.normalize,
            "show_progress_bar": self.show_progress_bar,
        }
        if self.max_length is not None:
            arguments["processing_kwargs"] = {"text": {"max_length": self.max_length}}
        return arguments | self.encode_kwargs

    def _get_query_embedding(self, query: str) -> list[float]:
        vector: list[float] = self._model.encode_query(query, **self._arguments(self.query_instruction)).tolist()
        return vector

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        vectors: list[list[float]] = self._model.encode_document(
            texts, **self._arguments(self.text_instruction)
        ).tolist()
        return vectors

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return await asyncio.to_thread(self._get_query_embedding, query)

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return await asyncio.to_thread(self._get_text_embedding, text)

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return await asyncio.to_thread(self._get_text_embeddings, texts)
