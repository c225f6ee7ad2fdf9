"""Text for people: colours where a terminal shows them, bars, and columns that stay aligned."""

from __future__ import annotations

import os
import shutil
import unicodedata
from itertools import zip_longest
from typing import IO, TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Style", "aligned", "bar", "cells", "printable", "shortened", "style_of", "table"]

_CODES = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33, "blue": 34, "magenta": 35, "cyan": 36}
_NO_TERMINAL_WIDTH = 100
_EIGHTHS = " ▏▎▍▌▋▊▉"
BAR_CELLS = 12


class Style(NamedTuple):
    """How text looks where it goes: with colours or without, and how many cells a line has."""

    colours: bool = False
    width: int = _NO_TERMINAL_WIDTH

    def paint(self, text: str, *looks: str) -> str:
        """Return the text in a colour or another look, where there are colours."""
        if not (self.colours and text):
            return text
        return f"\x1b[{';'.join(str(_CODES[look]) for look in looks)}m{text}\x1b[0m"


def style_of(file: IO[Any]) -> Style:
    """Return what suits a file: colours and the width of a terminal, unless NO_COLOR or TERM speaks against it."""
    if not file.isatty():
        return Style()
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return Style(not plain, shutil.get_terminal_size((_NO_TERMINAL_WIDTH, 24)).columns)


def printable(text: str) -> str:
    """Return text on one line without characters that would steer a terminal."""
    return "".join(character if character.isprintable() else " " for character in text)


def cells(text: str) -> int:
    """Return how many cells of a terminal a text takes: two for wide characters, none for marks on others."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.category(character) in ("Mn", "Me") else 1 + (unicodedata.east_asian_width(character) in "FW")
        for character in text
    )


def shortened(text: str, width: int) -> str:
    """Return a text cut to `width` cells, with dots where something was left out."""
    if cells(text) <= width:
        return text
    room = max(0, width - 3)
    kept = text[:room]
    while cells(kept) > room:
        kept = kept[:-1]
    return kept + "..."


def aligned(text: str, width: int, right: bool = False) -> str:
    """Return a text with spaces up to `width` cells."""
    gap = " " * max(0, width - cells(text))
    return gap + text if right else text + gap


def bar(share: float, width: int = BAR_CELLS) -> str:
    """Return a bar of at most `width` cells that is full where `share` is 1."""
    eighths = round(8 * width * min(1.0, max(0.0, share)))
    return "█" * (eighths // 8) + (_EIGHTHS[eighths % 8] if eighths % 8 else "")


def table(rows: Sequence[Sequence[str]], left: Sequence[int] = (0,), least: Sequence[int] = ()) -> str:
    """Return rows of cells as lines with columns between two spaces.

    Args:
        rows: all of the same length.
        left: the columns that start at their left edge; others end at their right one.
        least: cells that the first columns take at least.
    """
    widths = [max(map(cells, column)) for column in zip(*rows, strict=True)]
    widths = [max(pair) for pair in zip_longest(widths, least[: len(widths)], fillvalue=0)]
    lines = []
    for row in rows:
        placed = enumerate(zip(row, widths, strict=True))
        lines.append("  ".join(aligned(cell, width, right=place not in left) for place, (cell, width) in placed))
    return "".join(f"{line.rstrip()}\n" for line in lines)
