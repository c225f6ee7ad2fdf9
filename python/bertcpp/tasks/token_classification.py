"""Classifying the tokens of a text: names of people and places, parts of speech ..."""

from __future__ import annotations

import functools
import itertools
import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..errors import InputError, InputTypeError
from ..sequence_building import NO_LIMIT_ABOVE, whole_number
from .entities import STRATEGIES, Piece, entities_of, without_overlaps
from .scores import softmax
from .task import Batch, Task, name_of_choice, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from tokenizers import Encoding

__all__ = ["TokenClassification"]


class _Settings(NamedTuple):
    strategy: str
    ignored: frozenset[str]
    stride: int | None
    split: bool
    delimiter: str
    offsets: Any


class _Text(NamedTuple):
    """A text, where its words begin if it came as a list of them, and its windows."""

    text: str
    word_starts: list[int] | None
    windows: list[Encoding]
    offsets: Sequence[tuple[int, int]] | None


class TokenClassification(Task):
    """Classify each token of a text, or find the entities that they form.

    An input is a string, or with ``is_split_into_words`` a list of words. The answer is a list of ``{"entity",
    "score", "index", "word", "start", "end"}`` for tokens, or of ``{"entity_group", "score", "word", "start", "end"}``
    for entities; ``start`` and ``end`` count characters of the text.

    Options:
        aggregation_strategy: ``"none"`` (the default) gives tokens. ``"simple"`` joins neighbours of one kind;
            ``"first"``, ``"average"`` and ``"max"`` first settle one label for all tokens of a word: that of its first
            token, the best by mean scores, the surest token's.
        ignore_labels: labels to leave out, ``["O"]`` by default.
        stride: take a text longer than the model in windows that overlap by so many tokens; else it is cut.
        is_split_into_words: inputs are lists of words, which are joined by `delimiter`, a space by default.
        offset_mapping: the (start, end) of each token, for one input a list, for several a list of lists.
        grouped_entities, ignore_subwords: the older way to ask for ``"simple"`` and ``"first"``.

    Example:
        >>> import bertcpp
        >>> find = bertcpp.pipeline("ner", model="./my-ner-model", aggregation_strategy="simple")  # doctest: +SKIP
        >>> find("Ada Lovelace lived in London.")[1]  # doctest: +SKIP
        {'entity_group': 'LOC', 'score': 0.9991, 'word': 'London', 'start': 22, 'end': 28}
    """

    task = "token-classification"
    head = "ForTokenClassification"
    loader = "AutoModelForTokenClassification"
    options = frozenset(
        {
            "aggregation_strategy",
            "delimiter",
            "grouped_entities",
            "ignore_labels",
            "ignore_subwords",
            "is_split_into_words",
            "offset_mapping",
            "stride",
        }
    )
    _remedy_for_length = "set tokenizer.model_max_length to the model's limit so that it is cut, or pass stride="

    @functools.cached_property
    def _knows_words(self) -> bool:
        """Whether the tokenizer marks the tokens that go on with a word."""
        return bool(getattr(self.tokenizer.backend_tokenizer.model, "continuing_subword_prefix", None))

    def _settings(self, options: dict[str, Any]) -> _Settings:
        chosen = super()._settings(options)
        strategy = chosen.get("aggregation_strategy")
        strategy = "none" if strategy is None else name_of_choice("aggregation_strategy", strategy, STRATEGIES)
        grouped, whole = chosen.get("grouped_entities"), chosen.get("ignore_subwords")
        if grouped is not None or whole is not None:
            strategy = ("first" if whole else "simple") if grouped else "none"
            warnings.warn(
                f"grouped_entities and ignore_subwords are deprecated: pass aggregation_strategy={strategy!r}",
                stacklevel=4,
            )
        if strategy not in ("none", "simple") and not self._knows_words:
            warnings.warn(
                "this tokenizer does not mark tokens that go on with a word: one without a space before it is taken to "
                "do so",
                stacklevel=4,
            )
        stride = chosen.get("stride")
        if stride is not None:
            stride = whole_number("stride", stride)
            if strategy == "none":
                raise InputError("stride needs an aggregation_strategy other than 'none'")
            longest, special = self.tokenizer.model_max_length, self.tokenizer.num_special_tokens_to_add()
            if stride >= longest - special:
                raise InputError(
                    f"stride={stride} must be less than the {max(longest - special, 0)} tokens of a text in a window "
                    f"of the tokenizer's model_max_length, {longest}, {special} of them special"
                )
        ignored = chosen.get("ignore_labels")
        ignored = ["O"] if ignored is None else [ignored] if isinstance(ignored, str) else ignored
        if not isinstance(ignored, Iterable):
            raise InputError(f"ignore_labels must be a list of labels, as ['O'], not {ignored!r}")
        delimiter = chosen.get("delimiter")
        if delimiter is not None and not isinstance(delimiter, str):
            raise InputError(f"delimiter must be a string, what stands between words, not {delimiter!r}")
        return _Settings(
            strategy=strategy,
            ignored=frozenset(ignored),
            stride=stride,
            split=bool(chosen.get("is_split_into_words")),
            delimiter=" " if delimiter is None else delimiter,
            offsets=chosen.get("offset_mapping"),
        )

    def __call__(self, inputs: Any, **options: Any) -> Any:
        """Classify; see the class, and `Task.__call__`."""
        split = options.get("is_split_into_words", self._defaults.get("is_split_into_words"))
        if split and isinstance(inputs, (list, tuple)) and not all(map(_is_list, inputs)):
            return super().__call__([inputs], **options)
        offsets = options.get("offset_mapping")
        if offsets:
            count = len(inputs) if isinstance(inputs, (list, tuple)) else 1
            if isinstance(offsets[0], tuple):
                options["offset_mapping"] = offsets = [offsets]
            if len(offsets) != count:
                raise InputError(f"offset_mapping has {len(offsets)} entries for {count} inputs")
        return super().__call__(inputs, **options)

    def _item(self, value: Any, place: int, settings: _Settings) -> Any:
        if settings.split:
            if _is_list(value) and all(isinstance(word, str) for word in value):
                return list(value)
            raise InputTypeError(
                f"inputs[{place}] is {shown(value)}; with is_split_into_words=True pass lists of words"
            )
        if isinstance(value, str):
            return value
        raise InputTypeError(
            f"inputs[{place}] is {shown(value)}, of type {type(value).__name__}; pass strings, or lists of words and "
            "is_split_into_words=True"
        )

    def _prepared(self, items: list[Any], settings: _Settings, first: int) -> Batch:
        windowed = settings.stride is not None
        limit = self.tokenizer.model_max_length
        encoded = self.tokenizer(
            items,
            truncation=0 < limit <= NO_LIMIT_ABOVE,
            is_split_into_words=settings.split,
            return_attention_mask=False,
            return_token_type_ids=self._takes_types,
            verbose=False,
            stride=settings.stride or 0,
            return_overflowing_tokens=windowed,
        )
        encodings = encoded.encodings or []
        samples = encoded["overflow_to_sample_mapping"] if windowed else range(len(items))
        bounds = np.searchsorted(samples, np.arange(len(items) + 1))
        details = []
        for place, (start, end) in enumerate(itertools.pairwise(bounds.tolist())):
            text, starts = _joined(items[place], settings.delimiter) if settings.split else (items[place], None)
            offsets = settings.offsets[first + place] if settings.offsets else None
            if offsets is not None and len(offsets) < max(map(len, encodings[start:end])):
                raise InputError(
                    f"offset_mapping has {len(offsets)} entries for the {len(encodings[start])} tokens of inputs"
                    f"[{first + place}]: each token, special ones too, needs its start and end"
                )
            details.append(_Text(text, starts, encodings[start:end], offsets))
        return Batch(self._packed(encoded["input_ids"], encoded.get("token_type_ids")), bounds, details)

    def _solved(self, batch: Batch, settings: _Settings) -> Iterator[Any]:
        scores = softmax(self._logits(batch.tokens))
        bounds = batch.tokens.cu_seqlens[batch.bounds].tolist()
        for text, start in zip(batch.details, bounds[:-1], strict=True):
            entities = []
            for window in text.windows:
                end = start + len(window)
                pieces = self._pieces(text, window, scores[start:end], settings)
                entities += entities_of(pieces, settings.strategy, self.model.config.id2label, self.tokenizer)
                start = end
            kind = "entity" if settings.strategy == "none" else "entity_group"
            entities = [entity for entity in entities if entity[kind] not in settings.ignored]
            yield without_overlaps(entities) if len(text.windows) > 1 else entities

    def _pieces(self, text: _Text, window: Encoding, scores: NDArray[np.float32], settings: _Settings) -> list[Piece]:
        """The tokens of a window, but for special ones and, where tokens are answered, those of ignored labels."""
        special, ids = window.special_tokens_mask, window.ids
        offsets = window.offsets if text.offsets is None else text.offsets
        words = None if text.word_starts is None else window.word_ids
        best, tops = scores.argmax(axis=1).tolist(), scores.max(axis=1)
        names = self.model.config.id2label
        ignored = {label for label in set(best) if settings.strategy == "none" and names[label] in settings.ignored}
        pieces = []
        for index, label in enumerate(best):
            if special[index] or label in ignored:
                continue
            start, end = offsets[index]
            if words is not None and (word := words[index]) is not None:
                shift = text.word_starts[word]  # type: ignore[index]  # there are none without words
                start, end = start + shift, end + shift
            spelled, continues = self._spelled(ids[index], text.text, start, end)
            pieces.append(Piece(spelled, start, end, index, continues, label, tops[index], scores[index]))
        return pieces

    def _spelled(self, token: int, text: str, start: int, end: int) -> tuple[str, bool]:
        """A token, and whether it goes on with the word before it."""
        original = text[start:end]
        if token == self.tokenizer.unk_token_id:
            return original, False
        spelled: str = self.tokenizer.backend_tokenizer.id_to_token(token)
        if self._knows_words:
            return spelled, len(spelled) != len(original)
        return spelled, start > 0 and " " not in text[start - 1 : start + 1]


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple))


def _joined(words: list[str], delimiter: str) -> tuple[str, list[int]]:
    """Words as a text, and the character that each begins at."""
    lengths = [len(word) + len(delimiter) for word in words]
    return delimiter.join(words), [0, *itertools.accumulate(lengths)][: len(words)]
