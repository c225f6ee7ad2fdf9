"""`bertcpp summarize`: the sentences of a text that say most of it."""

from __future__ import annotations

import argparse
import textwrap
from typing import TYPE_CHECKING, Any

from . import options
from .options import Command
from .record_files import Record, read_whole
from .result_files import FORMATS, Presentation, Result
from .streaming import answered, chosen_format, write_results
from .terminal import Style, printable

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["COMMAND"]

_EPILOG = f"""\
where texts come from:
  each argument is a text, and so is a whole file, or all of standard input. With --lines each line is one, and tables
  and JSON lines have one in each row.

what comes out:
  "summary_text", and "sentences", a list of text, start, end and score. No word is made up: sentences are chosen for
  what they say of the whole and for what others do not say already, and stay in the text's order.
{options.OUTPUT_HELP}
examples:
  bertcpp summarize --file article.txt
  bertcpp summarize --file article.txt --ratio 0.2 --diversity 0.5 --json
  bertcpp summarize --file articles.jsonl --column body --sentences 2 --output summaries.jsonl
  cat article.txt | bertcpp summarize --sentences 1
"""

_LONGEST_LINE = 100


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return value


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.description = "Summarize texts by their own sentences."
    group = options.add_input(parser)
    group.add_argument("--lines", action="store_true", help="each line is a text of its own")
    options.add_output(parser, FORMATS)
    summary = parser.add_argument_group("summary")
    length = summary.add_mutually_exclusive_group()
    length.add_argument("--sentences", type=options.positive, metavar="N", help="how many (default: 3)")
    length.add_argument("--ratio", type=_share, metavar="R", help="which share of the sentences, such as 0.2")
    summary.add_argument("--max-tokens", type=options.positive, metavar="N", help="tokens that they have together")
    summary.add_argument("--diversity", type=_share, metavar="D", help="0: relevance alone, 1: novelty (default: 0.3)")
    options.add_model(parser)
    options.add_running(parser)


def _run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    options.check_input(parser, arguments)
    if arguments.lines:
        if arguments.texts or arguments.column:
            parser.error("--lines is for text from --file or standard input")
        arguments.input_format = "lines"
    form = chosen_format(parser, arguments)
    write_results(arguments, form, Presentation(_shown, _rows), _results(arguments))


def _results(arguments: argparse.Namespace) -> Iterator[Result]:
    if arguments.texts or arguments.input_format or options.input_format(arguments) != "lines":
        records = options.input_records(arguments)
    else:
        records = iter([Record(read_whole(arguments.file))])
    task = options.loaded_task("summarization", arguments)
    wanted = {
        "num_sentences": arguments.sentences,
        "ratio": arguments.ratio,
        "max_length": arguments.max_tokens,
        "diversity": arguments.diversity,
    }
    keywords: dict[str, Any] = {name: value for name, value in wanted.items() if value is not None}
    for record, answer in answered(
        task, records, lambda record: record.text, arguments, return_sentences=True, **keywords
    ):
        yield Result(record, answer)


def _rows(values: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"summary_text": values["summary_text"]}]


def _shown(result: Result, style: Style) -> str:
    text = printable(result.values["summary_text"])
    return textwrap.fill(text, min(style.width, _LONGEST_LINE), break_on_hyphens=False) + "\n"


COMMAND = Command("summarize", "summarize texts by their own sentences", _EPILOG, _configure, _run)
