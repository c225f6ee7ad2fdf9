"""Where the sentences of a text begin and end."""

from __future__ import annotations

import re

__all__ = ["sentence_spans"]

# What may end a sentence: full stops and their like before white space, those of Chinese and Japanese anywhere, and an
# empty line. Closing quotes and brackets belong to the sentence before them.
_ENDS = re.compile(r"[.!?…؟।]+[\"'”’»)\]]*(?=\s)|[。！？｡]+[”’」』）]*|\n[ \t\r]*\n")  # noqa: RUF001
# Words whose full stop does not end a sentence, whatever follows.
_ABBREVIATIONS = frozenset(
    [
        *("mr", "mrs", "ms", "dr", "prof", "st", "sr", "jr", "gen", "col", "sgt", "capt", "lt", "rev", "hon", "gov"),
        *("vs", "no", "nos", "fig", "figs", "eq", "eqs", "cf", "approx", "vol", "pp", "ch", "sec", "art", "ed", "eds"),
        *("sen", "rep", "dept", "e.g", "i.e", "z.b", "bzw", "ca", "mme", "mlle", "m"),
    ]
)


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Return the span of each sentence, without the white space around it.

    Example:
        >>> from bertcpp.tasks.sentences import sentence_spans
        >>> text = "Dr. Who left. Where to? Nobody knows"
        >>> [text[start:end] for start, end in sentence_spans(text)]
        ['Dr. Who left.', 'Where to?', 'Nobody knows']
    """
    spans = []
    start = 0
    for found in _ENDS.finditer(text):
        if _ends_here(text, start, found):
            spans.append((start, found.end()))
            start = found.end()
    spans.append((start, len(text)))
    return [span for span in (_stripped(text, *span) for span in spans) if span[0] < span[1]]


def _ends_here(text: str, start: int, found: re.Match[str]) -> bool:
    """Whether what looks like the end of a sentence is one."""
    mark = found.group()
    if mark[0] == "\n" or mark[0] in "。！？｡":  # noqa: RUF001
        return True
    if _next_character(text, found.end()).islower():
        return False
    if mark != ".":
        return True
    before = text[start : found.start()].rsplit(maxsplit=1)
    word = before[-1].lstrip("(\"'“‘«") if before else ""  # noqa: RUF001
    if word.lower() in _ABBREVIATIONS or (len(word) == 1 and word.isupper()):
        return False
    # "1." or "a." at the head of a sentence counts it.
    return len(before) != 1 or not (word.isdecimal() or len(word) == 1)


def _next_character(text: str, place: int) -> str:
    while place < len(text) and text[place].isspace():
        place += 1
    return text[place : place + 1]


def _stripped(text: str, start: int, end: int) -> tuple[int, int]:
    part = text[start:end]
    return start + len(part) - len(part.lstrip()), end - (len(part) - len(part.rstrip()))
