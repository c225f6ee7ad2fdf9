"""Texts from files and streams, one a line, for the command line."""

from __future__ import annotations

import contextlib
import json
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from .errors import InputError

if TYPE_CHECKING:
    import io
    from collections.abc import Iterator

__all__ = ["Record", "read_records"]


class Record(NamedTuple):
    """A text, and the JSON object that it came in, if it did."""

    text: str
    fields: dict[str, Any] | None = None


def read_records(path: str, field: str | None) -> Iterator[Record]:
    """Yield the texts of a file, or of standard input for `-`, one a line.

    Every line counts, empty ones too, so that text n belongs to line n. The file is read as it is consumed.

    Args:
        path: a file of UTF-8 text.
        field: lines are JSON: objects that hold the text under this name, or strings. None: lines are the texts;
            a file whose name ends in `.jsonl` is read as if `field` were `text`.

    Raises:
        InputError: if a line is not UTF-8, not JSON, or has no such field.
        OSError: if the file cannot be read.
    """
    if field is None and path.endswith(".jsonl"):
        field = "text"
    name = "standard input" if path == "-" else path
    with contextlib.ExitStack() as stack:
        if path == "-":
            raw: Any = sys.stdin.buffer
        else:
            raw = stack.enter_context(open(path, "rb"))
        for number, line in enumerate(_lines(raw), start=1):
            where = f"{name}, line {number}"
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise InputError(
                    f"{where}: not UTF-8 ({error.reason} at byte {error.start}); convert it first"
                ) from None
            yield Record(text) if field is None else _parsed(text, field, where)


def _lines(raw: io.BufferedIOBase) -> Iterator[bytes]:
    for line in raw:
        yield line.removesuffix(b"\n").removesuffix(b"\r")


def _parsed(line: str, field: str, where: str) -> Record:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: not JSON ({error})") from None
    if isinstance(value, str):
        return Record(value)
    text = value.get(field) if isinstance(value, dict) else None
    if not isinstance(text, str):
        held = sorted(value) if isinstance(value, dict) else type(value).__name__
        raise InputError(f"{where}: no text under {field!r} (it holds {held}); name the field with --field")
    return Record(text, value)
