"""From texts to packed token ids: prompts, single texts and pairs, and what becomes of those over the limit.

Every model that takes texts goes through here, so they all cut, warn and refuse alike. All methods may be called from
several threads at once.
"""

from __future__ import annotations

import itertools
import sys
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .batching import Tokens
from .errors import InputError, SequenceTooLongError
from .windows import Window, Windows, cut_into_windows, join_windows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from tokenizers import Encoding

    from .packed_batch import InputLimits
    from .tokenization import PreTrainedTokenizer

__all__ = ["Cuts", "TextPacker", "say_what_was_cut"]


class Cuts(NamedTuple):
    """How many of the texts were cut, and the place of the first of them."""

    texts: int = 0
    first: int | None = None

    def plus(self, later: Cuts) -> Cuts:
        """Return both counts together."""
        return Cuts(self.texts + later.texts, later.first if self.first is None else self.first)


def say_what_was_cut(cuts: Cuts, count: int, limit: int, largest: int, limit_name: str = "max_seq_length") -> None:
    """Warn, at the line of the user's call, that texts were cut, if any were.

    Args:
        cuts: what was cut.
        count: texts in all.
        limit: tokens that stayed of each.
        largest: what the limit may be raised to.
        limit_name: what the caller calls the limit.
    """
    if cuts.texts:
        warnings.warn(
            f"{cuts.texts} of {count} texts, the first of them inputs[{cuts.first}], were longer than {limit} tokens "
            f"and were cut; split them, raise {limit_name} (at most {largest} here), or pass on_overflow='window' to "
            "compute all of them in windows, 'truncate' to cut silently, 'error' to refuse",
            stacklevel=_frames_inside(),
        )


def _frames_inside() -> int:
    """Count the frames of this package above the caller, for warnings that name the line of the user's call."""
    level, frame = 1, sys._getframe(1)
    package = (__package__, f"{__package__}.integrations", f"{__package__}.tasks")
    while frame.f_back is not None and frame.f_globals.get("__package__") in package:
        level, frame = level + 1, frame.f_back
    return level


class TextPacker:
    """A tokenizer, and what the encoder behind it takes."""

    def __init__(self, tokenizer: PreTrainedTokenizer, limits: InputLimits, limit_name: str = "max_seq_length") -> None:
        """Take a tokenizer that is not changed any more, the encoder's limits, and what messages call the limit."""
        self.tokenizer = tokenizer
        self._limit_name = limit_name
        self.max_length = limits.max_length
        self._takes_types = limits.type_vocab_size > 0 and "token_type_ids" in tokenizer.model_input_names
        self._prompt_lengths: dict[tuple[str, int], int] = {}

    def pack(
        self,
        texts: Sequence[Any],
        max_length: int,
        *,
        prompt: str = "",
        may_cut: bool = True,
        first: int = 0,
        each: int = 1,
        limit_name: str | None = None,
    ) -> tuple[Tokens, Cuts]:
        """Return the tokens of `texts`, cut to `max_length`, and how many were cut.

        Args:
            texts: strings, or pairs of strings.
            max_length: tokens that stay of a text or pair, special ones included.
            prompt: put before every text (of a pair, before the first).
            may_cut: cut longer texts; else they raise.
            first: the place of `texts[0]` in the caller's input, for messages.
            each: how many neighbours stand for one of the caller's inputs, for messages and counts.
            limit_name: what messages call the limit of this call, if not as they usually do.

        Raises:
            InputError: if a text is no string or pair of strings.
            SequenceTooLongError: if a text is over the limit and may not be cut.
        """
        items = self._items(texts, prompt, first)
        tokens, cut = self._encode(items, max_length)
        if not len(cut):
            return tokens, Cuts()
        place = int(cut[0])
        if not may_cut:
            length = int(self._encode_run([items[place]], None)[0].cu_seqlens[-1])
            name = limit_name or self._limit_name
            raise SequenceTooLongError(
                f"inputs[{first + place // each}] has {length} tokens, more than {name} {max_length}; split "
                f"it, raise {name} (at most {self.max_length} here), or let it be cut by on_overflow='warn'"
            )
        return tokens, Cuts(len(np.unique(cut // each)), first + place // each)

    def pack_windows(
        self,
        texts: Sequence[Any],
        max_length: int,
        stride: int,
        *,
        prompt: str = "",
        first: int = 0,
        each: int = 1,
        limit_name: str | None = None,
    ) -> tuple[Tokens, Windows | None, Cuts]:
        """Return the tokens of `texts`, those over `max_length` as overlapping windows.

        Args:
            texts: strings, or pairs of strings.
            max_length: tokens of a window, special ones included.
            stride: tokens that a window shares with the one before.
            prompt: put before every text, and repeated in its windows.
            first: the place of `texts[0]` in the caller's input, for messages.
            each: how many neighbours stand for one of the caller's inputs, for counts.
            limit_name: what messages call the limit of this call, if not as they usually do.

        Returns:
            the sequences; which of them are whose windows, or None if every text is one sequence; and of how many
            pairs the shorter text was cut, too (see `cut_into_windows`).

        Raises:
            InputError: if a text is no string or pair of strings, or special tokens and prompt leave it no room.
        """
        items = self._items(texts, prompt, first)
        tokens, over = self._encode(items, max_length)
        if not len(over):
            return tokens, None, Cuts()
        repeated = self.prompt_length(prompt, max_length) if prompt else 0
        long: dict[int, tuple[Encoding, list[Window]]] = {}
        cut_places = set()
        for place in over.tolist():
            row = self.tokenizer.backend_tokenizer.encode_batch([items[place]])[0]
            windows, cut = cut_into_windows(row, max_length, stride, repeated, limit_name or self._limit_name)
            long[place] = row, windows
            if cut:
                cut_places.add(first + place // each)
        return *join_windows(tokens, long), Cuts(len(cut_places), min(cut_places, default=None))

    def encodings(self, texts: Sequence[Any], prompt: str = "", first: int = 0) -> list[Encoding]:
        """Return the tokenizer's own view of each text, uncut: tokens with their characters and words.

        Raises:
            InputError: if a text is no string.
        """
        for place, text in enumerate(texts):
            if not isinstance(text, str):
                raise InputError(f"inputs[{first + place}] is of type {type(text).__name__}; pass strings")
        rows: list[Encoding] = self.tokenizer.backend_tokenizer.encode_batch([prompt + text for text in texts])
        return rows

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

    def _items(self, texts: Sequence[Any], prompt: str, first: int) -> list[Any]:
        items = [text if type(text) is str else _text(text, first + place) for place, text in enumerate(texts)]
        return [_prompted(prompt, item) for item in items] if prompt else items

    def _encode(self, items: list[Any], max_length: int) -> tuple[Tokens, NDArray[np.intp]]:
        """Return tokens, cut to the limit, and the places of those that were cut."""
        runs = [list(run) for _, run in itertools.groupby(items, key=lambda item: isinstance(item, tuple))]
        encoded = [self._encode_run(run, max_length) for run in runs]
        tokens = encoded[0][0] if len(encoded) == 1 else _joined([part for part, _ in encoded])
        return tokens, np.flatnonzero(np.concatenate([cuts for _, cuts in encoded]))

    def _encode_run(self, run: list[Any], max_length: int | None) -> tuple[Tokens, NDArray[np.bool_]]:
        """Tokenize texts, or pairs, but not both."""
        if isinstance(run[0], tuple):
            left, right = zip(*run, strict=True)
            encoded = self.tokenizer.encode_ids(left, max_length, right)
        else:
            encoded = self.tokenizer.encode_ids(run, max_length)
        types = encoded.token_type_ids if self._takes_types else None
        return Tokens(encoded.input_ids, encoded.cu_seqlens, types), encoded.truncated


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
