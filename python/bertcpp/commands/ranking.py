"""The best of a stream of scored records, in order."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

from .result_files import Result
from .terminal import Style, aligned, bar, printable, shortened

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .record_files import Record

__all__ = ["ranked", "shown_rank"]


def ranked(scored: Iterable[tuple[Record, float]], top_k: int | None) -> Iterator[Result]:
    """Yield records by falling score, equal ones in their own order; with `top_k` no more than so many are held."""
    numbered = ((score, -place, record) for place, (record, score) in enumerate(scored))
    if top_k is None:
        best = sorted(numbered, key=lambda item: item[:2], reverse=True)
    else:
        best = heapq.nlargest(top_k, numbered, key=lambda item: item[:2])
    for rank, (score, place, record) in enumerate(best, start=1):
        yield Result(record, {"rank": rank, "score": score, "corpus_id": -place})


def shown_rank(result: Result, style: Style) -> str:
    """Return a line for people: rank, score and text."""
    score = result.values["score"]
    rank = f"{result.values['rank']:4}  " if "rank" in result.values else "  "
    drawn = aligned(bar(score), 12) if 0 <= score <= 1 else " " * 12
    before = f"{rank}{score:7.3f}  "
    text = shortened(printable(result.record.text), max(20, style.width - len(before) - 14))
    return f"{before}{style.paint(drawn, 'cyan')}  {text}\n"
