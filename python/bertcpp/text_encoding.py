"""A tokenizer's call: text in, token ids with their masks and maps out; safe from any number of threads at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from .batch_encoding import BatchEncoding, require_tensor_type
from .errors import BertcppError, InputError, InputTypeError, TokenizerError
from .sequence_building import LengthRules, SequenceBuilder, checked_side, whole_number
from .token_ids import EncodedIds, encode_token_ids
from .tokenizer_backend import Truncation, check_cuts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tokenizers import Encoding

__all__ = ["EncodedIds", "TextEncoder", "explained"]

TEXT_KINDS = (
    "a string, a list of strings, a list of pairs of strings, or (with is_split_into_words=True) a list of words or a "
    "list of lists of words"
)


@dataclass(frozen=True)
class _Wanted:
    """The options of one call that every text of it shares."""

    add_special_tokens: bool
    split_special_tokens: bool
    is_split_into_words: bool
    rules: LengthRules
    stride: int
    pad_to_multiple_of: int | None
    padding_side: str
    columns: Mapping[str, bool]
    overflowing: bool
    tensors: str | None
    verbose: bool


def _require_texts(name: str, value: Any) -> None:
    """Refuse what transformers refuses, and say what would do."""
    first = value
    for _ in range(2):
        if isinstance(first, (list, tuple)) and first:
            first = first[0]
    if isinstance(first, str) or (isinstance(first, (list, tuple)) and not first):
        return
    remedy = ""
    if isinstance(first, bytes):
        remedy = "; decode bytes first, as by .decode('utf-8')"
    elif hasattr(value, "tolist"):
        remedy = "; turn arrays and series into lists first, by .tolist()"
    raise InputError(f"{name} must be {TEXT_KINDS}, not {type(value).__name__} of {type(first).__name__}{remedy}")


def _is_words(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(word, str) for word in value)


def _explain_bad_text(inputs: Sequence[Any], split: bool) -> InputError | None:
    """Say which of the texts is not one."""
    what = "a list of words" if split else "a string"
    for index, item in enumerate(inputs):
        alone = _is_words(item) if split else isinstance(item, str)
        parts = [item] if alone or not isinstance(item, (list, tuple)) else item
        if not alone and isinstance(item, (list, tuple)) and len(item) != 2:
            return InputTypeError(
                f"text {index} is a {type(item).__name__} of {len(item)}: it must be {what} or a pair"
            )
        for part in parts:
            if not (_is_words(part) if split else isinstance(part, str)):
                return InputTypeError(f"text {index} has {type(part).__name__} where {what} is needed: {part!r:.80}")
            if any("\ud800" <= character <= "\udfff" for word in part for character in word):
                return InputError(
                    f"text {index} holds a lone surrogate, which is not Unicode text: replace it, "
                    "as by text.encode('utf-8', 'replace').decode()"
                )
    return None


def explained(inputs: Sequence[Any], split: bool, error: Exception) -> BertcppError:
    """What to raise for an error of the library, which names no text and is often a bare Exception."""
    return _explain_bad_text(inputs, split) or TokenizerError(f"the tokenizer cannot encode the text: {error}")


class TextEncoder(SequenceBuilder):
    """A vocabulary, rules for sequences, and the way from text to them."""

    def __call__(
        self,
        text: Any = None,
        text_pair: Any = None,
        text_target: Any = None,
        text_pair_target: Any = None,
        add_special_tokens: bool = True,
        padding: Any = False,
        truncation: Any = None,
        max_length: int | None = None,
        stride: int = 0,
        is_split_into_words: bool = False,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_tensors: Any = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool | None = None,
        return_overflowing_tokens: bool = False,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
        return_length: bool = False,
        verbose: bool = True,
        split_special_tokens: bool | None = None,
    ) -> BatchEncoding:
        """Tokenize a text, a pair of texts, or a list of either.

        Args:
            text: a string; a list of strings; a list of pairs; with ``is_split_into_words`` lists of words.
            text_pair: the second text of each pair, of the same form.
            text_target: texts for labels; their ids come back as ``labels``.
            text_pair_target: the second text of each of those.
            add_special_tokens: put the model's special tokens around.
            padding: True or ``"longest"`` (of the batch), ``"max_length"``, False or ``"do_not_pad"``.
            truncation: True or ``"longest_first"``, ``"only_first"``, ``"only_second"``, False.
            max_length: tokens, special ones included; the model's limit where absent.
            stride: tokens that an overflowing part repeats of the part before it.
            is_split_into_words: texts are lists of words.
            pad_to_multiple_of: round the padded length up.
            padding_side: ``"right"`` or ``"left"``; the tokenizer's own where absent.
            return_tensors: ``"pt"`` or ``"np"`` for int64 tensors ``[B, T]``, None for lists.
            return_token_type_ids: give the token types; by default where the model takes them.
            return_attention_mask: give the mask; by default where the model takes one.
            return_overflowing_tokens: give what truncation cuts off as further rows, and
                ``overflow_to_sample_mapping``.
            return_special_tokens_mask: give 1 for special tokens, 0 for others.
            return_offsets_mapping: give each token's (start, end) in the text's characters.
            return_length: give the number of tokens of each row.
            verbose: warn of what is probably not meant.
            split_special_tokens: treat special tokens in the text as ordinary text.

        Returns:
            Lists for one text, lists of lists or tensors for several.

        Raises:
            InputError: something is not a text, or the options contradict each other or the text.

        Example:
            >>> from bertcpp import AutoTokenizer
            >>> tokenizer = AutoTokenizer.from_pretrained("all-MiniLM-L6-v2")
            >>> batch = tokenizer(["Hello there!", "Hi."], padding=True, return_tensors="np")
            >>> batch.input_ids.shape, batch.attention_mask.sum(axis=1).tolist()
            ((2, 5), [5, 4])
        """
        if text is None and text_target is None:
            raise InputError("no text: pass text= (or text_target= for labels)")
        wanted = _Wanted(
            add_special_tokens=bool(add_special_tokens),
            split_special_tokens=self.split_special_tokens if split_special_tokens is None else split_special_tokens,
            is_split_into_words=bool(is_split_into_words),
            rules=self._length_rules(padding, truncation, max_length, pad_to_multiple_of, verbose),
            stride=whole_number("stride", stride),
            pad_to_multiple_of=pad_to_multiple_of,
            padding_side=checked_side("padding_side", self.padding_side if padding_side is None else padding_side),
            columns=self._columns(
                return_token_type_ids,
                return_attention_mask,
                return_special_tokens_mask,
                return_offsets_mapping,
                return_length,
            ),
            overflowing=bool(return_overflowing_tokens),
            tensors=None if return_tensors is None else require_tensor_type(return_tensors),
            verbose=verbose,
        )
        labels = None if text_target is None else self._encode_texts(text_target, text_pair_target, wanted)
        if text is None:
            return cast("BatchEncoding", labels)
        encoded = self._encode_texts(text, text_pair, wanted)
        if labels is not None:
            encoded["labels"] = labels["input_ids"]
        return encoded

    def _columns(
        self, types: bool | None, mask: bool | None, special: bool, offsets: bool, length: bool
    ) -> dict[str, bool]:
        """Which columns are returned, in their order."""
        names = self.model_input_names
        return {
            "token_type_ids": "token_type_ids" in names if types is None else types,
            "attention_mask": "attention_mask" in names if mask is None else mask,
            "special_tokens_mask": special,
            "offset_mapping": offsets,
            "length": length,
        }

    def _encode_texts(self, text: Any, text_pair: Any, wanted: _Wanted) -> BatchEncoding:
        """Tell one text from many, and encode it or them."""
        _require_texts("text", text)
        if text_pair is not None:
            _require_texts("text_pair", text_pair)
        split = wanted.is_split_into_words
        if split and not self._takes_words():
            raise InputError(
                f"{type(self).__name__} takes lists of words only if it was loaded with add_prefix_space=True"
            )
        many = isinstance(text, (list, tuple))
        if split:
            many = many and bool(text) and isinstance(text[0], (list, tuple))
        if not many:
            encoded = self._encode_rows([(text, text_pair)] if text_pair else [text], wanted)
            if wanted.tensors is None and not wanted.overflowing:
                first = {k: v[0] if v and isinstance(v[0], list) else v for k, v in encoded.items()}
                return BatchEncoding(first, encoded.encodings)
            return encoded
        if isinstance(text_pair, str):
            raise InputError("text is a list, so text_pair must be one of the same length, not a string")
        if text_pair is None:
            return self._encode_rows(text, wanted)
        if len(text) != len(text_pair):
            raise InputError(f"text has {len(text)} entries but text_pair has {len(text_pair)}")
        return self._encode_rows(list(zip(text, text_pair, strict=True)), wanted)

    def _takes_words(self) -> bool:
        if self._family.algorithm != "byte_level_bpe":
            return True
        state = self.backend_tokenizer.pre_tokenizer
        return bool(getattr(state, "add_prefix_space", True))

    def _encode_rows(self, inputs: Sequence[Any], wanted: _Wanted) -> BatchEncoding:
        """Encode texts or pairs: cut, padded, and as columns."""
        rows = self._encodings(inputs, wanted)
        samples = list(range(len(rows)))
        if wanted.rules.padding != "do_not_pad" and rows:
            self._pad_encodings(rows, wanted)
        if wanted.overflowing:
            parts = [[row, *row.overflowing] for row in rows]
            samples = [index for index, part in enumerate(parts) for _ in part]
            rows = [piece for part in parts for piece in part]
        columns: dict[str, Any] = {"input_ids": [row.ids for row in rows]}
        if wanted.columns["token_type_ids"]:
            columns["token_type_ids"] = [row.type_ids for row in rows]
        if wanted.columns["attention_mask"]:
            columns["attention_mask"] = [row.attention_mask for row in rows]
        if wanted.columns["special_tokens_mask"]:
            columns["special_tokens_mask"] = [row.special_tokens_mask for row in rows]
        if wanted.columns["offset_mapping"]:
            columns["offset_mapping"] = [row.offsets for row in rows]
        if wanted.columns["length"]:
            columns["length"] = [len(row) for row in rows]
        if wanted.overflowing:
            columns["overflow_to_sample_mapping"] = samples
        if wanted.rules.max_length is None and wanted.verbose:
            self._warn_if_too_long(max((len(row) for row in rows), default=0))
        return BatchEncoding(columns, rows, tensor_type=wanted.tensors)

    def _warn_if_too_long(self, length: int) -> None:
        if 0 < self.model_max_length < length:
            self._say_once(
                "too long",
                "Token indices sequence length is longer than the specified maximum sequence length for this model "
                "(%d > %d): the model cannot take it. Pass truncation=True to cut it.",
                length,
                self.model_max_length,
            )

    def _encodings(self, inputs: Sequence[Any], wanted: _Wanted) -> list[Encoding]:
        """Encode by the tokenizer, or by its twin that cuts as asked."""
        truncation = self._truncation(inputs, wanted)
        try:
            tokenizer = self._backend.truncating(truncation, wanted.split_special_tokens)
            return cast(
                "list[Encoding]", tokenizer.encode_batch(inputs, wanted.is_split_into_words, wanted.add_special_tokens)
            )
        except Exception as error:  # whatever the library raises is explained
            if truncation is not None:
                self._check_truncation(inputs, wanted, truncation)
            raise explained(inputs, wanted.is_split_into_words, error) from error

    def _truncation(self, inputs: Sequence[Any], wanted: _Wanted) -> Truncation | None:
        """The truncation asked for, once it is certain that the library can do it."""
        rules = wanted.rules
        if rules.truncation == "do_not_truncate" or rules.max_length is None:
            return None
        pairs = any(isinstance(item, (list, tuple)) for item in inputs)
        special = self.num_special_tokens_to_add(pairs) if wanted.add_special_tokens else 0
        if rules.max_length < special:
            raise InputError(
                f"max_length={rules.max_length} has no room for the {special} special tokens: "
                f"use at least {special}, or add_special_tokens=False"
            )
        length = min(rules.max_length, 2**31)
        side = checked_side("truncation_side", self.truncation_side)
        truncation = Truncation(length, wanted.stride, rules.truncation, side)
        # The library panics where the stride is not less than what stays of a text; it is less for most.
        if wanted.stride > 0 and (pairs or wanted.stride >= length - special):
            self._check_truncation(inputs, wanted, truncation)
        return truncation

    def _check_truncation(self, inputs: Sequence[Any], wanted: _Wanted, truncation: Truncation) -> None:
        tokenizer = self._backend.truncating(None, wanted.split_special_tokens)
        try:
            rows = tokenizer.encode_batch(inputs, wanted.is_split_into_words, wanted.add_special_tokens)
        except Exception as error:  # whatever the library raises is explained
            raise explained(inputs, wanted.is_split_into_words, error) from error
        counts = [self.num_special_tokens_to_add(pair) * wanted.add_special_tokens for pair in (False, True)]
        check_cuts(rows, (counts[0], counts[1]), truncation)

    def _pad_encodings(self, rows: list[Encoding], wanted: _Wanted) -> None:
        length = self._padded_length([len(row) for row in rows], wanted.rules, wanted.pad_to_multiple_of)
        pad_id, pad_token = self._special_id("pad_token"), self.pad_token
        for row in rows:
            row.pad(
                length,
                direction=wanted.padding_side,
                pad_id=pad_id,
                pad_type_id=self.pad_token_type_id,
                pad_token=pad_token,
            )

    def encode_plus(self, text: Any, text_pair: Any = None, **options: Any) -> BatchEncoding:
        """Tokenize one text, or a pair: a call with the same options."""
        return self._encode_one(text, text_pair, options)

    def _encode_one(self, text: Any, text_pair: Any, options: Mapping[str, Any]) -> BatchEncoding:
        if not options.get("is_split_into_words") and isinstance(text, (list, tuple)):
            raise InputError("one text is a string; use batch_encode_plus, or the call itself, for a list of texts")
        return self(text, text_pair, **options)

    def batch_encode_plus(self, batch_text_or_text_pairs: Any, **options: Any) -> BatchEncoding:
        """Tokenize a list of texts or of pairs: a call with the same options."""
        if not isinstance(batch_text_or_text_pairs, (list, tuple)):
            raise InputError(f"a batch is a list or a tuple, not {type(batch_text_or_text_pairs).__name__}")
        return self(batch_text_or_text_pairs, **options)

    def encode(self, text: Any, text_pair: Any = None, **options: Any) -> Any:
        """The token ids of one text, or a pair: ``input_ids`` of a call with the same options."""
        return self._encode_one(text, text_pair, options)["input_ids"]

    def tokenize(self, text: Any, pair: Any = None, add_special_tokens: bool = False, **options: Any) -> list[str]:
        """The tokens of one text, or a pair, by default without special ones."""
        return self._encode_one(text, pair, {**options, "add_special_tokens": add_special_tokens}).tokens()

    def encode_ids(
        self, texts: Sequence[str], max_length: int | None = None, pairs: Sequence[str] | None = None
    ) -> EncodedIds:
        """The token ids of many texts end to end, special tokens included: the shortest way from text to a model.

        Args:
            texts: strings.
            max_length: cut each text, or each pair by ``longest_first``, to so many tokens; None cuts nothing.
            pairs: the second text of each.

        Returns:
            The ids, where each text begins, token types where a pair has them, and which texts were cut. The ids are
            those of a call with ``truncation=True``.

        Raises:
            InputError: something is not a string, or ``max_length`` has no room for the special tokens.

        Example:
            >>> from bertcpp import AutoTokenizer
            >>> tokenizer = AutoTokenizer.from_pretrained("all-MiniLM-L6-v2")
            >>> encoded = tokenizer.encode_ids(["Hello there!", "Hi."], max_length=4)
            >>> encoded.cu_seqlens.tolist(), encoded.truncated.tolist()
            ([0, 4, 8], [True, False])
        """
        if max_length is not None:
            max_length = whole_number("max_length", max_length)
            special = self.num_special_tokens_to_add(pairs is not None)
            if max_length < special:
                raise InputError(f"max_length={max_length} has no room for the {special} special tokens")
        if isinstance(texts, str) or not isinstance(texts, Sequence):
            raise InputError(f"texts must be a list of strings, not {type(texts).__name__}")
        side = checked_side("truncation_side", self.truncation_side)
        inputs: Sequence[Any] = texts
        if pairs is not None:
            if len(pairs) != len(texts):
                raise InputError(f"texts has {len(texts)} entries but pairs has {len(pairs)}")
            inputs = list(zip(texts, pairs, strict=True))
        try:
            return encode_token_ids(self.backend_tokenizer, inputs, max_length, side)
        except Exception as error:  # whatever the library raises is explained
            raise explained(inputs, False, error) from error
