"""`bertcpp quantize`: weights as this processor's kernels read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .convert import add_writing, say_written
from .options import Command

if TYPE_CHECKING:
    import argparse

__all__ = ["COMMAND"]

_EPILOG = """\
OUT loads at once and gives the same bits as MODEL with this --dtype. Its matrices are packed for the instruction set of
this processor and are there in no other form: keep MODEL, and run this again on other machines, after an update that
asks for it, or for another dtype. The file is mapped, so that all processes that load it share one copy. It appears
when it is whole.

examples:
  bertcpp quantize all-MiniLM-L6-v2 minilm-int8
  bertcpp embed --model minilm-int8 "A cat sits outside."
  bertcpp quantize ./my-classifier ./my-classifier-bf16 --dtype bfloat16
"""


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.description = "Write a checkpoint whose weights are packed already, in one dtype for this processor."
    parser.add_argument("model", metavar="MODEL", help="a folder, a hub name, or an installed package")
    parser.add_argument("out", metavar="OUT", help="the new folder")
    parser.add_argument(
        "--dtype",
        choices=("int8", "bfloat16", "float32", "auto"),
        default="int8",
        help="what to compute in; auto: the fastest here (default: %(default)s)",
    )
    add_writing(parser)


def _run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    from ..packed_checkpoints import quantize

    quantize(arguments.model, arguments.out, dtype=arguments.dtype, overwrite=arguments.overwrite)
    say_written(arguments)


COMMAND = Command("quantize", "pack a checkpoint's weights to load at once", _EPILOG, _configure, _run)
