"""Results to files and streams, block by block: text for people, JSON, JSON lines, CSV, TSV, Parquet."""

from __future__ import annotations

import csv
import io
import json
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from ..errors import InputError
from .terminal import Style, style_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .record_files import Record

__all__ = [
    "FORMATS",
    "SUFFIXES",
    "Presentation",
    "Result",
    "ResultWriter",
    "free_name",
    "json_bytes",
    "merged",
    "result_writer",
]

FORMATS = ("text", "jsonl", "json", "csv", "tsv", "parquet")
SUFFIXES = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".parquet": "parquet",
}
_TAKEN = "predicted_"


class Result(NamedTuple):
    """What a command found out about a record: names and values, as JSON has them."""

    record: Record
    values: dict[str, Any]


class Presentation(NamedTuple):
    """How a command's results look.

    `show` gives a result as lines for people, each with its line feed. `rows` gives the rows of a table that a result
    becomes, with plain values: one, or one for each thing that was found. `names` are the record's texts as JSON calls
    them where they come from no table; a second text is left out where the record has none.
    """

    show: Callable[[Result, Style], str]
    rows: Callable[[dict[str, Any]], list[dict[str, Any]]] = lambda values: [values]
    names: tuple[str, str] = ("text", "text_pair")


def merged(record: Record, values: dict[str, Any], names: tuple[str, str]) -> dict[str, Any]:
    """Return a record's own fields followed by what was found, which is renamed where a field has its name."""
    if record.fields is not None:
        fields = record.fields
    else:
        fields = {names[0]: record.text} | ({} if record.pair is None else {names[1]: record.pair})
    return fields | {free_name(name, fields): value for name, value in values.items()}


def free_name(name: str, fields: dict[str, Any]) -> str:
    """Return the name that something found goes by, beside fields that keep theirs."""
    while name in fields:
        name = _TAKEN + name
    return name


def json_bytes(value: dict[str, Any]) -> bytes:
    """Return a record as JSON, whatever a table holds: dates as text, and half a character of UTF-16 by its number."""
    return json.dumps(value, ensure_ascii=False, default=str).encode(errors="backslashreplace")


class ResultWriter:
    """Takes blocks of results."""

    def __init__(self, file: IO[bytes], presentation: Presentation) -> None:
        self._file = file
        self._presentation = presentation

    def write(self, results: Sequence[Result]) -> None:
        """Write a block, and let whoever reads a stream see it."""
        raise NotImplementedError

    def finish(self) -> None:
        """Complete what was written."""

    def _merged(self, result: Result) -> dict[str, Any]:
        return merged(result.record, result.values, self._presentation.names)

    def _flat(self, result: Result) -> list[dict[str, Any]]:
        rows = self._presentation.rows(result.values)
        return [merged(result.record, row, self._presentation.names) for row in rows]


class Text(ResultWriter):
    """For people."""

    def __init__(self, file: IO[bytes], presentation: Presentation) -> None:
        super().__init__(file, presentation)
        self._style = style_of(file)

    def write(self, results: Sequence[Result]) -> None:
        """Write what the command shows of each."""
        for result in results:
            self._file.write(self._presentation.show(result, self._style).encode())
        self._file.flush()


class JsonLines(ResultWriter):
    """One object a line: what the input held, and what was found."""

    def write(self, results: Sequence[Result]) -> None:
        """Write a line for each."""
        self._file.writelines(json_bytes(self._merged(result)) + b"\n" for result in results)
        self._file.flush()


class Json(ResultWriter):
    """One list of such objects."""

    def __init__(self, file: IO[bytes], presentation: Presentation) -> None:
        super().__init__(file, presentation)
        self._before = "[\n"

    def write(self, results: Sequence[Result]) -> None:
        """Write a line for each, and what separates it from the one before."""
        for result in results:
            self._file.write(f"{self._before}  ".encode() + json_bytes(self._merged(result)))
            self._before = ",\n"
        self._file.flush()

    def finish(self) -> None:
        """Close the list."""
        self._file.write(b"[]\n" if self._before == "[\n" else b"\n]\n")


class Table(ResultWriter):
    """CSV, or TSV; the first result tells the names of the columns."""

    delimiter = ","

    def __init__(self, file: IO[bytes], presentation: Presentation) -> None:
        super().__init__(file, presentation)
        self._names: list[str] | None = None

    def write(self, results: Sequence[Result]) -> None:
        """Write the rows of each.

        Raises:
            InputError: if a row has fields that the first had not.
        """
        lines = io.StringIO()
        table = csv.writer(lines, delimiter=self.delimiter, lineterminator="\n")
        for row in (row for result in results for row in self._flat(result)):
            if self._names is None:
                self._names = list(row)
                table.writerow(self._names)
            if strange := [name for name in row if name not in self._names]:
                raise InputError(f"{strange} are no columns of the first row; write JSON lines instead")
            table.writerow([_cell(row.get(name)) for name in self._names])
        self._file.write(lines.getvalue().encode(errors="backslashreplace"))
        self._file.flush()


class TabTable(Table):
    """Cells between tabs."""

    delimiter = "\t"


class Parquet(ResultWriter):
    """Columns with types, lists and all; needs pyarrow."""

    def __init__(self, file: IO[bytes], presentation: Presentation) -> None:
        from .parquet_file import ParquetRows

        super().__init__(file, presentation)
        self._rows = ParquetRows(file)

    def write(self, results: Sequence[Result]) -> None:
        """Write a row group."""
        self._rows.write([self._merged(result) for result in results])

    def finish(self) -> None:
        """Write the table of contents."""
        self._rows.finish()


_WRITERS: dict[str, type[ResultWriter]] = {
    "text": Text,
    "jsonl": JsonLines,
    "json": Json,
    "csv": Table,
    "tsv": TabTable,
    "parquet": Parquet,
}


def result_writer(form: str, presentation: Presentation) -> Callable[[IO[bytes]], ResultWriter]:
    """Return what makes a writer in one of `FORMATS` for an open file."""
    return lambda file: _WRITERS[form](file, presentation)


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, (dict, list)) else value
