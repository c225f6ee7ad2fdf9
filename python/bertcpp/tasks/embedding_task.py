"""What the tasks over sentence embeddings share: a `SentenceTransformer` in place of an encoder with a head."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..batching import chunks
from ..embedding import SentenceTransformer
from ..errors import InputError
from .task import Task

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from numpy.typing import NDArray

__all__ = ["EmbeddingTask"]

_RENAMED = {"cache_folder": "cache_dir"}  # SentenceTransformer's names of arguments that models have by others


class EmbeddingTask(Task):
    """A task that compares texts by their embeddings."""

    loader: ClassVar[str] = "SentenceTransformer"

    @classmethod
    def load_model(cls, name: Any, options: dict[str, Any]) -> SentenceTransformer:
        """Make a `SentenceTransformer` of a checkpoint."""
        own = {new: options.pop(old) for new, old in _RENAMED.items() if old in options}
        return SentenceTransformer(name, **own, **options)

    @classmethod
    def load_tokenizer(cls, tokenizer: Any, model: Any, options: Mapping[str, Any]) -> Any:
        """Return the model's tokenizer, which is part of it.

        Raises:
            InputError: another one is asked for.
        """
        if tokenizer is not None:
            raise InputError(f"{cls.task} uses the tokenizer of its SentenceTransformer; leave tokenizer out")
        return getattr(model, "tokenizer", None)

    @classmethod
    def checked_model(cls, model: Any) -> Any:
        """The model, if it is of the kind that the task needs.

        Raises:
            InputError: it is not.
        """
        if not isinstance(model, SentenceTransformer):
            raise InputError(
                f"{cls.task} needs a bertcpp.SentenceTransformer, not a {type(model).__name__}: make one of the "
                "checkpoint, or pass the checkpoint's name"
            )
        return model

    def _answers(self, inputs: Iterable[Any], settings: Any, size: int) -> Iterator[Any]:
        items = (self._item(value, place, settings) for place, value in enumerate(inputs))
        for chunk in chunks(items, size):
            texts = [self._texts(item) for item in chunk]
            vectors = self._embedded([text for group in texts for text in group])
            start = 0
            for item, group in zip(chunk, texts, strict=True):
                yield self._answer(item, vectors[start : start + len(group)], settings)
                start += len(group)

    def _embedded(self, texts: list[str]) -> NDArray[np.float32]:
        if not texts:
            return np.empty((0, self.model.get_embedding_dimension()), np.float32)
        vectors: NDArray[np.float32] = self.model.encode(texts, show_progress_bar=False, num_threads=self._num_threads)
        return vectors

    def _texts(self, item: Any) -> list[str]:
        """The texts of an input that are embedded."""
        raise NotImplementedError

    def _answer(self, item: Any, vectors: NDArray[np.float32], settings: Any) -> Any:
        """Answer an input, given the vectors of its texts ``[n, D]``."""
        raise NotImplementedError
