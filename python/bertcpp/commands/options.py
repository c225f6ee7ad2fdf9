"""What the commands share: how one is declared, the options that several have, and the checks of those."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from _typeshed import SupportsWrite

    from .record_files import Record
    from .terminal import Style

__all__ = [
    "DEFAULT_MODEL",
    "OUTPUT_HELP",
    "Command",
    "Parser",
    "add_input",
    "add_limits",
    "add_model",
    "add_output",
    "add_running",
    "check_input",
    "input_format",
    "input_records",
    "limit_of",
    "loaded_task",
    "model_arguments",
    "opened_text",
    "output_format",
    "positive",
    "set_limit",
    "show_progress",
    "style_of_output",
]

DEFAULT_MODEL = "all-MiniLM-L6-v2"

INPUT_FORMATS = ("lines", "csv", "tsv", "jsonl", "parquet")
_FORMAT_OF_SUFFIX = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}


_COMMAND_OF_HEAD = {
    "ForSequenceClassification": "classify",
    "ForTokenClassification": "ner",
    "ForQuestionAnswering": "answer",
    "ForMaskedLM": "fill-mask",
}
# What `--help` says of the formats that results are written in.
OUTPUT_HELP = """\
  --output FILE; the name tells the format (.jsonl, .json, .csv, .tsv, .parquet, else text), or --format does. Without
  it, text on a terminal and JSON lines elsewhere. The columns of a table that was read are kept; what would replace
  one is called predicted_... instead.
"""


class Command(NamedTuple):
    """A command: its name, a line of help, what `--help` ends with, its options and what it does."""

    name: str
    about: str
    epilog: str
    configure: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.ArgumentParser, argparse.Namespace], None]


class Parser(argparse.ArgumentParser):
    """Complains in one line."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and where help is; exit with 2."""
        self.exit(2, f"{self.prog}: error: {message}; see `{self.prog} --help`\n")

    def print_help(self, file: SupportsWrite[str] | None = None) -> None:
        """Print it; argparse's own is silent where it cannot be written.

        Raises:
            OSError: if it cannot.
        """
        print(self.format_help(), end="", file=file)


def positive(text: str) -> int:
    """Return the whole number above 0 that an option's text is."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive whole number")
    return int(text)


def positive_number(text: str) -> float:
    """Return the number above 0, and below ten thousand, that an option's text is."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e4:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return value


def add_model(parser: argparse.ArgumentParser, default: str | None = DEFAULT_MODEL) -> None:
    """Add the options that choose a checkpoint and how it is computed; `model_arguments` reads them."""
    group = parser.add_argument_group("model")
    told = "a folder, a hub name, or an installed package" + ("" if default is None else " (default: %(default)s)")
    group.add_argument("-m", "--model", default=default, required=default is None, help=told)
    group.add_argument("--threads", "--num-threads", type=positive, metavar="N", help="default: all that may be used")
    group.add_argument(
        "--dtype",
        choices=("float32", "bfloat16", "int8", "float16", "tf32", "auto"),
        help="to compute in: float32 (default), bfloat16, int8, or auto: the fastest here; on GPUs also float16, tf32",
    )
    group.add_argument(
        "--device", metavar="DEVICE", help="cpu (default), cuda, cuda:1 ..., or auto: a GPU if one works"
    )


def model_arguments(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the keywords for loading that the options of `add_model` stand for, `--model` left out."""
    chosen: dict[str, Any] = {"num_threads": arguments.threads, "device": arguments.device}
    return chosen if arguments.dtype is None else {**chosen, "model_kwargs": {"dtype": arguments.dtype}}


def loaded_task(name: str, arguments: argparse.Namespace) -> Any:
    """Return a task over the checkpoint that the options of `add_model` choose.

    Raises:
        InputError: if it was trained for another task; heads of several tasks have tensors of the same names.
    """
    from ..errors import InputError
    from ..tasks import pipeline

    task = pipeline(name, model=arguments.model, batch_size=arguments.batch_size, **model_arguments(arguments))
    wanted = _COMMAND_OF_HEAD.get(task.head)
    trained = getattr(task.model.config, "architectures", None) if wanted else None
    for architecture in map(str, trained or ()):
        for head, command in _COMMAND_OF_HEAD.items():
            if architecture.endswith(head) and command != wanted:
                raise InputError(f"{arguments.model} is a {architecture}, made for `bertcpp {command}`")
    return task


def limit_of(task: Any, arguments: argparse.Namespace) -> int | None:
    """Return how many tokens a text may have: what --max-length says, the tokenizer, or the model's positions."""
    limits = [getattr(arguments, "max_length", None), task.tokenizer.model_max_length, task._max_length]
    return min((int(limit) for limit in limits if limit is not None), default=None)


def set_limit(model: Any, arguments: argparse.Namespace) -> None:
    """Let a model cut texts to --max-length, where that is given.

    Raises:
        ValueError: it is more than the model has positions for.
    """
    if arguments.max_length is not None:
        model.max_seq_length = model._checked_length(arguments.max_length, "--max-length")


def add_input(parser: argparse.ArgumentParser, what: str = "text", columns: bool = True) -> Any:
    """Add the texts as arguments, and the options that name a file and a column instead; return their group."""
    parser.add_argument("texts", nargs="*", metavar=what.upper(), help=f"a {what}; or use --file, or standard input")
    group = parser.add_argument_group("input")
    group.add_argument("-f", "--file", metavar="FILE", help=f"read {what}s from FILE; - is standard input")
    group.add_argument("--input-format", choices=INPUT_FORMATS, help="default: by the file's name, else lines")
    if columns:
        group.add_argument(
            "--column", "--text-column", "--field", metavar="NAME", help=f"the column or JSON field of the {what}"
        )
    group.add_argument("--no-header", action="store_true", help="CSV and TSV without names; columns are 1, 2 ...")
    return group


def add_output(parser: argparse.ArgumentParser, formats: tuple[str, ...], told: str = "see below") -> None:
    """Add where results go and how they are written."""
    group = parser.add_argument_group("output")
    group.add_argument("-o", "--output", metavar="FILE", default="-", help="write to FILE (default: standard output)")
    group.add_argument("--format", choices=formats, help=told)
    for form in ("json", "jsonl"):
        if form in formats:
            group.add_argument(
                f"--{form}", action="store_const", const=form, dest="format", help=f"short for --format {form}"
            )


def add_limits(parser: argparse.ArgumentParser, windows: bool = True) -> None:
    """Add what happens to texts that are too long; `windows` where they may be taken in overlapping ones."""
    more, told = (("window",), "refuse, or compute in windows") if windows else ((), "or refuse")
    group = parser.add_argument_group("long texts")
    group.add_argument("--max-length", type=positive, metavar="N", help="tokens that stay of a text")
    group.add_argument(
        "--on-overflow",
        choices=("truncate", "warn", "error", *more),
        default="warn",
        help=f"longer texts: cut silently, cut and say so, {told} (default: %(default)s)",
    )


def add_running(parser: argparse.ArgumentParser, batch_size: int | None = 32) -> None:
    """Add what concerns the run and not its result."""
    group = parser.add_argument_group("running")
    if batch_size is not None:
        group.add_argument(
            "--batch-size", type=positive, default=batch_size, metavar="N", help="bounds memory, not results"
        )
    group.add_argument("-q", "--quiet", action="store_true", help="no progress bar, no warnings")
    group.add_argument("--debug", action="store_true", help="show the traceback of an error")


def check_input(parser: argparse.ArgumentParser, arguments: argparse.Namespace, what: str = "texts") -> None:
    """Check what argparse cannot: that texts come from one place. Without any, they come from standard input."""
    if arguments.texts and arguments.file:
        parser.error(f"{what} were given as arguments and by --file; choose one")
    if arguments.texts and getattr(arguments, "column", None):
        parser.error("--column is for tables and JSON lines from --file or standard input")
    if not arguments.texts and not arguments.file:
        if sys.stdin is None or sys.stdin.isatty():
            parser.error(f"no {what}: pass them as arguments, with --file, or on standard input")
        arguments.file = "-"


def input_format(arguments: argparse.Namespace) -> str:
    """Return the format of the input file: the one that is named, or its suffix's, or what a column asks for."""
    if arguments.input_format is not None:
        return str(arguments.input_format)
    suffix = "" if arguments.file == "-" else _suffix(arguments.file)
    return _FORMAT_OF_SUFFIX.get(suffix, "jsonl" if getattr(arguments, "column", None) else "lines")


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()


def input_records(arguments: argparse.Namespace, pair_column: str | None = None) -> Iterator[Record]:
    """Return the records that the options of `add_input` ask for, read as they are consumed."""
    from .record_files import Columns, Record, read_records

    if arguments.texts:
        return map(Record, arguments.texts)
    columns = Columns(getattr(arguments, "column", None), pair_column)
    return read_records(arguments.file, input_format(arguments), columns, header=not arguments.no_header)


def output_format(arguments: argparse.Namespace, formats: dict[str, str], people: str, other: str) -> str:
    """Return the format to write: the one that is named, or that of the file's suffix.

    Args:
        arguments: those of `add_output`.
        formats: the format of each suffix, such as `{".npy": "npy"}`.
        people: the format on a terminal.
        other: the format of files with other suffixes; standard output gets JSON lines.
    """
    if arguments.format is not None:
        return str(arguments.format)
    if arguments.output == "-":
        return people if sys.stdout.isatty() else "jsonl"
    return formats.get(_suffix(arguments.output), other)


@contextlib.contextmanager
def opened_text(path: str) -> Iterator[Callable[[str], None]]:
    """Open a file, or standard output for `-`, and give what writes text to it; a file appears when it is whole."""
    from .output_file import Lines, opened

    with opened(path, Lines) as lines:
        yield lines.write


def show_progress(arguments: argparse.Namespace) -> bool | None:
    """Return what `Progress` takes: no bar where it would run through results on the same terminal."""
    return False if arguments.quiet or (arguments.output == "-" and sys.stdout.isatty()) else None


def style_of_output(arguments: argparse.Namespace) -> Style:
    """Return what suits the output: a terminal's colours and width, or none."""
    from .terminal import Style, style_of

    return style_of(sys.stdout) if arguments.output == "-" else Style()
