"""What a tokenizer does with lists of token ids: frames them by special tokens, cuts and pads them."""

from __future__ import annotations

import logging
import math
import operator
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .batch_encoding import BatchEncoding
from .errors import InputError, TokenizerError
from .special_tokens import SPECIAL_TOKEN_NAMES, TokenizerVocabulary

if TYPE_CHECKING:
    from .tokenizer_families import TokenizerFamily

__all__ = ["LengthRules", "SequenceBuilder", "checked_side", "whole_number"]

logger = logging.getLogger(__name__)

UNLIMITED_LENGTH = int(1e30)  # transformers' model_max_length where a checkpoint names none
NO_LIMIT_ABOVE = int(1e20)  # ... and what it takes for no limit at all
PADDED_TOKENS_LIMIT = 2**28  # padding one batch to more would take some 25 GB

PADDING_STRATEGIES = ("longest", "max_length", "do_not_pad")
TRUNCATION_STRATEGIES = ("only_first", "only_second", "longest_first", "do_not_truncate")


class LengthRules(NamedTuple):
    """How long rows may and must be: strategies by their names, and the length that they refer to."""

    padding: str
    truncation: str
    max_length: int | None


def whole_number(name: str, value: Any, at_least: int = 0) -> int:
    """Check a count that a caller passed.

    Raises:
        InputError: it is no whole number, or less than the least one allowed.
    """
    try:
        number = operator.index(value)
    except TypeError:
        raise InputError(f"{name} must be a whole number, not {type(value).__name__}: {value!r}") from None
    if number < at_least:
        raise InputError(f"{name} must be at least {at_least}, not {number}")
    return number


def _strategy(name: str, value: Any, when_true: str, when_false: str, known: Sequence[str]) -> str:
    if value is True:
        return when_true
    if value is False or value is None:
        return when_false
    value = getattr(value, "value", value)  # an enumeration of transformers'
    if value not in known:
        raise InputError(f"{name}={value!r} is not known: use {', '.join(map(repr, known))}, True or False")
    return str(value)


def checked_side(name: str, value: Any) -> str:
    """Check a side that a caller passed.

    Raises:
        InputError: it is neither ``"right"`` nor ``"left"``.
    """
    if value not in ("right", "left"):
        raise InputError(f"{name} must be 'right' or 'left', not {value!r}")
    return str(value)


def _limit(value: Any) -> int:
    """model_max_length as an int: files have it as a number of either kind, and None for no limit."""
    if value is None:
        return UNLIMITED_LENGTH
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
        raise TokenizerError(f"model_max_length must be a number of tokens, not {value!r}: pass model_max_length=512")
    return int(value)


class SequenceBuilder(TokenizerVocabulary):
    """A vocabulary, and the rules by which sequences of its ids are put together."""

    def __init__(self, family: TokenizerFamily, options: Mapping[str, Any]) -> None:
        named = {name: options[name] for name in SPECIAL_TOKEN_NAMES if name in options}
        super().__init__(
            {**named, **(options.get("extra_special_tokens") or {})},
            bool(options.get("clean_up_tokenization_spaces", False)),
        )
        self._family = family
        self.model_max_length = _limit(options.get("model_max_length", options.get("max_len")))
        self.padding_side = checked_side("padding_side", options.get("padding_side", "right"))
        self.truncation_side = checked_side("truncation_side", options.get("truncation_side", "right"))
        self.model_input_names = list(options.get("model_input_names") or family.model_input_names)
        self.split_special_tokens = bool(options.get("split_special_tokens", False))
        self.pad_token_type_id = 0
        self.verbose = bool(options.get("verbose", True))
        self._said: set[str] = set()

    def _say_once(self, topic: str, message: str, *arguments: Any) -> None:
        """Log a warning, once in this tokenizer's life."""
        if topic not in self._said:
            self._said.add(topic)
            logger.warning(message, *arguments)

    @property
    def max_len_single_sentence(self) -> int:
        """The tokens that one text may have, special ones left aside."""
        return self.model_max_length - self.num_special_tokens_to_add(pair=False)

    @property
    def max_len_sentences_pair(self) -> int:
        """The tokens that two texts may have together, special ones left aside."""
        return self.model_max_length - self.num_special_tokens_to_add(pair=True)

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """How many special tokens are put around one text, or a pair of texts."""
        return self._backend.special_count(bool(pair))

    def _special_id(self, name: str) -> int:
        index: int | None = getattr(self, f"{name}_id")
        if index is None:
            raise InputError(f"the tokenizer has no {name}: set tokenizer.{name} to a token of its vocabulary")
        return index

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """Put the family's special tokens around the ids of a text, or of a pair of texts."""
        if not self._family.vocabulary_files:  # no rules beyond tokenizer.json: as transformers' base class
            return token_ids_0 + (token_ids_1 or [])
        start, end = [self._special_id("cls_token")], [self._special_id("sep_token")]
        if token_ids_1 is None:
            return start + token_ids_0 + end
        return start + token_ids_0 + end * (1 + self._family.doubled_separator) + token_ids_1 + end

    def create_token_type_ids_from_sequences(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """The token types that go with :meth:`build_inputs_with_special_tokens`."""
        first = 1 + len(token_ids_0) + 1 + (self._family.doubled_separator and token_ids_1 is not None)
        if token_ids_1 is None:
            return [0] * first
        return [0] * first + [int(self._family.type_ids_of_pair)] * (len(token_ids_1) + 1)

    def get_special_tokens_mask(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None, already_has_special_tokens: bool = False
    ) -> list[int]:
        """1 for each special token among ids that have theirs already, 0 for the others.

        Raises:
            InputError: asked for ids without special tokens: ``return_special_tokens_mask=True`` serves those.
        """
        if not already_has_special_tokens or token_ids_1 is not None:
            raise InputError(
                "get_special_tokens_mask reads finished sequences only (already_has_special_tokens=True): "
                "pass return_special_tokens_mask=True when calling the tokenizer"
            )
        special = set(self.all_special_ids)
        return [int(index in special) for index in token_ids_0]

    def truncate_sequences(
        self,
        ids: list[int],
        pair_ids: list[int] | None = None,
        num_tokens_to_remove: int = 0,
        truncation_strategy: Any = "longest_first",
        stride: int = 0,
    ) -> tuple[list[int], list[int] | None, list[int]]:
        """Take a number of ids from a text or a pair; return both and what was cut (``stride`` more of it).

        Nothing of a pair's cut tokens is returned for ``longest_first``.

        Raises:
            InputError: an unknown strategy, or a text with no more ids than are to go.
        """
        strategy = _strategy(
            "truncation_strategy", truncation_strategy, "longest_first", "do_not_truncate", TRUNCATION_STRATEGIES
        )
        if num_tokens_to_remove <= 0 or strategy == "do_not_truncate":
            return ids, pair_ids, []
        if strategy == "longest_first" and pair_ids is not None:
            gap = min(abs(len(pair_ids) - len(ids)), num_tokens_to_remove)
            rest = num_tokens_to_remove - gap
            if len(ids) > len(pair_ids):
                from_first, from_second = gap + rest // 2, rest - rest // 2
            else:
                from_first, from_second = rest // 2, gap + rest - rest // 2
            return self._cut(ids, from_first), self._cut(pair_ids, from_second), []
        target = pair_ids if strategy == "only_second" else ids
        if target is None or len(target) <= num_tokens_to_remove:
            raise InputError(
                f"truncation_strategy={strategy!r} cannot take {num_tokens_to_remove} tokens from a text of "
                f"{0 if target is None else len(target)}: choose another strategy or a larger max_length"
            )
        window = min(len(target), stride + num_tokens_to_remove)
        overflowing = target[:window] if self.truncation_side == "left" else target[-window:]
        kept = self._cut(target, num_tokens_to_remove)
        return (ids, kept, overflowing) if strategy == "only_second" else (kept, pair_ids, overflowing)

    def _cut(self, ids: list[int], count: int) -> list[int]:
        return ids[count:] if self.truncation_side == "left" else ids[: len(ids) - count]

    def _length_rules(
        self, padding: Any, truncation: Any, max_length: Any, pad_to_multiple_of: Any, verbose: bool
    ) -> LengthRules:
        """Read ``padding``, ``truncation`` and ``max_length`` as transformers does.

        Raises:
            InputError: an unknown strategy, a length that is none, or padding without a padding token.
        """
        if max_length is not None:
            max_length = whole_number("max_length", max_length)
        if pad_to_multiple_of is not None:
            pad_to_multiple_of = whole_number("pad_to_multiple_of", pad_to_multiple_of)
        if max_length is not None and padding is False and truncation is None:
            if verbose:
                self._say_once(
                    "truncation", "max_length is given without truncation: texts are cut as by truncation=True. Say so."
                )
            truncation = "longest_first"
        cut = _strategy("truncation", truncation, "longest_first", "do_not_truncate", TRUNCATION_STRATEGIES)
        pad = _strategy("padding", padding, "longest", "do_not_pad", PADDING_STRATEGIES)
        if padding is True and max_length is not None and cut == "do_not_truncate" and verbose:
            warnings.warn(
                "max_length does nothing with padding=True and no truncation: pass padding='max_length' to pad to it",
                stacklevel=4,
            )
        if max_length is None and (pad == "max_length" or cut != "do_not_truncate"):
            if self.model_max_length <= NO_LIMIT_ABOVE:
                max_length = self.model_max_length
            else:
                if verbose:
                    self._say_once(
                        "limit",
                        "Padding or truncation to the model's limit is asked for, but the tokenizer names none and no "
                        "max_length is given: texts stay as long as they are.",
                    )
                pad = "do_not_pad" if pad == "max_length" else pad
                cut = "do_not_truncate"
        if pad != "do_not_pad" and self.pad_token_id is None:
            raise InputError(
                "padding needs a padding token and the tokenizer has none: set tokenizer.pad_token, or add one by "
                "tokenizer.add_special_tokens({'pad_token': '[PAD]'})"
            )
        both = pad != "do_not_pad" and cut != "do_not_truncate"
        if both and pad_to_multiple_of and max_length is not None and max_length % pad_to_multiple_of:
            raise InputError(f"max_length={max_length} is not a multiple of pad_to_multiple_of={pad_to_multiple_of}")
        return LengthRules(pad, cut, max_length)

    def _padded_length(self, lengths: Sequence[int], rules: LengthRules, pad_to_multiple_of: int | None) -> int:
        """The length that every shorter row is padded to."""
        length = max(lengths) if rules.padding == "longest" else rules.max_length or 0
        if pad_to_multiple_of:
            length += -length % pad_to_multiple_of
        if length * len(lengths) > PADDED_TOKENS_LIMIT:
            raise InputError(
                f"padding {len(lengths)} rows to {length} tokens makes more than {PADDED_TOKENS_LIMIT} tokens: "
                "use fewer texts at once, padding=True (the longest text's length) or a smaller max_length"
            )
        return length

    def pad(
        self,
        encoded_inputs: Any,
        padding: Any = True,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_attention_mask: bool | None = None,
        return_tensors: Any = None,
        verbose: bool = True,
    ) -> BatchEncoding:
        """Pad what a tokenizer returned before: one encoding, a batch of them, or a list of encodings.

        Args:
            encoded_inputs: a mapping with ``input_ids`` (lists, arrays or tensors), or a list of such mappings.
            padding: True or ``"longest"``, ``"max_length"``, False or ``"do_not_pad"``.
            max_length: the length for ``"max_length"``; the model's limit where absent.
            pad_to_multiple_of: round the length up.
            padding_side: ``"right"`` or ``"left"``; the tokenizer's own where absent.
            return_attention_mask: whether a mask is made; by default where the model takes one.
            return_tensors: ``"pt"``, ``"np"`` or None; arrays and tensors come back as what they were.
            verbose: warn of what is probably not meant.

        Raises:
            InputError: ``input_ids`` is missing, or the entries disagree in their number of rows.
        """
        main = self.model_input_names[0]
        if isinstance(encoded_inputs, (list, tuple)) and encoded_inputs and isinstance(encoded_inputs[0], Mapping):
            encoded_inputs = {key: [row[key] for row in encoded_inputs] for key in encoded_inputs[0]}
        if not isinstance(encoded_inputs, Mapping) or main not in encoded_inputs:
            raise InputError(f"pad() takes an encoding, or a list of encodings, that has {main!r}")
        if return_attention_mask is None:
            return_attention_mask = "attention_mask" in self.model_input_names
        kind, inputs = _as_lists(encoded_inputs)
        return_tensors = kind if return_tensors is None else return_tensors
        rules = self._length_rules(padding, None if padding is not False else False, max_length, None, verbose)
        ids = inputs[main]
        single = bool(ids) and not isinstance(ids[0], list)
        if single:
            inputs = {key: [value] for key, value in inputs.items()}
        rows = len(inputs[main])
        for key, value in inputs.items():
            if len(value) != rows:
                raise InputError(f"{key!r} has {len(value)} rows but {main!r} has {rows}")
        if return_attention_mask and "attention_mask" not in inputs:
            inputs["attention_mask"] = [[1] * len(row) for row in inputs[main]]
        if rows and rules.padding != "do_not_pad":
            length = self._padded_length([len(row) for row in inputs[main]], rules, pad_to_multiple_of)
            self._pad_rows(inputs, length, checked_side("padding_side", padding_side or self.padding_side))
        if single:
            inputs = {key: value[0] for key, value in inputs.items()}
        return BatchEncoding(inputs, tensor_type=return_tensors)

    def _pad_rows(self, inputs: dict[str, Any], length: int, side: str) -> None:
        filler = {
            self.model_input_names[0]: self.pad_token_id,
            "attention_mask": 0,
            "token_type_ids": self.pad_token_type_id,
            "special_tokens_mask": 1,
        }
        widths = [len(row) for row in inputs[self.model_input_names[0]]]
        for key, value in filler.items():
            if key in inputs:
                fills = [[value] * (length - width) for width in widths]
                rows = zip(inputs[key], fills, strict=True)
                inputs[key] = [row + fill if side == "right" else fill + row for row, fill in rows]


def _as_lists(inputs: Mapping[str, Any]) -> tuple[str | None, dict[str, Any]]:
    """The values as nested lists, and the kind of tensor that they were."""
    kind: str | None = None
    lists: dict[str, Any] = {}
    for key, value in inputs.items():
        parts = value if isinstance(value, (list, tuple)) else [value]
        for part in parts:
            if isinstance(part, np.ndarray):
                kind = "np"
            elif type(part).__module__.split(".")[0] == "torch":
                kind = "pt"
        if hasattr(value, "tolist"):
            lists[key] = value.tolist()
        else:
            lists[key] = [_as_list(part) for part in value]
    return kind, lists


def _as_list(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    return list(value) if isinstance(value, (list, tuple)) else value
