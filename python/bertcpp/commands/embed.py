"""`bertcpp embed`: a stream of texts in, a stream of vectors out."""

from __future__ import annotations

import sys
from collections import deque
from typing import TYPE_CHECKING, Any

from . import options
from .options import Command

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from ..embedding import SentenceTransformer
    from ..quantization import Precision
    from .record_files import Record

__all__ = ["COMMAND"]

_FORMATS = ("npy", "jsonl", "parquet", "plain", "preview")
_EPILOG = """\
where texts come from:
  arguments, or --file (`-` is standard input), or standard input: one text a line, empty lines too. Files named
  *.csv, *.tsv, *.jsonl or *.parquet (or --input-format) hold the text in the column "text", or the one that --column
  names. Standard input with --column is JSON lines.

where vectors go:
  --output FILE; the name tells the format (.npy, .jsonl, .parquet, else plain), or --format does. Files appear whole
  or not at all. Without --output: to standard output, as a preview on a terminal and as JSON lines elsewhere.

  npy      a NumPy array, one row a text           numpy.load("vectors.npy")
  jsonl    one object a line: the input's fields, or "text", and "embedding"
  parquet  the same as columns (needs pyarrow)
  plain    one vector a line, numbers between spaces
  preview  for people: the text, the length of its vector and the first numbers

examples:
  bertcpp embed "A cat sits outside." "A dog plays."
  bertcpp embed --file texts.txt --output vectors.npy --normalize
  bertcpp embed --file articles.jsonl --column body --output vectors.jsonl
  bertcpp embed --file reviews.csv --column review --output vectors.npy
  bertcpp embed --prompt "query: " --format plain "Where is the cat?"
  zcat texts.gz | bertcpp embed --output vectors.npy --precision ubinary --quiet
"""

# Their ranges are read off all vectors, so nothing can be written before the last one is known.
_NEED_ALL = ("int8", "uint8")


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.description = "Embed texts: one vector for each."
    options.add_input(parser)
    options.add_output(parser, _FORMATS)
    vectors = parser.add_argument_group("vectors")
    vectors.add_argument("--normalize", action="store_true", help="bring vectors to length 1")
    vectors.add_argument("--truncate-dim", type=options.positive, metavar="N", help="keep the first N dimensions")
    vectors.add_argument(
        "--precision",
        choices=("float32", "int8", "uint8", "binary", "ubinary"),
        default="float32",
        help="int8 and uint8 hold all vectors in memory, to read off their ranges (default: %(default)s)",
    )
    prompts = vectors.add_mutually_exclusive_group()
    prompts.add_argument("--prompt", metavar="TEXT", help="put TEXT before each text")
    prompts.add_argument("--prompt-name", metavar="NAME", help="put the model's prompt NAME before each text")
    options.add_model(parser)
    options.add_limits(parser)
    options.add_running(parser)


def _run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    options.check_input(parser, arguments)
    suffixes = {".npy": "npy", ".jsonl": "jsonl", ".parquet": "parquet"}
    form = options.output_format(arguments, suffixes, people="preview", other="plain")
    if form in ("npy", "parquet") and arguments.output == "-" and sys.stdout.isatty():
        parser.error(f"the format {form} is binary and no sight for a terminal; name a file with --output")
    from ..embedding import SentenceTransformer
    from .output_file import opened
    from .vector_files import FORMATS

    model = SentenceTransformer(
        arguments.model, on_overflow=arguments.on_overflow, **options.model_arguments(arguments)
    )
    options.set_limit(model, arguments)
    pending: deque[Record] = deque()
    texts = _texts(options.input_records(arguments), pending)
    keywords = {
        "prompt": arguments.prompt,
        "prompt_name": arguments.prompt_name,
        "batch_size": arguments.batch_size,
        "show_progress_bar": options.show_progress(arguments),
        "normalize_embeddings": arguments.normalize,
        "truncate_dim": arguments.truncate_dim,
    }
    with opened(arguments.output, FORMATS[form], FORMATS[form].seeks) as writer:
        for block in _blocks(model, texts, arguments.precision, keywords):
            writer.write([pending.popleft() for _ in range(len(block))], block)


def _texts(records: Iterable[Record], pending: deque[Record]) -> Iterator[str]:
    """Pass texts on, and keep their records until the vectors come back."""
    for record in records:
        pending.append(record)
        yield record.text


def _blocks(
    model: SentenceTransformer, texts: Iterator[str], precision: Precision, keywords: dict[str, Any]
) -> Iterator[NDArray[Any]]:
    from ..quantization import quantize_embeddings

    if precision in _NEED_ALL:
        vectors = model.encode(texts, precision=precision, **keywords)
        if len(vectors):
            yield vectors
        return
    for block in model.stream(texts, **keywords):
        yield block if precision == "float32" else quantize_embeddings(block, precision)


COMMAND = Command("embed", "embed texts", _EPILOG, _configure, _run)
