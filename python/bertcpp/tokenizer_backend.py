"""One `tokenizers.Tokenizer` that never changes, and the twins of it that truncate.

A `tokenizers.Tokenizer` keeps its truncation as state, so calls from several threads would change it under each other.
Here the tokenizer is configured once; each truncation in use gets a twin that shares the vocabulary and the rules and
is never changed either.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any, NamedTuple

from tokenizers import Encoding, Tokenizer

from .errors import InputError

__all__ = ["Backend", "Truncation", "check_cuts", "kept_lengths", "twin"]

TWINS_KEPT = 32  # distinct truncations remembered; one costs some hundred bytes and 0.1 ms to make


class Truncation(NamedTuple):
    """How to cut: the tokens left (special ones included), the overlap of overflowing parts, what is cut, and where."""

    max_length: int
    stride: int
    strategy: str
    side: str


def twin(tokenizer: Tokenizer) -> Tokenizer:
    """A tokenizer that shares the model and the rules of another but has truncation and added tokens of its own."""
    other = Tokenizer(tokenizer.model)
    for part in ("normalizer", "pre_tokenizer", "post_processor", "decoder"):
        if (value := getattr(tokenizer, part)) is not None:
            setattr(other, part, value)
    added = tokenizer.get_added_tokens_decoder()
    other.add_tokens([added[index] for index in sorted(added)])
    other.encode_special_tokens = tokenizer.encode_special_tokens
    if other.get_added_tokens_decoder().keys() != added.keys():
        # Ids with holes between them cannot be had by adding; a full copy keeps them.
        other = Tokenizer.from_str(tokenizer.to_str())
        other.encode_special_tokens = tokenizer.encode_special_tokens
    return other


class Backend:
    """A tokenizer and its twins; may be shared by any number of threads.

    Args:
        tokenizer: taken over, and from here on not to be changed by anybody else.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self.tokenizer = tokenizer
        self._twins: OrderedDict[tuple[Truncation | None, bool], Tokenizer] = OrderedDict()
        self._lock = threading.Lock()
        self._special_counts: list[int] = [tokenizer.num_special_tokens_to_add(pair) for pair in (False, True)]

    def __getstate__(self) -> dict[str, Any]:
        return {"tokenizer": self.tokenizer}

    def __setstate__(self, state: dict[str, Any]) -> None:
        encode_special_tokens = state["tokenizer"].encode_special_tokens
        self.__init__(state["tokenizer"])  # type: ignore[misc]  # the lock and the twins are made anew
        self.tokenizer.encode_special_tokens = encode_special_tokens

    def special_count(self, pair: bool) -> int:
        """How many special tokens are put around one text or a pair."""
        return self._special_counts[pair]

    def truncating(self, truncation: Truncation | None, split_special_tokens: bool) -> Tokenizer:
        """The tokenizer, or its twin for this truncation, made on first use."""
        if truncation is None and split_special_tokens == self.tokenizer.encode_special_tokens:
            return self.tokenizer
        key = (truncation, split_special_tokens)
        with self._lock:
            found = self._twins.get(key)
            if found is None:
                found = twin(self.tokenizer)
                found.encode_special_tokens = split_special_tokens
                if truncation is not None:
                    length, stride, strategy, side = truncation
                    found.enable_truncation(length, stride=stride, strategy=strategy, direction=side)
                self._twins[key] = found
                if len(self._twins) > TWINS_KEPT:
                    self._twins.popitem(last=False)
            else:
                self._twins.move_to_end(key)
            return found


def kept_lengths(first: int, second: int | None, budget: int, strategy: str) -> tuple[int, int | None]:
    """How many tokens of each text stay, as the `tokenizers` library decides it.

    Args:
        first: tokens of the first text without special ones.
        second: tokens of the second text, or None for a single text.
        budget: tokens that may stay of both together.
        strategy: ``longest_first``, ``only_first`` or ``only_second``.

    Raises:
        InputError: the one text that may be cut is absent, or too short for it.

    Example:
        >>> from bertcpp.tokenizer_backend import kept_lengths
        >>> kept_lengths(10, 4, 9, "longest_first"), kept_lengths(10, 4, 9, "only_first")
        ((5, 4), (5, 4))
    """
    excess = first + (second or 0) - budget
    if excess <= 0:
        return first, second
    if budget == 0:
        return 0, None if second is None else 0
    if strategy == "only_first" or (strategy == "longest_first" and second is None):
        if strategy == "only_first" and first <= excess:
            raise InputError(
                f"truncation='only_first' would have to take {excess} tokens from a first text of {first}: "
                "use truncation=True ('longest_first') or a larger max_length"
            )
        return first - excess, second
    if strategy == "only_second":
        if second is None:
            raise InputError("truncation='only_second' needs pairs of texts: use truncation=True for single texts")
        if second <= excess:
            raise InputError(
                f"truncation='only_second' would have to take {excess} tokens from a second text of {second}: "
                "use truncation=True ('longest_first') or a larger max_length"
            )
        return first, second - excess
    assert second is not None
    shorter = min(first, second)
    longer = shorter if shorter > budget else max(shorter, budget - shorter)
    if shorter + longer > budget:
        shorter, longer = budget // 2, budget // 2 + budget % 2
    return (shorter, longer) if first <= second else (longer, shorter)


def check_cuts(rows: list[Encoding], special_counts: tuple[int, int], truncation: Truncation) -> None:
    """Raise for the first of the uncut rows that this truncation cannot cut.

    Args:
        rows: encodings that nothing has been cut from.
        special_counts: special tokens around a text and around a pair, both 0 where none are added.
        truncation: what is asked for.

    Raises:
        InputError: a text too short for the strategy, a stride as long as what stays.
    """
    for index, row in enumerate(rows):
        sources = row.sequence_ids
        first = sources.count(0)
        second = sources.count(1) if row.n_sequences > 1 else None
        budget = truncation.max_length - special_counts[second is not None]
        try:
            kept = kept_lengths(first, second, budget, truncation.strategy)
        except InputError as error:
            raise InputError(f"text {index}: {error}") from None
        for length, stays in ((first, kept[0]), (second, kept[1])):
            if length is not None and stays is not None and 0 < stays < length and truncation.stride >= stays:
                raise InputError(
                    f"text {index}: stride={truncation.stride} must be less than the {stays} tokens that stay of "
                    f"{length} at max_length={truncation.max_length}: use a smaller stride or a larger max_length"
                )
