"""From texts to vectors with one checkpoint: tokenize, pack, run the encoder, pool, and what follows on the vectors.

`SentenceTransformer` is the interface around it; this file knows neither prompts' names nor output types. All methods
may be called from several threads at once.
"""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from . import _core, architectures
from .batching import Tokens, splits, token_budget
from .configuration import AutoConfig
from .errors import ConfigError, InputError, SequenceTooLongError
from .pooling import Modules, plain_modules, read_modules
from .similarity import normalize
from .tokenization import AutoTokenizer, PreTrainedTokenizer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from .packing import InputLimits

__all__ = ["Cuts", "Request", "SentenceEncoder"]

# Keywords of transformers' loaders that the folder has settled already.
_SETTLED = ("cache_dir", "local_files_only", "revision", "subfolder", "token", "trust_remote_code", "use_fast")


class Cuts(NamedTuple):
    """How many of the texts were longer than the limit, and the place of the first of them."""

    texts: int = 0
    first: int | None = None

    def plus(self, later: Cuts) -> Cuts:
        """Return both counts together."""
        return Cuts(self.texts + later.texts, later.first if self.first is None else self.first)


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
    """

    max_length: int
    batch_tokens: int
    prompt: str = ""
    output_value: str | None = "sentence_embedding"
    truncate_dim: int | None = None
    normalize: bool = False
    may_cut: bool = True


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
        self.pooling = modules.pooling
        self._core = core
        self._limits = limits
        self._heads = modules.heads
        self.dimension = self._checked_dimension()
        self._takes_types = limits.type_vocab_size > 0 and "token_type_ids" in tokenizer.model_input_names
        self.stated_length = limits.max_length
        self._prompt_lengths: dict[tuple[str, int], int] = {}

    @classmethod
    def load(cls, folder: Path, tokenizer_options: dict[str, Any], config_options: dict[str, Any]) -> SentenceEncoder:
        """Load a checkpoint's folder; one without modules.json gets mean pooling.

        Args:
            folder: where the checkpoint lies.
            tokenizer_options: keywords for the tokenizer, which take precedence over the checkpoint's.
            config_options: fields that replace those of config.json.

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
            tokenizer = _lower_cased(tokenizer)
        config = AutoConfig.from_pretrained(modules.encoder, **config_options)
        core, limits = architectures.load_encoder(modules.encoder, config, add_pooling_layer=False)
        encoder = cls(core, limits, tokenizer, modules)
        encoder.stated_length = min(tokenizer.model_max_length if stated is None else stated, encoder.max_length)
        return encoder

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
        tokens, cuts = self.tokenize(texts, request, first=first)
        budget = token_budget(self._core.config, num_threads or _core.get_num_threads())
        for start, end in splits(tokens.cu_seqlens, min(budget, request.batch_tokens)):
            yield self._compute(tokens.rows(start, end), request, num_threads), cuts
            cuts = Cuts()

    def encode_chunk(self, texts: Sequence[Any], request: Request, *, first: int, num_threads: int) -> tuple[Any, Cuts]:
        """Return all blocks of `texts` as one, and what was cut; the arguments are those of `blocks`."""
        values, cuts = [], Cuts()
        for block, more in self.blocks(texts, request, first=first, num_threads=num_threads):
            values.append(block)
            cuts = cuts.plus(more)
        if request.output_value == "sentence_embedding":
            return np.concatenate(values), cuts
        return list(itertools.chain.from_iterable(values)), cuts

    def tokenize(self, texts: Sequence[Any], request: Request, *, first: int = 0) -> tuple[Tokens, Cuts]:
        """Return the tokens of `texts`, cut to the request's limit, and how many were cut.

        Raises:
            InputError: if a text is no string or pair of strings.
            SequenceTooLongError: if a text is over the limit and may not be cut.
        """
        items = [text if type(text) is str else _text(text, first + place) for place, text in enumerate(texts)]
        if request.prompt:
            items = [_prompted(request.prompt, item) for item in items]
        runs = [list(run) for _, run in itertools.groupby(items, key=lambda item: isinstance(item, tuple))]
        encoded = [self._encode_run(run, request.max_length) for run in runs]
        tokens = encoded[0][0] if len(encoded) == 1 else _joined([part for part, _ in encoded])
        cut = np.flatnonzero(np.concatenate([cuts for _, cuts in encoded]))
        if not len(cut):
            return tokens, Cuts()
        place = int(cut[0])
        if not request.may_cut:
            length = int(self._encode_run([items[place]], None)[0].cu_seqlens[-1])
            raise SequenceTooLongError(
                f"inputs[{first + place}] has {length} tokens, more than max_seq_length {request.max_length}; split "
                f"it, raise max_seq_length (at most {self.max_length} here), or let it be cut by on_overflow='warn'"
            )
        return tokens, Cuts(len(cut), first + place)

    def _encode_run(self, run: list[Any], max_length: int | None) -> tuple[Tokens, NDArray[np.bool_]]:
        """Tokenize texts, or pairs, but not both."""
        if isinstance(run[0], tuple):
            left, right = zip(*run, strict=True)
            encoded = self.tokenizer.encode_ids(left, max_length, right)
        else:
            encoded = self.tokenizer.encode_ids(run, max_length)
        types = encoded.token_type_ids if self._takes_types else None
        return Tokens(encoded.input_ids, encoded.cu_seqlens, types), encoded.truncated

    def prompt_length(self, prompt: str, max_length: int) -> int:
        """Return how many leading tokens of a prompted text are not the text's own: the prompt and what precedes it."""
        found = self._prompt_lengths.get((prompt, max_length))
        if found is None:
            ids = self._encode_run([prompt], max_length)[0].input_ids
            found = len(ids) - (int(ids[-1]) in self.tokenizer.all_special_ids)
            self._prompt_lengths[prompt, max_length] = found
        return found

    def features(self, texts: Sequence[Any], prompt: str, max_length: int, return_tensors: str) -> Any:
        """Return padded tokens of `texts` as the tokenizer names them.

        Raises:
            InputError: if a text is no string or pair of strings.
        """
        items = [_prompted(prompt, _text(text, place)) for place, text in enumerate(texts)]
        return self.tokenizer(
            items, padding=True, truncation="longest_first", max_length=max_length, return_tensors=return_tensors
        )

    def _compute(self, tokens: Tokens, request: Request, num_threads: int) -> Any:
        if request.output_value == "sentence_embedding":
            return self._vectors(tokens, request, num_threads)
        states = self._states(tokens, num_threads)
        bounds = tokens.cu_seqlens.tolist()
        rows = [slice(start, end) for start, end in itertools.pairwise(bounds)]
        if request.output_value == "token_embeddings":
            return [states[row].copy() for row in rows]
        vectors = self._vectors(tokens, request, num_threads)
        return [_features(tokens, row, states, vector) for row, vector in zip(rows, vectors, strict=True)]

    def _vectors(self, tokens: Tokens, request: Request, num_threads: int) -> NDArray[np.float32]:
        if request.prompt and not self.pooling.include_prompt:
            vectors = self._pooled_after_prompt(tokens, request, num_threads)
        else:
            vectors = self._pooled(tokens, None, num_threads)
        for head in self._heads:
            vectors = head(vectors, num_threads=num_threads)
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
        prompt = self.prompt_length(request.prompt, request.max_length)
        starts, lengths = tokens.cu_seqlens[:-1], np.diff(tokens.cu_seqlens)
        places = np.arange(len(tokens.input_ids)) - np.repeat(starts, lengths)
        vectors = self._pooled(tokens, (places >= prompt).astype(np.float32), num_threads)
        if "cls" in self.pooling.modes:  # the engine reads each sequence's very first token, whatever its weight
            states = self._states(tokens, num_threads)[starts + np.where(lengths > prompt, prompt, 0)]
            width = states.shape[1]
            for block in (place for place, mode in enumerate(self.pooling.modes) if mode == "cls"):
                vectors[:, block * width : (block + 1) * width] = states
        return vectors

    def _states(self, tokens: Tokens, num_threads: int) -> NDArray[np.float32]:
        outputs = self._core.forward(
            tokens.input_ids,
            tokens.cu_seqlens,
            self._positions(tokens),
            tokens.token_type_ids,
            pooler=False,
            num_threads=num_threads,
        )
        states: NDArray[np.float32] = outputs["last_hidden_state"]
        return states

    def _positions(self, tokens: Tokens) -> NDArray[np.int32]:
        """Return each token's row of the position table: 0, 1, 2 ... or, where padding has a row, what follows on it.

        There a token that is the padding token has the padding's row and is not counted (RoBERTa's rule).
        """
        padding = self._limits.padding_idx
        starts, lengths = tokens.cu_seqlens[:-1], np.diff(tokens.cu_seqlens)
        if padding is not None and np.any(tokens.input_ids == padding):
            counted = tokens.input_ids != padding
            numbers = np.cumsum(counted, dtype=np.int32)
            before = np.concatenate((np.zeros(1, np.int32), numbers))[starts]
            ranks: NDArray[np.int32] = (numbers - np.repeat(before, lengths)) * counted + np.int32(padding)
            return ranks
        shifts = starts if padding is None else starts - np.int32(padding + 1)
        positions = np.arange(len(tokens.input_ids), dtype=np.int32)
        positions -= np.repeat(shifts, lengths)
        return positions


def _text(value: Any, place: int) -> Any:
    """Return a string, or a tuple of two."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict) and len(value) == 1 and isinstance(value.get("text"), str):
        return value["text"]
    if isinstance(value, (tuple, list)) and len(value) == 2 and all(isinstance(part, str) for part in value):
        return tuple(value)
    shown = repr(value)
    raise InputError(
        f"inputs[{place}] is {shown if len(shown) < 60 else shown[:57] + '...'}, of type {type(value).__name__}; "
        "pass strings, or pairs of strings"
    )


def _prompted(prompt: str, text: Any) -> Any:
    return prompt + text if isinstance(text, str) else (prompt + text[0], text[1])


def _joined(parts: list[Tokens]) -> Tokens:
    """Put runs of tokens end to end."""
    ids = np.concatenate([part.input_ids for part in parts])
    lengths = np.concatenate([np.diff(part.cu_seqlens) for part in parts])
    cu_seqlens = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(lengths, out=cu_seqlens[1:])
    if all(part.token_type_ids is None for part in parts):
        return Tokens(ids, cu_seqlens, None)
    types = [np.zeros_like(part.input_ids) if part.token_type_ids is None else part.token_type_ids for part in parts]
    return Tokens(ids, cu_seqlens, np.concatenate(types))


def _features(tokens: Tokens, row: slice, states: NDArray[np.float32], vector: NDArray[np.float32]) -> dict[str, Any]:
    ids = tokens.input_ids[row].astype(np.int64)
    features = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    if tokens.token_type_ids is not None:
        features["token_type_ids"] = tokens.token_type_ids[row].astype(np.int64)
    return features | {"token_embeddings": states[row].copy(), "sentence_embedding": vector.copy()}


def _lower_cased(tokenizer: PreTrainedTokenizer) -> PreTrainedTokenizer:
    """Return a tokenizer that lower-cases before its own rules, as `do_lower_case` of sentence_*_config.json asks."""
    from tokenizers import normalizers

    from .tokenizer_backend import twin

    changed = twin(tokenizer.backend_tokenizer)
    rules = [normalizers.Lowercase()] + ([] if changed.normalizer is None else [changed.normalizer])
    changed.normalizer = normalizers.Sequence(rules)
    return type(tokenizer)(tokenizer_object=changed, **tokenizer.init_kwargs)
