"""`bertcpp convert`: checkpoints of other origins to the ordinary layout."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .options import Command

if TYPE_CHECKING:
    import argparse

__all__ = ["COMMAND", "add_writing", "say_written"]

_EPILOG = """\
what is read:
  Google's TensorFlow files: a folder with bert_config.json, vocab.txt and bert_model.ckpt.*, or the path up to .ckpt
  transformers' tf_model.h5: a folder, or the file itself (needs h5py: pip install h5py)
  pytorch_model.bin:         a folder or a hub name (needs torch)

OUT gets config.json, model.safetensors and the tokenizer's files. It appears when it is whole.

examples:
  bertcpp convert uncased_L-12_H-768_A-12 bert-base-uncased
  bertcpp convert results/model.ckpt-1000 my-classifier --config-file bert_config.json --vocab-file vocab.txt
  bertcpp convert ./my-keras-model ./my-model
"""


def add_writing(parser: argparse.ArgumentParser) -> None:
    """Add the options of commands that write a checkpoint."""
    parser.add_argument("--overwrite", action="store_true", help="replace a checkpoint that is at OUT already")
    parser.add_argument("-q", "--quiet", action="store_true", help="print nothing but errors")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")


def say_written(arguments: argparse.Namespace) -> None:
    """Tell what was written to `arguments.out`."""
    if arguments.quiet:
        return
    from ..description import describe_checkpoint

    facts = describe_checkpoint(arguments.out)
    size = sum(facts["files"].values()) / 1e6
    print(
        f"{arguments.out}: {facts['model_type']}, {facts['layers']} layers, vocabulary of {facts['vocabulary']:,}, "
        f"{facts['parameters']:,} parameters, {size:,.1f} MB"
    )


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.description = "Write a checkpoint of another origin in the ordinary layout."
    parser.add_argument("source", metavar="SOURCE", help="a folder, a file, or a hub name; see below")
    parser.add_argument("out", metavar="OUT", help="the new folder")
    parser.add_argument("--config-file", metavar="FILE", help="the configuration, where it is not beside the weights")
    parser.add_argument("--vocab-file", metavar="FILE", help="Google's vocab.txt, where it is not beside the weights")
    case = parser.add_mutually_exclusive_group()
    told = "Google's vocabulary {} (default: by whether it has words with capitals)"
    case.add_argument("--cased", action="store_false", dest="lower_case", default=None, help=told.format("keeps case"))
    case.add_argument("--uncased", action="store_true", dest="lower_case", default=None, help=told.format("is lower"))
    add_writing(parser)


def _run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    from ..conversion import convert

    convert(
        arguments.source,
        arguments.out,
        config_file=arguments.config_file,
        vocab_file=arguments.vocab_file,
        lower_case=arguments.lower_case,
        overwrite=arguments.overwrite,
    )
    say_written(arguments)


COMMAND = Command("convert", "write TensorFlow's checkpoints in the ordinary layout", _EPILOG, _configure, _run)
