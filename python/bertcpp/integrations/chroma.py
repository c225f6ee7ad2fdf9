"""Chroma: `BertcppEmbeddingFunction`, registered with Chroma, so that stored collections open again.

    from bertcpp.integrations.chroma import BertcppEmbeddingFunction
    collection = client.create_collection("notes", embedding_function=BertcppEmbeddingFunction("all-MiniLM-L6-v2"))

A collection remembers the settings. A program that opens it without naming the function imports this module first.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, InputError
from .loading import embedding_model, library, named

with library("chromadb"):
    from chromadb.api.types import Documents, EmbeddingFunction
    from chromadb.utils.embedding_functions import register_embedding_function

if TYPE_CHECKING:
    import os

    from chromadb.api.types import Embeddings, Space

__all__ = ["BertcppEmbeddingFunction"]


@register_embedding_function
class BertcppEmbeddingFunction(EmbeddingFunction[Documents]):
    """A model as Chroma's `EmbeddingFunction`.

    Documents get the model's prompt for documents and queries the one for queries, where it has them.

    Args:
        model_name: a name or a folder.
        normalize_embeddings: bring vectors to length 1.
        **kwargs: further arguments of `SentenceTransformer`, which are stored with the collection.

    Raises:
        MissingDependencyError: on import, if chromadb is not installed.
        InputTypeError: if `model_name` is no name.
        InputError: if an argument cannot be stored.

    Example:
        >>> from bertcpp.integrations.chroma import BertcppEmbeddingFunction
        >>> [vector.shape for vector in BertcppEmbeddingFunction("all-MiniLM-L6-v2")(["one text", "another"])]
        [(384,), (384,)]
    """

    def __init__(self, model_name: str | os.PathLike[str], normalize_embeddings: bool = False, **kwargs: Any) -> None:
        self.model_name = named(type(self).__name__, model_name)
        self.normalize_embeddings = normalize_embeddings
        self.kwargs = _storable(kwargs)
        self._model = embedding_model(self.model_name, self.kwargs)

    def __call__(self, input: Documents) -> Embeddings:
        """Return the vector of each document."""
        return list(self._model.encode_document(list(input), normalize_embeddings=self.normalize_embeddings))

    def embed_query(self, input: Documents) -> Embeddings:
        """Return the vector of each query."""
        return list(self._model.encode_query(list(input), normalize_embeddings=self.normalize_embeddings))

    @staticmethod
    def name() -> str:
        """Return the name under which Chroma knows the function."""
        return "bertcpp"

    def default_space(self) -> Space:
        """Return the distance of new collections: that of the model's `similarity_fn_name`."""
        spaces: dict[str, Space] = {"dot": "ip", "euclidean": "l2"}
        return spaces.get(self._model.similarity_fn_name, "cosine")

    def get_config(self) -> dict[str, Any]:
        """Return what `build_from_config` needs to make the same function again."""
        return {
            "model_name": self.model_name,
            "normalize_embeddings": self.normalize_embeddings,
            "kwargs": self.kwargs,
        }

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> BertcppEmbeddingFunction:
        """Return the function that `get_config` described.

        Raises:
            ConfigError: if the description is not one of `get_config`.
            CheckpointNotFoundError: if the model is no longer there.
        """
        BertcppEmbeddingFunction.validate_config(config)
        return BertcppEmbeddingFunction(
            config["model_name"], config.get("normalize_embeddings", False), **config.get("kwargs", {})
        )

    @staticmethod
    def validate_config(config: dict[str, Any]) -> None:
        """Check what is stored with a collection.

        Raises:
            ConfigError: if it is not what `get_config` returns.
        """
        known = {"model_name": str, "normalize_embeddings": bool, "kwargs": dict}
        for name, value in config.items():
            if name not in known or not isinstance(value, known[name]):
                raise ConfigError(
                    f"the stored configuration of an embedding function has {name}={value!r}, which "
                    "bertcpp did not write"
                )
        if "model_name" not in config:
            raise ConfigError(f"the stored configuration {config!r} of an embedding function names no model_name")


def _storable(arguments: dict[str, Any]) -> dict[str, Any]:
    for name, value in arguments.items():
        try:
            json.dumps(value)
        except TypeError:
            raise InputError(
                f"{name} is of type {type(value).__name__}, which cannot be stored with a collection; pass strings, "
                "numbers, lists and dictionaries"
            ) from None
    return arguments
