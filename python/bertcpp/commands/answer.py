"""`bertcpp answer`: questions, answered by spans of a context."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import options
from .options import Command
from .record_files import Record, read_whole
from .result_files import FORMATS, Presentation, Result
from .streaming import answered, chosen_format, write_results
from .terminal import Style, aligned, cells, printable, shortened

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

__all__ = ["COMMAND"]

_EPILOG = f"""\
where questions and contexts come from:
  --question and --context give one each, --context-file a whole file. What is not given comes from the arguments, or
  from --file, or standard input: several questions of one context, or one question of several contexts. A table has
  both in the columns "question" and "context", or those that --question-column and --context-column name.
  Contexts of any length are read in overlapping windows.

what comes out:
  "answer", its "score", and "start" and "end", which count characters of the context; with --top-k N a list of
  "answers". An empty answer, where --impossible allows it, says that the context has none.
{options.OUTPUT_HELP}
examples:
  bertcpp answer -m ./my-squad-model --question "Where did she live?" --context "Ada lived in London."
  bertcpp answer -m ./my-squad-model --context-file letter.txt "Who wrote this?" "When?"
  bertcpp answer -m ./my-squad-model --question "Where?" --file paragraphs.txt --top-k 3
  bertcpp answer -m ./my-squad-model --file questions.jsonl --output answers.jsonl
"""


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.description = "Answer questions with spans of a context."
    group = options.add_input(parser, "text", columns=False)
    group.add_argument("--question", metavar="TEXT", help="the question; contexts are read")
    context = group.add_mutually_exclusive_group()
    context.add_argument("--context", metavar="TEXT", help="the context; questions are read")
    context.add_argument("--context-file", metavar="FILE", help="a file that is the context; - is standard input")
    group.add_argument("--question-column", metavar="NAME", help='default: "question"')
    group.add_argument("--context-column", metavar="NAME", help='default: "context"')
    options.add_output(parser, FORMATS)
    answers = parser.add_argument_group("answers")
    answers.add_argument("--top-k", type=options.positive, metavar="N", help="the best N answers")
    answers.add_argument("--max-answer-len", type=options.positive, metavar="N", help="tokens at most (default: 15)")
    answers.add_argument("--window", type=options.positive, metavar="N", help="tokens of a window (default: 384)")
    answers.add_argument("--stride", type=options.positive, metavar="N", help="tokens windows share (default: 128)")
    answers.add_argument("--impossible", action="store_true", help="let an answer be empty")
    options.add_model(parser, None)
    options.add_running(parser)


def _run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    whole = arguments.context is not None or arguments.context_file is not None
    if arguments.question is not None and whole:
        if arguments.texts or arguments.file:
            parser.error("question and context are given; there is nothing to read")
    else:
        options.check_input(parser, arguments, "contexts" if arguments.question is not None else "questions")
        if arguments.texts and not whole and arguments.question is None:
            parser.error("questions need a context: --context, --context-file, or a table by --file")
        if arguments.context_file == "-" and arguments.file == "-":
            parser.error("the context and the questions cannot both be standard input")
    form = chosen_format(parser, arguments)
    write_results(arguments, form, Presentation(_shown, _rows, ("question", "context")), _results(arguments))


def _results(arguments: argparse.Namespace) -> Iterator[Result]:
    records = _records(arguments)
    task = options.loaded_task("question-answering", arguments)
    wanted = {
        "top_k": arguments.top_k or 1,
        "max_answer_len": arguments.max_answer_len,
        "max_seq_len": arguments.window,
        "doc_stride": arguments.stride,
        "handle_impossible_answer": arguments.impossible,
    }
    keywords = {name: value for name, value in wanted.items() if value is not None}
    for record, answer in answered(task, records, _input, arguments, **keywords):
        answers = answer if isinstance(answer, list) else [answer]
        yield Result(record, {"answers": answers} if arguments.top_k else answers[0])


def _input(record: Record) -> dict[str, Any]:
    return {"question": record.text, "context": record.pair}


def _records(arguments: argparse.Namespace) -> Iterator[Record]:
    """Return records of a question and its context."""
    context = arguments.context if arguments.context_file is None else read_whole(arguments.context_file)
    question = arguments.question
    if question is not None and context is not None:
        return iter([Record(question, None, context)])
    if context is not None:
        arguments.column = arguments.question_column
        return (Record(one.text, one.fields, context) for one in options.input_records(arguments))
    if question is not None:
        arguments.column = arguments.context_column
        return (Record(question, one.fields, one.text) for one in options.input_records(arguments))
    arguments.column = arguments.question_column or "question"
    return options.input_records(arguments, arguments.context_column or "context")


def _rows(values: dict[str, Any]) -> list[dict[str, Any]]:
    if "answers" not in values:
        return [values]
    return [{"rank": rank, **answer} for rank, answer in enumerate(values["answers"], start=1)]


def _shown(result: Result, style: Style) -> str:
    lines = [style.paint(shortened(printable(result.record.text), style.width), "bold")]
    answers = result.values.get("answers", [result.values])
    width = min(40, max((cells(printable(answer["answer"])) for answer in answers), default=0))
    for answer in answers:
        text = shortened(printable(answer["answer"]), width) if answer["answer"] else "-"
        room = style.width - width - 12
        lines.append(
            f"  {answer['score']:.3f}  {style.paint(aligned(text, width), 'green')}  "
            f"{_around(printable(result.record.pair or ''), answer, room)}".rstrip()
        )
    return "\n".join(lines) + "\n"


def _around(context: str, answer: dict[str, Any], room: int) -> str:
    """Return the answer in brackets among the words around it."""
    start, end = answer["start"], answer["end"]
    if not answer["answer"] or room < 20:
        return ""
    sides = max(0, room - (end - start) - 8) // 2
    first, last = max(0, start - sides), min(len(context), end + sides)
    before = ("..." if first else "") + context[first:start]
    after = context[end:last] + ("..." if last < len(context) else "")
    return f"{before}[{context[start:end]}]{after}"


COMMAND = Command("answer", "answer questions from a context", _EPILOG, _configure, _run)
