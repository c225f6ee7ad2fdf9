"""Records from files and streams: lines of text, CSV, TSV, JSON lines, Parquet; read as they are consumed."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import shutil
import sys
import tempfile
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from ..errors import InputError, MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Columns", "Record", "open_binary", "read_records", "read_whole"]

_PARQUET_ROWS = 1024
_DEFAULT_COLUMN = "text"
# A cell of CSV may be a whole document; the default of the csv module is 128 KiB.
_LONGEST_CELL = 1 << 30


class Record(NamedTuple):
    """A text, the row or JSON object that it came in, if it did, and a second text, if one was asked for."""

    text: str
    fields: dict[str, Any] | None = None
    pair: str | None = None


class Columns(NamedTuple):
    """The names of the columns or JSON fields of a record's text and of its second text; None: not named."""

    text: str | None = None
    pair: str | None = None


def read_records(path: str, form: str, columns: Columns, header: bool = True) -> Iterator[Record]:
    """Yield the records of a file, or of standard input for `-`.

    Of a file of lines every line counts, empty ones too, so that text n belongs to line n. Of a table the column of the
    text is the one that is named, or else `text`, or else its only one.

    Args:
        path: a file; of UTF-8 text unless `form` is `parquet`.
        form: `lines`, `csv`, `tsv`, `jsonl` (one object a line, or one string) or `parquet`.
        columns: where a record's texts are.
        header: the first line of CSV and TSV names the columns; else they are called 1, 2 ...

    Raises:
        InputError: if the file is not what `form` says, or lacks a column.
        MissingDependencyError: if it is Parquet and pyarrow is not installed.
        OSError: if the file cannot be read.
    """
    name = "standard input" if path == "-" else path
    with open_binary(path) as raw:
        if form == "parquet":
            yield from _from_parquet(raw, name, columns)
        elif form in ("csv", "tsv"):
            yield from _from_table(raw, name, columns, "," if form == "csv" else "\t", header)
        elif form == "jsonl":
            for number, line in _lines(raw, name):
                if not line.isspace():  # an empty line, which many files end with
                    yield _from_json(line, f"{name}, line {number}", columns)
        else:
            if columns != Columns():
                raise InputError(f"{name}: lines of text have no columns; name the format with --input-format")
            for _, line in _lines(raw, name):
                yield Record(line.removesuffix("\n").removesuffix("\r"))


def read_whole(path: str) -> str:
    """Return all of a file of UTF-8 text, or of standard input for `-`.

    Raises:
        InputError: if it is not UTF-8.
        OSError: if it cannot be read.
    """
    with open_binary(path) as raw:
        return "".join(line for _, line in _lines(raw, "standard input" if path == "-" else path))


@contextlib.contextmanager
def open_binary(path: str) -> Iterator[IO[bytes]]:
    """Open a file, or standard input for `-`, to read its bytes."""
    if path == "-":
        if sys.stdin is None:
            raise InputError("standard input is closed; name a file, or give the command something to read")
        _check_standard_input()
        yield sys.stdin.buffer
    else:
        with open(path, "rb") as file:
            yield file


def _check_standard_input() -> None:
    try:
        os.read(sys.stdin.fileno(), 0)
    except io.UnsupportedOperation:  # not a file
        return
    except OSError as error:  # which does not say what cannot be read
        raise OSError(error.errno, error.strerror, "standard input") from None


def _lines(raw: IO[bytes], name: str) -> Iterator[tuple[int, str]]:
    """Yield (number, line) with what ends the line; numbers start at 1."""
    for number, line in enumerate(raw, start=1):
        try:
            yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise InputError(
                f"{name}, line {number}: not UTF-8 ({error.reason} at byte {error.start}); convert it first"
            ) from None


def _from_json(line: str, where: str, columns: Columns) -> Record:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: not JSON ({error})") from None
    if isinstance(value, str) and columns.pair is None:
        return Record(value)
    if not isinstance(value, dict):
        raise InputError(
            f"{where}: no text under {columns.text or _DEFAULT_COLUMN!r} (it holds {type(value).__name__})"
        )
    return _record(value, where, Columns(columns.text or _DEFAULT_COLUMN, columns.pair))


def _record(fields: dict[str, Any], where: str, columns: Columns) -> Record:
    """Take the texts out of a row."""

    def text(column: str, option: str) -> str:
        value = fields.get(column)
        if isinstance(value, str):
            return value
        held = f"{type(value).__name__} there" if column in fields else f"it holds {list(map(str, fields))}"
        raise InputError(f"{where}: no text under {column!r} ({held}); name another with {option}")

    assert columns.text is not None
    pair = None if columns.pair is None else text(columns.pair, "--pair-column")
    return Record(text(columns.text, "--column"), fields, pair)


def _checked(columns: Columns, names: list[str], name: str) -> Columns:
    """Return the columns with a text column chosen, if they are among a table's names."""
    if len(set(names)) < len(names):
        twice = next(column for column in names if names.count(column) > 1)
        raise InputError(f"{name}: two columns are called {twice!r}; rename one")
    text = columns.text
    if text is None:
        free = [column for column in names if column != columns.pair]
        text = _DEFAULT_COLUMN if _DEFAULT_COLUMN in free else free[0] if len(free) == 1 else None
        if text is None:
            raise InputError(f"{name}: which of its columns {names} holds the text? Name it with --column")
    for column, option in ((text, "--column"), (columns.pair, "--pair-column")):
        if column is not None and column not in names:
            raise InputError(f"{name}: no column {column!r} among {names}; name another with {option}")
    return Columns(text, columns.pair)


def _from_table(raw: IO[bytes], name: str, columns: Columns, delimiter: str, header: bool) -> Iterator[Record]:
    csv.field_size_limit(_LONGEST_CELL)
    # Quotes are quotes in TSV too, as csv.writer and spreadsheets write them.
    rows = csv.reader((line for _, line in _lines(raw, name)), delimiter=delimiter, strict=True)
    names: list[str] | None = None
    try:
        for row in rows:
            if not row:  # an empty line
                continue
            if names is None:
                names = row if header else [str(number) for number in range(1, len(row) + 1)]
                columns = _checked(columns, names, name)
                if header:
                    continue
            where = f"{name}, line {rows.line_num}"
            if len(row) != len(names):
                raise InputError(f"{where}: {len(row)} cells where there are {len(names)} columns {names}")
            yield _record(dict(zip(names, row, strict=True)), where, columns)
    except csv.Error as error:
        where = f"{name}, line {rows.line_num}"
        raise InputError(f"{where}: {error}; if it is of another format, name it with --input-format") from None


def _from_parquet(raw: IO[bytes], name: str, columns: Columns) -> Iterator[Record]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingDependencyError("reading Parquet needs pyarrow: pip install 'bertcpp[parquet]'") from None
    with contextlib.ExitStack() as stack:
        if not raw.seekable():  # its table of contents is at the end
            spool = stack.enter_context(tempfile.TemporaryFile())
            shutil.copyfileobj(raw, spool)
            raw = spool
        try:
            table = stack.enter_context(pyarrow.parquet.ParquetFile(raw))
            columns = _checked(columns, list(table.schema_arrow.names), name)
            number = 0
            for batch in table.iter_batches(batch_size=_PARQUET_ROWS):
                for fields in batch.to_pylist():
                    number += 1
                    yield _record(fields, f"{name}, row {number}", columns)
        except pyarrow.ArrowException as error:
            raise InputError(f"{name}: not Parquet, or damaged ({' '.join(str(error).split())})") from None
