"""`bertcpp ner`: the names in texts, where they are and what they name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import options
from .options import Command
from .result_files import FORMATS, Presentation, Result
from .streaming import answered, chosen_format, write_results
from .terminal import Style, aligned, bar, cells, printable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

__all__ = ["COMMAND"]

_EPILOG = f"""\
what comes out:
  people see each text with its entities in brackets, and a line for each; files and streams get "entities", a list of
  entity_group (or entity, with --aggregation none), score, word, start and end, which count characters.
{options.OUTPUT_HELP}
CSV and TSV have a row for each entity, and one without any for a text that has none.

how tokens become entities (--aggregation):
  none      every token by itself
  simple    neighbours of one kind are joined (the default)
  first     a word gets the label of its first token; average and max: the best by mean score, the surest token's

Texts longer than the model are taken in windows that overlap by --stride tokens.

examples:
  bertcpp ner --model ./my-ner-model "Ada Lovelace lived in London."
  bertcpp ner -m ./my-ner-model --file letters.txt --output entities.csv
  bertcpp ner -m ./my-ner-model --file articles.jsonl --column body --aggregation first --jsonl
"""

_TOKEN_COLUMNS = ("entity", "score", "index", "word", "start", "end")
_ENTITY_COLUMNS = ("entity_group", "score", "word", "start", "end")
_COLOURS = ("magenta", "cyan", "green", "yellow", "blue", "red")


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.description = "Find the entities of texts: people, places, whatever the checkpoint was trained for."
    options.add_input(parser)
    options.add_output(parser, FORMATS)
    entities = parser.add_argument_group("entities")
    entities.add_argument(
        "--aggregation",
        choices=("none", "simple", "first", "average", "max"),
        default="simple",
        help="how tokens become entities, see below (default: %(default)s)",
    )
    entities.add_argument("--ignore", metavar="A,B,...", help="labels to leave out (default: O)")
    entities.add_argument(
        "--stride", type=options.positive, default=64, metavar="N", help="tokens that windows share (default: 64)"
    )
    options.add_model(parser, None)
    options.add_running(parser)


def _run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    options.check_input(parser, arguments)
    form = chosen_format(parser, arguments)
    columns = _TOKEN_COLUMNS if arguments.aggregation == "none" else _ENTITY_COLUMNS

    def rows(values: dict[str, Any]) -> list[dict[str, Any]]:
        return values["entities"] or [dict.fromkeys(columns)]

    write_results(arguments, form, Presentation(_shown, rows), _results(arguments))


def _results(arguments: argparse.Namespace) -> Iterator[Result]:
    records = options.input_records(arguments)
    task = options.loaded_task("token-classification", arguments)
    keywords: dict[str, Any] = {"aggregation_strategy": arguments.aggregation}
    if arguments.ignore is not None:
        keywords["ignore_labels"] = [label.strip() for label in arguments.ignore.split(",")]
    if arguments.aggregation != "none":
        # Windows share less than they hold.
        keywords["stride"] = min(arguments.stride, max(0, (options.limit_of(task, arguments) or 512) // 4))
    for record, entities in answered(task, records, lambda record: record.text, arguments, **keywords):
        yield Result(record, {"entities": entities})


def _label(entity: dict[str, Any]) -> str:
    return str(entity.get("entity_group", entity.get("entity")))


def _shown(result: Result, style: Style) -> str:
    text, entities = printable(result.record.text), result.values["entities"]
    kinds = list(dict.fromkeys(map(_label, entities)))
    looks = {kind: _COLOURS[place % len(_COLOURS)] for place, kind in enumerate(sorted(kinds))}
    marked, end = [], 0
    for entity in sorted(entities, key=lambda entity: (entity["start"], entity["end"])):
        if entity["start"] < end:  # overlaps what is marked already
            continue
        kind = _label(entity)
        inside = f"[{text[entity['start'] : entity['end']]} {kind}]"
        marked += [text[end : entity["start"]], style.paint(inside, looks[kind])]
        end = entity["end"]
    lines = ["".join(marked) + text[end:]]
    # As the text has them: a tokenizer may have changed their letters.
    words = [text[entity["start"] : entity["end"]] for entity in entities]
    widths = [max(map(cells, column), default=0) for column in (map(_label, entities), words)]
    for entity, word in zip(entities, words, strict=True):
        label = style.paint(aligned(_label(entity), widths[0]), looks[_label(entity)])
        score = aligned(bar(entity["score"], 6), 6)
        place = f"{entity['start']}-{entity['end']}"
        lines.append(f"  {label}  {entity['score']:.3f}  {score}  {aligned(word, widths[1])}  {place}")
    return "\n".join(lines) + "\n"


COMMAND = Command("ner", "find the entities of texts", _EPILOG, _configure, _run)
