"""Late chunking: one pass over a whole text, then a vector for each of its chunks.

Every token is computed in the context of the whole text (or, over the encoder's limit, of a window around it), and only
then are a chunk's tokens pooled. A token belongs to the chunk that holds its last character; special tokens and prompts
belong to none.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .errors import ConfigError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from tokenizers import Encoding

    from .sentence_encoder import Request, SentenceEncoder

__all__ = ["EmbeddedChunks", "check_pooling", "checked_spans", "embed_chunks"]

Span = tuple[int, int]

# Modes whose result is a matter of the chunk's tokens alone; the others look for a token at a sequence's end.
_POOLS: dict[str, Callable[[NDArray[np.float32]], Any]] = {
    "mean": lambda states: np.mean(states, axis=0, dtype=np.float64),
    "max": lambda states: np.max(states, axis=0),
    "mean_sqrt_len": lambda states: np.sum(states, axis=0, dtype=np.float64) / np.sqrt(len(states)),
}


class EmbeddedChunks(NamedTuple):
    """The chunks of one text: n spans of characters, and float32 `[n, D]`, a vector for each."""

    spans: list[Span]
    embeddings: Any


def check_pooling(encoder: SentenceEncoder) -> None:
    """Refuse checkpoints that pool otherwise than over all tokens.

    Raises:
        ConfigError: if the pooling takes single tokens, or weighs them by their places.
    """
    for mode in encoder.pooling.modes:
        if mode not in _POOLS:
            raise ConfigError(
                f"late chunking pools the tokens of each chunk, but this checkpoint pools by {mode!r}; embed the "
                "chunks as texts of their own, or whole texts with on_overflow='window'"
            )


def checked_spans(spans: Any, text: Any, place: int) -> list[Span]:
    """Return the spans of a text as a list of pairs of integers.

    Raises:
        InputError: if they are something else, or lead out of the text.
    """
    found = []
    if not isinstance(text, str) or isinstance(spans, str) or not hasattr(spans, "__iter__"):
        what, kind = ("inputs", text) if not isinstance(text, str) else ("spans", spans)
        raise InputError(
            f"{what}[{place}] is of type {type(kind).__name__}; pass strings and, for each, a list of spans"
        )
    for number, span in enumerate(spans):
        try:
            start, end = (int(bound) for bound in span)
        except (TypeError, ValueError):
            raise InputError(f"spans[{place}][{number}] is {span!r}; pass (start, end) in characters") from None
        if not 0 <= start < end <= len(text):
            raise InputError(
                f"spans[{place}][{number}] is ({start}, {end}), which is no part of the {len(text)} characters of "
                f"inputs[{place}]"
            )
        found.append((start, end))
    return found


def embed_chunks(
    encoder: SentenceEncoder,
    texts: Sequence[str],
    spans: Sequence[list[Span]] | None,
    chunk_tokens: int,
    request: Request,
    *,
    first: int = 0,
    num_threads: int = 0,
) -> list[EmbeddedChunks]:
    """Return the chunks of each text with their vectors.

    Args:
        encoder: computes; its pooling has been checked.
        texts: strings.
        spans: the chunks of each text; None makes chunks of `chunk_tokens` tokens.
        chunk_tokens: tokens that a chunk holds at most where there are no spans; none splits a word that fits.
        request: what to compute; its stride says how texts over the limit are computed.
        first: the place of `texts[0]` in the caller's input, for messages.
        num_threads: threads of the engine; 0 means its default.

    Raises:
        InputError: if a text is no string, or a span holds no token.
        SequenceTooLongError: if a text is over the limit and the request has no stride.
    """
    rows = encoder.packer.encodings(texts, request.prompt, first)
    if request.stride is None:
        tokens, _ = encoder.packer.pack(texts, request.max_length, prompt=request.prompt, may_cut=False, first=first)
        windows = None
    else:
        tokens, windows, _ = encoder.packer.pack_windows(
            texts, request.max_length, request.stride, prompt=request.prompt, first=first
        )
    batches = encoder.batches(tokens, request.batch_tokens, num_threads)
    states = np.concatenate([encoder.states(batch, num_threads) for batch in batches])
    if windows is not None:
        states, tokens = states[windows.own_tokens(tokens)], windows.stitched(tokens)
    found = []
    for place, (start, end) in enumerate(itertools.pairwise(tokens.cu_seqlens.tolist())):
        own = _Text(rows[place], states[start:end], len(request.prompt))
        chunks = own.of_size(chunk_tokens) if spans is None else own.holding(spans[place], first + place)
        kept = own.spans(chunks) if spans is None else spans[place]
        pooled = [own.pooled(chunk, encoder.pooling.modes) for chunk in chunks]
        vectors = np.array(pooled, np.float32).reshape(len(pooled), states.shape[1] * len(encoder.pooling.modes))
        if len(pooled):
            vectors = encoder.finished(encoder.after_pooling(vectors, num_threads), request)
        else:
            vectors = np.zeros((0, min(encoder.dimension, request.truncate_dim or encoder.dimension)), np.float32)
        found.append(EmbeddedChunks(kept, vectors))
    return found


class _Text:
    """The tokens of one text that are its own: their states, offsets and words."""

    def __init__(self, row: Encoding, states: NDArray[np.float32], skipped: int) -> None:
        """Leave out special tokens and the first `skipped` characters, which are a prompt."""
        offsets = np.array(row.offsets, np.int64).reshape(-1, 2) - skipped
        last = np.maximum(offsets[:, 0], offsets[:, 1] - 1)  # a token may have no characters
        own = np.array([source is not None for source in row.sequence_ids]) & (last >= 0)
        self._states, self._last = states[own], last[own]
        self._offsets = np.maximum(offsets[own], 0)
        self._words = [word for word, kept in zip(row.word_ids, own, strict=True) if kept]

    def holding(self, spans: list[Span], place: int) -> list[Span]:
        """Return the range of tokens of each span.

        Raises:
            InputError: if a span holds none.
        """
        chunks = []
        for number, (start, end) in enumerate(spans):
            first, last = np.searchsorted(self._last, (start, end)).tolist()
            if first == last:
                raise InputError(
                    f"spans[{place}][{number}], ({start}, {end}), holds no token of inputs[{place}]; leave out "
                    "chunks that are nothing but spaces"
                )
            chunks.append((first, last))
        return chunks

    def of_size(self, size: int) -> list[Span]:
        """Return ranges of at most `size` tokens that cover the text and split no word that fits into one."""
        chunks, start, words = [], 0, self._words
        while start < len(words):
            end = min(start + size, len(words))
            back = end
            while start < back < len(words) and words[back] is not None and words[back] == words[back - 1]:
                back -= 1
            end = back if back > start else end
            while end < len(words) and self._offsets[end - 1, 1] <= self._offsets[start, 0]:
                end += 1  # a token of no characters, such as a space that is not counted, is no chunk
            chunks.append((start, end))
            start = end
        return chunks

    def spans(self, chunks: list[Span]) -> list[Span]:
        """Return the characters of ranges of tokens."""
        return [(int(self._offsets[start, 0]), int(self._offsets[end - 1, 1])) for start, end in chunks]

    def pooled(self, chunk: Span, modes: Sequence[str]) -> NDArray[np.float32]:
        """Return the pooled states of a range of tokens, one mode after the other."""
        states = self._states[slice(*chunk)]
        return np.concatenate([_POOLS[mode](states).astype(np.float32) for mode in modes])
