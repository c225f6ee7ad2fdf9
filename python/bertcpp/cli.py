"""The `bertcpp` command: embed texts, and tell what a checkpoint and this machine are."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import warnings
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# Nothing else is imported until it is known what to do: help and mistakes answer at once.

__all__ = ["main"]

DEFAULT_MODEL = "all-MiniLM-L6-v2"

_EPILOG = """\
examples:
  bertcpp embed "A cat sits outside." "A dog plays."         two texts, a glance at their vectors
  bertcpp embed --file texts.txt --output vectors.npy        one text a line, to a NumPy array
  cat texts.txt | bertcpp embed --output - --format jsonl    from a stream to a stream
  bertcpp info all-MiniLM-L6-v2                              what this checkpoint is
  bertcpp info                                               processor, instruction set, threads

`bertcpp COMMAND --help` tells more. A model is a folder, a hub name, or an installed package that carries one.
"""

_EMBED_EPILOG = """\
where texts come from:
  arguments, or --file (one text a line, empty lines too; `-` is standard input), or standard input.
  JSON lines are read with --field, or from a file named *.jsonl (field "text").

where vectors go:
  --output FILE; the name tells the format (.npy, .jsonl, else plain), or --format does. Files appear whole or not
  at all. Without --output: to standard output, as a preview on a terminal and as JSON lines elsewhere.

  npy      a NumPy array, one row a text           numpy.load("vectors.npy")
  jsonl    one object a line: the input's fields, or "text", and "embedding"
  plain    one vector a line, numbers between spaces
  preview  for people: the text, the length of its vector and the first numbers

examples:
  bertcpp embed "A cat sits outside." "A dog plays."
  bertcpp embed --file texts.txt --output vectors.npy --normalize
  bertcpp embed --file articles.jsonl --field body --output vectors.jsonl
  bertcpp embed --prompt "query: " --format plain "Where is the cat?"
  zcat texts.gz | bertcpp embed --output vectors.npy --precision ubinary --quiet
"""

_INFO_EPILOG = """\
examples:
  bertcpp info                       the processor, the instruction set and threads in use
  bertcpp info all-MiniLM-L6-v2      and the checkpoint: family, sizes, parameters, pooling, files
  bertcpp info ./my-model --json     the same as JSON, for scripts
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line, and where help is; exit with 2."""
        self.exit(2, f"{self.prog}: error: {message}; see `{self.prog} --help`\n")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive whole number")
    return int(text)


class _Version(argparse.Action):
    """Prints the version, which is looked up only then."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object, **__: object) -> NoReturn:
        from bertcpp import __version__

        print(f"bertcpp {__version__}")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    about = "Run BERT-family encoders on the CPU: from text to vectors."
    parser = _Parser(prog="bertcpp", description=about, epilog=_EPILOG, formatter_class=raw)
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_embed(commands.add_parser("embed", help="embed texts", epilog=_EMBED_EPILOG, formatter_class=raw))
    _add_info(commands.add_parser("info", help="tell about a checkpoint", epilog=_INFO_EPILOG, formatter_class=raw))
    return parser


def _add_embed(parser: argparse.ArgumentParser) -> None:
    parser.description = "Embed texts: one vector for each."
    parser.set_defaults(run=_embed)
    parser.add_argument("texts", nargs="*", metavar="TEXT", help="a text to embed")
    sources = parser.add_argument_group("input and output")
    sources.add_argument("-m", "--model", default=DEFAULT_MODEL, help="the checkpoint (default: %(default)s)")
    sources.add_argument("-f", "--file", metavar="FILE", help="read texts from FILE, one a line; - is standard input")
    sources.add_argument("--field", metavar="NAME", help="lines are JSON objects; the text is under NAME")
    sources.add_argument("-o", "--output", metavar="FILE", default="-", help="write to FILE (default: standard output)")
    sources.add_argument("--format", choices=("npy", "jsonl", "plain", "preview"), help="see below")
    vectors = parser.add_argument_group("vectors")
    vectors.add_argument("--normalize", action="store_true", help="bring vectors to length 1")
    vectors.add_argument("--truncate-dim", type=_positive, metavar="N", help="keep the first N dimensions")
    vectors.add_argument(
        "--precision",
        choices=("float32", "int8", "uint8", "binary", "ubinary"),
        default="float32",
        help="int8 and uint8 hold all vectors in memory, to read off their ranges (default: %(default)s)",
    )
    prompts = parser.add_mutually_exclusive_group()
    prompts.add_argument("--prompt", metavar="TEXT", help="put TEXT before each text")
    prompts.add_argument("--prompt-name", metavar="NAME", help="put the model's prompt NAME before each text")
    parser.add_argument("--max-length", type=_positive, metavar="N", help="tokens that stay of a text")
    parser.add_argument(
        "--on-overflow",
        choices=("truncate", "warn", "error"),
        default="warn",
        help="longer texts: cut silently, cut and say so, or refuse (default: %(default)s)",
    )
    running = parser.add_argument_group("running")
    running.add_argument("--batch-size", type=_positive, default=32, metavar="N", help="bounds memory, not results")
    running.add_argument("--threads", type=_positive, metavar="N", help="default: all that the process may use")
    running.add_argument("-q", "--quiet", action="store_true", help="no progress bar, no warnings")
    running.add_argument("--debug", action="store_true", help="show the traceback of an error")


def _add_info(parser: argparse.ArgumentParser) -> None:
    parser.description = "Tell what a checkpoint is, and what it would run on."
    parser.set_defaults(run=_info)
    parser.add_argument("model", nargs="?", metavar="MODEL", help="a folder, a hub name, or an installed package")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")


def _embed(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Check what argparse cannot, then embed."""
    if arguments.texts and arguments.file:
        parser.error("texts were given as arguments and by --file; choose one")
    if arguments.texts and arguments.field:
        parser.error("--field is for JSON lines from --file or standard input")
    if not arguments.texts and not arguments.file:
        if sys.stdin is None or sys.stdin.isatty():
            parser.error("no texts: pass them as arguments, with --file, or on standard input")
        arguments.file = "-"
    if arguments.format is None:
        arguments.format = _format_of(arguments.output)
    if arguments.format == "npy" and arguments.output == "-" and sys.stdout.isatty():
        parser.error("NumPy's format is binary and no sight for a terminal; name a file with --output")
    from .embed_command import embed

    embed(arguments)


def _format_of(output: str) -> str:
    if output == "-":
        return "preview" if sys.stdout.isatty() else "jsonl"
    return {".npy": "npy", ".jsonl": "jsonl"}.get(os.path.splitext(output)[1], "plain")


def _info(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    from .info_command import info

    info(arguments.model, as_json=arguments.json)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0, 1 for an error, 2 for a mistake in the arguments, 130 for Ctrl-C.

    Args:
        arguments: without the program's name; None takes the process's.

    Example:
        >>> from bertcpp.cli import main
        >>> main(["info", "/no/such/folder"])
        1
    """
    parser = _parser()
    parsed = parser.parse_args(arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if getattr(parsed, "quiet", False) else "default")
        warnings.showwarning = _shown
        try:
            return _guarded(lambda: parsed.run(_subparser(parser, parsed.command), parsed), parsed.debug)
        finally:
            _close_output()


def _subparser(parser: argparse.ArgumentParser, command: str) -> argparse.ArgumentParser:
    actions = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    found: argparse.ArgumentParser = actions[0].choices[command]
    return found


def _guarded(run: Callable[[], None], debug: bool) -> int:
    """Run, and turn what goes wrong into one line and an exit code."""
    before = signal.signal(signal.SIGTERM, _terminated)
    try:
        run()
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read our output has seen enough, as `head` does
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except (OSError, ValueError, RuntimeError, ImportError, MemoryError) as error:
        if debug:
            raise
        print(f"bertcpp: error: {_one_line(error)}", file=sys.stderr)
        return 1
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0


def _terminated(number: int, frame: object) -> NoReturn:
    sys.exit(128 + number)  # unwinds, so that no half-written file is left


def _one_line(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return str(error) or "out of memory; use a smaller --batch-size or --threads"
    if isinstance(error, OSError) and error.filename and error.strerror:  # Python's own, without its number
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__


def _shown(message: Warning | str, *_: object, **__: object) -> None:
    print(f"bertcpp: warning: {message}", file=sys.stderr)


def _close_output() -> None:
    """Leave nothing in standard output's buffer that the interpreter would fail to flush at exit."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
