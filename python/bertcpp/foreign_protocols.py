"""What BERTopic, KeyBERT and MTEB look for in an embedding model, so that they take a `SentenceTransformer` as it is.

Without it, BERTopic and KeyBERT would embed with a model of their own choice, which they download, and MTEB with none.
Nothing here imports those libraries: each part works once its library has been imported by whoever uses it.
"""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["ForeignProtocols", "MtebModel", "takes_pairs_from_mteb"]

P = ParamSpec("P")
R = TypeVar("R")

# Modules whose `BaseEmbedder` a model has to be an instance of to be used.
_EMBEDDER_MODULES = ("bertopic.backend", "keybert.backend")


class MtebModel:
    """A model that MTEB evaluates."""

    @property
    def mteb_model_meta(self) -> Any:
        """What MTEB files its results under: an `mteb.models.ModelMeta`, which may be replaced.

        Raises:
            AttributeError: if mteb has not been imported.
        """
        if "mteb" not in sys.modules:
            raise AttributeError("mteb_model_meta is there once mteb is imported: pip install mteb, and import mteb")
        if "_mteb_model_meta" in self.__dict__:
            return self._mteb_model_meta
        from .integrations import mteb

        return mteb.model_meta(self)

    @mteb_model_meta.setter
    def mteb_model_meta(self, value: Any) -> None:
        self._mteb_model_meta = value


class ForeignProtocols(MtebModel):
    """The attributes and methods that other libraries call on an embedding model under names of their own."""

    if not TYPE_CHECKING:

        @property
        def __class__(self) -> type:
            """The class; where BERTopic or KeyBERT is loaded, one that also is a `BaseEmbedder` of theirs.

            `isinstance` asks for it where `type()` does not answer, and so do these libraries, which know no protocol.
            """
            return _seen_as(type(self))

    def embed(self, documents: Sequence[str], verbose: bool = False) -> NDArray[np.float32]:
        """Return `encode(documents)`, a progress bar if `verbose`: what BERTopic and KeyBERT call."""
        vectors: NDArray[np.float32] = self.encode(documents, show_progress_bar=verbose)  # type: ignore[attr-defined]
        return vectors

    def embed_documents(self, document: Sequence[str], verbose: bool = False) -> NDArray[np.float32]:
        """Return `embed(document, verbose)`: BERTopic's call for documents."""
        return self.embed(document, verbose)

    def embed_words(self, words: Sequence[str], verbose: bool = False) -> NDArray[np.float32]:
        """Return `embed(words, verbose)`: BERTopic's call for words and topics."""
        return self.embed(words, verbose)

    def _texts_from_mteb(self, batches: Any, prompt: str | None, arguments: dict[str, Any]) -> tuple[list[str], Any]:
        """Return the texts of MTEB's loader and the prompt for them; take what MTEB alone passes from `arguments`."""
        from .integrations import mteb

        return mteb.texts_and_prompt(self.prompts, batches, prompt, arguments)  # type: ignore[attr-defined]


def takes_pairs_from_mteb(predict: Callable[P, R]) -> Callable[P, R]:
    """Let a method that scores pairs be called as MTEB does: with a loader of first and one of second texts."""

    @functools.wraps(predict)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if "task_metadata" in kwargs:
            from .integrations import mteb

            kwargs["inputs"] = mteb.pairs(kwargs)
        return predict(*args, **kwargs)

    return call


def _seen_as(cls: type) -> type:
    found = [getattr(sys.modules.get(name), "BaseEmbedder", None) for name in _EMBEDDER_MODULES]
    bases = [base for base in found if base is not None]
    return _combined(cls, *bases) if bases else cls


@functools.cache
def _combined(cls: type, *bases: type) -> type:
    """Return a class, for `isinstance` alone, that is all of these."""
    return type(cls.__name__, (cls, *bases), {"__module__": cls.__module__, "__qualname__": cls.__qualname__})
