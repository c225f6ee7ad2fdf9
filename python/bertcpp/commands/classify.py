"""`bertcpp classify`: texts, or pairs of texts, by a checkpoint's labels or by the user's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import options
from .options import Command
from .result_files import FORMATS, Presentation, Result
from .streaming import answered, chosen_format, write_results
from .terminal import Style, aligned, bar, cells, printable, shortened

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from .record_files import Record

__all__ = ["COMMAND"]

_EPILOG = f"""\
what comes out:
  the best label of each text and its score, or with --top-k N or --all the best N or all labels.
{options.OUTPUT_HELP}
pairs of texts, as models of inference or of paraphrase take them, come from a table: --pair-column names the second.

labels of your own: --labels "sport,politics" asks a model of natural language inference (one whose labels have
"entailment") which of them fit.

examples:
  bertcpp classify --model ./my-classifier "A film to see twice." "Two hours of my life."
  bertcpp classify -m ./my-classifier --file reviews.csv --column review --output labelled.csv
  bertcpp classify -m ./my-classifier --file pairs.jsonl --column premise --pair-column hypothesis --all --jsonl
  bertcpp classify -m ./my-nli-model --labels "cinema,cooking" "The film moved me."
  cat texts.txt | bertcpp classify -m ./my-classifier --top-k 2 --json
"""


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.description = "Classify texts by a checkpoint's labels, or by labels of your own."
    group = options.add_input(parser)
    group.add_argument("--pair-column", metavar="NAME", help="the column of a second text")
    options.add_output(parser, FORMATS)
    labels = parser.add_argument_group("labels")
    number = labels.add_mutually_exclusive_group()
    number.add_argument("--top-k", type=options.positive, metavar="N", help="the best N labels of each text")
    number.add_argument("--all", action="store_true", help="all labels of each text, best first")
    labels.add_argument(
        "--function", choices=("softmax", "sigmoid", "none"), help="from logits to scores (default: the checkpoint's)"
    )
    labels.add_argument("--labels", metavar="A,B,...", help="labels of your own, between commas (zero-shot)")
    labels.add_argument("--template", metavar="TEXT", help='for --labels (default: "This example is {}.")')
    labels.add_argument("--multi-label", action="store_true", help="with --labels, score each by itself")
    options.add_model(parser, None)
    options.add_limits(parser)
    options.add_running(parser)


def _run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    options.check_input(parser, arguments)
    if arguments.texts and arguments.pair_column:
        parser.error("--pair-column is for tables and JSON lines from --file or standard input")
    own = [label.strip() for label in (arguments.labels or "").split(",") if label.strip()]
    if arguments.labels is not None and not own:
        parser.error("--labels names no label; write them between commas")
    if own and (arguments.pair_column or arguments.function):
        parser.error("--labels goes with neither --pair-column nor --function")
    if not own and (arguments.template or arguments.multi_label):
        parser.error("--template and --multi-label go with --labels")
    form = chosen_format(parser, arguments)
    records = options.input_records(arguments, arguments.pair_column)
    results = _zero_shot(arguments, own, records) if own else _by_own_labels(arguments, records)
    write_results(arguments, form, Presentation(_shown, _rows), results)


def _by_own_labels(arguments: argparse.Namespace, records: Iterator[Record]) -> Iterator[Result]:
    from .cutting import watched

    task = options.loaded_task("text-classification", arguments)
    keywords: dict[str, Any] = {"top_k": None if arguments.all else arguments.top_k or 1}
    if arguments.function:
        keywords["function_to_apply"] = arguments.function
    keywords["max_length"] = options.limit_of(task, arguments)
    keywords["on_overflow"] = "truncate" if arguments.on_overflow == "warn" else arguments.on_overflow
    with watched(task, arguments) as seen:
        for record, labels in answered(task, map(seen, records), _input, arguments, **keywords):
            yield Result(record, _values(labels, arguments))


def _zero_shot(arguments: argparse.Namespace, labels: list[str], records: Iterator[Record]) -> Iterator[Result]:
    task = options.loaded_task("zero-shot-classification", arguments)
    keywords: dict[str, Any] = {"candidate_labels": labels, "multi_label": arguments.multi_label}
    keywords.update(on_overflow=arguments.on_overflow, max_length=arguments.max_length)
    if arguments.template:
        keywords["hypothesis_template"] = arguments.template
    for record, answer in answered(task, records, lambda record: record.text, arguments, **keywords):
        ranked = [
            {"label": label, "score": score} for label, score in zip(answer["labels"], answer["scores"], strict=True)
        ]
        count = None if arguments.all else arguments.top_k or 1
        yield Result(record, _values(ranked[:count], arguments))


def _input(record: Record) -> Any:
    return record.text if record.pair is None else {"text": record.text, "text_pair": record.pair}


def _values(labels: list[dict[str, Any]], arguments: argparse.Namespace) -> dict[str, Any]:
    """The best label by itself, unless more were asked for."""
    return {"labels": labels} if arguments.all or arguments.top_k else labels[0]


def _rows(values: dict[str, Any]) -> list[dict[str, Any]]:
    if "labels" not in values:
        return [values]
    return [{"rank": rank, **label} for rank, label in enumerate(values["labels"], start=1)]


def _shown(result: Result, style: Style) -> str:
    texts = [result.record.text] if result.record.pair is None else [result.record.text, result.record.pair]
    lines = [style.paint(shortened(printable(" | ".join(texts)), style.width), "bold")]
    labels = result.values.get("labels", [result.values])
    width = max(cells(label["label"]) for label in labels)
    for label in labels:
        score = label["score"]
        drawn = style.paint(bar(score), "cyan") if 0 <= score <= 1 else ""
        lines.append(f"  {aligned(label['label'], width)}  {score:6.3f}  {drawn}".rstrip())
    return "\n".join(lines) + "\n"


COMMAND = Command("classify", "classify texts, by a checkpoint's labels or your own", _EPILOG, _configure, _run)
