"""`bertcpp embed`: a stream of texts in, a stream of vectors out."""

from __future__ import annotations

import sys
from collections import deque
from typing import TYPE_CHECKING, Any

from .embedding import SentenceTransformer
from .quantization import quantize_embeddings
from .text_files import Record, read_records
from .vector_files import opened

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from .quantization import Precision

__all__ = ["embed"]

# Their ranges are read off all vectors, so nothing can be written before the last one is known.
_NEED_ALL = ("int8", "uint8")


def embed(arguments: argparse.Namespace) -> None:
    """Embed what the arguments of the command line ask for.

    Raises:
        BertcppError: if the checkpoint or an input is at fault.
        OSError: if a file cannot be read or written.
        ValueError: if an option does not fit the checkpoint.
    """
    model = SentenceTransformer(arguments.model, num_threads=arguments.threads, on_overflow=arguments.on_overflow)
    if arguments.max_length is not None:
        model.max_seq_length = arguments.max_length
    records = map(Record, arguments.texts) if arguments.texts else read_records(arguments.file, arguments.field)
    pending: deque[Record] = deque()
    options = {
        "prompt": arguments.prompt,
        "prompt_name": arguments.prompt_name,
        "batch_size": arguments.batch_size,
        "show_progress_bar": False if arguments.quiet or (arguments.output == "-" and sys.stdout.isatty()) else None,
        "normalize_embeddings": arguments.normalize,
        "truncate_dim": arguments.truncate_dim,
    }
    with opened(arguments.output, arguments.format) as writer:
        for block in _blocks(model, _texts(records, pending), arguments.precision, options):
            writer.write([pending.popleft() for _ in range(len(block))], block)


def _texts(records: Iterable[Record], pending: deque[Record]) -> Iterator[str]:
    """Pass texts on, and keep their records until the vectors come back."""
    for record in records:
        pending.append(record)
        yield record.text


def _blocks(
    model: SentenceTransformer, texts: Iterator[str], precision: Precision, options: dict[str, Any]
) -> Iterator[NDArray[Any]]:
    if precision in _NEED_ALL:
        vectors = model.encode(texts, precision=precision, **options)
        if len(vectors):
            yield vectors
        return
    for block in model.stream(texts, **options):
        yield block if precision == "float32" else quantize_embeddings(block, precision)
