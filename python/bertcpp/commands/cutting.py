"""Says which texts were cut to a model's limit."""

from __future__ import annotations

import contextlib
import warnings
from typing import TYPE_CHECKING, Any

from . import options

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from .record_files import Record

__all__ = ["watched"]


@contextlib.contextmanager
def watched(task: Any, arguments: argparse.Namespace) -> Iterator[Callable[[Record], Record]]:
    """Give what records are passed through, and warn at the end if some had more tokens than the limit.

    Args:
        task: what the records are for, with its tokenizer.
        arguments: those of `add_limits`.
    """
    limit = options.limit_of(task, arguments)
    if limit is None or arguments.on_overflow != "warn":
        yield lambda record: record
        return
    seen = cut = first = 0

    def look(record: Record) -> Record:
        nonlocal seen, cut, first
        # No token is shorter than a character, so most texts need no second look.
        if len(record.text) + len(record.pair or "") > limit - 4:
            ids = task.tokenizer(record.text, record.pair, verbose=False)["input_ids"]
            if len(ids) > limit:
                first = first if cut else seen
                cut += 1
        seen += 1
        return record

    yield look
    if cut:
        warnings.warn(
            f"{cut} of {seen} texts, the first of them number {first + 1}, were longer than {limit} tokens and were "
            "cut; split them, or pass --on-overflow window to read all of them in windows, truncate to cut silently, "
            "error to refuse",
            stacklevel=2,
        )
