"""The `bertcpp` command: parse the line, run one of `commands`, turn what goes wrong into a line and an exit code."""

from __future__ import annotations

import argparse
import contextlib
import errno
import io
import logging
import os
import signal
import sys
import threading
import warnings
from typing import TYPE_CHECKING, NoReturn

from .commands import (
    answer,
    bench,
    classify,
    convert,
    embed,
    fill_mask,
    info,
    ner,
    prune,
    quantize,
    rerank,
    similarity,
    summarize,
    trim,
)
from .commands.options import Parser
from .commands.wording import in_options
from .errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .commands.options import Command

# Nothing heavy is imported until it is known what to do: help and mistakes answer at once.

__all__ = ["COMMANDS", "main"]

_TASKS = (embed, similarity, classify, ner, answer, fill_mask, rerank, summarize)
_CHECKPOINTS = (info, convert, quantize, prune, trim, bench)
COMMANDS: tuple[Command, ...] = tuple(module.COMMAND for module in (*_TASKS, *_CHECKPOINTS))

_EPILOG = """\
examples:
  bertcpp embed "A cat sits outside." "A dog plays."         two texts, a glance at their vectors
  bertcpp embed --file texts.txt --output vectors.npy        one text a line, to a NumPy array
  cat texts.txt | bertcpp embed --output - --format jsonl    from a stream to a stream
  bertcpp info all-MiniLM-L6-v2                              what this checkpoint is
  bertcpp info                                               processor, instruction set, threads

`bertcpp COMMAND --help` tells more. A model is a folder, a hub name, or an installed package that carries one.
"""


# What says, without a name, that a file or a stream takes no more.
_NOT_WRITTEN = frozenset({errno.EBADF, errno.EDQUOT, errno.EFBIG, errno.ENOSPC})


class _Version(argparse.Action):
    """Prints the version, which is looked up only then."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object, **__: object) -> NoReturn:
        from bertcpp import __version__

        print(f"bertcpp {__version__}")
        parser.exit()


def _parser() -> tuple[Parser, dict[str, Parser]]:
    """Return the parser, and that of each command."""
    raw = argparse.RawDescriptionHelpFormatter
    about = "Run BERT-family encoders on the CPU: from text to vectors, labels and answers."
    parser = Parser(prog="bertcpp", description=about, epilog=_EPILOG, formatter_class=raw)
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    parsers = {}
    for command in COMMANDS:
        own = subparsers.add_parser(command.name, help=command.about, epilog=command.epilog, formatter_class=raw)
        command.configure(own)
        own.set_defaults(run=command.run)
        parsers[command.name] = own
    return parser, parsers


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0, 1 for an error, 2 for a mistake in the arguments, 130 for Ctrl-C.

    Args:
        arguments: without the program's name; None takes the process's.

    Example:
        >>> from bertcpp.cli import main
        >>> main(["info", "/no/such/folder"])
        1
    """
    _replace_closed_streams()
    parser, parsers = _parser()
    try:
        parsed = _parsed(parser, arguments)
    except BrokenPipeError:
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except OSError as error:
        return _failed(_one_line(error))
    finally:
        _close_output()
    own, quiet = parsers[parsed.command], getattr(parsed, "quiet", False)
    log, notes = logging.getLogger("bertcpp"), _Notes(own, logging.CRITICAL if quiet else logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if quiet else "default")
        warnings.showwarning = lambda message, *_, **__: _warn(in_options(str(message), own))
        log.addHandler(notes)
        try:
            return _guarded(own, parsed)
        finally:
            log.removeHandler(notes)
            _close_output()


def _parsed(parser: Parser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the line, or print the help or version that it asks for and exit.

    Raises:
        OSError: if those cannot be written.
    """
    try:
        return parser.parse_args(arguments)
    except SystemExit:
        sys.stdout.flush()
        raise


class _Notes(logging.Handler):
    """Tells what the library logs as its warnings are told."""

    def __init__(self, parser: Parser, level: int) -> None:
        super().__init__(level)
        self._parser = parser

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        _warn(in_options(record.getMessage(), self._parser))


def _guarded(parser: Parser, arguments: argparse.Namespace) -> int:
    """Run, and turn what goes wrong into one line and an exit code."""
    handles = threading.current_thread() is threading.main_thread()  # no other thread may say what signals do
    before = signal.signal(signal.SIGTERM, _terminated) if handles else None
    try:
        arguments.run(parser, arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read our output has seen enough, as `head` does
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except (OSError, ValueError, RuntimeError, ImportError, MemoryError) as error:
        if arguments.debug:
            raise
        told = _one_line(error)
        # What is wrong with a checkpoint or a configuration is named as their files name it.
        told = in_options(told, parser) if isinstance(error, InputError) or type(error) is ValueError else told
        return _failed(told)
    finally:
        if handles:
            signal.signal(signal.SIGTERM, before)
    return 0


def _replace_closed_streams() -> None:
    """Give standard output and standard error that were closed from outside a file, so that no other takes their place.

    Writing results there is an error then; what is told on standard error is lost, and not written among the results.
    """
    if sys.stdout is None:
        sys.stdout = open(os.open(os.devnull, os.O_RDONLY), "w", encoding="utf-8")  # noqa: SIM115  # as long as we run
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


def _terminated(number: int, frame: object) -> NoReturn:
    sys.exit(128 + number)  # unwinds, so that no half-written file is left


def _one_line(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return str(error) or "out of memory; use a smaller --batch-size or --threads"
    if isinstance(error, OSError) and error.filename and error.strerror:  # Python's own, without its number
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, OSError) and error.errno in _NOT_WRITTEN and error.strerror:
        return f"the output cannot be written: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__


def _failed(message: str) -> int:
    """Tell of an error; its exit code."""
    _tell(f"bertcpp: error: {message}")
    return 1


def _warn(message: str) -> None:
    _tell(f"bertcpp: warning: {message}")


def _tell(line: str) -> None:
    with contextlib.suppress(OSError):  # results do not fail because nobody can be told of them
        print(line, file=sys.stderr, flush=True)


def _close_output() -> None:
    """Leave nothing in standard output's buffer that the interpreter would fail to flush at exit."""
    try:
        sys.stdout.flush()
    except OSError:  # has been told of, but for a reader that left
        with contextlib.suppress(AttributeError, io.UnsupportedOperation):  # a caller's own stream has no descriptor
            output, nowhere = sys.stdout.fileno(), os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, output)
            os.close(nowhere)


if __name__ == "__main__":
    sys.exit(main())
