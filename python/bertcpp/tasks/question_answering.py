"""Answering questions with spans of a context, however long the context is."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..errors import InputError, InputTypeError
from ..sequence_building import whole_number
from ..text_encoding import explained
from ..tokenizer_backend import Truncation
from .answer_spans import Spans, best_spans
from .task import Batch, Task, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from tokenizers import Encoding

__all__ = ["QuestionAnswering"]

logger = logging.getLogger(__name__)

_LONGEST_WINDOW = 384  # by default, and of it the overlap:
_OVERLAP = 128
_NO_WINDOW_ABOVE = (1 << 31) - 1  # what the tokenizer can count to anywhere; no model has as many positions
_LONGEST_QUESTION = 64  # where a question leaves no room for its context


class _Settings(NamedTuple):
    top_k: int
    doc_stride: int
    max_answer_len: int
    max_seq_len: int
    max_question_len: int
    handle_impossible_answer: bool
    align_to_words: bool


class _Case(NamedTuple):
    """A question's context and the windows over it."""

    context: str
    windows: list[Encoding]


class QuestionAnswering(Task):
    """Answer questions with spans of a context.

    An input is ``{"question": ..., "context": ...}``; ``question=`` and ``context=`` may be passed by name, as two
    strings, two lists, or a list of questions and one context. The answer is ``{"score", "start", "end", "answer"}``,
    where ``context[start:end]`` is the answer; with ``top_k`` a list of them, best first.

    Options:
        top_k: how many answers, 1 by default; fewer where there are no more.
        doc_stride: tokens that neighbouring windows over a long context share, 128 by default.
        max_answer_len: tokens of an answer at most, 15 by default.
        max_seq_len: tokens of a window with its question at most, 384 by default.
        max_question_len: what a question is cut to, 64 tokens by default, if it leaves no room for the context; any
            other question stays whole.
        handle_impossible_answer: let ``""`` be an answer.
        align_to_words: widen answers to whole words; True by default.

    Example:
        >>> import bertcpp
        >>> answer = bertcpp.pipeline("question-answering", model="./my-squad-model")  # doctest: +SKIP
        >>> answer(question="Where did she live?", context="Ada lived in London.")  # doctest: +SKIP
        {'score': 0.9874, 'start': 13, 'end': 19, 'answer': 'London'}
    """

    task = "question-answering"
    head = "ForQuestionAnswering"
    loader = "AutoModelForQuestionAnswering"
    options = frozenset(
        {
            "align_to_words",
            "doc_stride",
            "handle_impossible_answer",
            "max_answer_len",
            "max_question_len",
            "max_seq_len",
            "padding",
            "top_k",
            "topk",
        }
    )
    _remedy_for_length = "pass a smaller max_seq_len"

    def __call__(self, inputs: Any = None, context: Any = None, *, question: Any = None, **options: Any) -> Any:
        """Answer; see the class, and `Task.__call__`. A list of one question gives its answer alone."""
        if isinstance(inputs, str) and question is None:
            inputs, question = None, inputs
        if inputs is None:
            inputs = options.pop("X", options.pop("data", None))
        if inputs is None:
            inputs = _paired(question, context)
        elif question is not None or context is not None:
            raise InputError("pass inputs, or question= and context=, not both")
        if isinstance(inputs, (list, tuple)) and len(inputs) == 1:
            inputs = inputs[0]
        return super().__call__(inputs, **options)

    def _settings(self, options: dict[str, Any]) -> _Settings:
        chosen = {name: value for name, value in super()._settings(options).items() if value is not None}
        limit = min(self.tokenizer.model_max_length, _LONGEST_WINDOW)
        size = min(whole_number("max_seq_len", chosen.get("max_seq_len", limit), 1), _NO_WINDOW_ABOVE)
        stride = whole_number("doc_stride", chosen.get("doc_stride", min(size // 2, _OVERLAP)))
        if stride > size:
            raise InputError(f"doc_stride={stride} must be less than max_seq_len={size}")
        return _Settings(
            top_k=whole_number("top_k", chosen.get("top_k", chosen.get("topk", 1)), 1),
            doc_stride=stride,
            max_answer_len=whole_number("max_answer_len", chosen.get("max_answer_len", 15), 1),
            max_seq_len=size,
            max_question_len=whole_number("max_question_len", chosen.get("max_question_len", _LONGEST_QUESTION), 1),
            handle_impossible_answer=bool(chosen.get("handle_impossible_answer", False)),
            align_to_words=bool(chosen.get("align_to_words", True)),
        )

    def _item(self, value: Any, place: int, settings: Any) -> Any:
        if isinstance(value, Mapping):
            question, context = value.get("question"), value.get("context")
        else:  # transformers' SquadExample
            question, context = getattr(value, "question_text", None), getattr(value, "context_text", None)
        for name, text in (("question", question), ("context", context)):
            if not isinstance(text, str):
                raise InputTypeError(
                    f"inputs[{place}] is {shown(value)}; pass {{'question': ..., 'context': ...}} with two strings"
                )
            if not text:
                raise InputError(f"the {name} of inputs[{place}] is empty")
        return question, context

    # Windows.

    @property
    def _question_first(self) -> bool:
        return self.tokenizer.padding_side == "right"

    def _prepared(self, items: list[tuple[str, str]], settings: _Settings, first: int) -> Batch:
        items = self._with_room(items, settings, first)
        pairs = items if self._question_first else [(context, question) for question, context in items]
        strategy = "only_second" if self._question_first else "only_first"
        cut = Truncation(settings.max_seq_len, settings.doc_stride, strategy, self.tokenizer.truncation_side)
        backend = self.tokenizer._backend.truncating(cut, self.tokenizer.split_special_tokens)
        try:
            rows = backend.encode_batch(pairs)
        except Exception as error:  # whatever the library raises is explained
            raise explained(pairs, False, error) from error
        cases = [_Case(item[1], [row, *row.overflowing]) for item, row in zip(items, rows, strict=True)]
        windows = [window for case in cases for window in case.windows]
        types = [window.type_ids for window in windows] if self._takes_types else None
        bounds = np.cumsum([0, *(len(case.windows) for case in cases)])
        return Batch(self._packed([window.ids for window in windows], types), bounds, cases)

    def _with_room(self, items: list[tuple[str, str]], settings: _Settings, first: int) -> list[tuple[str, str]]:
        """The questions and contexts, with those questions cut that leave their contexts no room in a window.

        Raises:
            InputError: there is no room even so, or windows would share all that they hold.
        """
        special = self.tokenizer.num_special_tokens_to_add(pair=True)
        rows = self._encodings([question for question, _ in items])
        for place, row in enumerate(rows):
            room = settings.max_seq_len - special - len(row)
            if room < 1:
                items[place] = self._cut_question(row, settings, first + place, items[place])
                room = settings.max_seq_len - special - settings.max_question_len
            if settings.doc_stride >= room and len(self._encodings([items[place][1]])[0]) > room:
                raise InputError(
                    f"doc_stride={settings.doc_stride} must be less than the {room} tokens that max_seq_len="
                    f"{settings.max_seq_len} leaves for the context of inputs[{first + place}]; pass a smaller "
                    "doc_stride or a larger max_seq_len"
                )
        return items

    def _encodings(self, texts: list[str]) -> list[Encoding]:
        encoded = self.tokenizer(
            texts, add_special_tokens=False, verbose=False, return_attention_mask=False, return_token_type_ids=False
        )
        return encoded.encodings or []

    def _cut_question(self, row: Encoding, settings: _Settings, place: int, item: tuple[str, str]) -> tuple[str, str]:
        special = self.tokenizer.num_special_tokens_to_add(pair=True)
        most = settings.max_question_len
        if most >= min(len(row), settings.max_seq_len - special):
            raise InputError(
                f"the question of inputs[{place}] has {len(row)} tokens and leaves none of max_seq_len="
                f"{settings.max_seq_len} for its context; pass a larger max_seq_len or a smaller max_question_len"
            )
        logger.warning("The question of inputs[%d] has %d tokens and is cut to %d.", place, len(row), most)
        return item[0][: row.offsets[most - 1][1]], item[1]

    # Answers.

    def _solved(self, batch: Batch, settings: _Settings) -> Iterator[Any]:
        starts, ends = self._logits(batch.tokens).T
        begin = 0
        for case in batch.details:
            answers: list[dict[str, Any]] = []
            no_answer = float("inf")
            for window in case.windows:
                end = begin + len(window)
                spans = best_spans(
                    starts[begin:end],
                    ends[begin:end],
                    self._possible(window),
                    # Aligned to words, some spans become one.
                    settings.top_k * 2 + 10 if settings.align_to_words else settings.top_k,
                    settings.max_answer_len,
                )
                no_answer = min(no_answer, spans.no_answer)
                self._add(answers, case.context, window, spans, settings.align_to_words)
                begin = end
            if settings.handle_impossible_answer:
                answers.append({"score": no_answer, "start": 0, "end": 0, "answer": ""})
            answers = sorted(answers, key=lambda answer: -answer["score"])[: settings.top_k]
            yield answers[0] if len(answers) == 1 else answers

    def _possible(self, window: Encoding) -> NDArray[np.bool_]:
        """The tokens that an answer may begin and end with, and those that stand for no answer."""
        source, nothing = 1 if self._question_first else 0, self.tokenizer.cls_token_id
        return np.array(
            [part == source or index == nothing for part, index in zip(window.sequence_ids, window.ids, strict=True)]
        )

    def _add(self, answers: list[dict[str, Any]], context: str, window: Encoding, spans: Spans, to_words: bool) -> None:
        """Add the spans of a window to the answers; one that is there already gains the span's score."""
        source, offsets = 1 if self._question_first else 0, window.offsets
        known = {answer["answer"].lower(): answer for answer in reversed(answers)}
        for first, last, score in zip(spans.starts.tolist(), spans.ends.tolist(), spans.scores.tolist(), strict=True):
            begin, end = offsets[first][0], offsets[last][1]
            head, tail = window.token_to_word(first), window.token_to_word(last)
            if to_words and head is not None and tail is not None:
                whole = window.word_to_chars(head, source), window.word_to_chars(tail, source)
                if None not in whole:
                    begin, end = whole[0][0], whole[1][1]
            text = context[begin:end]
            same = known.get(text.lower())
            if same is not None:
                same["score"] += score
                continue
            known[text.lower()] = {"score": score, "start": begin, "end": end, "answer": text}
            answers.append(known[text.lower()])


def _paired(question: Any, context: Any) -> Any:
    """Inputs of questions and contexts that were passed by name.

    Raises:
        InputError: one is missing, or there are more of one than of the other.
    """
    if isinstance(question, str) and isinstance(context, str):
        return {"question": question, "context": context}
    if isinstance(question, (list, tuple)):
        contexts = [context] * len(question) if isinstance(context, str) else context
        if isinstance(contexts, (list, tuple)):
            if len(question) != len(contexts):
                raise InputError(f"there are {len(question)} questions but {len(contexts)} contexts")
            return [{"question": q, "context": c} for q, c in zip(question, contexts, strict=True)]
    raise InputError(
        "pass question= and context=, two strings, two lists, or a list of questions and one context; or one "
        "dictionary, or a list of them, with 'question' and 'context'"
    )
