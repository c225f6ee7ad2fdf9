"""From labels of tokens to entities of a text: the aggregation strategies of token classification."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from ..tokenization import PreTrainedTokenizer

__all__ = ["STRATEGIES", "Piece", "entities_of", "without_overlaps"]

STRATEGIES = ("none", "simple", "first", "average", "max")


class Piece(NamedTuple):
    """A token of a text, or a word of several.

    Attributes:
        word: how it is spelled.
        start: its first character in the text.
        end: the character after its last.
        place: its place among the tokens, special ones counted; of a word, of its first token.
        continues: it goes on with the word of the token before it.
        label: the best label.
        score: that label's score.
        scores: float32 ``[labels]``, the scores of all labels.
    """

    word: str
    start: int
    end: int
    place: int
    continues: bool
    label: int
    score: np.float32
    scores: NDArray[np.float32]


def entities_of(
    pieces: Sequence[Piece], strategy: str, labels: Mapping[int, str], tokenizer: PreTrainedTokenizer
) -> list[dict[str, Any]]:
    """Return the entities of a text, those of no interest among them.

    Args:
        pieces: the text's tokens without special ones.
        strategy: one of `STRATEGIES`.
        labels: the names of the labels.
        tokenizer: joins tokens to words.
    """
    if strategy == "none":
        return [
            {
                "entity": labels[piece.label],
                "score": float(piece.score),
                "index": piece.place,
                "word": piece.word,
                "start": piece.start,
                "end": piece.end,
            }
            for piece in pieces
        ]
    words = pieces if strategy == "simple" else _words(pieces, strategy, tokenizer)
    return _groups(words, labels, tokenizer)


def _words(pieces: Sequence[Piece], strategy: str, tokenizer: PreTrainedTokenizer) -> list[Piece]:
    """Tokens joined to words, each with one label."""
    runs: list[list[Piece]] = []
    for piece in pieces:
        if piece.continues and runs:
            runs[-1].append(piece)
        else:
            runs.append([piece])
    return [_word(run, strategy, tokenizer) for run in runs]


def _word(run: list[Piece], strategy: str, tokenizer: PreTrainedTokenizer) -> Piece:
    first = run[0]
    if strategy == "average":
        scores = np.stack([piece.scores for piece in run]).mean(axis=0)
        label = int(scores.argmax())
        chosen = first._replace(label=label, score=scores[label], scores=scores)
    else:
        chosen = first if strategy == "first" else max(run, key=lambda piece: piece.score)
    word = tokenizer.convert_tokens_to_string([piece.word for piece in run])
    return chosen._replace(word=word, start=first.start, end=run[-1].end, place=first.place)


def _groups(words: Sequence[Piece], labels: Mapping[int, str], tokenizer: PreTrainedTokenizer) -> list[dict[str, Any]]:
    """Neighbours of one kind joined, up to the next that begins anew (``B-``)."""
    groups: list[list[Piece]] = []
    last = None
    for word in words:
        begins, kind = _kind(labels[word.label])
        if groups and kind == last and not begins:
            groups[-1].append(word)
        else:
            groups.append([word])
        last = kind
    return [
        {
            # What follows the first hyphen, whether B and I stand before it or not.
            "entity_group": labels[group[0].label].split("-", 1)[-1],
            "score": float(group[0].score if len(group) == 1 else np.mean([word.score for word in group])),
            "word": tokenizer.convert_tokens_to_string([word.word for word in group]),
            "start": group[0].start,
            "end": group[-1].end,
        }
        for group in groups
    ]


def _kind(label: str) -> tuple[bool, str]:
    """Whether a label begins an entity, and of which kind the entity is."""
    return label.startswith("B-"), label[2:] if label.startswith(("B-", "I-")) else label


def without_overlaps(entities: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return, of entities that overlapping windows found at one place, the longest, and of equal ones the surest.

    Example:
        >>> from bertcpp.tasks.entities import without_overlaps
        >>> found = [{"start": 3, "end": 6, "score": 0.5}, {"start": 0, "end": 6, "score": 0.5}]
        >>> without_overlaps(found)
        [{'start': 0, 'end': 6, 'score': 0.5}]
    """
    ordered = sorted(entities, key=lambda entity: entity["start"])
    kept: list[dict[str, Any]] = []
    for entity in ordered:
        previous = kept[-1] if kept else None
        if previous is None or not previous["start"] <= entity["start"] < previous["end"]:
            kept.append(entity)
            continue
        length, before = entity["end"] - entity["start"], previous["end"] - previous["start"]
        if length > before or (length == before and entity["score"] > previous["score"]):
            kept[-1] = entity
    return kept
