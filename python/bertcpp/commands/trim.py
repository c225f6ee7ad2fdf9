"""`bertcpp trim`: a smaller checkpoint without the tokens that a corpus does not use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .convert import add_writing, say_written
from .options import Command
from .prune import add_texts, read_texts

if TYPE_CHECKING:
    import argparse

__all__ = ["COMMAND"]

_EPILOG = """\
Kept are the tokens of the texts, special tokens, single characters, and what is needed to put tokens together. The
texts that were given are cut as before and have the same hidden states; others fall into smaller pieces. Tokenizers of
the kinds WordPiece, Unigram and BPE are trimmed.

examples:
  bertcpp trim all-MiniLM-L6-v2 smaller --texts corpus.txt
  bertcpp trim xlm-roberta-base german --texts articles.jsonl --column body
"""


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.description = "Write a checkpoint without the tokens that texts do not use, and their embeddings."
    parser.add_argument("model", metavar="MODEL", help="a folder, a hub name, or an installed package")
    parser.add_argument("out", metavar="OUT", help="the new folder")
    add_texts(parser.add_argument_group("texts"), "the texts whose tokens stay; - is standard input")
    add_writing(parser)


def _run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    if not arguments.file:
        parser.error("the tokens of which texts are to stay? Name a file of them with --texts")
    from ..trimming import trim

    trim(arguments.model, arguments.out, read_texts(arguments), overwrite=arguments.overwrite)
    say_written(arguments)


COMMAND = Command("trim", "leave tokens of a checkpoint out", _EPILOG, _configure, _run)
