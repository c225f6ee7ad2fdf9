"""The parts of `make bench` that measure bertcpp alone, the order of the whole, and the page that is made of it."""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench import (  # noqa: E402
    bandwidth,
    cold_start,
    compare,
    plot,
    report,
    tables,
    tasks,
    text_to_vectors,
    threads,
)
from bench import run as everything  # noqa: E402

from bertcpp import _core  # noqa: E402
from bertcpp.benchmark import rounds  # noqa: E402


def spread(median: float) -> dict[str, float]:
    return {"median": median, "p10": 0.9 * median, "p90": 1.1 * median}


def measured(module: str, folder: Path, *options: Any) -> dict[str, Any]:
    command = [sys.executable, "-m", module, *options, "--cache", folder, "--json", folder / "results.json"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [str(word) for word in command], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
        env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    results: dict[str, Any] = json.loads((folder / "results.json").read_text())
    return results


ALONE = ("--model", "tiny", "--rounds", "2", "--seconds", "0.01", "--dtypes", "float32", "int8", "--shapes")


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="two threads need two processors")
def test_two_threads_against_one(tmp_path: Path) -> None:
    results = measured("bench.threads", tmp_path, *ALONE, "32 ragged", "--threads", 2)
    assert list(results["dtypes"]) == ["float32", "int8"]
    for shapes in results["dtypes"].values():
        line = shapes["32 ragged"]
        assert set(line) == {"one_ms", "all_ms", "gain", "peak_gain", "of_peak_gain"}
        assert all(0 < values["p10"] <= values["median"] <= values["p90"] for values in line.values())
    assert "| float32, 32 ragged |" in tables.threads_table(results)


def test_a_short_text_against_the_memory(tmp_path: Path) -> None:
    results = measured("bench.bandwidth", tmp_path, *ALONE, "1 x 16", "--threads", 1)
    full, low = (results["dtypes"][dtype]["1 x 16"] for dtype in ("float32", "int8"))
    panel = _core.panel_columns(_core.instruction_set())

    def packed(n: int, k: int) -> int:
        return -(-n // panel) * panel * k

    layer = packed(3 * 64, 64) + packed(64, 64) + packed(256, 64) + packed(64, 256)
    matrices = 2 * layer / 1e6  # millions of weights in two layers of 64, in whole panels
    assert 4 * matrices <= full["packed_mb"] < 4.5 * matrices
    assert matrices <= low["packed_mb"] < 3 * matrices
    assert full["gflop"] == low["gflop"] > 0
    for line in (full, low):
        assert line["read_gbytes_per_second"]["median"] > 0.1
        assert line["over_limit"]["median"] <= line["over_reading"]["median"] * 1.001


def test_the_limit_of_a_short_text_is_the_larger_of_two() -> None:
    turn = {"seconds": 0.010, "bandwidth": 20e9, "peak": 200e9}
    line = bandwidth.summarize([turn, turn], size=100_000_000, flop=0.8e9)
    assert line["reading_ms"]["median"] == pytest.approx(5)
    assert line["arithmetic_ms"]["median"] == pytest.approx(4)
    assert line["over_reading"]["median"] == line["over_limit"]["median"] == pytest.approx(2)
    line = bandwidth.summarize([turn], size=100_000_000, flop=1.6e9)
    assert line["over_reading"]["median"] == pytest.approx(2)
    assert line["over_limit"]["median"] == pytest.approx(1.25)


class Asleep:
    """A worker that takes no time."""

    dtype = "float32"

    def ask(self, do: str, seconds: float) -> dict[str, Any]:
        return {"seconds": [seconds]}

    def settle(self) -> bool:
        return True


class SteadyPeak(rounds.Peak):
    """A peak that does not change."""

    def measure(self, dtype: str = "float32") -> float:
        return 1.0


@pytest.mark.parametrize(("patience", "expected"), [(0.0, 3), (60.0, 5)])
def test_rounds_end_when_patience_does(patience: float, expected: int) -> None:
    workers: Any = {"bertcpp": Asleep(), "other": Asleep()}
    turns = rounds.take_turns(workers, SteadyPeak(1), 5, 0.1, patience)
    assert [len(mine) for mine in turns.values()] == [expected, expected]


def options(*words: str) -> Any:
    return everything.parser().parse_args(["--threads", "1", *words])


def test_options_reach_the_parts() -> None:
    args = options("--rounds", "5", "--seconds", "0.25", "--patience", "30")
    passed = {part: everything.words(part, args) for part in everything.PARTS if part not in ("native", "tasks")}
    assert passed["cold"][-2:] == ["--repeat", "5"]
    for part, words in passed.items():
        if part != "cold":
            assert "--rounds 5 --seconds 0.25" in " ".join(words)
        assert ("--patience" in words) == (part in report.COMPARISONS)
    for part, dtype in (report.COMPARISONS | report.TEXTS).items():
        assert f"--dtype {dtype}" in " ".join(passed[part])
    chosen = {part: everything.words(part, options("--models", "tiny")) for part in passed}
    assert {part for part, words in chosen.items() if "tiny" in words} == set(report.COMPARISONS)
    assert set(report.ORDER) == set(everything.PARTS)
    quick = " ".join(everything.words("int8", options("--quick", "--rounds", "2")))
    assert quick.endswith("--models minilm --rounds 3 --seconds 0.1 --rounds 2"), "what is given outweighs --quick"


def test_parts_that_cannot_be_measured_here(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = options("--native", str(tmp_path / "none"))
    parts = everything.chosen_parts(args)
    assert not {"native", "threads"} & set(parts)
    assert {"compare", "bfloat16", "int8", "text", "text-int8", "bandwidth", "cold"} <= set(parts)
    told = capsys.readouterr().err
    assert "without native: " in told
    assert "without threads: it takes two threads" in told
    with pytest.raises(SystemExit, match="threads: it takes two threads"):
        everything.chosen_parts(options("--parts", "bandwidth", "threads"))


def test_a_part_that_fails_costs_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "benchmarks.json"

    def measure(part: str, args: Any) -> dict[str, Any]:
        if part == "int8":
            assert list(json.loads(path.read_text())) == ["int8", "compare"], "what was measured is kept by now"
            raise RuntimeError("no such luck")
        return {"machine": {"commit": "new"}}

    monkeypatch.setattr(everything, "measure", measure)
    results = {"int8": {"machine": {"commit": "old"}}}
    failed = everything.measure_all(options("--parts", "compare", "int8", "cold"), results, path)
    assert failed == ["int8"]
    written = json.loads(path.read_text())
    assert {part: result["machine"]["commit"] for part, result in written.items()} == {
        "int8": "old",
        "compare": "new",
        "cold": "new",
    }


def about(**more: Any) -> dict[str, Any]:
    known = {"cpu": "A processor", "processors": 2, "threads": 2, "memory_gib": 8, "system": "Linux", "python": "3.12"}
    return {**known, "load_before": 0.5, "versions": {"numpy": "2"}, "date": "2026-01-02", "commit": "abc", **more}


def comparison(dtype: str) -> dict[str, Any]:
    suffix = "" if dtype == "float32" else f" {dtype}"
    line = {
        "way": "default",
        "calls": 70,
        "latency_ms": spread(3.0),
        "share": spread(0.8),
        "ratio": spread(1.0),
        "difference": 0.02,
    }
    slow = {**line, "share": spread(0.4), "difference": 0.3}
    shape = {
        "engines": {f"bertcpp{suffix}": line, f"torch{suffix}": slow},
        "failures": {},
        "rounds": 4,
        "reference": "torch float32",
    }
    return {
        "machine": about(),
        "peak_gflops": spread(400),
        "models": {"bert-base": {"shapes": {"8 x 128": shape}, "failures": {"other": "it is not there"}}},
    }


def whole() -> dict[str, Any]:
    """Results of every part but the kernels, in no order."""
    short = {key: spread(2.0) for key in ("latency_ms", "read_gbytes_per_second", "reading_ms", "arithmetic_ms")}
    short |= {"packed_mb": 85.0, "over_reading": spread(1.5), "over_limit": spread(1.25)}
    gains = {"one_ms": spread(20.0), "all_ms": spread(10.0), "gain": spread(1.93), "peak_gain": spread(1.98)}
    vectors = {"way": "default", "texts_per_second": spread(900), "ratio": spread(1), "calls": 9}
    text = {"engines": {"bertcpp int8": vectors}, "mean_characters": 60.0}
    rates = {"bertcpp": spread(40), "transformers": spread(8)}
    answered = {
        "task": "fill-mask",
        "model": "minilm",
        "batch_size": 8,
        "rounds": 3,
        "answers_per_second": rates,
        "ratio": spread(5),
    }
    both = {"model": "bert-base", "threads": 2, "settings": {"rounds": 4}}
    return {
        "tasks": {"machine": about(commit="later", date="2026-01-03"), "settings": {}, "lines": [answered]},
        "bandwidth": {"machine": about(), **both, "dtypes": {"int8": {"1 x 16": short}}},
        "threads": {
            "machine": about(), **both, "dtypes": {"int8": {"8 x 128": {**gains, "of_peak_gain": spread(0.97)}}},
        },
        "text-int8": {"machine": about(), "settings": {"rounds": 5}, "kinds": {"short texts": text}},
        "int8": comparison("int8"),
        "compare": comparison("float32"),
    }  # fmt: skip


PAGE = {
    "compare": "## bert-base in float32: share of the measured float32 peak",
    "int8": "## bert-base in int8: share of the measured int8 peak",
    "text-int8": "| short texts, 60 characters | bertcpp | default | 900 ",
    "threads": "| int8, 8 x 128 | 20.0 (18.0 ",
    "bandwidth": "| int8, 1 x 16 | 2.00 (",
    "tasks": "| fill-mask | minilm | 8 | 40 | 8.0 | transformers | 5.0 (",
}


def test_the_page_of_all_parts() -> None:
    results = report.in_order(whole())
    page = report.page(results)
    places = [page.index(text) for text in PAGE.values()]
    assert places == sorted(places)
    assert "Measured peak, billions of operations a second: float32 400 " in page
    assert ", int8 400 " in page
    assert "| 8 x 128 | **80%** | 40% |" in page
    assert "Could not be measured: other: it is not there" in page
    assert "Largest difference from PyTorch's float32 hidden states" in page
    assert "bertcpp 2%, torch 30%" in page
    assert "| tasks | 2026-01-03 | later | 0.50 | unknown |" in page
    assert "| int8 | 2026-01-02 | abc | 0.50 | unknown |" in page


@pytest.mark.parametrize("left_out", PAGE)
def test_a_part_without_results_is_left_out(left_out: str) -> None:
    results = {part: result for part, result in report.in_order(whole()).items() if part != left_out}
    page = report.page(results)
    assert [part for part, text in PAGE.items() if text not in page] == [left_out]
    assert "|" in report.readme_summary(results)


def test_each_part_alone_makes_a_page() -> None:
    for (part, result), write in itertools.product(whole().items(), (report.page, report.readme_summary)):
        assert write({part: result}, plotted=True).count("\n") > 3


def test_the_summary_says_what_the_tables_do() -> None:
    summary = report.readme_summary(report.in_order(whole()))
    assert "Share of the processor's measured int8 peak, bert-base in int8:" in summary
    assert "answer 5.0 times as fast as those of transformers" in summary
    assert "2 threads are 1.93 times as fast as one; the measured peak gains 1.98 times." in summary
    assert "of the larger of reading the weights once and doing the arithmetic: int8 1.25." in summary
    assert "2026-01-02 to 2026-01-03" in summary


def test_how_many_samples_there_were() -> None:
    page = report.page(report.in_order(whole()))
    for cells in (r"| 8 x 128 | bertcpp | .* | 4 | 70 |", r"| short texts, .* | 5 | 9 |", r"| fill-mask .* | 3 |"):
        assert re.search(cells.replace("|", r"\|"), page), cells
    assert page.count("4 rounds.") == 2, "of threads and of memory"


def test_few_samples_have_a_range() -> None:
    few, many = rounds.spread([1.0, 2.0, 9.0]), rounds.spread([float(i) for i in range(11)])
    assert (few["least"], few["most"], few["samples"]) == (1, 9, 3)
    assert re.findall(r"[0-9]+", tables.interval(few, 0)) == ["2", "1", "9"]
    assert re.findall(r"[0-9]+", tables.interval(many, 0)) == ["5", "1", "9"]
    old = {"a": {"machine": {}, "gain": spread(2.0)}, "native": {}}
    new = {"b": {"machine": {}, "lines": [{"gain": few}]}, "native": {"peak": spread(2.0)}}
    assert "they are interpolated" in report.brackets(old)
    assert report.brackets(new).endswith("of fewer than 10 samples the least and the most")
    assert report.brackets(old | new).endswith("but in b the least and the most are told")


def test_parts_of_two_machines_are_named() -> None:
    results = report.in_order(whole())
    assert "tasks: " not in report.machine_lines(results)
    results["int8"]["machine"] = about(cpu="Another", versions={"numpy": "3"})
    for text in (report.machine_lines(results), report.readme_summary(results)):
        assert "int8: Another, " in text
        assert "compare, text-int8, threads, bandwidth, tasks: A processor, " in text
        assert "numpy 2" in text
        assert "numpy 3" in text
    lines = report.machine_lines(results).splitlines()
    assert ["float32 400" in line for line in lines if "Measured peak" in line] == [True, False]
    told = plot.footer(results)
    assert told.startswith("compare, text-int8: A processor, 2 threads; int8: Another, 2 threads; 2026-01-02; ")


def test_what_is_ahead_of_bertcpp_is_said() -> None:
    results = report.in_order(whole())
    assert "Ahead of bertcpp" not in report.readme_summary(results)
    shapes = results["compare"]["models"]["bert-base"]["shapes"]
    engines = json.loads(json.dumps(shapes["8 x 128"]))
    engines["engines"]["torch"] |= {"share": spread(0.9), "ratio": spread(0.98)}
    results["compare"]["models"]["small"] = {"shapes": {"1 x 16": engines}, "failures": {}}
    results["int8"]["models"]["bert-base"]["shapes"]["8 x 128"]["engines"]["torch int8"]["ratio"] = spread(0.97)
    summary = report.readme_summary(results)
    assert "float32 peak, small in float32:" in summary
    assert "torch on small, 1 x 16, in float32 (90% of the peak against 80%, 0.98 times bertcpp's time)" in summary
    assert "torch on bert-base, 8 x 128, in int8 (40% of the peak against 80%, 0.97 times" in summary


def test_how_tasks_took_turns_is_said_of_these_results() -> None:
    old = whole()["tasks"]
    assert "bertcpp has the first turn of each round" in report.tasks_section(old)[1]
    new = {**old, "settings": dict(tasks.SINCE)}
    assert "each side has an unmeasured turn; the order is new in each round" in report.tasks_section(new)[1]


def test_tasks_take_turns_in_a_new_order_after_an_unmeasured_one() -> None:
    turns: list[str] = []
    sides: Any = {name: lambda *_, name=name: turns.append(name) for name in ("bertcpp", "other")}
    line = tasks.take_turns(sides, ["a text"], 1, argparse.Namespace(rounds=8, patience=60.0))
    assert line["rounds"] == 8
    assert turns[:2] == ["bertcpp", "other"]
    pairs = {tuple(turns[i : i + 2]) for i in range(2, 18, 2)}
    assert pairs == {("bertcpp", "other"), ("other", "bertcpp")}
    assert tasks.take_turns(sides, ["a text"], 1, argparse.Namespace(rounds=8, patience=0.0))["rounds"] == 2


def test_a_plot_that_is_not_drawn_is_not_linked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "benchmarks.svg").write_text("of an earlier run")
    results = {"tasks": whole()["tasks"]}
    monkeypatch.setattr(plot, "draw", lambda *_: False)
    written = everything.write_all(results, tmp_path)
    assert written == [tmp_path / "benchmarks.md"]
    assert "benchmarks.svg" not in written[0].read_text()
    assert "benchmarks.svg" not in report.readme_summary(results)


@pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="matplotlib is not installed")
def test_draw_tells_whether_it_wrote(tmp_path: Path) -> None:
    assert not plot.draw({"tasks": whole()["tasks"]}, tmp_path / "none.svg")
    assert plot.draw(whole(), tmp_path / "some.svg")
    assert [path.name for path in tmp_path.iterdir()] == ["some.svg"]


PARSERS = [everything, compare, bandwidth, threads, text_to_vectors, cold_start, tasks]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--rounds", "0"), ("--repeat", "0"), ("--threads", "0"), ("--threads", "9999"), ("--seconds", "-1"),
        ("--texts", "-5"), ("--patience", "nan"), ("--batch-sizes", "0"),
    ],
)  # fmt: skip
def test_numbers_that_make_no_sense_are_refused(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    asked = [module.parser() for module in PARSERS if option in module.parser().format_help()]
    assert asked
    for parser in asked:
        with pytest.raises(SystemExit, match="2"):
            parser.parse_args([option, value])
        told = capsys.readouterr().err
        assert re.search(f"argument {option}: '{value}' is (not a positive|more than the)", told), told
