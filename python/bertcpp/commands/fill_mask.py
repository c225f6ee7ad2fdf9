"""`bertcpp fill-mask`: the words that fit where a text has a mask."""

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

__all__ = ["COMMAND"]

_EPILOG = f"""\
what comes out:
  "predictions", a list of token_str, score, token and sequence, best first; of a text with several masks a list of
  such lists. The mask is the checkpoint's own, [MASK] of BERT and <mask> of RoBERTa.
{options.OUTPUT_HELP}
examples:
  bertcpp fill-mask --model bert-base-uncased "The capital of France is [MASK]."
  bertcpp fill-mask -m bert-base-uncased --top-k 3 --targets "paris,london" --json "She lives in [MASK]."
  bertcpp fill-mask -m bert-base-uncased --file sentences.txt --output filled.csv
"""


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.description = "Guess the words that are masked in texts."
    options.add_input(parser)
    options.add_output(parser, FORMATS)
    words = parser.add_argument_group("words")
    words.add_argument("--top-k", type=options.positive, default=5, metavar="N", help="guesses a mask (default: 5)")
    words.add_argument("--targets", metavar="A,B,...", help="the only words to choose from")
    words.add_argument("--truncate", action="store_true", help="cut texts to the model's limit, do not refuse them")
    options.add_model(parser, None)
    options.add_running(parser)


def _run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    options.check_input(parser, arguments)
    form = chosen_format(parser, arguments)
    write_results(arguments, form, Presentation(_shown, _rows), _results(arguments))


def _results(arguments: argparse.Namespace) -> Iterator[Result]:
    records = options.input_records(arguments)
    task = options.loaded_task("fill-mask", arguments)
    keywords: dict[str, Any] = {"top_k": arguments.top_k}
    if arguments.targets is not None:
        keywords["targets"] = [word.strip() for word in arguments.targets.split(",") if word.strip()]
    if arguments.truncate:
        keywords["tokenizer_kwargs"] = {"truncation": True}
    for record, predictions in answered(task, records, lambda record: record.text, arguments, **keywords):
        yield Result(record, {"predictions": predictions})


def _by_mask(values: dict[str, Any]) -> list[list[dict[str, Any]]]:
    predictions = values["predictions"]
    return predictions if predictions and isinstance(predictions[0], list) else [predictions]


def _rows(values: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"mask": mask, "rank": rank, **prediction}
        for mask, predictions in enumerate(_by_mask(values), start=1)
        for rank, prediction in enumerate(predictions, start=1)
    ]


def _shown(result: Result, style: Style) -> str:
    lines = [style.paint(shortened(printable(result.record.text), style.width), "bold")]
    groups = _by_mask(result.values)
    width = max((cells(_word(one)) for group in groups for one in group), default=0)
    for mask, group in enumerate(groups, start=1):
        for place, prediction in enumerate(group):
            number = "" if len(groups) == 1 else f"{mask if place == 0 else '':<3}"
            drawn = style.paint(bar(prediction["score"]), "cyan")
            lines.append(f"  {number}{aligned(_word(prediction), width)}  {prediction['score']:.3f}  {drawn}".rstrip())
    return "\n".join(lines) + "\n"


def _word(prediction: dict[str, Any]) -> str:
    return printable(str(prediction["token_str"])).strip()


COMMAND = Command("fill-mask", "guess masked words", _EPILOG, _configure, _run)
