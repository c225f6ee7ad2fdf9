"""What a sentence-embedding model is: how it is loaded and set up, what it tells of itself, and how it is shared."""

from __future__ import annotations

import functools
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from . import _core
from .arguments import (
    check_device,
    checked_dimensions,
    renamed,
)
from .sentence_encoder import SentenceEncoder
from .similarity import SimilarityFunction
from .text_model import TextModel

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from .arguments import OnOverflow

__all__ = ["EmbeddingModel"]


class EmbeddingModel(TextModel):
    """What `SentenceTransformer` is but for its calls: loading, settings, what it tells of itself.

    Arguments and exceptions are those of `SentenceTransformer`.
    """

    _kinds = ("SentenceTransformer",)
    _loaded = ("_encoder", "_packer")
    _encoder: SentenceEncoder
    _include_prompt: bool | None = None  # None is as the checkpoint says

    @renamed(tokenizer_kwargs="processor_kwargs")
    def __init__(
        self,
        model_name_or_path: str | os.PathLike[str],
        *,
        device: Any = None,
        prompts: dict[str, str] | None = None,
        default_prompt_name: str | None = None,
        similarity_fn_name: str | SimilarityFunction | None = None,
        cache_folder: str | os.PathLike[str] | None = None,
        trust_remote_code: bool = False,
        revision: str | None = None,
        local_files_only: bool = False,
        token: bool | str | None = None,
        truncate_dim: int | None = None,
        model_kwargs: dict[str, Any] | None = None,
        processor_kwargs: dict[str, Any] | None = None,
        config_kwargs: dict[str, Any] | None = None,
        backend: str = "torch",
        num_threads: int | None = None,
        on_overflow: OnOverflow = "warn",
    ) -> None:
        super().__init__(
            model_name_or_path,
            device=device,
            prompts=prompts,
            default_prompt_name=default_prompt_name,
            cache_folder=cache_folder,
            revision=revision,
            local_files_only=local_files_only,
            token=token,
            model_kwargs=model_kwargs,
            processor_kwargs=processor_kwargs,
            config_kwargs=config_kwargs,
            backend=backend,
            num_threads=num_threads,
            on_overflow=on_overflow,
        )
        if not (self._folder / "modules.json").is_file():
            warnings.warn(
                f"{self._folder} has no modules.json, so nothing says how to pool its encoder's states: mean pooling "
                "is used, as sentence-transformers does",
                stacklevel=3,
            )
        saved = self._settings
        self.similarity_fn_name = similarity_fn_name or saved.get("similarity_fn_name")
        self.truncate_dim = checked_dimensions(saved.get("truncate_dim") if truncate_dim is None else truncate_dim)

    def _load(self, tokenizer_options: dict[str, Any], config_options: dict[str, Any]) -> int | None:
        encoder = SentenceEncoder.load(
            self._folder, tokenizer_options, config_options, self._where, include_prompt=self._include_prompt
        )
        self._encoder, self._packer = encoder, encoder.packer
        return encoder.stated_length

    def get_max_seq_length(self) -> int:
        """Return `max_seq_length`."""
        return self._max_seq_length

    def get_embedding_dimension(self) -> int:
        """Return the dimensions of an embedding, `truncate_dim` considered."""
        dimension = self._encoder.dimension
        return dimension if self.truncate_dim is None else len(range(dimension)[: self.truncate_dim])

    def get_sentence_embedding_dimension(self) -> int:
        """Return `get_embedding_dimension()`, of which this is the older name."""
        return self.get_embedding_dimension()

    @property
    def similarity_fn_name(self) -> str:
        """The similarity that `similarity` computes: `cosine`, `dot`, `euclidean` or `manhattan`; may be set."""
        return self._similarity.value

    @similarity_fn_name.setter
    def similarity_fn_name(self, value: str | SimilarityFunction | None) -> None:
        self._similarity = SimilarityFunction.COSINE if value is None else SimilarityFunction.named(value)

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Return how alike every row of `embeddings1` `[N, D]` is to every row of `embeddings2` `[M, D]`: `[N, M]`.

        NumPy arrays give a float32 array, PyTorch tensors a tensor.

        Raises:
            ValueError: if the widths differ.
        """
        return SimilarityFunction.to_similarity_fn(self._similarity)(embeddings1, embeddings2)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Return how alike each row of `embeddings1` `[N, D]` is to the same row of `embeddings2`: `[N]`.

        Raises:
            ValueError: if the shapes differ.
        """
        return SimilarityFunction.to_similarity_pairwise_fn(self._similarity)(embeddings1, embeddings2)

    @contextmanager
    def truncate_embeddings(self, truncate_dim: int | None) -> Iterator[None]:
        """Within the context, embeddings are cut to `truncate_dim` dimensions. The setting is shared by all threads.

        Example:
            >>> from bertcpp import SentenceTransformer
            >>> model = SentenceTransformer("all-MiniLM-L6-v2")
            >>> with model.truncate_embeddings(16):
            ...     model.encode("short").shape
            (16,)
        """
        before, self.truncate_dim = self.truncate_dim, truncate_dim
        try:
            yield
        finally:
            self.truncate_dim = before

    def truncate_sentence_embeddings(self, truncate_dim: int | None) -> AbstractContextManager[None]:
        """Return `truncate_embeddings(truncate_dim)`, of which this is the older name."""
        return self.truncate_embeddings(truncate_dim)

    def set_pooling_include_prompt(self, include_prompt: bool) -> None:
        """Say whether a prompt's tokens take part in pooling."""
        self._include_prompt = bool(include_prompt)
        self._encoder.set_include_prompt(self._include_prompt)

    def preprocess(self, inputs: list[Any], prompt: str | None = None, *, return_tensors: str = "np") -> Any:
        """Return the tokens of `inputs`, padded: a dictionary of arrays `[n, longest]` as the tokenizer names them.

        Args:
            inputs: strings or pairs of strings.
            prompt: put before each.
            return_tensors: `"np"`, or `"pt"` for PyTorch tensors.

        Raises:
            InputError: if an input is no string or pair of strings.
        """
        return self._encoder.packer.features(inputs, prompt or "", self._max_seq_length, return_tensors)

    @renamed(texts="inputs")
    def tokenize(self, inputs: list[Any], **kwargs: Any) -> Any:
        """Return `preprocess(inputs)`, of which this is the older name."""
        return self.preprocess(inputs, **kwargs)

    def start_multi_process_pool(self, target_devices: list[Any] | None = None) -> dict[str, Any]:
        """Start worker processes, each with this model and an equal share of the processors.

        One process with all threads, which `encode` is without a pool, is usually at least as fast. A script that calls
        this guards its entry with `if __name__ == "__main__":`, as processes are spawned.

        Args:
            target_devices: the model's device for each process, once or more; None starts four, or as many as there
                are processors.

        Returns:
            the pool, for `encode(..., pool=pool)` and `stop_multi_process_pool(pool)`.

        Raises:
            ValueError: if another device is asked for.
        """
        cpus = _core.available_cpus()
        devices = [self.device] * min(4, cpus) if target_devices is None else list(target_devices)
        for device in devices:
            check_device(device, self.device)
        if not devices:
            raise ValueError(f"target_devices is empty; name one {str(self.device)!r} for each process, or pass None")
        from . import workers  # the modules behind it are not loaded for those who want no processes

        build = functools.partial(
            SentenceEncoder.load, self._folder, *self._arguments, self._where, include_prompt=self._include_prompt
        )
        return workers.start(build, len(devices), max(1, cpus // len(devices)))

    @staticmethod
    def stop_multi_process_pool(pool: dict[str, Any]) -> None:
        """End the processes of a pool."""
        from . import workers

        workers.stop(pool)

    def __reduce__(self) -> tuple[Any, ...]:
        # By hand: what pickle does by itself asks for __class__, which `foreign_protocols` answers otherwise.
        return _restored, (type(self), self.__getstate__())

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({str(self._folder)!r}, dimension={self._encoder.dimension}, "
            f"max_seq_length={self._max_seq_length}, pooling={list(self._encoder.pooling.modes)})"
        )


def _restored(cls: type[EmbeddingModel], state: dict[str, Any]) -> EmbeddingModel:
    """Make a pickled model anew."""
    model = cls.__new__(cls)
    model.__setstate__(state)
    return model
