"""The commands of the tasks: what they print is what the library answers, in every format, from every kind of input."""

from __future__ import annotations

import csv
import io
import itertools
import json
import shlex
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import toy_checkpoints as toys
from test_cli import COMMAND, ENVIRONMENT

import bertcpp
from bertcpp import cli
from bertcpp.commands import streaming
from bertcpp.commands.ranking import ranked
from bertcpp.commands.record_files import Record

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator
    from pathlib import Path

Run = Any  # Callable[..., list[dict]]


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory, minilm: Path) -> Path:
    return toys.save_all(tmp_path_factory.mktemp("toys"), minilm)


@pytest.fixture
def main(models: Path, capsysbinary: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
    """The command in this process, in the folder of the models: exit code, output, errors."""
    monkeypatch.chdir(models)

    def run(*arguments: Any) -> tuple[int, str, str]:
        code = cli.main([str(argument) for argument in arguments])
        captured = capsysbinary.readouterr()
        return code, captured.out.decode(), captured.err.decode()

    return run


@pytest.fixture
def lines(main: Callable[..., tuple[int, str, str]]) -> Run:
    """Its output as JSON lines, where it says nothing else."""

    def run(*arguments: Any) -> list[dict[str, Any]]:
        code, out, errors = main(*arguments, "--jsonl")
        assert (code, errors) == (0, "")
        return [json.loads(line) for line in out.splitlines()]

    return run


def write_csv(path: Path, names: list[str], rows: list[list[str]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([names, *rows])
    return path


def test_classify(lines: Run, tmp_path: Path) -> None:
    task = bertcpp.pipeline("text-classification", model="./my-classifier")
    texts = list(toys.MOOD_OF)
    best = task(texts)
    assert [(line["label"], line["score"]) for line in lines("classify", "-m", "./my-classifier", *texts)] == [
        (answer["label"], answer["score"]) for answer in best
    ]
    assert best[0] == {"label": "POSITIVE", "score": pytest.approx(1 / (1 + np.exp(-2.8 - 3.1)), abs=1e-5)}
    every = lines("classify", "-m", "./my-classifier", "--all", "--function", "sigmoid", texts[0])
    assert every[0] == {"text": texts[0], "labels": task(texts[0], top_k=None, function_to_apply="sigmoid")}
    table = write_csv(tmp_path / "table.csv", ["id", "label", "body"], [["7", "gold", text] for text in texts])
    found = lines("classify", "-m", "./my-classifier", "--file", table, "--column", "body", "--batch-size", 3)
    assert found[1] == {
        "id": "7",
        "label": "gold",
        "body": texts[1],
        "predicted_label": "NEGATIVE",
        "score": best[1]["score"],
    }


def test_classify_pairs_and_with_labels_of_ones_own(lines: Run, main: Run, tmp_path: Path) -> None:
    pairs = list(toys.ENTAILED)
    table = write_csv(tmp_path / "pairs.csv", ["premise", "hypothesis"], [list(pair) for pair in pairs])
    columns = ("--column", "premise", "--pair-column", "hypothesis")
    found = lines("classify", "-m", "./my-nli-model", "--file", table, *columns)
    assert [line["label"] for line in found] == ["ENTAILMENT", "CONTRADICTION"]
    task = bertcpp.pipeline("zero-shot-classification", model="./my-nli-model")
    text = pairs[0][0]
    answer = task(text, candidate_labels=["cooking", "cinema"])
    assert lines("classify", "-m", "./my-nli-model", "--labels", "cooking, cinema", text) == [
        {"text": text, "label": "cinema", "score": answer["scores"][0]}
    ]
    options = ("--labels", "cooking,cinema", "--template", "About {}.", "--multi-label", "--top-k", 2)
    answer = task(text, ["cooking", "cinema"], hypothesis_template="About {}.", multi_label=True)
    (line,) = lines("classify", "-m", "./my-nli-model", *options, text)
    assert [label["score"] for label in line["labels"]] == answer["scores"]


def test_what_classify_cuts_it_says(main: Run, tmp_path: Path) -> None:
    long = tmp_path / "texts.txt"
    long.write_text("short\n" + "film " * 600 + "\n")
    arguments = ("classify", "-m", "./my-classifier", "--file", long)
    code, out, errors = main(*arguments)
    assert (code, len(out.splitlines())) == (0, 2)
    assert errors.startswith("bertcpp: warning: 1 of 2 texts, the first of them number 2, were longer than 512 tokens")
    assert main(*arguments, "--quiet") == (0, out, "")
    assert main(*arguments, "--on-overflow", "truncate") == (0, out, "")
    code, _, errors = main(*arguments, "--on-overflow", "error")
    assert code == 1
    assert "inputs[1] has 602 tokens" in errors
    assert "2 of 2 texts" not in main(*arguments, "--max-length", 5)[2]


def test_classify_reads_long_texts_in_windows(lines: Run, main: Run) -> None:
    long = "A film to see twice. " * 40 + "Two hours of my life. " * 200
    options = ("--on-overflow", "window", "--max-length", 100)
    task = bertcpp.pipeline("text-classification", model="./my-classifier", on_overflow="window", max_length=100)
    (line,) = lines("classify", "-m", "./my-classifier", *options, long)
    assert (line["label"], line["score"]) == tuple(task(long)[0].values())
    task = bertcpp.pipeline("zero-shot-classification", model="./my-nli-model", on_overflow="window", max_length=100)
    (line,) = lines("classify", "-m", "./my-nli-model", "--labels", "cooking,cinema", *options, long)
    answer = task(long, ["cooking", "cinema"])
    assert (line["label"], line["score"]) == (answer["labels"][0], answer["scores"][0])
    errors = main("classify", "-m", "./my-nli-model", "--labels", "cooking,cinema", "short", long)[2]
    assert errors.startswith("bertcpp: warning: 1 of 2 texts, the first of them inputs[1], were longer than 512 tokens")


def test_ner(lines: Run, main: Run) -> None:
    texts = [*toys.ENTITIES_OF, ""]
    task = bertcpp.pipeline("ner", model="./my-ner-model")
    for strategy in ("none", "simple", "first", "average", "max"):
        found = lines("ner", "-m", "./my-ner-model", "--aggregation", strategy, *texts)
        assert [line["entities"] for line in found] == task(texts, aggregation_strategy=strategy), strategy
    words = [[entity["word"] for entity in line["entities"]] for line in lines("ner", "-m", "./my-ner-model", *texts)]
    assert words == [["ada lovelace", "london"], ["grace hopper", "navy", "new york"], []]
    people = lines("ner", "-m", "./my-ner-model", "--aggregation", "none", "--ignore", "O,B-LOC,I-LOC", texts[0])
    assert {entity["entity"] for entity in people[0]["entities"]} == {"B-PER", "I-PER"}
    code, out, _ = main("ner", "-m", "./my-ner-model", "--format", "text", *texts)
    assert code == 0
    assert out.splitlines()[:2] == [
        "[Ada Lovelace PER] lived in [London LOC].",
        f"  PER  {task(texts[0], aggregation_strategy='simple')[0]['score']:.3f}  █████▊  Ada Lovelace  0-12",
    ]
    rows = list(csv.DictReader(io.StringIO(main("ner", "-m", "./my-ner-model", "--format", "csv", *texts)[1])))
    assert [row["word"] for row in rows] == ["ada lovelace", "london", "grace hopper", "navy", "new york", ""]
    assert list(rows[0]) == ["text", "entity_group", "score", "word", "start", "end"]


def test_entities_of_a_text_longer_than_the_model(lines: Run) -> None:
    text = " ".join(["Ada Lovelace lived in London."] * 200)
    (line,) = lines("ner", "-m", "./my-ner-model", text)
    assert max(entity["end"] for entity in line["entities"]) > 0.98 * len(text)


def test_answer(lines: Run, main: Run, tmp_path: Path) -> None:
    task = bertcpp.pipeline("question-answering", model="./my-squad-model")
    (tmp_path / "letter.txt").write_text(toys.LETTER)
    rows = [[*pair] for pair in toys.ANSWER_OF]
    table = write_csv(tmp_path / "questions.csv", ["question", "context"], rows)
    found = lines("answer", "-m", "./my-squad-model", "--file", table)
    assert [line["answer"] for line in found] == list(toys.ANSWER_OF.values())
    expected = [task(question=question, context=context) for question, context in rows]
    assert found == [{"question": q, "context": c, **one} for (q, c), one in zip(rows, expected, strict=True)]
    for source in (("--context", toys.LETTER), ("--context-file", tmp_path / "letter.txt")):
        assert lines("answer", "-m", "./my-squad-model", *source, rows[1][0], rows[2][0]) == found[1:]
    assert lines("answer", "-m", "./my-squad-model", "--question", rows[0][0], "--context", rows[0][1]) == found[:1]
    assert lines("answer", "-m", "./my-squad-model", "--question", rows[0][0], rows[0][1]) == found[:1]
    contexts = write_csv(tmp_path / "contexts.csv", ["id", "body"], [["7", rows[0][1]]])
    options = ("--question", rows[0][0], "--file", contexts, "--context-column", "body", "--top-k", 2)
    (line,) = lines("answer", "-m", "./my-squad-model", *options, "--max-answer-len", 3)
    assert line == {"id": "7", "body": rows[0][1], "answers": task(*rows[0], top_k=2, max_answer_len=3)}
    code, out, _ = main("answer", "-m", "./my-squad-model", "--format", "text", "--question", *rows[0])
    assert (code, out) == (0, f"{rows[0][0]}\n  {expected[0]['score']:.3f}  London  Ada lived in [London].\n")


def test_fill_mask(lines: Run, main: Run) -> None:
    task = bertcpp.pipeline("fill-mask", model="./bert-base-uncased")
    one, two = "The capital of France is [MASK].", "From [MASK] to [MASK]."
    found = lines("fill-mask", "-m", "./bert-base-uncased", one, two)
    assert [line["predictions"] for line in found] == [task(one), task(two)]
    assert [guess["token_str"] for guess in found[0]["predictions"]] == list(toys.WORDS)
    (line,) = lines("fill-mask", "-m", "./bert-base-uncased", "--top-k", 1, "--targets", "rome, london", one)
    assert [guess["token_str"] for guess in line["predictions"]] == ["london"]
    rows = main("fill-mask", "-m", "./bert-base-uncased", "--format", "tsv", "--top-k", 2, two)[1].splitlines()
    assert rows[0].split("\t") == ["text", "mask", "rank", "score", "token", "token_str", "sequence"]
    assert [row.split("\t")[1:3] for row in rows[1:]] == [["1", "1"], ["1", "2"], ["2", "1"], ["2", "2"]]
    assert "  2  paris" in main("fill-mask", "-m", "./bert-base-uncased", "--format", "text", two)[1]


def test_what_the_library_logs_is_told_as_its_warnings_are(main: Run) -> None:
    arguments = ("fill-mask", "-m", "./bert-base-uncased", "--targets", "zzqq", "a [MASK]")
    code, _, errors = main(*arguments)
    assert (code, errors) == (0, "bertcpp: warning: The target 'zzqq' is no token; its first token 'z' stands in.\n")
    assert main(*arguments, "--quiet")[2] == ""


def test_rerank(lines: Run, main: Run, tmp_path: Path) -> None:
    query = "Where do cats sleep?"
    documents = [document for _, document in toys.RELEVANCE][::-1]
    model = bertcpp.CrossEncoder("./my-cross-encoder")
    expected = model.rank(query, documents)
    found = lines("rerank", "-m", "./my-cross-encoder", "--query", query, *documents)
    assert [line["corpus_id"] for line in found] == [2, 1, 0] == [one["corpus_id"] for one in expected]
    assert [line["score"] for line in found] == pytest.approx([one["score"] for one in expected], abs=1e-7)
    assert found[0]["text"] == documents[2]
    assert [(line["rank"], line["query"]) for line in found] == [(1, query), (2, query), (3, query)]
    options = ("--query", query, "--top-k", 2, "--function", "identity")
    best = lines("rerank", "-m", "./my-cross-encoder", *options, *documents)
    assert [line["score"] for line in best] == pytest.approx([3.4, -1.2], abs=1e-4)
    table = write_csv(tmp_path / "pairs.csv", ["query", "passage"], [[query, document] for document in documents])
    columns = ("--query-column", "query", "--column", "passage")
    scored = lines("rerank", "-m", "./my-cross-encoder", "--file", table, *columns)
    assert [line["score"] for line in scored] == [line["score"] for line in found][::-1]
    assert list(scored[0]) == ["query", "passage", "score"]
    shown = main("rerank", "-m", "./my-cross-encoder", "--query", query, "--format", "text", *documents)[1]
    assert shown.splitlines()[0] == f"   1    {found[0]['score']:.3f}  ███████████▋  {documents[2]}"
    several = main("rerank", "-m", "./my-nli-model", "--query", query, *documents)
    assert several[0] == 1
    assert "./my-nli-model gives 3 scores a pair" in several[2]


def test_similarity(lines: Run, main: Run, tmp_path: Path) -> None:
    texts = ["A man is eating.", "Someone is having a meal.", "The sky is blue."]
    model = bertcpp.SentenceTransformer("all-MiniLM-L6-v2")
    vectors = model.encode(texts)
    matrix = model.similarity(vectors, vectors)
    pairs = [(0, 1), (0, 2), (1, 2)]
    assert lines("similarity", *texts) == [
        {"text": texts[i], "text_pair": texts[j], "similarity": pytest.approx(float(matrix[i, j]), abs=1e-6)}
        for i, j in pairs
    ]
    shown = main("similarity", "--format", "text", *texts)[1].splitlines()
    assert [len(shown), shown[1].split()[-3:]] == [4, [f"{value:.3f}" for value in matrix[0].tolist()]]
    asked = lines("similarity", "--query", texts[0], "--top-k", 1, *texts[1:])
    assert asked == [
        {
            "text": texts[1],
            "query": texts[0],
            "rank": 1,
            "score": pytest.approx(float(matrix[0, 1]), abs=1e-6),
            "corpus_id": 0,
        }
    ]
    table = write_csv(tmp_path / "pairs.csv", ["first", "second"], [[texts[i], texts[j]] for i, j in pairs])
    columns = ("--column", "first", "--pair-column", "second", "--metric", "euclidean")
    found = lines("similarity", "--file", table, *columns)
    expected = -np.linalg.norm(vectors[0] - vectors[1])
    assert found[0] == {"first": texts[0], "second": texts[1], "similarity": pytest.approx(expected, abs=1e-5)}


def test_summarize(lines: Run, main: Run, tmp_path: Path) -> None:
    text = "Cats sleep a lot.\nCats sleep most of the day. Dogs bark at night. The garden is large and green."
    (tmp_path / "article.txt").write_text(text)
    task = bertcpp.pipeline("summarization", model="all-MiniLM-L6-v2")
    found = lines("summarize", "--file", tmp_path / "article.txt", "--sentences", 2, "--diversity", 0.5)
    assert found == [{"text": text, **task(text, num_sentences=2, diversity=0.5, return_sentences=True)[0]}]
    assert lines("summarize", "--ratio", 0.25, text)[0]["summary_text"] == task(text, ratio=0.25)[0]["summary_text"]
    assert len(lines("summarize", "--lines", "--file", tmp_path / "article.txt")) == 2
    body = tmp_path / "articles.jsonl"
    body.write_text(json.dumps({"id": 7, "body": text}))
    (line,) = lines("summarize", "--file", body, "--column", "body", "--max-tokens", 8)
    assert (line["id"], line["summary_text"]) == (7, task(text, max_length=8)[0]["summary_text"])
    code, out, _ = main("summarize", "--format", "csv", "--sentences", 1, text)
    assert (code, out.splitlines()[0]) == (0, "text,summary_text")
    assert main("summarize", "--format", "text", "--sentences", 1, text)[1].count("\n") == 1


def test_parquet_in_and_out(main: Run, tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({"id": [1, 2], "text": list(toys.ENTITIES_OF)}), tmp_path / "in.parquet")
    out = tmp_path / "out.parquet"
    assert main("ner", "-m", "./my-ner-model", "--file", tmp_path / "in.parquet", "--output", out) == (0, "", "")
    rows = parquet.read_table(out).to_pylist()
    assert [row["id"] for row in rows] == [1, 2]
    assert [entity["word"] for entity in rows[0]["entities"]] == ["ada lovelace", "london"]
    assert main("embed", "--file", tmp_path / "in.parquet", "--output", out) == (0, "", "")
    vectors = bertcpp.SentenceTransformer("all-MiniLM-L6-v2").encode(list(toys.ENTITIES_OF))
    held = np.array([row["embedding"] for row in parquet.read_table(out).to_pylist()], np.float32)
    assert np.array_equal(held, vectors)


MISTAKES = [
    (2, ["classify", "a film"], "the following arguments are required: -m/--model"),
    (2, ["classify", "-m", "x", "--pair-column", "b", "a"], "--pair-column is for tables"),
    (2, ["classify", "-m", "x", "--labels", ",", "a"], "--labels names no label"),
    (2, ["classify", "-m", "x", "--labels", "a", "--function", "none", "a"], "--labels goes with neither"),
    (2, ["classify", "-m", "x", "--multi-label", "a"], "go with --labels"),
    (2, ["classify", "-m", "x", "--all", "--top-k", "2", "a"], "not allowed with argument"),
    (2, ["answer", "-m", "x", "who?"], "questions need a context"),
    (2, ["answer", "-m", "x", "--question", "a", "--context", "b", "c"], "there is nothing to read"),
    (2, ["answer", "-m", "x", "--context-file", "-", "--file", "-"], "cannot both be standard input"),
    (2, ["rerank", "-m", "x", "a"], "no query: give one with --query"),
    (2, ["rerank", "-m", "x", "--query-column", "q", "a"], "--query-column is for tables"),
    (2, ["similarity", "a"], "one text is like itself"),
    (2, ["similarity", "--top-k", "1", "a", "b"], "--top-k goes with --query"),
    (2, ["summarize", "--ratio", "2", "a"], "'2' is not a number from 0 to 1"),
    (2, ["summarize", "--lines", "a"], "--lines is for text from --file"),
    (1, ["classify", "-m", "./my-ner-model", "a"], "my-ner-model has no head for BertForSequenceClassification"),
    (
        1,
        ["ner", "-m", "./my-classifier", "a"],
        "./my-classifier is a BertForSequenceClassification, made for `bertcpp classify`",
    ),
    (1, ["answer", "-m", "./my-classifier", "--question", "a", "b"], "no head for BertForQuestionAnswering"),
    (1, ["fill-mask", "-m", "./my-classifier", "[MASK]"], "no head for BertForMaskedLM"),
    (1, ["rerank", "-m", "./my-ner-model", "--query", "a", "b"], "no head for BertForSequenceClassification"),
    (1, ["fill-mask", "-m", "./bert-base-uncased", "no mask"], "inputs[0] has no mask token; write [MASK]"),
    (1, ["classify", "-m", "./my-classifier", "--labels", "a", "b"], "is 'entailment'"),
    (1, ["answer", "-m", "./my-squad-model", "--context", "", "who?"], "the context of inputs[0] is empty"),
    (1, ["classify", "-m", "./my-classifier", "--file", "gone.csv"], "gone.csv: No such file or directory"),
    (1, ["ner", "-m", "no/such/model", "a"], "no/such/model"),
]


@pytest.mark.parametrize(("code", "arguments", "message"), MISTAKES)
def test_mistakes(main: Run, code: int, arguments: list[str], message: str, capsysbinary: Any) -> None:
    if code == 2:
        with pytest.raises(SystemExit) as exited:
            main(*arguments)
        assert exited.value.code == 2
        errors = capsysbinary.readouterr().err.decode()
    else:
        got, out, errors = main(*arguments)
        assert (got, out) == (1, "")
    assert message in errors
    assert errors.count("\n") == 1


def test_records_are_read_no_further_than_a_batch_ahead() -> None:
    read = itertools.count()

    class Arguments:
        batch_size, quiet, output = 4, True, "-"

    def task(inputs: Iterator[str]) -> Iterator[str]:
        while chunk := list(itertools.islice(inputs, 4)):
            yield from chunk

    records = (Record(str(next(read))) for _ in itertools.count())
    arguments: argparse.Namespace = Arguments()  # type: ignore[assignment]
    answers = streaming.answered(task, records, lambda record: record.text, arguments)
    assert [(record.text, answer) for record, answer in itertools.islice(answers, 6)] == [
        (str(n), str(n)) for n in range(6)
    ]
    assert next(read) == 8


def test_ranking_holds_as_many_as_it_yields() -> None:
    scored = ((Record(str(place)), float(place % 100)) for place in range(100_000))
    assert [(one.record.text, one.values["corpus_id"]) for one in ranked(scored, 3)] == [
        ("99", 99),
        ("199", 199),
        ("299", 299),
    ]
    assert [one.values["score"] for one in ranked([(Record("a"), 1.0), (Record("b"), 2.0)], None)] == [2.0, 1.0]


def test_streams_end_well(models: Path) -> None:
    """A reader that leaves, and Ctrl-C: no traceback, the usual exit codes."""
    classify = shlex.join([*COMMAND, "classify", "-m", "./my-classifier", "--batch-size", "4", "--jsonl"])
    options: dict[str, Any] = {"cwd": models, "env": ENVIRONMENT, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    left = subprocess.run(["bash", "-c", f"yes 'A film.' | {classify} | head -n 3"], timeout=60, check=True, **options)
    assert (len(left.stdout.splitlines()), left.stderr) == (3, b"")
    command = ["bash", "-c", f"yes 'A film.' | exec {classify} --output results.jsonl"]
    process = subprocess.Popen(command, start_new_session=True, **options)
    try:
        deadline = time.monotonic() + 60
        # Results that were written tell that every module is loaded: Ctrl-C in an import may end in Python's own words.
        while not any(path.stat().st_size for path in models.glob(".results.jsonl*")):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        import os

        os.killpg(process.pid, signal.SIGINT)
        assert process.communicate(timeout=30) == (b"", b"")
        assert process.returncode == 130
        assert list(models.glob("*results*")) == []
    finally:
        process.kill()
        process.wait()
