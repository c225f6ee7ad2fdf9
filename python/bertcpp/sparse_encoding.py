"""`SparseEncoder`: texts in, weights of words out (SPLADE), with the interface of sentence-transformers."""

from __future__ import annotations

import importlib.util
import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from . import architectures
from .arguments import checked_count, renamed
from .arrays import is_torch_tensor, require_torch
from .batching import bar_wanted, is_single
from .configuration import AutoConfig
from .errors import InputError, UnsupportedFormatError
from .modeling_tasks import AutoModelForMaskedLM
from .pooling import encoder_settings, listed_modules
from .similarity import SimilarityFunction
from .sparse_vectors import SparseVectors, sparse_similarity
from .splade_pooling import SpladePooling
from .text_model import TextModel
from .text_packing import TextPacker
from .tokenization import AutoTokenizer

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator

    from .arguments import OnOverflow
    from .configuration import PretrainedConfig
    from .splade_pooling import Entries
    from .text_model import Call

__all__ = ["SparseEncoder"]

logger = logging.getLogger(__name__)


class SparseEncoder(TextModel):
    """A SPLADE model: a masked language model whose scores of words, pooled over a text, are the text's vector.

    Reads checkpoints of a masked language model, of every family, with or without sentence-transformers' modules. One
    object may be used from any number of threads, and pickled.

    Args:
        model_name_or_path: a folder, a hub name, or the name of an installed package that carries a checkpoint.
        similarity_fn_name: `dot`, `cosine`, `euclidean` or `manhattan`; None takes the checkpoint's, or `dot`.
        max_active_dims: keep so many of a vector's largest weights; None keeps all.
        trust_remote_code: accepted and without effect: code of a checkpoint is never run.
        **options: the other arguments of `CrossEncoder`: `device`, `prompts`, `default_prompt_name`, `cache_folder`,
            `revision`, `local_files_only`, `token`, `model_kwargs`, `processor_kwargs`, `config_kwargs`, `backend`,
            `num_threads`, `on_overflow` (with `"window"` every token of a long text counts once).

    Raises:
        CheckpointNotFoundError: if there is no such checkpoint.
        ConfigError: if its files are missing, broken or contradict each other.
        MissingHeadError: if it has no head for masked words.
        UnsupportedFormatError: if it has modules that the engine does not compute.
        ValueError: if an argument is not one of those above.
    """

    _kinds = ("SparseEncoder",)

    @renamed(tokenizer_kwargs="processor_kwargs")
    def __init__(
        self,
        model_name_or_path: str | os.PathLike[str],
        *,
        similarity_fn_name: str | SimilarityFunction | None = None,
        max_active_dims: int | None = None,
        trust_remote_code: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(model_name_or_path, **options)
        self.similarity_fn_name = similarity_fn_name or self._settings.get("similarity_fn_name") or "dot"
        self.max_active_dims = checked_count("max_active_dims", max_active_dims, 0) or None

    def _load(self, tokenizer_options: dict[str, Any], config_options: dict[str, Any]) -> int | None:
        path = self._folder / "modules.json"
        modules = listed_modules(path) if path.is_file() else [("MLMTransformer", self._folder)]
        kinds = [kind for kind, _ in modules]
        if kinds not in (["MLMTransformer"], ["MLMTransformer", "SpladePooling"], ["Transformer", "SpladePooling"]):
            raise UnsupportedFormatError(
                f"{path} lists the modules {', '.join(kinds)}; SparseEncoder reads a Transformer for masked words and "
                "a SpladePooling"
            )
        self._pooling = SpladePooling.read(modules[1][1]) if len(modules) > 1 else SpladePooling()
        folder = modules[0][1]
        _, settings = encoder_settings(folder, "fill-mask", "token_embeddings", "logits")
        options = {**(settings.get("processor_kwargs", settings.get("tokenizer_args")) or {}), **tokenizer_options}
        config = AutoConfig.from_pretrained(folder, **config_options)
        self._packer = TextPacker(AutoTokenizer.from_pretrained(folder, **options), architectures.input_limits(config))
        self._model = AutoModelForMaskedLM.from_pretrained(
            folder, config=config, device=self._where.device, dtype=self._where.dtype
        )
        stated = options.get("model_max_length", settings.get("max_seq_length"))
        return None if stated is None else checked_count("max_seq_length", stated, 1)

    @property
    def config(self) -> PretrainedConfig:
        """The checkpoint's configuration."""
        config: PretrainedConfig = self._model.config
        return config

    @property
    def similarity_fn_name(self) -> str:
        """The similarity that `similarity` computes: `dot`, `cosine`, `euclidean` or `manhattan`; may be set."""
        return self._similarity.value

    @similarity_fn_name.setter
    def similarity_fn_name(self, value: str | SimilarityFunction) -> None:
        self._similarity = SimilarityFunction.named(value)

    @property
    def splade_pooling_chunk_size(self) -> int | None:
        """Tokens whose scores are held at once; None chooses. Results do not depend on it."""
        return self._pooling.chunk_size

    @splade_pooling_chunk_size.setter
    def splade_pooling_chunk_size(self, value: int | None) -> None:
        size = checked_count("splade_pooling_chunk_size", value, 0) or None
        self._pooling = SpladePooling(self._pooling.strategy, self._pooling.twice, size)

    def get_embedding_dimension(self) -> int:
        """Return the dimensions of a vector: the words of the vocabulary."""
        return int(self.config.vocab_size)

    def get_sentence_embedding_dimension(self) -> int:
        """Return `get_embedding_dimension()`, of which this is the older name."""
        return self.get_embedding_dimension()

    @renamed(sentences="inputs")
    def encode(
        self,
        inputs: Any,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int = 32,
        show_progress_bar: bool | None = None,
        convert_to_tensor: bool = True,
        convert_to_sparse_tensor: bool = True,
        save_to_cpu: bool = False,
        device: Any = None,
        max_active_dims: int | None = None,
        pool: None = None,
        chunk_size: int | None = None,
        *,
        convert_to_numpy: bool | None = None,
        on_overflow: OnOverflow | None = None,
        stride: int | None = None,
        num_threads: int | None = None,
        task: str | None = None,
    ) -> Any:
        """Encode a text, or any number of texts.

        The scores of some tokens are held at a time, never those of a whole batch. A text's vector has the same bits
        whatever it is batched with.

        Args:
            inputs: a string; or an iterable of strings. `sentences` is the older name.
            prompt_name: the name of a prompt of `self.prompts` to put before each text.
            prompt: the prompt itself; takes precedence over `prompt_name`.
            batch_size: bounds memory, as in `SentenceTransformer.encode`.
            show_progress_bar: None shows a bar when this logger is at INFO or DEBUG, and on a terminal after two
                seconds.
            convert_to_tensor: one PyTorch tensor for all texts; False gives a list of one for each.
            convert_to_sparse_tensor: False gives dense tensors, or dense arrays.
            save_to_cpu: accepted and without effect.
            device: `"cpu"` or None.
            max_active_dims: keep so many of the largest weights; None means `self.max_active_dims`.
            pool: None; there are no worker processes.
            chunk_size: accepted and without effect, as there are no worker processes.
            convert_to_numpy: True gives `SparseVectors`, or an array where `convert_to_sparse_tensor` is False; None
                does so where PyTorch is not installed.
            on_overflow: see the class; None means `self.on_overflow`.
            stride: tokens that a window shares with the one before; None means a quarter of `max_seq_length`.
            num_threads: threads for this call; None means `self.num_threads`.
            task: accepted and without effect.

        Returns:
            a sparse tensor `[n, vocabulary]`, `[vocabulary]` for a single text, unless asked otherwise above.

        Raises:
            InputError: if an input is no string.
            SequenceTooLongError: if a text is over the limit and `on_overflow` is `"error"`.
            ValueError: if an argument has a value that it cannot have.
        """
        call = self._call(batch_size, prompt, prompt_name, on_overflow, stride, num_threads, device=device, pool=pool)
        most = checked_count("max_active_dims", self.max_active_dims if max_active_dims is None else max_active_dims, 0)
        if convert_to_numpy is None:
            convert_to_numpy = importlib.util.find_spec("torch") is None
        if not convert_to_numpy:
            require_torch()
        single = is_single(inputs)
        texts = [inputs] if single else inputs
        rows = list(self._rows(texts, call, bar_wanted(show_progress_bar, logger)))
        vectors = SparseVectors.from_rows([_largest(row, most) for row in rows], self.get_embedding_dimension())
        result: Any = vectors[0] if single else vectors
        if convert_to_numpy:
            return result if convert_to_sparse_tensor else result.to_dense()
        if not rows and convert_to_tensor:
            empty = require_torch().tensor([])
            return empty.to_sparse() if convert_to_sparse_tensor else empty
        if single or convert_to_tensor:
            return _as_tensor(result, convert_to_sparse_tensor)
        return [_as_tensor(one, convert_to_sparse_tensor) for one in vectors]

    def _rows(self, texts: Iterable[Any], call: Call, show: bool | None) -> Iterator[Entries]:
        """Yield the entries of each text's vector."""

        def head(states: Any) -> Any:
            return self._model.head_logits(states, num_threads=call.num_threads)

        width = self.get_embedding_dimension()
        for tokens, windows in self._packs(texts, call, show, "Encoding"):
            computed = (
                (batch.cu_seqlens, self._model.packed_states(batch, num_threads=call.num_threads))
                for batch in self._batches(self.config, tokens, call)
            )
            if windows is None:
                for bounds, states in computed:
                    yield from self._pooling.pooled(states, bounds, head, width)
            else:
                states = np.concatenate([states for _, states in computed])[windows.own_tokens(tokens)]
                yield from self._pooling.pooled(states, windows.stitched(tokens).cu_seqlens, head, width)

    @renamed(sentences="inputs")
    def encode_query(
        self, inputs: Any, prompt_name: str | None = None, prompt: str | None = None, *more: Any, **kwargs: Any
    ) -> Any:
        """Encode queries: as `encode`, with the prompt `query` where neither a prompt nor its name is given.

        Raises:
            ValueError: as `encode`.
        """
        if prompt_name is None and prompt is None and "query" in self.prompts:
            prompt_name = "query"
        return self.encode(inputs, prompt_name, prompt, *more, **{"task": "query", **kwargs})

    @renamed(sentences="inputs")
    def encode_document(
        self, inputs: Any, prompt_name: str | None = None, prompt: str | None = None, *more: Any, **kwargs: Any
    ) -> Any:
        """Encode documents: as `encode`, with the first prompt of `document`, `passage`, `corpus` where none is given.

        Raises:
            ValueError: as `encode`.
        """
        if prompt_name is None and prompt is None:
            prompt_name = next((name for name in ("document", "passage", "corpus") if name in self.prompts), None)
        return self.encode(inputs, prompt_name, prompt, *more, **{"task": "document", **kwargs})

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Return how alike every row of `embeddings1` `[n, D]` is to every row of `embeddings2` `[m, D]`: `[n, m]`.

        Takes sparse and dense tensors, `SparseVectors` and arrays; gives a tensor if one side is tensors.

        Raises:
            InputError: if a side is no vectors.
            ValueError: if the widths differ.
        """
        return sparse_similarity(embeddings1, embeddings2, self._similarity)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Return how alike each row of `embeddings1` `[n, D]` is to the same row of `embeddings2`: `[n]`.

        Raises:
            InputError: if a side is no vectors.
            ValueError: if the shapes differ.
        """
        return sparse_similarity(embeddings1, embeddings2, self._similarity, pairwise=True)

    def decode(self, embeddings: Any, top_k: int | None = None) -> Any:
        """Return the words and weights of vectors, the heaviest first: a list of pairs, or a list of these for several.

        Args:
            embeddings: vectors of `encode`, `[D]` or `[n, D]`, of any kind.
            top_k: words of each at most; None gives all that are not 0.

        Raises:
            InputError: if they are no vectors of this model's.
            ValueError: if `top_k` is not positive.
        """
        vectors = SparseVectors.of(embeddings)
        if vectors.shape[-1] != self.get_embedding_dimension():
            raise InputError(
                f"embeddings have {vectors.shape[-1]} dimensions, but this model's vocabulary "
                f"{self.get_embedding_dimension()} words"
            )
        most = checked_count("top_k", top_k, 0)
        found = []
        for row in vectors.matrix:
            order = np.argsort(-row.values, kind="stable")[: most or None]
            words = self.tokenizer.convert_ids_to_tokens(row.indices[order].tolist())
            found.append(list(zip(words, row.values[order].tolist(), strict=True)))
        return found[0] if len(vectors.shape) == 1 else found

    @staticmethod
    def sparsity(embeddings: Any) -> dict[str, float]:
        """Return how sparse vectors are: the mean of `active_dims` and of `sparsity_ratio`.

        Raises:
            InputError: if they are no vectors.
        """
        vectors = SparseVectors.of(embeddings).matrix
        if 0 in vectors.shape:
            return {"active_dims": 0.0, "sparsity_ratio": 1.0}
        active = float(np.mean(np.diff(vectors.indptr)))
        return {"active_dims": active, "sparsity_ratio": 1.0 - active / vectors.shape[1]}

    @staticmethod
    def intersection(embeddings_1: Any, embeddings_2: Any) -> Any:
        """Return the products of a vector `[D]` with a vector `[D]` or several `[n, D]`, where both are positive.

        Raises:
            InputError: if the first is no vector, or the second none of its width.
        """
        one, several = SparseVectors.of(embeddings_1, "embeddings_1"), SparseVectors.of(embeddings_2, "embeddings_2")
        if len(one.shape) != 1 or one.shape[-1] != several.shape[-1]:
            raise InputError(
                f"embeddings_1 must be one vector as wide as those of embeddings_2, but the shapes are {one.shape} and "
                f"{several.shape}"
            )
        weights = one.to_dense()
        rows = []
        for row in several.matrix:
            products = row.values * weights[row.indices]
            rows.append((row.indices[products > 0], products[products > 0]))
        shared = SparseVectors.from_rows(rows, one.shape[-1])
        shared = shared[0] if len(several.shape) == 1 else shared
        return shared.to_torch() if is_torch_tensor(embeddings_1) or is_torch_tensor(embeddings_2) else shared


def _largest(entries: Entries, most: int) -> Entries:
    """Return the largest entries in order of their places; of equal ones the first."""
    indices, values = entries
    if not most or len(values) <= most:
        return entries
    kept = np.sort(np.argsort(-values, kind="stable")[:most])
    return indices[kept], values[kept]


def _as_tensor(vectors: SparseVectors, sparse: bool) -> Any:
    return vectors.to_torch() if sparse else require_torch().from_numpy(vectors.to_dense())
