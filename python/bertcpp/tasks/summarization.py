"""Extractive summaries: a text's own sentences, chosen by their embeddings."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..errors import InputError
from ..sequence_building import whole_number
from ..similarity import normalize
from .embedding_task import EmbeddingTask
from .sentences import sentence_spans

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["Summarization", "choose"]

_SENTENCES = 3  # by default
_DIVERSITY = 0.3
_WITHOUT_SPACE = "。！？｡」』）"  # noqa: RUF001


class _Settings(NamedTuple):
    number: int | None
    share: float | None
    diversity: float
    max_length: int | None
    with_sentences: bool


class _Document(NamedTuple):
    text: str
    spans: list[tuple[int, int]]


class Summarization(EmbeddingTask):
    """Summarize texts by the sentences that say most of them, in the order of the text.

    Sentences are chosen one after another: the next is the one closest to the whole text's meaning, less what it
    repeats of those chosen before it. No word is made up. An input is a string. The answer is ``{"summary_text"}``, in
    a list of its own for a single string, as that of transformers' summaries.

    Options:
        num_sentences: how many sentences, 3 by default.
        ratio: instead, the share of the sentences, over 0 and up to 1; at least one is taken.
        max_length: tokens that the sentences may have together; one that does not fit is passed over.
        diversity: from 0 (only relevance counts) to 1 (only what is new counts); 0.3 by default.
        return_sentences: also answer ``"sentences"``, a list of ``{"text", "start", "end", "score"}`` where ``score``
            is the cosine of the sentence and the whole text.

    Example:
        >>> import bertcpp
        >>> summarize = bertcpp.pipeline("summarization", model="all-MiniLM-L6-v2")
        >>> summarize("Cats sleep a lot. Cats sleep most of the day. Dogs bark.", num_sentences=1)
        [{'summary_text': 'Cats sleep a lot.'}]
    """

    task = "summarization"
    options = frozenset({"diversity", "max_length", "num_sentences", "ratio", "return_sentences"})

    def __call__(self, inputs: Any, **options: Any) -> Any:
        """Summarize; see the class, and `Task.__call__`."""
        result = super().__call__(inputs, **options)
        return [result] if isinstance(inputs, str) else result

    def _settings(self, options: dict[str, Any]) -> _Settings:
        if options.get("num_sentences") is not None or options.get("ratio") is not None:
            # What a call asks for takes the place of what the task was made with, whichever of the two that was.
            options = {"num_sentences": None, "ratio": None} | options
        chosen = super()._settings(options)
        count, share = chosen.get("num_sentences"), chosen.get("ratio")
        if count is not None and share is not None:
            raise InputError("pass num_sentences or ratio, not both")
        if share is not None and not (_is_number(share) and 0 < share <= 1):
            raise InputError(f"ratio must be a share of the sentences, over 0 and up to 1, not {share!r}")
        diversity = _DIVERSITY if chosen.get("diversity") is None else chosen["diversity"]
        if not (_is_number(diversity) and 0 <= diversity <= 1):
            raise InputError(f"diversity must be a number from 0 to 1, not {diversity!r}")
        most = chosen.get("max_length")
        if count is None and share is None:
            count = _SENTENCES
        return _Settings(
            number=None if count is None else whole_number("num_sentences", count, 1),
            share=share,
            diversity=float(diversity),
            max_length=None if most is None else whole_number("max_length", most, 1),
            with_sentences=bool(chosen.get("return_sentences")),
        )

    def _item(self, value: Any, place: int, settings: Any) -> _Document:
        text = super()._item(value, place, settings)
        return _Document(text, sentence_spans(text))

    def _texts(self, item: _Document) -> list[str]:
        return [item.text[start:end] for start, end in item.spans]

    def _answer(self, item: _Document, vectors: NDArray[np.float32], settings: _Settings) -> dict[str, Any]:
        sentences = self._texts(item)
        if settings.share is None:
            count = settings.number or _SENTENCES
        else:  # 0.3 of 10 is 3, though 0.3 * 10 is a little more
            count = max(1, math.floor(settings.share * len(sentences) + 1e-9))
        fits = None if settings.max_length is None else self._room(sentences, settings.max_length)
        places, relevance = choose(vectors, count, settings.diversity, fits)
        answer: dict[str, Any] = {"summary_text": _joined([sentences[place] for place in places])}
        if settings.with_sentences:
            answer["sentences"] = [
                {
                    "text": sentences[place],
                    "start": item.spans[place][0],
                    "end": item.spans[place][1],
                    "score": relevance[place].item(),
                }
                for place in places
            ]
        return answer

    def _room(self, sentences: list[str], most: int) -> Callable[[int], bool]:
        """Say of one sentence after another whether there is room for it, and take the room."""
        encoded = self.model.tokenizer(sentences, add_special_tokens=False, verbose=False)["input_ids"]
        left = most

        def fits(place: int) -> bool:
            nonlocal left
            if len(encoded[place]) > left:
                return False
            left -= len(encoded[place])
            return True

        return fits


def choose(
    vectors: NDArray[np.float32], count: int, diversity: float, fits: Callable[[int], bool] | None = None
) -> tuple[list[int], NDArray[np.float32]]:
    """Choose sentences that are close to the whole and unlike each other (maximal marginal relevance).

    Args:
        vectors: float32 ``[n, D]``, one for each sentence.
        count: how many to choose at most.
        diversity: the weight of being unlike those chosen, 0 to 1.
        fits: whether a sentence may be taken; asked once each, in the order of choice.

    Returns:
        The places of the chosen ones, in order, and the cosine of each sentence and the whole, float32 ``[n]``.

    Example:
        >>> import numpy as np
        >>> from bertcpp.tasks.summarization import choose
        >>> vectors = np.float32([[1, 0.1], [1, 0.11], [0, 1]])
        >>> choose(vectors, 2, diversity=0.5)[0]
        [1, 2]
    """
    if not len(vectors):
        return [], np.empty(0, np.float32)
    unit = normalize(vectors)
    relevance = unit @ normalize(unit.mean(axis=0)[None])[0]
    nearest = np.full(len(unit), -1, np.float32)  # the cosine with the most alike of those chosen
    open_ = np.ones(len(unit), bool)
    chosen: list[int] = []
    while len(chosen) < count and open_.any():
        worth = (1 - diversity) * relevance - diversity * (nearest if chosen else 0)
        place = int(np.argmax(np.where(open_, worth, -np.inf)))
        open_[place] = False
        if fits is None or fits(place):
            chosen.append(place)
            nearest = np.maximum(nearest, unit @ unit[place])
    return sorted(chosen), relevance


def _joined(sentences: list[str]) -> str:
    """Sentences with a space between them, where their script has one."""
    text = ""
    for sentence in sentences:
        text += sentence if not text or text[-1] in _WITHOUT_SPACE else f" {sentence}"
    return text


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.floating)) and not isinstance(value, bool)
