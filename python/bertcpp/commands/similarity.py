"""`bertcpp similarity`: how alike texts are, by their embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import options
from .options import Command
from .ranking import ranked, shown_rank
from .record_files import Record
from .result_files import FORMATS, Presentation, Result
from .streaming import chosen_format, counted, write_results
from .terminal import Style, bar, printable, shortened, table

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from ..embedding import SentenceTransformer

__all__ = ["COMMAND"]

_EPILOG = f"""\
what is compared:
  texts with each other, every pair of them; or with --query each text with the query, best first ("rank", "score" and
  "corpus_id", the text's place in the input); or with --pair-column the two texts of each row of a table.
{options.OUTPUT_HELP}
examples:
  bertcpp similarity "A man is eating." "Someone is having a meal." "The sky is blue."
  bertcpp similarity --query "Where do cats sleep?" --file passages.txt --top-k 3
  bertcpp similarity --file pairs.csv --column first --pair-column second --output similar.csv
  bertcpp similarity --metric dot --jsonl "A cat." "A dog."
"""

_MOST_SHOWN = 16  # texts of a matrix for people


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.description = "Compare texts by their embeddings."
    group = options.add_input(parser)
    other = group.add_mutually_exclusive_group()
    other.add_argument("--query", metavar="TEXT", help="compare each text with this one")
    other.add_argument("--pair-column", metavar="NAME", help="the column of the text to compare each text with")
    options.add_output(parser, FORMATS)
    comparing = parser.add_argument_group("comparing")
    comparing.add_argument("--top-k", type=options.positive, metavar="N", help="with --query, the N most alike")
    comparing.add_argument(
        "--metric", choices=("cosine", "dot", "euclidean", "manhattan"), help="default: the checkpoint's, else cosine"
    )
    options.add_model(parser)
    options.add_limits(parser)
    options.add_running(parser)


def _run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    options.check_input(parser, arguments)
    if arguments.texts and arguments.pair_column:
        parser.error("--pair-column is for tables and JSON lines from --file or standard input")
    if arguments.top_k and arguments.query is None:
        parser.error("--top-k goes with --query")
    if arguments.texts and len(arguments.texts) < 2 and arguments.query is None:
        parser.error("one text is like itself; give two, or a --query")
    form = chosen_format(parser, arguments)
    if arguments.query is not None:
        results = ranked(_with_query(arguments), arguments.top_k)
        write_results(arguments, form, Presentation(shown_rank, names=("text", "query")), results)
    elif arguments.pair_column is not None:
        write_results(arguments, form, Presentation(_shown), _pairs(arguments))
    else:
        _write_all_pairs(arguments, form)


def _model(arguments: argparse.Namespace) -> SentenceTransformer:
    from ..embedding import SentenceTransformer

    model = SentenceTransformer(
        arguments.model,
        on_overflow=arguments.on_overflow,
        similarity_fn_name=arguments.metric,
        **options.model_arguments(arguments),
    )
    options.set_limit(model, arguments)
    return model


def _with_query(arguments: argparse.Namespace) -> Iterator[tuple[Record, float]]:
    from ..batching import chunks

    records = counted(arguments, options.input_records(arguments))
    model = _model(arguments)
    keywords = {"batch_size": arguments.batch_size, "show_progress_bar": False}
    query = model.encode_query(arguments.query, **keywords)[None]
    for block in chunks(records):
        vectors = model.encode_document([record.text for record in block], **keywords)
        scores = model.similarity(query, vectors)[0].tolist()
        yield from zip((record._replace(pair=arguments.query) for record in block), scores, strict=True)


def _pairs(arguments: argparse.Namespace) -> Iterator[Result]:
    from ..batching import chunks

    records = counted(arguments, options.input_records(arguments, arguments.pair_column))
    model = _model(arguments)
    for block in chunks(records):
        texts = [text for record in block for text in (record.text, record.pair)]
        vectors = model.encode(texts, batch_size=arguments.batch_size, show_progress_bar=False)
        scores = model.similarity_pairwise(vectors[::2], vectors[1::2]).tolist()
        for record, score in zip(block, scores, strict=True):
            yield Result(record, {"similarity": score})


def _write_all_pairs(arguments: argparse.Namespace, form: str) -> None:
    """Compare every text with every other one: a matrix for people, else a line for each pair."""
    records = list(options.input_records(arguments))
    model = _model(arguments)
    texts = [record.text for record in records]
    if not texts:
        write_results(arguments, form, Presentation(_shown), ())
        return
    vectors = model.encode(texts, batch_size=arguments.batch_size, show_progress_bar=options.show_progress(arguments))
    if form == "text" and 2 < len(texts) <= _MOST_SHOWN:
        with options.opened_text(arguments.output) as write:
            write(_matrix(texts, model.similarity(vectors, vectors).tolist(), options.style_of_output(arguments)))
        return
    write_results(arguments, form, Presentation(_shown), _each_with_each(model, texts, vectors))


def _each_with_each(model: SentenceTransformer, texts: list[str], vectors: Any) -> Iterator[Result]:
    for first in range(len(texts) - 1):
        scores = model.similarity(vectors[first : first + 1], vectors[first + 1 :])[0].tolist()
        for second, score in enumerate(scores, start=first + 1):
            yield Result(Record(texts[first], None, texts[second]), {"similarity": score})


def _matrix(texts: list[str], scores: list[list[float]], style: Style) -> str:
    numbers = [str(number) for number in range(1, len(texts) + 1)]
    room = max(12, min(48, style.width - 9 * len(texts) - 6))
    rows = [["", "", *numbers]]
    for number, text, line in zip(numbers, texts, scores, strict=True):
        rows.append([number, shortened(printable(text), room), *(f"{score:.3f}" for score in line)])
    return table(rows, left=(1,))


def _shown(result: Result, style: Style) -> str:
    score = result.values["similarity"]
    texts = f"{printable(result.record.text)} | {printable(result.record.pair or '')}"
    drawn = style.paint(f"{bar(score):12}", "cyan")
    return f"{score:7.3f}  {drawn}  {shortened(texts, max(20, style.width - 24))}\n"


COMMAND = Command("similarity", "compare texts by their embeddings", _EPILOG, _configure, _run)
