"""`MultiVectorEncoder`: texts in, a vector for each token out (ColBERT), as sentence-transformers has it."""

from __future__ import annotations

import dataclasses
import importlib.util
import itertools
import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from . import architectures
from .arguments import checked_count, one_of, renamed
from .arrays import require_torch
from .batching import Tokens, bar_wanted, is_single
from .configuration import AutoConfig
from .late_interaction_files import read_late_interaction, register_prefixes
from .maxsim import maxsim, maxsim_pairwise
from .pooling import Modules, Pooling
from .sentence_encoder import SentenceEncoder
from .similarity import normalize
from .text_model import TextModel
from .tokenization import AutoTokenizer

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from .arguments import OnOverflow
    from .configuration import PretrainedConfig
    from .text_model import Call

__all__ = ["MultiVectorEncoder"]

logger = logging.getLogger(__name__)


class MultiVectorEncoder(TextModel):
    """A late-interaction model: a vector for each token, compared by MaxSim.

    Reads what sentence-transformers' class of that name writes (since 6.0), PyLate's checkpoints, and those of
    Stanford's ColBERT with their `artifact.metadata`: prefixes of queries and documents, expansion of queries by mask
    tokens, tokens that documents leave out. Another encoder's states are taken as they are, at length 1, with a
    warning.

    Args:
        model_name_or_path: a folder, a hub name, or the name of an installed package that carries a checkpoint.
        similarity_fn_name: `maxsim`, or `meanmaxsim`, which divides by the query's tokens; None takes the checkpoint's,
            or `maxsim`.
        trust_remote_code: accepted and without effect: code of a checkpoint is never run.
        **options: the other arguments of `CrossEncoder`: `device`, `prompts`, `default_prompt_name`, `cache_folder`,
            `revision`, `local_files_only`, `token`, `model_kwargs`, `processor_kwargs`, `config_kwargs`, `backend`,
            `num_threads`, `on_overflow` (with `"window"` every token of a long text gets one vector).

    Raises:
        CheckpointNotFoundError: if there is no such checkpoint.
        ConfigError: if its files are missing, broken or contradict each other.
        UnsupportedFormatError: if it has modules that the engine does not compute.
        ValueError: if an argument is not one of those above.

    Example:
        >>> import warnings
        >>> from bertcpp import MultiVectorEncoder
        >>> with warnings.catch_warnings():
        ...     warnings.simplefilter("ignore")  # it was not trained for late interaction
        ...     model = MultiVectorEncoder("all-MiniLM-L6-v2")
        >>> query = model.encode_query("How big is Berlin?", convert_to_numpy=True)
        >>> documents = model.encode_document(["Berlin is big.", "A cat sits outside."], convert_to_numpy=True)
        >>> query.shape, int(model.similarity(query, documents).argmax())
        ((7, 384), 0)
    """

    _kinds = ("MultiVectorEncoder", "ColBERT", "SentenceTransformer")
    _loaded = ("_packer", "_encoder", "_parts")

    @renamed(tokenizer_kwargs="processor_kwargs")
    def __init__(
        self,
        model_name_or_path: str | os.PathLike[str],
        *,
        similarity_fn_name: str | None = None,
        trust_remote_code: bool = False,
        prompts: dict[str, str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(model_name_or_path, prompts=prompts, **options)
        saved = self._settings.get("similarity_fn_name")
        self.similarity_fn_name = similarity_fn_name or (saved if saved in ("maxsim", "meanmaxsim") else "maxsim")
        self.prompts |= {name: text for name, text in self._parts.prompts.items() if name not in (prompts or {})}

    def _load(self, tokenizer_options: dict[str, Any], config_options: dict[str, Any]) -> int | None:
        self._parts = parts = read_late_interaction(self._folder, self._settings)
        options = {**parts.tokenizer_options, **tokenizer_options}
        config = AutoConfig.from_pretrained(parts.encoder, **config_options)
        tokenizer = register_prefixes(AutoTokenizer.from_pretrained(parts.encoder, **options), parts.prefixes)
        core, limits = architectures.load_encoder(parts.encoder, config, add_pooling_layer=False, where=self._where)
        self._encoder = SentenceEncoder(core, limits, tokenizer, Modules(parts.encoder, Pooling(("mean",))))
        width = self._encoder.dimension
        for head in parts.heads:
            width = head.width(width)
        self._width, self._config, self._packer = width, config, self._encoder.packer
        known = (tokenizer.backend_tokenizer.token_to_id(word) for word in parts.skipped_words)
        self._skipped = np.array([word for word in known if word is not None], np.int32)
        self._expansion_id = parts.expansion_id(tokenizer)
        stated = options.get("model_max_length", parts.max_length)
        return None if stated is None else checked_count("max_seq_length", stated, 1)

    @property
    def config(self) -> PretrainedConfig:
        """The checkpoint's configuration."""
        config: PretrainedConfig = self._config
        return config

    @property
    def similarity_fn_name(self) -> str:
        """The similarity that `similarity` computes: `maxsim` or `meanmaxsim`; may be set."""
        return self._similarity_name

    @similarity_fn_name.setter
    def similarity_fn_name(self, value: str) -> None:
        self._similarity_name = str(one_of("similarity_fn_name", value, ("maxsim", "meanmaxsim")))

    def get_embedding_dimension(self) -> int:
        """Return the dimensions of a token's vector."""
        return self._width

    @renamed(sentences="inputs")
    def encode(
        self,
        inputs: Any,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int = 32,
        show_progress_bar: bool | None = None,
        output_value: str = "token_embeddings",
        convert_to_numpy: bool | None = None,
        device: Any = None,
        normalize_embeddings: bool = False,
        pool: None = None,
        chunk_size: int | None = None,
        *,
        task: str | None = None,
        on_overflow: OnOverflow | None = None,
        stride: int | None = None,
        num_threads: int | None = None,
    ) -> Any:
        """Encode a text, or any number of texts; `encode_query` and `encode_document` do so for one of the two tasks.

        Args:
            inputs: a string; or an iterable of strings. `sentences` is the older name.
            prompt_name: the name of a prompt of `self.prompts` to put before each text.
            prompt: the prompt itself; takes precedence over `prompt_name`.
            batch_size: bounds memory, as in `SentenceTransformer.encode`.
            show_progress_bar: None shows a bar when this logger is at INFO or DEBUG, and on a terminal after two
                seconds.
            output_value: `"token_embeddings"`.
            convert_to_numpy: arrays instead of PyTorch tensors; None does so where PyTorch is not installed.
            device: `"cpu"` or None.
            normalize_embeddings: bring each vector to length 1, if the checkpoint does not.
            pool: None; there are no worker processes.
            chunk_size: accepted and without effect, as there are no worker processes.
            task: `"query"`, `"document"` or None, which counts as a document but for its length.
            on_overflow: see the class; None means `self.on_overflow`. Queries that are expanded are cut.
            stride: tokens that a window shares with the one before; None means a quarter of `max_seq_length`.
            num_threads: threads for this call; None means `self.num_threads`.

        Returns:
            float32 `[tokens, D]` for a string, and a list of these for several.

        Raises:
            InputError: if an input is no string.
            SequenceTooLongError: if a text is over the limit and `on_overflow` is `"error"`.
            ValueError: if an argument has a value that it cannot have.
        """
        one_of("output_value", output_value, ("token_embeddings",))
        one_of("task", task, ("query", "document", None))
        call = self._call(batch_size, prompt, prompt_name, on_overflow, stride, num_threads, device=device, pool=pool)
        limit = min(self._parts.limit(task, call.max_length), self._packer.max_length)
        call = dataclasses.replace(call, max_length=limit, stride=min(call.stride, limit - 1))
        if convert_to_numpy is None:
            convert_to_numpy = importlib.util.find_spec("torch") is None
        if not convert_to_numpy:
            require_torch()
        single = is_single(inputs)
        rows = self._rows([inputs] if single else inputs, call, task, bar_wanted(show_progress_bar, logger))
        found: list[Any] = [normalize(row) if normalize_embeddings else row for row in rows]
        if not convert_to_numpy:
            found = [require_torch().from_numpy(row) for row in found]
        return found[0] if single else found

    def _rows(
        self, texts: Iterable[Any], call: Call, task: str | None, show: bool | None
    ) -> Iterator[NDArray[np.float32]]:
        """Yield the vectors of each text's tokens."""
        expands = task == "query" and self._parts.expansion is not None
        if expands and call.on_overflow == "window":
            call = dataclasses.replace(call, on_overflow="warn")
        for tokens, windows in self._packs(texts, call, show, "Encoding"):
            key_lens = None
            if expands:
                tokens, key_lens = self._expanded(tokens)
            parts = []
            first = 0
            for batch in self._encoder.batches(tokens, call.batch_tokens, call.num_threads):
                last = first + len(batch.cu_seqlens) - 1
                lens = None if key_lens is None else np.ascontiguousarray(key_lens[first:last])
                parts.append(self._encoder.states(batch, call.num_threads, lens))
                first = last
            states = np.concatenate(parts)
            if windows is not None:
                states, tokens = states[windows.own_tokens(tokens)], windows.stitched(tokens)
            for head in self._parts.heads:
                states = head(states, num_threads=call.num_threads)
            kept = np.ones(len(states), bool)
            if (task or "document") in self._parts.skipping_tasks:
                kept = ~np.isin(tokens.input_ids, self._skipped)
            for start, end in itertools.pairwise(tokens.cu_seqlens.tolist()):
                yield states[start:end][kept[start:end]]

    def _expanded(self, tokens: Tokens) -> tuple[Tokens, NDArray[np.int32] | None]:
        """Fill queries up with mask tokens; say how many of each one's tokens are attended to, if not all."""
        expansion = self._parts.expansion
        assert expansion is not None
        lengths = np.diff(tokens.cu_seqlens)
        widths = np.maximum(lengths, expansion.length)
        cu_seqlens = np.concatenate(([0], np.cumsum(widths))).astype(np.int32)
        places = np.arange(cu_seqlens[-1]) - np.repeat(cu_seqlens[:-1], widths)
        own = places < np.repeat(lengths, widths)
        ids = np.full(len(own), self._expansion_id, np.int32)
        ids[own] = tokens.input_ids
        types = None
        if tokens.token_type_ids is not None:
            types = np.zeros(len(own), np.int32)
            types[own] = tokens.token_type_ids
        return Tokens(ids, cu_seqlens, types), None if expansion.attend else lengths.astype(np.int32)

    @renamed(sentences="inputs")
    def encode_query(
        self, inputs: Any, prompt_name: str | None = None, prompt: str | None = None, *more: Any, **kwargs: Any
    ) -> Any:
        """Encode queries: with the checkpoint's prompt, length and expansion of queries; arguments as for `encode`.

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
        """Encode documents: with the prompt, length and left-out words of documents; arguments as for `encode`.

        Raises:
            ValueError: as `encode`.
        """
        if prompt_name is None and prompt is None:
            prompt_name = next((name for name in ("document", "passage", "corpus") if name in self.prompts), None)
        return self.encode(inputs, prompt_name, prompt, *more, **{"task": "document", **kwargs})

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Return the similarity of every query of `embeddings1` with every document of `embeddings2`: `[n, m]`.

        Takes lists of `[tokens, D]`, one of these, or padded `[n, tokens, D]`; see `bertcpp.maxsim.maxsim`.

        Raises:
            InputError: if a side is none of these, or the widths differ.
        """
        return maxsim(embeddings1, embeddings2, length_normalize=self._similarity_name == "meanmaxsim")

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Return the similarity of each query with the document at its place: `[n]`.

        Raises:
            InputError: if a side is no list of vectors, or the widths or numbers differ.
        """
        return maxsim_pairwise(embeddings1, embeddings2, length_normalize=self._similarity_name == "meanmaxsim")
