"""Where results are written: a file that appears under its name only when it is whole, or a stream."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from typing import IO, TYPE_CHECKING, Protocol, TypeVar

from ..errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Finishing", "Lines", "opened"]

_PART_NAME = 50  # characters of a file's name that its temporary file bears; names have at most 255 bytes


class Finishing(Protocol):
    """A writer that knows when all was written."""

    def finish(self) -> None:
        """Complete what was written."""


class Lines:
    """Writes text, and lets whoever reads a stream see it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, text: str) -> None:
        """Write text with its line feeds."""
        self._file.write(text.encode())
        self._file.flush()

    def finish(self) -> None:
        """Do nothing more: all is written."""


W = TypeVar("W", bound=Finishing)


@contextlib.contextmanager
def opened(path: str, writer: Callable[[IO[bytes]], W], seeks: bool = False) -> Iterator[W]:
    """Open a writer for a file, or for standard output where `path` is `-`.

    A regular file is replaced at the end of the context, if nothing was raised in it; else it is left as it was.

    Args:
        path: a file, a pipe, a device, or `-`.
        writer: makes the writer of an open file.
        seeks: the writer goes back in its file, so what goes to a pipe must be gathered first.

    Raises:
        InputError: if the path ends in no file's name.
        OSError: if the file cannot be written.
    """
    if path == "-" or (os.path.exists(path) and not os.path.isfile(path)):  # pipes and devices cannot be renamed to
        with contextlib.ExitStack() as stack:
            target = sys.stdout.buffer if path == "-" else stack.enter_context(open(path, "wb"))
            if seeks:
                spool = stack.enter_context(tempfile.TemporaryFile())
                yield from _written(spool, writer)
                spool.seek(0)
                shutil.copyfileobj(spool, target)
            else:
                yield from _written(target, writer)
            target.flush()
        return
    if not os.path.basename(path):
        raise InputError(f"{path!r} names no file to write to; pass a file, or - for standard output")
    folder, name = os.path.split(os.path.abspath(path))
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{name[:_PART_NAME]}.", suffix=".part", dir=folder)
    except OSError as error:  # the user knows nothing of the temporary file
        raise type(error)(error.errno, f"cannot be written ({error.strerror}); check the folder", path) from None
    try:
        with open(descriptor, "w+b") as file:
            yield from _written(file, writer)
        os.chmod(temporary, _default_mode())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _written(file: IO[bytes], writer: Callable[[IO[bytes]], W]) -> Iterator[W]:
    made = writer(file)
    yield made
    made.finish()


def _default_mode() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
