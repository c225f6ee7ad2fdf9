"""LlamaIndex: `BertcppEmbedding` for indexes and ingestion, `BertcppRerank` for what they find.

from bertcpp.integrations.llama_index import BertcppEmbedding
index = VectorStoreIndex.from_documents(documents, embed_model=BertcppEmbedding("all-MiniLM-L6-v2"))
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from .loading import cross_encoder, embedding_model, library, named

with library("llama-index-core"):
    from llama_index.core.base.embeddings.base import BaseEmbedding
    from llama_index.core.bridge.pydantic import Field, PrivateAttr
    from llama_index.core.callbacks import CBEventType, EventPayload
    from llama_index.core.instrumentation import get_dispatcher
    from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
    from llama_index.core.postprocessor.types import BaseNodePostprocessor
    from llama_index.core.schema import MetadataMode

if TYPE_CHECKING:
    import os

    from llama_index.core.callbacks import CallbackManager
    from llama_index.core.schema import NodeWithScore, QueryBundle

__all__ = ["BertcppEmbedding", "BertcppRerank"]

_dispatcher = get_dispatcher(__name__)


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


class BertcppRerank(BaseNodePostprocessor):
    """A cross-encoder as LlamaIndex's postprocessor of nodes: keeps those that are most relevant to the query.

    Args:
        model: a name or a folder of a checkpoint that `CrossEncoder` reads.
        top_n: nodes to keep.
        keep_retrieval_score: keep the score that a node came with as `retrieval_score` in its metadata.
        callback_manager: LlamaIndex's.
        model_kwargs: further arguments of `CrossEncoder`.
        predict_kwargs: further arguments of `CrossEncoder.predict`.

    Raises:
        MissingDependencyError: on import, if llama-index-core is not installed.
        InputTypeError: if `model` is no name.
        MissingHeadError: if the checkpoint has no head that scores.
    """

    model: str = Field(description="The name or folder of the model.")
    top_n: int = Field(default=2, description="Nodes to keep.", gt=0)
    keep_retrieval_score: bool = Field(default=False, description="Keep the score that a node came with.")
    model_kwargs: dict[str, Any] = Field(default_factory=dict, description="Arguments of CrossEncoder.")
    predict_kwargs: dict[str, Any] = Field(default_factory=dict, description="Arguments of predict.")
    _scorer: Any = PrivateAttr()

    def __init__(
        self,
        model: str | os.PathLike[str],
        *,
        top_n: int = 2,
        keep_retrieval_score: bool = False,
        callback_manager: CallbackManager | None = None,
        model_kwargs: dict[str, Any] | None = None,
        predict_kwargs: dict[str, Any] | None = None,
        **more: Any,
    ) -> None:
        if unknown := sorted(set(more) - {"class_name"}):  # from_dict passes on what to_dict has written
            raise ValueError(f"BertcppRerank does not know {unknown}; arguments of CrossEncoder go into model_kwargs")
        given = {} if callback_manager is None else {"callback_manager": callback_manager}
        super().__init__(
            model=named(type(self).__name__, model),
            top_n=top_n,
            keep_retrieval_score=keep_retrieval_score,
            model_kwargs=dict(model_kwargs or {}),
            predict_kwargs=dict(predict_kwargs or {}),
            **given,
        )
        self._scorer = cross_encoder(self.model, self.model_kwargs)

    @classmethod
    def class_name(cls) -> str:
        """Return the name that LlamaIndex writes down for the class."""
        return "BertcppRerank"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        if query_bundle is None:
            raise InputError("BertcppRerank orders nodes by a query: pass query_str or query_bundle")
        _dispatcher.event(ReRankStartEvent(query=query_bundle, nodes=nodes, top_n=self.top_n, model_name=self.model))
        payload = {
            EventPayload.NODES: nodes,
            EventPayload.MODEL_NAME: self.model,
            EventPayload.QUERY_STR: query_bundle.query_str,
            EventPayload.TOP_K: self.top_n,
        }
        with self.callback_manager.event(CBEventType.RERANKING, payload=payload) as event:
            texts = [node.node.get_content(metadata_mode=MetadataMode.EMBED) for node in nodes]
            ranks = self._scorer.rank(query_bundle.query_str, texts, top_k=self.top_n, **self.predict_kwargs)
            best = []
            for rank in ranks:
                node = nodes[rank["corpus_id"]]
                if self.keep_retrieval_score:
                    node.node.metadata["retrieval_score"] = node.score
                node.score = rank["score"]
                best.append(node)
            event.on_end(payload={EventPayload.NODES: best})
        _dispatcher.event(ReRankEndEvent(nodes=best))
        return best
