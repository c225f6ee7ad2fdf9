"""`bertcpp rerank`: documents by how well they answer a query, as a cross-encoder reads both together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import options
from .options import Command
from .ranking import ranked, shown_rank
from .result_files import FORMATS, Presentation, Result
from .streaming import chosen_format, counted, write_results

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from .record_files import Record

__all__ = ["COMMAND"]

_EPILOG = f"""\
what comes out:
  with --query, documents by falling score: "rank", "score" and "corpus_id", the document's place in the input.
  With --query-column, each row of a table with the "score" of its own query and text, in the input's order.
{options.OUTPUT_HELP}
examples:
  bertcpp rerank -m ./my-cross-encoder --query "Where do cats sleep?" "On sofas." "Rome is in Italy."
  bertcpp rerank -m ./my-cross-encoder --query "Where do cats sleep?" --file passages.txt --top-k 3
  bertcpp rerank -m ./my-cross-encoder --file found.csv --query-column query --column passage --output scored.csv
  cat passages.txt | bertcpp rerank -m ./my-cross-encoder --query "Where?" --jsonl
"""

_FUNCTIONS = {
    "sigmoid": "torch.nn.modules.activation.Sigmoid",
    "identity": "torch.nn.modules.linear.Identity",
}


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.description = "Rank documents for a query with a cross-encoder, or score pairs of query and document."
    group = options.add_input(parser, "document")
    query = group.add_mutually_exclusive_group()
    query.add_argument("--query", metavar="TEXT", help="the query")
    query.add_argument("--query-column", metavar="NAME", help="the column of each document's own query")
    options.add_output(parser, FORMATS)
    ranking = parser.add_argument_group("ranking")
    ranking.add_argument("--top-k", type=options.positive, metavar="N", help="the best N documents")
    ranking.add_argument("--function", choices=("sigmoid", "identity"), help="from logits to scores")
    options.add_model(parser, None)
    options.add_limits(parser)
    options.add_running(parser)


def _run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    options.check_input(parser, arguments, "documents")
    if arguments.query is None and arguments.query_column is None:
        parser.error("no query: give one with --query, or the column of each document's own with --query-column")
    if arguments.query_column is not None and (arguments.texts or arguments.top_k):
        parser.error("--query-column is for tables and JSON lines, whose rows are scored and not ranked")
    form = chosen_format(parser, arguments)
    scored = _scored(arguments)
    if arguments.query is None:
        results: Iterator[Result] = (Result(record, {"score": score}) for record, score in scored)
    else:
        results = ranked(scored, arguments.top_k)
    write_results(arguments, form, Presentation(shown_rank, names=("text", "query")), results)


def _scored(arguments: argparse.Namespace) -> Iterator[tuple[Record, float]]:
    from ..batching import chunks
    from ..errors import InputError
    from ..reranking import CrossEncoder

    records = counted(arguments, options.input_records(arguments, arguments.query_column))
    model = CrossEncoder(arguments.model, on_overflow=arguments.on_overflow, **options.model_arguments(arguments))
    if model.num_labels != 1:
        raise InputError(
            f"{arguments.model} gives {model.num_labels} scores a pair, which is no order; take a model with one "
            "label, or bertcpp classify with --pair-column"
        )
    options.set_limit(model, arguments)
    keywords = {
        "activation_fn": _FUNCTIONS.get(arguments.function),
        "batch_size": arguments.batch_size,
        "show_progress_bar": False,
    }
    for block in chunks(records):
        pairs = [(arguments.query if record.pair is None else record.pair, record.text) for record in block]
        scores = model.predict(pairs, **keywords).tolist()
        for record, (query, _), score in zip(block, pairs, scores, strict=True):
            yield record._replace(pair=query), score


COMMAND = Command("rerank", "rank documents for a query by a cross-encoder", _EPILOG, _configure, _run)
