"""How alike sentences are to a given one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..errors import InputError, InputTypeError
from .embedding_task import EmbeddingTask
from .task import shown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["SentenceSimilarity"]


class SentenceSimilarity(EmbeddingTask):
    """Compare sentences with a given one by their embeddings.

    An input is ``{"source_sentence": ..., "sentences": [...]}``; both may be passed by name or one after the other. The
    answer is a list with a similarity for each sentence, as ``SentenceTransformer.similarity`` computes it.

    Example:
        >>> import bertcpp
        >>> compare = bertcpp.pipeline("sentence-similarity", model="all-MiniLM-L6-v2")
        >>> scores = compare("A man is eating.", ["Someone has a meal.", "The sky is blue."])
        >>> scores[0] > scores[1]
        True
    """

    task = "sentence-similarity"

    def __call__(
        self, inputs: Any = None, sentences: Any = None, *, source_sentence: Any = None, **options: Any
    ) -> Any:
        """Compare; see the class, and `Task.__call__`."""
        if isinstance(inputs, str) and source_sentence is None:
            inputs, source_sentence = None, inputs
        if inputs is None:
            inputs = {"source_sentence": source_sentence, "sentences": sentences}
        elif source_sentence is not None or sentences is not None:
            raise InputError("pass inputs, or source_sentence= and sentences=, not both")
        return super().__call__(inputs, **options)

    def _item(self, value: Any, place: int, settings: Any) -> tuple[str, list[str]]:
        source = value.get("source_sentence") if isinstance(value, Mapping) else None
        sentences = value.get("sentences") if isinstance(value, Mapping) else None
        if isinstance(sentences, str):
            raise InputTypeError(f"the sentences of inputs[{place}] must be a list of strings, not one string")
        sentences = list(sentences) if isinstance(sentences, Iterable) else None
        if not isinstance(source, str) or sentences is None or not all(isinstance(text, str) for text in sentences):
            raise InputTypeError(
                f"inputs[{place}] is {shown(value)}; pass {{'source_sentence': ..., 'sentences': [...]}}, all of them "
                "strings"
            )
        return source, sentences

    def _texts(self, item: tuple[str, list[str]]) -> list[str]:
        return [item[0], *item[1]] if item[1] else []

    def _answer(self, item: tuple[str, list[str]], vectors: NDArray[np.float32], settings: Any) -> list[float]:
        if not item[1]:
            return []
        scores: list[float] = self.model.similarity(vectors[:1], vectors[1:])[0].tolist()
        return scores
