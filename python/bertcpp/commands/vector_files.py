"""Vectors to files and streams, block by block: NumPy's format, JSON lines, plain numbers, or a glance for people."""

from __future__ import annotations

import os
import struct
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from .result_files import free_name, json_bytes, merged
from .terminal import printable, shortened

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from .record_files import Record

__all__ = ["FORMATS", "JsonLines", "Npy", "Parquet", "Plain", "Preview", "Writer"]

_NPY_HEADER_BYTES = 128  # room for any shape, so that the number of rows can be filled in at the end
_PREVIEW_NUMBERS = 6
_PREVIEW_TEXT = 72


class Writer:
    """Takes blocks of vectors `[b, D]` with their texts."""

    seeks = False  # whether it goes back in its file

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, records: Sequence[Record], vectors: NDArray[Any]) -> None:
        """Write `vectors` `[b, D]`, one for each record."""
        raise NotImplementedError

    def finish(self) -> None:
        """Complete what was written."""


class Npy(Writer):
    """NumPy's `.npy`: one array `[n, D]`; n is filled in at the end."""

    seeks = True

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file)
        self._rows, self._width, self._dtype = 0, 0, np.dtype(np.float32)
        file.write(self._header())

    def _header(self) -> bytes:
        shape = (self._rows, self._width)
        fields = f"{{'descr': {self._dtype.str!r}, 'fortran_order': False, 'shape': {shape}, }}"
        text = fields.encode("latin-1").ljust(_NPY_HEADER_BYTES - 11) + b"\n"
        return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text

    def write(self, records: Sequence[Record], vectors: NDArray[Any]) -> None:
        """Write `vectors` `[b, D]`."""
        self._rows, self._width, self._dtype = self._rows + len(vectors), vectors.shape[1], vectors.dtype
        self._file.write(np.ascontiguousarray(vectors).data)

    def finish(self) -> None:
        """Fill in the number of rows."""
        self._file.seek(0)
        self._file.write(self._header())
        self._file.seek(0, os.SEEK_END)


class JsonLines(Writer):
    """One JSON object a line: what the input line held, or the text, and `embedding`, a list of numbers."""

    def write(self, records: Sequence[Record], vectors: NDArray[Any]) -> None:
        """Write a line for each record."""
        for record, numbers in zip(records, _numbers(vectors), strict=True):
            fields = {"text": record.text} if record.fields is None else record.fields
            head = json_bytes(fields)[:-1]
            separator = ", " if fields else ""
            name = free_name("embedding", fields)
            self._file.write(head + f'{separator}"{name}": [{", ".join(numbers)}]}}\n'.encode())


class Parquet(Writer):
    """The columns of the input, or the text, and `embedding`, a list of numbers; needs pyarrow."""

    def __init__(self, file: IO[bytes]) -> None:
        from .parquet_file import ParquetRows

        super().__init__(file)
        self._rows = ParquetRows(file)

    def write(self, records: Sequence[Record], vectors: NDArray[Any]) -> None:
        """Write a row group, with numbers of the vectors' own type."""
        names = ("text", "text_pair")
        rows = (merged(record, {"embedding": row}, names) for record, row in zip(records, vectors, strict=True))
        self._rows.write(list(rows))

    def finish(self) -> None:
        """Write the table of contents."""
        self._rows.finish()


class Plain(Writer):
    """One vector a line, numbers between spaces, as `numpy.loadtxt` reads it."""

    def write(self, records: Sequence[Record], vectors: NDArray[Any]) -> None:
        """Write a line for each vector."""
        self._file.writelines(f"{' '.join(numbers)}\n".encode() for numbers in _numbers(vectors))


class Preview(Writer):
    """A glance for people: the text, how many numbers its vector has, its length and the first of them."""

    def write(self, records: Sequence[Record], vectors: NDArray[Any]) -> None:
        """Write two lines for each record."""
        for record, vector in zip(records, vectors, strict=True):
            text = shortened(printable(record.text), _PREVIEW_TEXT)
            shown = "  ".join(
                f"{value:.4f}" if vector.dtype.kind == "f" else str(value)
                for value in vector[:_PREVIEW_NUMBERS].tolist()
            )
            more = "  ..." if len(vector) > _PREVIEW_NUMBERS else ""
            length = np.sqrt(np.sum(np.square(vector.astype(np.float64))))
            self._file.write(f"{text}\n  {len(vector)} numbers of length {length:.3f}:  {shown}{more}\n".encode())


FORMATS: dict[str, type[Writer]] = {
    "npy": Npy,
    "jsonl": JsonLines,
    "parquet": Parquet,
    "plain": Plain,
    "preview": Preview,
}


def _numbers(vectors: NDArray[Any]) -> Iterator[list[str]]:
    # Nine digits bring every float32 back.
    for row in vectors.tolist():
        yield [f"{value:.9g}" for value in row] if vectors.dtype.kind == "f" else [str(value) for value in row]
