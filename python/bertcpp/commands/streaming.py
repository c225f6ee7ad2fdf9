"""From a stream of records to a stream of results, in bounded memory and with a progress bar."""

from __future__ import annotations

import itertools
import sys
from collections import deque
from typing import TYPE_CHECKING, Any, TypeVar

from . import options
from .result_files import SUFFIXES, Result, result_writer

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator

    from .record_files import Record
    from .result_files import Presentation

__all__ = ["answered", "chosen_format", "counted", "write_results"]

T = TypeVar("T")


def answered(
    task: Callable[..., Iterable[Any]],
    records: Iterable[Record],
    to_input: Callable[[Record], Any],
    arguments: argparse.Namespace,
    **keywords: Any,
) -> Iterator[tuple[Record, Any]]:
    """Yield each record with a task's answer; records are read as answers are asked for, a batch at a time.

    Args:
        task: what `bertcpp.pipeline` makes.
        records: any number of them.
        to_input: gives what the task takes.
        arguments: the batch size, and whether to show progress.
        **keywords: options of the task.
    """
    pending: deque[Record] = deque()

    def inputs() -> Iterator[Any]:
        for record in records:
            pending.append(record)
            yield to_input(record)

    for answer in counted(arguments, task(inputs(), **keywords)):
        yield pending.popleft(), answer


def chosen_format(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> str:
    """Return the format of the results; refuse to fill a terminal with bytes."""
    form = options.output_format(arguments, SUFFIXES, people="text", other="text")
    if form == "parquet" and arguments.output == "-" and sys.stdout.isatty():
        parser.error("the format parquet is binary and no sight for a terminal; name a file with --output")
    return form


def counted(arguments: argparse.Namespace, items: Iterable[T]) -> Iterator[T]:
    """Pass items on, and show how many there were: work that the results do not show goes through this."""
    from ..batching import Progress

    progress = Progress(options.show_progress(arguments), None, "Working")
    try:
        for item in items:
            yield item
            progress.update(1)
    finally:
        progress.close()


def write_results(
    arguments: argparse.Namespace, form: str, presentation: Presentation, results: Iterable[Result]
) -> None:
    """Write results as they come, in blocks of the batch size.

    Raises:
        InputError: if they fit no table.
        OSError: if the output cannot be written.
    """
    from .output_file import opened

    stream = iter(results)
    with opened(arguments.output, result_writer(form, presentation)) as writer:
        while block := list(itertools.islice(stream, arguments.batch_size)):
            writer.write(block)
