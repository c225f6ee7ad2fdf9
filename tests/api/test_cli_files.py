"""What the commands read and write: lines, CSV, TSV, JSON lines, JSON, Parquet; and text for people."""

from __future__ import annotations

import csv
import datetime
import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bertcpp.commands import terminal
from bertcpp.commands.options import input_format
from bertcpp.commands.output_file import opened
from bertcpp.commands.parquet_file import ParquetRows
from bertcpp.commands.record_files import Columns, Record, read_records, read_whole
from bertcpp.commands.result_files import FORMATS, Presentation, Result, result_writer
from bertcpp.commands.terminal import Style
from bertcpp.commands.vector_files import JsonLines as VectorLines
from bertcpp.errors import InputError, MissingDependencyError

if TYPE_CHECKING:
    from pathlib import Path


TEXTS = ["A plain one.", "", 'With "quotes", commas,\tand tabs.', "Two\nlines.", "Größe, 猫, \U0001f408"]


def read(path: Path, form: str, *columns: str, **options: Any) -> list[Record]:
    return list(read_records(str(path), form, Columns(*columns), **options))


@pytest.mark.parametrize(("form", "delimiter"), [("csv", ","), ("tsv", "\t")])
def test_tables_as_the_csv_module_writes_them(tmp_path: Path, form: str, delimiter: str) -> None:
    path = tmp_path / f"texts.{form}"
    for encoding in ("utf-8", "utf-8-sig"):
        with path.open("w", newline="", encoding=encoding) as file:
            csv.writer(file, delimiter=delimiter).writerows([["id", "text"], *enumerate(TEXTS)])
        records = read(path, form)
        assert [record.text for record in records] == TEXTS
        assert records[1].fields == {"id": "1", "text": ""}
        assert [record.text for record in read(path, form, "id")] == list("01234")
        assert read(path, form, "text", "id")[2].pair == "2"


def test_tables_without_names_and_of_one_column(tmp_path: Path) -> None:
    path = tmp_path / "table"
    path.write_text("a,b\nc,d\n\n")
    assert [record.text for record in read(path, "csv", "2", header=False)] == ["b", "d"]
    path.write_text("title\nfirst\nsecond\n")
    assert [record.text for record in read(path, "csv")] == ["first", "second"]
    path.write_text("title,body\nfirst,second\n")
    assert [record.text for record in read_records(str(path), "csv", Columns(None, "title"))] == ["second"]
    path.write_text("")
    assert read(path, "csv") == []
    path.write_text("text\n" + "long " * 100_000)
    assert len(read(path, "csv")[0].text) == 500_000


def test_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "texts.jsonl"
    lines: list[Any] = [{"text": "a", "more": [1]}, "b", {"text": "c"}]
    path.write_text("\n".join(map(json.dumps, lines)))
    assert read(path, "jsonl") == [Record("a", lines[0]), Record("b"), Record("c", lines[2])]
    path.write_text(json.dumps({"q": "who?", "c": "you"}))
    assert read(path, "jsonl", "q", "c") == [Record("who?", {"q": "who?", "c": "you"}, "you")]


def test_lines_and_whole_files(tmp_path: Path) -> None:
    path = tmp_path / "texts.txt"
    path.write_bytes("\ufeffone\r\n\ntwo\u2028still two".encode())
    assert [record.text for record in read(path, "lines")] == ["one", "", "two\u2028still two"]
    assert read_whole(str(path)) == "one\r\n\ntwo\u2028still two"


@pytest.mark.parametrize(
    ("form", "content", "columns", "message"),
    [
        ("lines", b"a\n", ("text",), "lines of text have no columns"),
        ("lines", b"a\n\xff", (), "file, line 2: not UTF-8"),
        ("csv", b"id,text\n1,a\n2,\xff\n", (), "file, line 3: not UTF-8"),
        ("csv", b"id,body\n1,a\n", (), r"which of its columns \['id', 'body'\] holds the text\? Name it with --column"),
        ("csv", b"id,text\n", ("body",), r"no column 'body' among \['id', 'text'\]; name another with --column"),
        ("csv", b"id,text\n", ("text", "b"), "no column 'b' among .*--pair-column"),
        ("csv", b"text,text\n", (), "two columns are called 'text'"),
        ("csv", b"id,text\n1,a\n2\n", (), r"file, line 3: 1 cells where there are 2 columns \['id', 'text'\]"),
        ("csv", b"id,text\n1,a,b\n", (), "line 2: 3 cells"),
        ("csv", b'text\n"a\n', (), "line 2: unexpected end of data"),
        ("csv", b'text\n"a"b\n', (), "line 2: .*expected after.*--input-format"),
        ("jsonl", b"{\n", (), "file, line 1: not JSON"),
        ("jsonl", b"[" * 100_000, (), "file, line 1: not JSON"),
        ("jsonl", b'{"body": 1}', (), r"line 1: no text under 'text' \(it holds \['body'\]\); name another with --col"),
        ("jsonl", b'{"text": 1}', (), r"no text under 'text' \(int there\)"),
        ("jsonl", b'"a"', ("text", "b"), r"no text under 'text' \(it holds str\)"),
        ("jsonl", b'{"text": "a"}', ("text", "b"), "no text under 'b' .*--pair-column"),
    ],
)
def test_what_is_wrong_is_named(
    tmp_path: Path, form: str, content: bytes, columns: tuple[str, ...], message: str
) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read(tmp_path / "file", form, *columns)


def test_files_are_read_as_they_are_consumed(tmp_path: Path) -> None:
    for form, head in (("lines", "a\n"), ("jsonl", '"a"\n'), ("csv", "text\na\n")):
        path = tmp_path / form
        path.write_bytes(head.encode() + b"\xff")
        records = read_records(str(path), form, Columns())
        assert next(records).text == "a"
        with pytest.raises(InputError):
            next(records)


def test_parquet(tmp_path: Path, rng: np.random.Generator) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = [{"id": number, "text": f"text {number}", "vector": rng.normal(size=3).tolist()} for number in range(3000)]
    path = tmp_path / "rows.parquet"
    with path.open("wb") as file:
        writer = ParquetRows(file)
        for start in range(0, len(rows), 1000):
            writer.write(rows[start : start + 1000])
        writer.finish()
    assert parquet.read_table(path).to_pylist() == rows, "what pyarrow reads"
    records = read(path, "parquet")
    assert [record.fields for record in records] == rows
    assert records[2999].text == "text 2999"
    with pytest.raises(InputError, match=r"row 1: no text under 'id' \(int there"):
        read(path, "parquet", "id")
    path.write_bytes(b"PAR1 and no more")
    with pytest.raises(InputError, match="not Parquet, or damaged"):
        read(path, "parquet")
    writer = ParquetRows(io.BytesIO())
    writer.write([{"a": 1}])
    with pytest.raises(InputError, match=r"\['b'\] are no columns of the first rows"):
        writer.write([{"b": 1}])
    with pytest.raises(InputError, match="fit no Parquet table"):
        writer.write([{"a": "x"}])
    assert pyarrow.__version__


def test_parquet_needs_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    (tmp_path / "rows.parquet").write_bytes(b"")
    with pytest.raises(
        MissingDependencyError, match=r"reading Parquet needs pyarrow: pip install 'bertcpp\[parquet\]'"
    ):
        read(tmp_path / "rows.parquet", "parquet")
    with pytest.raises(MissingDependencyError, match="writing Parquet needs pyarrow"):
        ParquetRows(io.BytesIO())


def test_formats_follow_names(tmp_path: Path) -> None:
    import argparse

    def of(file: str, column: str | None = None, named: str | None = None) -> str:
        return input_format(argparse.Namespace(file=file, column=column, input_format=named))

    names = {"a.csv": "csv", "a.TSV": "tsv", "a.jsonl": "jsonl", "a.ndjson": "jsonl", "a.parquet": "parquet"}
    assert {name: of(name) for name in names} == names
    assert [of("-"), of("a.txt"), of("-", "body"), of("-", "body", "csv")] == ["lines", "lines", "jsonl", "csv"]


def write(form: str, results: list[Result], presentation: Presentation) -> str:
    file = io.BytesIO()
    writer = result_writer(form, presentation)(file)
    writer.write(results[:1])
    writer.write(results[1:])
    writer.finish()
    return file.getvalue().decode()


SHOWN = Presentation(lambda result, style: f"{result.record.text}: {result.values['label']}\n")
RESULTS = [
    Result(Record("a"), {"label": "x", "score": 0.25}),
    Result(Record('b, "c"'), {"label": "ü", "score": 1.0}),
]


def test_results_in_every_format() -> None:
    objects = [{"text": "a", "label": "x", "score": 0.25}, {"text": 'b, "c"', "label": "ü", "score": 1.0}]
    assert write("text", RESULTS, SHOWN) == 'a: x\nb, "c": ü\n'
    assert list(map(json.loads, write("jsonl", RESULTS, SHOWN).splitlines())) == objects
    assert json.loads(write("json", RESULTS, SHOWN)) == objects
    assert write("csv", RESULTS, SHOWN) == 'text,label,score\na,x,0.25\n"b, ""c""",ü,1.0\n'
    assert write("tsv", RESULTS, SHOWN) == 'text\tlabel\tscore\na\tx\t0.25\n"b, ""c"""\tü\t1.0\n'
    assert {form: write(form, [], SHOWN) for form in FORMATS if form != "parquet"} == {
        "text": "",
        "jsonl": "",
        "json": "[]\n",
        "csv": "",
        "tsv": "",
    }


def test_results_as_parquet() -> None:
    pytest.importorskip("pyarrow")
    from pyarrow import parquet

    file = io.BytesIO()
    writer = result_writer("parquet", SHOWN)(file)
    writer.write(RESULTS)
    writer.finish()
    assert parquet.read_table(file).to_pylist()[0] == {"text": "a", "label": "x", "score": 0.25}


def test_fields_of_the_input_are_kept_and_never_replaced() -> None:
    record = Record("a", {"id": 7, "text": "a", "label": "gold"})
    line = json.loads(write("jsonl", [Result(record, {"label": "x"})], SHOWN))
    assert line == {"id": 7, "text": "a", "label": "gold", "predicted_label": "x"}
    again = json.loads(write("jsonl", [Result(Record("a", line), {"label": "y"})], SHOWN))
    assert again == line | {"predicted_predicted_label": "y"}
    pair = Result(Record("a", None, "b"), {"label": "x"})
    assert json.loads(write("jsonl", [pair], SHOWN)) == {"text": "a", "text_pair": "b", "label": "x"}


def test_vectors_beside_what_json_lacks() -> None:
    file = io.BytesIO()
    record = Record("a", {"text": "a", "day": datetime.date(2026, 1, 2), "embedding": "mine"})
    VectorLines(file).write([record], np.float32([[0.5, 1]]))
    line = {"text": "a", "day": "2026-01-02", "embedding": "mine", "predicted_embedding": [0.5, 1]}
    assert json.loads(file.getvalue()) == line


def test_a_table_has_a_row_for_each_thing_found() -> None:
    presentation = Presentation(lambda result, style: "", rows=lambda values: values["found"])
    result = Result(Record("a", {"text": "a", "tags": ["u", "v"]}), {"found": [{"word": "x"}, {"word": "y"}]})
    assert write("csv", [result], presentation) == 'text,tags,word\na,"[""u"", ""v""]",x\na,"[""u"", ""v""]",y\n'
    other = Result(Record("b", {"text": "b", "extra": 1}), {"found": [{"word": "x"}]})
    with pytest.raises(InputError, match=r"\['extra'\] are no columns of the first row"):
        write("csv", [result, other], presentation)


def test_a_file_is_whole_or_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text("before")

    def fail_half_way() -> None:
        with opened(str(path), result_writer("jsonl", SHOWN)) as writer:
            writer.write(RESULTS)
            raise InputError("a later line is wrong")

    with pytest.raises(InputError):
        fail_half_way()
    assert path.read_text() == "before"
    with opened(str(path), result_writer("json", SHOWN)) as writer:
        writer.write(RESULTS)
    assert len(json.loads(path.read_text())) == 2
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.jsonl"]


def test_text_for_people() -> None:
    assert terminal.cells("cat") == 3
    assert terminal.cells("猫ü") == 3
    assert terminal.cells("u\u0308") == 1
    assert terminal.aligned("猫", 4) + "|" == "猫  |"
    assert terminal.aligned("7", 3, right=True) == "  7"
    assert terminal.shortened("a sentence", 7) == "a se..."
    assert terminal.cells(terminal.shortened("猫" * 20, 10)) <= 10
    assert terminal.printable("a\x1b[2J\nb\u202ec") == "a [2J b c"
    assert [terminal.bar(share, 4) for share in (0, 0.5, 0.53, 1, 7, -1)] == ["", "██", "██▏", "████", "████", ""]
    assert Style(colours=True).paint("x", "bold", "red") == "\x1b[1;31mx\x1b[0m"
    assert Style().paint("x", "bold") == "x"


def test_colours_only_where_they_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.BytesIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "66")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert terminal.style_of(Terminal()) == Style(colours=True, width=66)
    assert terminal.style_of(io.BytesIO()) == Style()
    monkeypatch.setenv("NO_COLOR", "1")
    assert not terminal.style_of(Terminal()).colours
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert not terminal.style_of(Terminal()).colours
