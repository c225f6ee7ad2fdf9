"""From texts to vectors with one checkpoint: tokenize, pack, run the encoder, pool, and what follows on the vectors.

`SentenceTransformer` is the interface around it; this file knows neither prompts' names nor output types. All methods
may be called from several threads at once.
"""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _core, architectures, devices
from .batching import Tokens, splits, token_budget
from .configuration import AutoConfig
from .errors import ConfigError
from .gpu_arrays import torch_tensor
from .packed_batch import packed_positions
from .pooling import Modules, Normalize, plain_modules, read_modules
from .similarity import normalize
from .text_packing import Cuts, TextPacker
from .tokenization import AutoTokenizer, PreTrainedTokenizer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from .packed_batch import InputLimits
    from .windows import Windows

__all__ = ["Cuts", "Request", "SentenceEncoder", "lower_cased"]

# Keywords of transformers' loaders that the folder has settled already.
_SETTLED = ("cache_dir", "local_files_only", "revision", "subfolder", "token", "trust_remote_code", "use_fast")


@dataclass(frozen=True)
class Request:
    """What one call asks for.

    Attributes:
        max_length: tokens that stay of a text, special ones included.
        batch_tokens: tokens that a batch holds at most, about; the encoder may choose fewer.
        prompt: put before every text (of a pair, before the first).
        output_value: `sentence_embedding`, `token_embeddings`, or None for both and the tokens.
        truncate_dim: leading dimensions to keep; None keeps all.
        normalize: bring vectors to length 1, after truncating.
        may_cut: cut longer texts; else they raise.
        stride: compute longer texts as windows that share so many tokens; None cuts them, or raises.
        limit_name: what the caller called `max_length`, for messages.
    """

    max_length: int
    batch_tokens: int
    prompt: str = ""
    output_value: str | None = "sentence_embedding"
    truncate_dim: int | None = None
    normalize: bool = False
    may_cut: bool = True
    stride: int | None = None
    limit_name: str = "max_seq_length"


class SentenceEncoder:
    """A checkpoint's tokenizer, encoder and modules, ready to compute."""

    def __init__(
        self, core: _core.Encoder, limits: InputLimits, tokenizer: PreTrainedTokenizer, modules: Modules
    ) -> None:
        """Put the parts together.

        Raises:
            ConfigError: if their widths do not fit.
        """
        self.tokenizer = tokenizer
        self.packer = TextPacker(tokenizer, limits)
        self.pooling = modules.pooling
        self._core = core
        self._limits = limits
        self._heads = modules.heads
        self.dimension = self._checked_dimension()
        self.stated_length = limits.max_length

    @classmethod
    def load(
        cls,
        folder: Path,
        tokenizer_options: dict[str, Any],
        config_options: dict[str, Any],
        where: devices.Target | None = None,
        *,
        include_prompt: bool | None = None,
    ) -> SentenceEncoder:
        """Load a checkpoint's folder; one without modules.json gets mean pooling.

        Args:
            folder: where the checkpoint lies.
            tokenizer_options: keywords for the tokenizer, which take precedence over the checkpoint's.
            config_options: fields that replace those of config.json.
            where: the device and what it computes in; None is float32 on the processor.
            include_prompt: whether a prompt's tokens take part in pooling; None is as the checkpoint says.

        Raises:
            CheckpointError: if a file is missing, damaged, or of a kind that is not read.
            ConfigError: if the configuration is incomplete or contradicts itself.
            WeightMismatchError: if the tensors do not fit.
        """
        modules = read_modules(folder) or plain_modules(folder)
        options = {**modules.tokenizer_options, **tokenizer_options}
        stated = options.get("model_max_length", modules.max_seq_length)
        tokenizer = AutoTokenizer.from_pretrained(
            modules.encoder, **{name: value for name, value in options.items() if name not in _SETTLED}
        )
        if modules.lower_case:
            tokenizer = lower_cased(tokenizer)
        config = AutoConfig.from_pretrained(modules.encoder, **config_options)
        core, limits = architectures.load_encoder(modules.encoder, config, add_pooling_layer=False, where=where)
        encoder = cls(core, limits, tokenizer, modules)
        if include_prompt is not None:
            encoder.set_include_prompt(include_prompt)
        encoder.stated_length = min(tokenizer.model_max_length if stated is None else stated, encoder.max_length)
        return encoder

    def as_tensor(self, array: NDArray[Any]) -> Any:
        """Return a PyTorch tensor of a result; see `gpu_arrays.torch_tensor`."""
        return torch_tensor(array, self._core)

    def _checked_dimension(self) -> int:
        hidden = int(self._core.config["hidden_size"])
        if self.pooling.dimension not in (None, hidden):
            raise ConfigError(
                f"the Pooling module states {self.pooling.dimension} dimensions but the encoder's hidden_size is "
                f"{hidden}; the checkpoint's parts do not belong together"
            )
        width = hidden * len(self.pooling.modes)
        for head in self._heads:
            width = head.width(width)
        return width

    @property
    def max_length(self) -> int:
        """Tokens of the longest sequence that the encoder has positions for."""
        return self._limits.max_length

    def set_include_prompt(self, include_prompt: bool) -> None:
        """Say whether a prompt's tokens take part in pooling."""
        self.pooling = dataclasses.replace(self.pooling, include_prompt=include_prompt)

    def blocks(
        self, texts: Sequence[Any], request: Request, *, first: int = 0, num_threads: int = 0
    ) -> Iterator[tuple[Any, Cuts]]:
        """Yield, batch by batch and in order, what `request` asks for, and what was cut for it.

        A block is float32 `[b, D]` for sentence embeddings, else a list of one item for each text.

        Args:
            texts: strings, or pairs of strings.
            request: what to compute.
            first: the place of `texts[0]` in the caller's input, for messages.
            num_threads: threads of the engine; 0 means its default.

        Raises:
            InputError: if a text is no string or pair of strings.
            SequenceTooLongError: if a text is over the limit and may not be cut.
        """
        windows: Windows | None = None
        if request.stride is None:
            tokens, cuts = self.packer.pack(
                texts,
                request.max_length,
                prompt=request.prompt,
                may_cut=request.may_cut,
                first=first,
                limit_name=request.limit_name,
            )
        else:
            tokens, windows, cuts = self.packer.pack_windows(
                texts,
                request.max_length,
                request.stride,
                prompt=request.prompt,
                first=first,
                limit_name=request.limit_name,
            )
        batches = self.batches(tokens, request.batch_tokens, num_threads)
        if windows is not None:
            yield self._compute_windows(batches, tokens, windows, request, num_threads), cuts
            return
        for batch in batches:
            yield self._compute(batch, request, num_threads), cuts
            cuts = Cuts()

    def batches(self, tokens: Tokens, most: int, num_threads: int = 0) -> Iterator[Tokens]:
        """Yield the sequences in runs of about as many tokens as the engine takes at once, and `most` at most."""
        budget = token_budget(self._core.config, num_threads or _core.get_num_threads())
        for start, end in splits(tokens.cu_seqlens, min(budget, most)):
            yield tokens.rows(start, end)

    def encode_chunk(self, texts: Sequence[Any], request: Request, *, first: int, num_threads: int) -> tuple[Any, Cuts]:
        """Return all blocks of `texts` as one, and what was cut; the arguments are those of `blocks`."""
        values, cuts = [], Cuts()
        for block, more in self.blocks(texts, request, first=first, num_threads=num_threads):
            values.append(block)
            cuts = cuts.plus(more)
        if request.output_value == "sentence_embedding":
            return np.concatenate(values), cuts
        return list(itertools.chain.from_iterable(values)), cuts

    def _compute(self, tokens: Tokens, request: Request, num_threads: int) -> Any:
        if request.output_value == "sentence_embedding":
            return self.finished(self._vectors(tokens, request, num_threads), request)
        states = self.states(tokens, num_threads)
        if request.output_value == "token_embeddings":
            return _by_text(tokens, states)
        return _features(tokens, states, self.finished(self._vectors(tokens, request, num_threads), request))

    def _compute_windows(
        self, batches: Iterable[Tokens], tokens: Tokens, windows: Windows, request: Request, num_threads: int
    ) -> Any:
        """Compute all windows of some texts, and put the texts' results together from them."""
        vectors, states = [], []
        for batch in batches:
            if request.output_value != "token_embeddings":
                vectors.append(self._vectors(batch, request, num_threads))
            if request.output_value != "sentence_embedding":
                states.append(self.states(batch, num_threads))
        if states:
            whole, kept = windows.stitched(tokens), np.concatenate(states)[windows.own_tokens(tokens)]
            if not vectors:
                return _by_text(whole, kept)
        unit = bool(self._heads) and isinstance(self._heads[-1], Normalize)
        pooled = self.finished(windows.pooled(np.concatenate(vectors), unit=unit), request)
        return _features(whole, kept, pooled) if states else pooled

    def _vectors(self, tokens: Tokens, request: Request, num_threads: int) -> NDArray[np.float32]:
        if request.prompt and not self.pooling.include_prompt:
            vectors = self._pooled_after_prompt(tokens, request, num_threads)
        else:
            vectors = self._pooled(tokens, None, num_threads)
        return self.after_pooling(vectors, num_threads)

    def after_pooling(self, vectors: NDArray[np.float32], num_threads: int = 0) -> NDArray[np.float32]:
        """Return what the modules after pooling make of vectors `[B, D]`."""
        for head in self._heads:
            vectors = head(vectors, num_threads=num_threads)
        return vectors

    @staticmethod
    def finished(vectors: NDArray[np.float32], request: Request) -> NDArray[np.float32]:
        """Return vectors as the request asks for them: truncated, then brought to length 1."""
        if request.truncate_dim is not None:
            vectors = vectors[:, : request.truncate_dim]
        return normalize(vectors) if request.normalize else vectors

    def _pooled(self, tokens: Tokens, weights: NDArray[np.float32] | None, num_threads: int) -> NDArray[np.float32]:
        return self._core.embed(
            tokens.input_ids,
            tokens.cu_seqlens,
            self._positions(tokens),
            tokens.token_type_ids,
            pooling=list(self.pooling.modes),
            pooling_weights=weights,
            num_threads=num_threads,
        )

    def _pooled_after_prompt(self, tokens: Tokens, request: Request, num_threads: int) -> NDArray[np.float32]:
        """Pool what follows the prompt; `cls` then means the first token after it."""
        prompt = self.packer.prompt_length(request.prompt, request.max_length)
        starts, lengths = tokens.cu_seqlens[:-1], np.diff(tokens.cu_seqlens)
        places = np.arange(len(tokens.input_ids)) - np.repeat(starts, lengths)
        vectors = self._pooled(tokens, (places >= prompt).astype(np.float32), num_threads)
        if "cls" in self.pooling.modes:  # the engine reads each sequence's very first token, whatever its weight
            states = self.states(tokens, num_threads)[starts + np.where(lengths > prompt, prompt, 0)]
            width = states.shape[1]
            for block in (place for place, mode in enumerate(self.pooling.modes) if mode == "cls"):
                vectors[:, block * width : (block + 1) * width] = states
        return vectors

    def states(
        self, tokens: Tokens, num_threads: int = 0, key_lens: NDArray[np.int32] | None = None
    ) -> NDArray[np.float32]:
        """Return the last hidden states, float32 `[T, H]`.

        Args:
            tokens: B sequences of T tokens in all.
            num_threads: threads of the engine; 0 means its default.
            key_lens: int32 `[B]`, how many leading tokens of each sequence are attended to; None means all.
        """
        outputs = self._core.forward(
            tokens.input_ids,
            tokens.cu_seqlens,
            self._positions(tokens),
            tokens.token_type_ids,
            key_lens=key_lens,
            pooler=False,
            num_threads=num_threads,
        )
        states: NDArray[np.float32] = outputs["last_hidden_state"]
        return states

    def _positions(self, tokens: Tokens) -> NDArray[np.int32]:
        return packed_positions(tokens.input_ids, tokens.cu_seqlens, self._limits.padding_idx)


def _by_text(tokens: Tokens, states: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Return the states `[n, H]` of each sequence in memory of their own."""
    return [states[start:end].copy() for start, end in itertools.pairwise(tokens.cu_seqlens.tolist())]


def _features(tokens: Tokens, states: NDArray[np.float32], vectors: NDArray[np.float32]) -> list[dict[str, Any]]:
    """Return everything of each sequence by the names that sentence-transformers has for it."""
    found = []
    for row, vector in zip(itertools.pairwise(tokens.cu_seqlens.tolist()), vectors, strict=True):
        ids = tokens.input_ids[slice(*row)].astype(np.int64)
        features = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        if tokens.token_type_ids is not None:
            features["token_type_ids"] = tokens.token_type_ids[slice(*row)].astype(np.int64)
        found.append(features | {"token_embeddings": states[slice(*row)].copy(), "sentence_embedding": vector.copy()})
    return found


def lower_cased(tokenizer: PreTrainedTokenizer) -> PreTrainedTokenizer:
    """Return a tokenizer that lower-cases before its own rules, as `do_lower_case` of sentence_*_config.json asks."""
    from tokenizers import normalizers

    from .tokenizer_backend import twin

    changed = twin(tokenizer.backend_tokenizer)
    rules = [normalizers.Lowercase()] + ([] if changed.normalizer is None else [changed.normalizer])
    changed.normalizer = normalizers.Sequence(rules)
    return type(tokenizer)(tokenizer_object=changed, **tokenizer.init_kwargs)
