"""Vectors to files and streams, block by block: NumPy's format, JSON lines, plain numbers, or a glance for people.

A file appears under its name only when it is whole: it is written beside it and renamed at the end.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import struct
import sys
import tempfile
from typing import IO, TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from .text_files import Record

__all__ = ["FORMATS", "JsonLines", "Npy", "Plain", "Preview", "Writer", "opened"]

_NPY_HEADER_BYTES = 128  # room for any shape, so that the number of rows can be filled in at the end
_PREVIEW_NUMBERS = 6
_PART_NAME = 50  # characters of a file's name that its temporary file bears; names have at most 255 bytes
_PREVIEW_TEXT = 72


class Writer:
    """Takes blocks of vectors `[b, D]` with their texts."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, records: Sequence[Record], vectors: NDArray[Any]) -> None:
        """Write `vectors` `[b, D]`, one for each record."""
        raise NotImplementedError

    def finish(self) -> None:
        """Complete what was written."""


class Npy(Writer):
    """NumPy's `.npy`: one array `[n, D]`; n is filled in at the end."""

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
            head = json.dumps(fields, ensure_ascii=False)[:-1]
            separator = ", " if fields else ""
            self._file.write(f'{head}{separator}"embedding": [{", ".join(numbers)}]}}\n'.encode())


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
            text = record.text if len(record.text) <= _PREVIEW_TEXT else record.text[: _PREVIEW_TEXT - 3] + "..."
            shown = "  ".join(
                f"{value:.4f}" if vector.dtype.kind == "f" else str(value)
                for value in vector[:_PREVIEW_NUMBERS].tolist()
            )
            more = "  ..." if len(vector) > _PREVIEW_NUMBERS else ""
            length = np.sqrt(np.sum(np.square(vector.astype(np.float64))))
            self._file.write(f"{text}\n  {len(vector)} numbers of length {length:.3f}:  {shown}{more}\n".encode())


FORMATS: dict[str, type[Writer]] = {"npy": Npy, "jsonl": JsonLines, "plain": Plain, "preview": Preview}


def _numbers(vectors: NDArray[Any]) -> Iterator[list[str]]:
    # Nine digits bring every float32 back.
    for row in vectors.tolist():
        yield [f"{value:.9g}" for value in row] if vectors.dtype.kind == "f" else [str(value) for value in row]


@contextlib.contextmanager
def opened(path: str, form: str) -> Iterator[Writer]:
    """Open a writer of one of `FORMATS` for a file, or for standard output where `path` is `-`.

    A regular file is replaced at the end of the context, if nothing was raised in it; else it is left as it was.

    Raises:
        OSError: if the file cannot be written.
    """
    if path == "-" or (os.path.exists(path) and not os.path.isfile(path)):  # pipes and devices cannot be renamed to
        with contextlib.ExitStack() as stack:
            target = sys.stdout.buffer if path == "-" else stack.enter_context(open(path, "wb"))
            if form == "npy":  # its header is written last
                spool = stack.enter_context(tempfile.TemporaryFile())
                yield from _written(spool, form)
                spool.seek(0)
                shutil.copyfileobj(spool, target)
            else:
                yield from _written(target, form)
            target.flush()
        return
    folder, name = os.path.split(os.path.abspath(path))
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{name[:_PART_NAME]}.", suffix=".part", dir=folder)
    except OSError as error:  # the user knows nothing of the temporary file
        raise type(error)(error.errno, f"cannot be written ({error.strerror}); check the folder", path) from None
    try:
        with open(descriptor, "w+b") as file:
            yield from _written(file, form)
        os.chmod(temporary, _default_mode())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _written(file: IO[bytes], form: str) -> Iterator[Writer]:
    writer = FORMATS[form](file)
    yield writer
    writer.finish()


def _default_mode() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
