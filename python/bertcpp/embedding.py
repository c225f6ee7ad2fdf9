"""`SentenceTransformer`: texts in, vectors out, with the interface that sentence-embedding code is written against."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from . import _core
from .arguments import (
    ON_OVERFLOW,
    OnOverflow,
    check_device,
    check_pool,
    checked_count,
    checked_dimensions,
    checked_stride,
    checked_threads,
    chosen_prompt,
    one_of,
    renamed,
)
from .arrays import require_torch
from .batching import CHUNK_TEXTS, CHUNK_TEXTS_PER_THREAD, Progress, Rows, bar_wanted, chunks, is_single, length_of
from .embedding_model import EmbeddingModel
from .embedding_results import as_tensors, converted, precision_of
from .errors import InputError
from .foreign_protocols import ForeignProtocols
from .late_chunking import EmbeddedChunks, check_pooling, checked_spans, embed_chunks
from .sentence_encoder import Cuts, Request
from .text_packing import say_what_was_cut

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from .quantization import Precision

__all__ = ["SentenceTransformer"]

logger = logging.getLogger(__name__)

_OUTPUTS = ("sentence_embedding", "token_embeddings", None)
_CHUNKED_AT_ONCE = 1 << 17  # characters whose states are held at once, to be pooled by chunks
_LARGEST_CHUNK = 5000  # texts sent to a worker process at once


class SentenceTransformer(ForeignProtocols, EmbeddingModel):
    """A sentence-embedding model: a checkpoint's tokenizer, encoder, pooling and what follows it.

    Reads the layouts that sentence-transformers writes, before version 5.4 and since. A folder with an encoder alone
    gets mean pooling and a warning. One object may be used from any number of threads, and pickled. BERTopic, KeyBERT
    and MTEB take it as it is; `bertcpp.integrations` has the classes that other libraries ask for.

    Args:
        model_name_or_path: a folder, a hub name, or the name of an installed package that carries a checkpoint.
        device: `"cpu"`, `"cuda"`, `"cuda:1"` ..., or `"auto"` for a GPU where one works; None is the processor.
        prompts: texts to put before inputs, by name; they take precedence over those of the checkpoint.
        default_prompt_name: the prompt of every call that names none.
        similarity_fn_name: `cosine`, `dot`, `euclidean` or `manhattan`; None takes the checkpoint's, or `cosine`.
        cache_folder: where hub checkpoints are kept; None means the hub's own cache.
        trust_remote_code: accepted and without effect: code of a checkpoint is never run.
        revision: a branch, tag or commit of the hub.
        local_files_only: never ask the hub.
        token: the hub's access token.
        truncate_dim: leading dimensions of embeddings to keep; None takes the checkpoint's, or all.
        model_kwargs: `dtype` or `torch_dtype` (float32, bfloat16, int8 or "auto"; on a GPU float16);
            `attn_implementation` is accepted and without effect.
        processor_kwargs: keywords for the tokenizer, such as `model_max_length`; `tokenizer_kwargs` is the older name.
        config_kwargs: fields that replace those of the checkpoint's `config.json`.
        backend: accepted for `"torch"`, the default elsewhere; the engine is bertcpp's.
        num_threads: threads for this model's calls; None means `bertcpp.get_num_threads()` at each call.
        on_overflow: what happens to texts longer than `max_seq_length`: `"warn"` cuts them and says so once a call,
            `"truncate"` cuts them silently, `"error"` raises before anything of their chunk is computed, and `"window"`
            cuts nothing: a longer text is computed in overlapping windows, and its vector is their vectors' mean,
            weighted by the tokens that each window adds to those before it, at length 1 where the checkpoint ends
            with a Normalize module.

    Raises:
        CheckpointNotFoundError: if there is no such checkpoint.
        ConfigError: if its files are missing, broken or contradict each other.
        UnsupportedFormatError: if it has modules that the engine does not compute.
        WeightMismatchError: if its tensors do not fit its configuration.
        ValueError: if an argument is not one of those above.

    Example:
        >>> from bertcpp import SentenceTransformer
        >>> model = SentenceTransformer("all-MiniLM-L6-v2")
        >>> embeddings = model.encode(["A cat sits outside.", "A dog plays in the garden."])
        >>> embeddings.shape, embeddings.dtype.name
        ((2, 384), 'float32')
        >>> model.similarity(embeddings, embeddings).shape
        (2, 2)
    """

    @renamed(sentences="inputs")
    def encode(
        self,
        inputs: Any,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int = 32,
        show_progress_bar: bool | None = None,
        output_value: Literal["sentence_embedding", "token_embeddings"] | None = "sentence_embedding",
        precision: Precision = "float32",
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        device: Any = None,
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
        pool: dict[str, Any] | None = None,
        chunk_size: int | None = None,
        *,
        on_overflow: OnOverflow | None = None,
        stride: int | None = None,
        num_threads: int | None = None,
        **kwargs: Any,
    ) -> Any:
        """Embed a text, or any number of texts.

        Texts are taken in chunks and computed in batches of a token budget without padding, so memory does not grow
        with their number (but for the result) and a generator is never held whole. Ctrl-C stops between two batches.
        A text's vector has the same bits whatever it is batched with.

        Args:
            inputs: a string; or a list, array, series or generator of strings or pairs of strings. `sentences` is the
                older name.
            prompt_name: the name of a prompt of `self.prompts` to put before each text.
            prompt: the prompt itself; takes precedence over `prompt_name`.
            batch_size: bounds memory: a batch holds at most as many tokens as `batch_size` texts of `max_seq_length`,
                and fewer where the engine needs no more to be busy. The result does not depend on it.
            show_progress_bar: None shows a bar when this logger is at INFO or DEBUG, and on a terminal after two
                seconds.
            output_value: `"sentence_embedding"`; `"token_embeddings"` for a list of arrays `[tokens, hidden_size]`;
                None for a dictionary of everything for each text.
            precision: `"float32"`, or the other ones of `quantize_embeddings`, with ranges read off this result.
            convert_to_numpy: False gives a list of PyTorch tensors (which needs torch).
            convert_to_tensor: True gives one PyTorch tensor (which needs torch). A model on a GPU gives float32 there,
                if this PyTorch computes there, too.
            device: None or the model's own; a list of it encodes in as many worker processes.
            normalize_embeddings: bring vectors to length 1, after truncating them.
            truncate_dim: leading dimensions to keep; None means `self.truncate_dim`.
            pool: worker processes of `start_multi_process_pool` to compute in.
            chunk_size: texts sent to a worker at once; None chooses.
            on_overflow: see the class; None means `self.on_overflow`. Token vectors of windows are put together so that
                each token of a text has one.
            stride: tokens that a window shares with the one before (at most half of them are); None means a quarter of
                `max_seq_length`. Without effect unless `on_overflow` is `"window"`.
            num_threads: threads for this call; None means `self.num_threads`.
            **kwargs: `task` is accepted, `processing_kwargs={"text": {"max_length": n}}`, and what MTEB passes with its
                loader of batches.

        Returns:
            float32 `[D]` for a string and `[n, D]` for n texts, an empty array for none, unless asked otherwise above.

        Raises:
            InputError: if an input is no string or pair of strings.
            SequenceTooLongError: if a text is over the limit and `on_overflow` is `"error"`.
            ValueError: if an argument is unknown or has a value that it cannot have.

        Example:
            >>> from bertcpp import SentenceTransformer
            >>> model = SentenceTransformer("all-MiniLM-L6-v2")
            >>> model.encode("one text").shape, model.encode(text for text in ("two", "texts")).shape
            ((384,), (2, 384))
        """
        if "task_metadata" in kwargs:
            inputs, prompt = self._texts_from_mteb(inputs, prompt, kwargs)
        quantized = precision_of(precision, output_value)
        request = self._request(
            prompt_name,
            prompt,
            batch_size,
            output_value,
            normalize_embeddings,
            truncate_dim,
            on_overflow,
            stride,
            kwargs,
        )
        single = is_single(inputs)
        texts = [inputs] if single else inputs
        total = length_of(texts)
        tensor_of = self._encoder.as_tensor if convert_to_tensor or not convert_to_numpy else None
        if tensor_of is not None:
            require_torch()  # its absence is said before anything is computed
        progress = Progress(bar_wanted(show_progress_bar, logger), total)
        workers_asked = len(device) if isinstance(device, (list, tuple)) else 0
        check_pool(pool)
        chunk_size = checked_count("chunk_size", chunk_size, 0) or None
        if pool is not None or workers_asked:
            blocks = self._in_workers(texts, total, request, pool, device, chunk_size)
        else:
            check_device(device, self.device)
            blocks = self._in_process(texts, request, self._threads(num_threads))
        rows, items = Rows(total), list[Any]()
        keep = rows.append if output_value == "sentence_embedding" else items.extend
        for block in self._watched(blocks, progress, self._overflow_mode(on_overflow), request):
            keep(block)
        if output_value != "sentence_embedding":
            result: Any = [as_tensors(item, tensor_of) for item in items]
        else:
            result = converted(rows.array(), quantized, tensor_of, as_list=not convert_to_tensor)
        return result[0] if single else result

    @renamed(sentences="inputs")
    def encode_query(
        self, inputs: Any, prompt_name: str | None = None, prompt: str | None = None, *more: Any, **kwargs: Any
    ) -> Any:
        """Embed queries: as `encode`, with the prompt `query` where neither a prompt nor its name is given.

        Raises:
            ValueError: as `encode`.

        Example:
            >>> from bertcpp import SentenceTransformer
            >>> SentenceTransformer("all-MiniLM-L6-v2").encode_query("Where is the cat?").shape
            (384,)
        """
        if prompt_name is None and prompt is None and "query" in self.prompts:
            prompt_name = "query"
        return self.encode(inputs, prompt_name, prompt, *more, **{"task": "query", **kwargs})

    @renamed(sentences="inputs")
    def encode_document(
        self, inputs: Any, prompt_name: str | None = None, prompt: str | None = None, *more: Any, **kwargs: Any
    ) -> Any:
        """Embed documents: as `encode`, with the first prompt of `document`, `passage`, `corpus` where none is given.

        Raises:
            ValueError: as `encode`.

        Example:
            >>> from bertcpp import SentenceTransformer
            >>> SentenceTransformer("all-MiniLM-L6-v2").encode_document(["The cat is outside."]).shape
            (1, 384)
        """
        if prompt_name is None and prompt is None:
            prompt_name = next((name for name in ("document", "passage", "corpus") if name in self.prompts), None)
        return self.encode(inputs, prompt_name, prompt, *more, **{"task": "document", **kwargs})

    def stream(
        self,
        inputs: Iterable[Any],
        *,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int = 32,
        show_progress_bar: bool | None = None,
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
        on_overflow: OnOverflow | None = None,
        stride: int | None = None,
        num_threads: int | None = None,
    ) -> Iterator[NDArray[np.float32]]:
        """Embed an endless iterable of texts: yield float32 blocks `[b, D]`, in order, as they are computed.

        Memory stays bounded: at most a chunk of texts and one batch are held. Arguments are those of `encode`.

        Raises:
            InputError: if `inputs` is a single text, or an input is no string or pair of strings.
            SequenceTooLongError: if a text is over the limit and `on_overflow` is `"error"`.
            ValueError: if an argument has a value that it cannot have.

        Example:
            >>> from bertcpp import SentenceTransformer
            >>> model = SentenceTransformer("all-MiniLM-L6-v2")
            >>> sum(len(block) for block in model.stream(f"text {i}" for i in range(100)))
            100
        """
        request = self._request(
            prompt_name,
            prompt,
            batch_size,
            "sentence_embedding",
            normalize_embeddings,
            truncate_dim,
            on_overflow,
            stride,
            {},
        )
        if is_single(inputs):
            raise InputError("inputs is one text; pass an iterable of texts, or call encode()")
        progress = Progress(bar_wanted(show_progress_bar, logger), length_of(inputs))
        blocks = self._in_process(inputs, request, self._threads(num_threads))
        return self._watched(blocks, progress, self._overflow_mode(on_overflow), request)

    @renamed(sentences="inputs")
    def encode_chunks(
        self,
        inputs: Any,
        spans: Any = None,
        *,
        chunk_tokens: int | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int = 32,
        show_progress_bar: bool | None = None,
        convert_to_tensor: bool = False,
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
        on_overflow: Literal["window", "error"] = "window",
        stride: int | None = None,
        num_threads: int | None = None,
    ) -> Any:
        """Embed the chunks of long texts by late chunking: compute a whole text, then pool the tokens of each chunk.

        A chunk's vector knows what the text says around it, which a chunk embedded by itself does not. Special tokens
        and the prompt belong to no chunk. For checkpoints that pool over all tokens (`mean`, `max`).

        Args:
            inputs: a string, or an iterable of strings.
            spans: the chunks of a text as (start, end) in characters; for several texts, a list of these for each.
            chunk_tokens: make chunks of at most so many tokens instead, without splitting a word that fits.
            prompt_name: the name of a prompt of `self.prompts` to put before each text.
            prompt: the prompt itself; takes precedence over `prompt_name`.
            batch_size: bounds memory, as in `encode`.
            show_progress_bar: as in `encode`.
            convert_to_tensor: give vectors as PyTorch tensors, as in `encode`.
            normalize_embeddings: bring vectors to length 1, after truncating them.
            truncate_dim: leading dimensions to keep; None means `self.truncate_dim`.
            on_overflow: texts longer than `max_seq_length` are computed in overlapping windows, or refused.
            stride: tokens that two windows share; None means a quarter of a window.
            num_threads: threads for this call; None means `self.num_threads`.

        Returns:
            `EmbeddedChunks` with `spans`, a list of (start, end), and `embeddings`, float32 `[chunks, D]`; a list of
            them for several texts.

        Raises:
            ConfigError: if the checkpoint pools by single tokens.
            InputError: if an input is no string, or a span is none of its text or holds no token.
            SequenceTooLongError: if a text is over the limit and `on_overflow` is `"error"`.
            ValueError: if an argument has a value that it cannot have, or not one of the ways to chunk is given.

        Example:
            >>> from bertcpp import SentenceTransformer
            >>> model = SentenceTransformer("all-MiniLM-L6-v2")
            >>> found = model.encode_chunks("Berlin is big. It has parks.", [(0, 14), (15, 28)])
            >>> found.spans, found.embeddings.shape
            ([(0, 14), (15, 28)], (2, 384))
        """
        one_of("on_overflow", on_overflow, ("window", "error"))
        if (spans is None) == (chunk_tokens is None):
            raise ValueError("pass either spans or chunk_tokens, to say what the chunks are")
        size = checked_count("chunk_tokens", chunk_tokens, 1)
        request = self._request(
            prompt_name,
            prompt,
            batch_size,
            "sentence_embedding",
            normalize_embeddings,
            truncate_dim,
            on_overflow,
            stride,
            {},
        )
        check_pooling(self._encoder)
        single = is_single(inputs)
        texts = [inputs] if single else list(inputs)
        found = self._chunks(texts, [spans] if single and spans is not None else spans, size, request, num_threads)
        progress = Progress(bar_wanted(show_progress_bar, logger), len(texts))
        results = []
        for chunked in found:
            results.append(
                chunked._replace(embeddings=self._encoder.as_tensor(chunked.embeddings))
                if convert_to_tensor
                else chunked
            )
            progress.update(1)
        progress.close()
        return results[0] if single else results

    def _chunks(
        self, texts: list[Any], spans: Any, size: int, request: Request, num_threads: int | None
    ) -> Iterator[EmbeddedChunks]:
        if spans is not None:
            if len(spans) != len(texts):
                raise InputError(f"there are {len(texts)} texts but spans of {len(spans)}; pass a list for each text")
            spans = [
                checked_spans(own, text, place) for place, (own, text) in enumerate(zip(spans, texts, strict=True))
            ]
        first = 0
        for group in chunks(texts, characters=_CHUNKED_AT_ONCE):
            own = None if spans is None else spans[first : first + len(group)]
            yield from embed_chunks(
                self._encoder, group, own, size, request, first=first, num_threads=self._threads(num_threads)
            )
            first += len(group)

    def _request(
        self,
        prompt_name: str | None,
        prompt: str | None,
        batch_size: int,
        output_value: str | None,
        normalize_embeddings: bool,
        truncate_dim: int | None,
        on_overflow: str | None,
        stride: int | None,
        kwargs: dict[str, Any],
    ) -> Request:
        if isinstance(batch_size, bool) or not isinstance(batch_size, (int, np.integer)) or batch_size <= 0:
            raise ValueError(f"batch_size must be a positive integer, got {batch_size!r}")
        one_of("output_value", output_value, _OUTPUTS)
        if unknown := sorted(set(kwargs) - {"task", "processing_kwargs"}):
            raise ValueError(f"encode() does not know the arguments {unknown}; see help(SentenceTransformer.encode)")
        (limit, limit_name), mode = self._limit_asked(kwargs.get("processing_kwargs")), self._overflow_mode(on_overflow)
        checked = checked_stride(stride, limit)
        return Request(
            max_length=limit,
            batch_tokens=int(batch_size) * limit,
            prompt=chosen_prompt(self.prompts, self.default_prompt_name, prompt, prompt_name),
            output_value=output_value,
            truncate_dim=checked_dimensions(self.truncate_dim if truncate_dim is None else truncate_dim),
            normalize=normalize_embeddings,
            may_cut=mode != "error",
            stride=checked if mode == "window" else None,
            limit_name=limit_name,
        )

    def _overflow_mode(self, on_overflow: str | None) -> str:
        return str(one_of("on_overflow", self.on_overflow if on_overflow is None else on_overflow, ON_OVERFLOW))

    def _limit_asked(self, processing: dict[str, Any] | None) -> tuple[int, str]:
        """Return the limit of a call, and what messages call it."""
        text = processing.get("text", {}) if isinstance(processing, dict) else {}
        if (processing is not None and not isinstance(processing, dict)) or not isinstance(text, dict):
            raise ValueError(f"processing_kwargs must be like {{'text': {{'max_length': n}}}}, not {processing!r}")
        text = dict(text)
        name = "max_length" if "max_length" in text else "max_seq_length"
        limit = text.pop("max_length", self._max_seq_length)
        if set(processing or {}) - {"text"} or text.pop("truncation", True) is not True or text:
            raise ValueError(f"processing_kwargs {processing!r} holds more than {{'text': {{'max_length': n}}}}")
        return self._checked_length(limit, name), name

    def _threads(self, num_threads: int | None) -> int:
        return checked_threads(self.num_threads if num_threads is None else num_threads) or 0

    def _in_process(self, texts: Iterable[Any], request: Request, threads: int) -> Iterator[tuple[Any, Cuts]]:
        first = 0
        size = max(CHUNK_TEXTS, CHUNK_TEXTS_PER_THREAD * (threads or _core.get_num_threads()))
        for chunk in chunks(texts, size):
            yield from self._encoder.blocks(chunk, request, first=first, num_threads=threads)
            first += len(chunk)

    def _in_workers(
        self,
        texts: Iterable[Any],
        total: int | None,
        request: Request,
        pool: dict[str, Any] | None,
        devices: Any,
        chunk_size: int | None,
    ) -> Iterator[tuple[Any, Cuts]]:
        from . import workers

        if pool is None:
            pool = self.start_multi_process_pool(list(devices))
            try:
                yield from self._in_workers(texts, total, request, pool, None, chunk_size)
            finally:
                self.stop_multi_process_pool(pool)
            return
        if chunk_size is None:
            per_worker = CHUNK_TEXTS if total is None else -(-total // max(10 * len(pool["processes"]), 1))
            chunk_size = min(max(per_worker, 1), _LARGEST_CHUNK)
        yield from workers.run(pool, chunks(texts, chunk_size), request)

    def _watched(
        self, blocks: Iterator[tuple[Any, Cuts]], progress: Progress, mode: str, request: Request
    ) -> Iterator[Any]:
        """Pass blocks on, move the bar, and say at the end what was cut."""
        cuts, count = Cuts(), 0
        try:
            for block, more in blocks:
                cuts, count = cuts.plus(more), count + len(block)
                yield block
                progress.update(len(block))
        finally:
            progress.close()
        if mode != "truncate":
            say_what_was_cut(cuts, count, request.max_length, self._encoder.max_length, request.limit_name)

    @renamed(sentences="inputs")
    def encode_multi_process(self, inputs: Any, pool: dict[str, Any], **kwargs: Any) -> Any:
        """Return `encode(inputs, pool=pool, ...)`, of which this is the older name."""
        return self.encode(inputs, pool=pool, **kwargs)
