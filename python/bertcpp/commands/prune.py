"""`bertcpp prune`: a smaller checkpoint by leaving layers and heads out."""

from __future__ import annotations

import argparse
import itertools
import json
from typing import TYPE_CHECKING

from . import options
from .convert import add_writing, say_written
from .options import Command

if TYPE_CHECKING:
    from collections.abc import Collection

    from ..pruning import Choice

__all__ = ["COMMAND", "add_texts", "read_texts"]

_EPILOG = """\
what is left out:
  by number, --layers 3,5-7 and --heads 0:1,2 3:0 (heads 1 and 2 of layer 0, head 0 of layer 3); all count from 0.
  by importance, --drop-layers N and --drop-heads N: those that matter least to the texts of --texts, of which some
  hundred suffice. Vectors are compared as the checkpoint pools them.

  output  leave each out and see how far the texts' vectors turn; slow for heads
  local   one pass: how far a layer turns the states, and a head's share in what its layer adds

OUT is an ordinary checkpoint: transformers loads it, with pruned_heads in its config.json. It appears when it is whole.

examples:
  bertcpp prune all-MiniLM-L6-v2 smaller --layers 3,4
  bertcpp prune all-MiniLM-L6-v2 smaller --heads 0:1,7 5:2
  bertcpp prune all-MiniLM-L6-v2 smaller --texts corpus.txt --drop-layers 1 --drop-heads 8
"""


def _numbers(text: str) -> list[int]:
    """``3,5-7`` as numbers."""
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or len(first) > 6 or len(last) > 6:
            raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers such as 3,5-7")
        found.extend(range(int(first), int(last or first) + 1))
    return found


def _heads(text: str) -> tuple[int, list[int]]:
    """``0:1,2`` as a layer and its heads."""
    layer, colon, heads = text.partition(":")
    if not layer.isdecimal() or not colon:
        raise argparse.ArgumentTypeError(f"{text!r} is no layer and its heads such as 0:1,2")
    return int(layer), _numbers(heads)


def add_texts(group: argparse._ArgumentGroup, told: str) -> None:
    """Add the options that name a file of texts; `read_texts` reads them."""
    group.add_argument("--texts", metavar="FILE", dest="file", help=told)
    group.add_argument("--input-format", choices=options.INPUT_FORMATS, help="default: by the file's name, else lines")
    group.add_argument("--column", metavar="NAME", help="the column or JSON field of the text")


def read_texts(arguments: argparse.Namespace, most: int | None = None) -> list[str]:
    """Return the first texts of the file, empty ones left out."""
    arguments.texts, arguments.no_header = [], False
    found = (record.text for record in options.input_records(arguments))
    return list(itertools.islice((text for text in found if text.strip()), most))


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.description = "Write a checkpoint without some of its layers and heads."
    parser.add_argument("model", metavar="MODEL", help="a folder, a hub name, or an installed package")
    parser.add_argument("out", metavar="OUT", help="the new folder")
    numbered = parser.add_argument_group("by number")
    numbered.add_argument("--layers", type=_numbers, default=[], metavar="LIST", help="layers to leave out")
    numbered.add_argument("--heads", type=_heads, nargs="+", default=[], metavar="LAYER:LIST", help="heads of layers")
    measured = parser.add_argument_group("by importance")
    measured.add_argument("--drop-layers", type=options.positive, default=0, metavar="N", help="how many layers")
    measured.add_argument("--drop-heads", type=options.positive, default=0, metavar="N", help="how many heads in all")
    add_texts(measured, "the texts to measure on")
    measured.add_argument("--most-texts", type=options.positive, default=256, metavar="N", help="default: %(default)s")
    told = "default: output for layers, local for heads"
    measured.add_argument("--measure", choices=("output", "local"), help=told)
    measured.add_argument("--threads", type=options.positive, metavar="N", help="default: all that may be used")
    parser.add_argument("--json", action="store_true", help="print what was left out, and the importance, as JSON")
    add_writing(parser)


def _run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    named, counted = arguments.layers or arguments.heads, arguments.drop_layers or arguments.drop_heads
    if not named and not counted:
        parser.error("nothing to leave out: name --layers or --heads, or say how many with --drop-layers, --drop-heads")
    if named and counted:
        parser.error("--layers and --heads name what goes, --drop-layers and --drop-heads how many; choose one way")
    if counted and not arguments.file:
        parser.error("importance is measured on texts: name a file of them with --texts")
    from ..pruning import Choice, choose, prune

    if counted:
        choice = choose(
            arguments.model,
            read_texts(arguments, arguments.most_texts),
            layer_count=arguments.drop_layers,
            head_count=arguments.drop_heads,
            measure=arguments.measure,
            num_threads=arguments.threads or 0,
        )
    else:
        heads: dict[int, tuple[int, ...]] = {}
        for layer, numbers in arguments.heads:
            heads[layer] = tuple(sorted({*heads.get(layer, ()), *numbers}))
        choice = Choice(tuple(sorted(set(arguments.layers))), heads)
    prune(arguments.model, arguments.out, layers=choice.layers, heads=choice.heads, overwrite=arguments.overwrite)
    if arguments.json:
        print(json.dumps({"out": arguments.out, **vars(choice)}))
        return
    if counted and not arguments.quiet:
        _say_importance(choice)
    say_written(arguments)


def _say_importance(choice: Choice) -> None:
    for layer, value in choice.layer_importance.items():
        print(f"layer {layer:2}  {value:.4f}{_gone(layer, choice.layers)}")
    for layer, row in choice.head_importance.items():
        shown = "  ".join(
            f"{head}:{value:.4f}{_gone(head, choice.heads.get(layer, ()))}" for head, value in row.items()
        )
        print(f"heads of layer {layer:2}  {shown}")


def _gone(number: int, gone: Collection[int]) -> str:
    return " left out" if number in gone else ""


COMMAND = Command("prune", "leave layers and heads of a checkpoint out", _EPILOG, _configure, _run)
