"""The benchmarks run, and what they write has the shape that their readers expect. Times are not judged here."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench import cold_start, machine, models, report, tasks, workloads  # noqa: E402

from bertcpp.benchmark import comparison, processes  # noqa: E402

QUARTILES = {"median", "p10", "p90"}
RANGE = {"least", "most", "samples"}


@pytest.fixture(scope="module")
def native() -> Path:
    for folder in (os.environ.get("BERTCPP_NATIVE_BUILD"), ROOT / "build"):
        if folder and (Path(folder) / "bench_kernels").is_file():
            return Path(folder) / "bench_kernels"
    pytest.skip("bench_kernels is not built: make native")


def run(*command: Any) -> str:
    done = subprocess.run(
        [str(word) for word in command], cwd=ROOT, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def assert_spread(values: dict[str, float]) -> None:
    assert QUARTILES <= set(values) <= QUARTILES | RANGE
    if "least" in values:
        assert values["least"] <= values["p10"] <= values["p90"] <= values["most"]
        assert values["samples"] >= 1
    assert 0 < values["p10"] <= values["median"] <= values["p90"]


@pytest.fixture(scope="module")
def kernel_results(native: Path) -> dict[str, Any]:
    results: dict[str, Any] = json.loads(run(native, "--quick", "--json", "--threads", 1))
    return results


def test_kernels_are_measured_for_every_instruction_set(kernel_results: dict[str, Any]) -> None:
    from bertcpp import _core

    assert [isa["name"] for isa in kernel_results["instruction_sets"]] == list(_core.instruction_sets())
    assert kernel_results["threads"] == 1
    assert_spread(kernel_results["memory_read_gbytes_per_second"])
    for isa in kernel_results["instruction_sets"]:
        assert_spread(isa["peak_gflops"])
        assert {line["kernel"] for line in isa["results"]} == {"matmul", "attention", "layer_norm", "activation"}
        for line in isa["results"]:
            for key in ("microseconds", "rate", "reference_rate", "share"):
                assert_spread(line[key])
            assert line["samples"] >= 3
            if line["kernel"] == "matmul":
                operations = 2 * line["m"] * line["n"] * line["k"]
                assert line["rate"]["median"] * line["microseconds"]["median"] * 1e3 == pytest.approx(
                    operations, rel=0.01
                )


def test_kernels_of_one_instruction_set_as_a_table(native: Path) -> None:
    table = run(native, "--quick", "--isa", "scalar", "--threads", 1, "--repeat", 3)
    assert "scalar: tile" in table
    assert "avx2: tile" not in table


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--threads", "0"], "--threads takes a number from 1 to 1024"),
        (["--repeat", "x"], "--repeat takes a number"),
        (["--isa", "sse9"], 'no instruction set "sse9"; it carries'),
        (["--isa"], "--isa needs a value"),
        (["--fast"], "unknown option --fast"),
    ],
)
def test_what_the_kernel_benchmark_refuses(native: Path, options: list[str], complaint: str) -> None:
    done = subprocess.run([str(native), *options], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert complaint in done.stderr


NUMBERS = {
    "bandwidth": ["--rounds", "--seconds", "--threads"],
    "cold_start": ["--repeat", "--threads"],
    "compare": ["--rounds", "--seconds", "--patience", "--threads"],
    "cuda": ["--repeats"],
    "precision": ["--texts", "--queries"],
    "run": ["--rounds", "--seconds", "--patience"],
    "tasks": ["--batch-sizes", "--texts", "--rounds", "--patience", "--threads"],
    "text_to_vectors": ["--texts", "--rounds", "--seconds", "--threads"],
    "threads": ["--rounds", "--seconds"],
}


@pytest.mark.parametrize(("part", "option"), [(part, option) for part in NUMBERS for option in NUMBERS[part]])
def test_numbers_that_measure_nothing_are_refused(part: str, option: str) -> None:
    for value in ("0", "-1", "x"):
        done = subprocess.run(
            [sys.executable, "-m", f"bench.{part}", f"{option}={value}"],
            capture_output=True, text=True, timeout=60, check=False, cwd=ROOT,
        )  # fmt: skip
        assert done.returncode == 2, done.stderr
        assert f"argument {option}: '{value}' is " in done.stderr


def test_more_queries_than_texts_are_refused() -> None:
    for options in (["--texts", "10", "--queries", "5"], ["--texts", "20", "--queries", "21"]):
        command = [sys.executable, "-m", "bench.precision", *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)
        assert (done.returncode, "more than" in done.stderr) == (2, True)


@pytest.fixture(scope="module")
def compared(native: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("bench")
    run(
        sys.executable, "-m", "bench.compare", "--models", "tiny", "--engines", "bertcpp", "torch", "--threads", 1,
        "--rounds", 2, "--seconds", 0.01, "--native", native, "--cache", folder, "--json", folder / "results.json",
        "--shapes", "1 x 16", "32 ragged",
    )  # fmt: skip
    results: dict[str, Any] = json.loads((folder / "results.json").read_text())
    return results


def test_engines_are_compared(compared: dict[str, Any]) -> None:
    assert compared["machine"]["threads"] == 1
    assert compared["machine"]["cpu"]
    assert {"numpy", "torch"} <= set(compared["machine"]["versions"])
    assert_spread(compared["peak_gflops"])
    assert report.brackets({"compare": compared}).endswith("of fewer than 10 samples the least and the most")
    shapes = compared["models"]["tiny"]["shapes"]
    assert list(shapes) == ["1 x 16", "32 ragged"]
    for shape in shapes.values():
        assert set(shape["engines"]) == {"bertcpp", "torch"}
        assert shape["failures"] == {}
        assert shape["reference"] == "torch"
        for line in shape["engines"].values():
            for key in ("latency_ms", "share", "ratio"):
                assert_spread(line[key])
            assert line["difference"] <= 2e-5
            assert line["calls"] >= 2
        assert shape["engines"]["bertcpp"]["ratio"]["median"] == 1
    assert shapes["32 ragged"]["padded_gflop"] > 2 * shapes["32 ragged"]["useful_gflop"]


def test_lower_precisions_are_held_to_float32(native: Path, tmp_path: Path) -> None:
    run(
        sys.executable, "-m", "bench.compare", "--dtype", "int8", "--models", "tiny", "--engines", "bertcpp", "torch",
        "--threads", 1, "--rounds", 2, "--seconds", 0.01, "--native", native, "--cache", tmp_path,
        "--json", tmp_path / "results.json", "--shapes", "1 x 16",
    )  # fmt: skip
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["settings"]["dtype"] == "int8"
    assert_spread(results["peak_gflops"])
    shape = results["models"]["tiny"]["shapes"]["1 x 16"]
    assert (shape["reference"], shape["rounds"], shape["failures"]) == ("torch float32", 2, {})
    assert list(shape["engines"]) == ["bertcpp int8", "torch int8"]
    for line in shape["engines"].values():
        assert line["dtype"] == "int8"
        assert 1e-5 < line["difference"] < 0.5, "from float32, which neither computes in"
        share = shape["useful_gflop"] / (line["latency_ms"]["median"] / 1e3) / results["peak_gflops"]["median"]
        assert 0.1 < share / line["share"]["median"] < 10, "of the peak of int8"


def test_texts_become_vectors_on_both_sides(native: Path, tmp_path: Path) -> None:
    engines = ["bertcpp", "sentence-transformers"]
    run(
        sys.executable, "-m", "bench.text_to_vectors", "--engines", *engines, "--threads", 1, "--rounds", 2,
        "--seconds", 0.01, "--texts", 8, "--native", native, "--cache", tmp_path, "--json", tmp_path / "results.json",
    )  # fmt: skip
    results = json.loads((tmp_path / "results.json").read_text())
    assert {kind: result["texts"] for kind, result in results["kinds"].items()} == {"short texts": 8, "paragraphs": 3}
    for result in results["kinds"].values():
        assert list(result["engines"]) == engines
        for line in result["engines"].values():
            assert_spread(line["texts_per_second"])
            assert line["least_cosine"] > 0.999999
            assert line["peak_rss_mb"] > 50


def test_a_process_is_timed_and_weighed() -> None:
    script = "import time; block = b'x' * 30_000_000; time.sleep(0.05); print(0.25, flush=True)"
    seconds, memory, number = cold_start.run_once(script, [], dict(os.environ))
    assert seconds > 0.05
    assert 30 < memory < 100
    assert number == 0.25
    with pytest.raises(RuntimeError, match="no such luck"):
        cold_start.run_once("raise SystemExit('no such luck')", [], dict(os.environ))


def test_a_page_is_written(compared: dict[str, Any], kernel_results: dict[str, Any], tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- benchmarks -->\nold\n<!-- /benchmarks -->\nafter\n")
    results = {"compare": compared, "native": {"machine": compared["machine"], **kernel_results}}
    assert report.write(results, tmp_path, readme, plotted=True) == [tmp_path / "benchmarks.md", readme]
    page = (tmp_path / "benchmarks.md").read_text()
    for expected in ("| batch x tokens | bertcpp | torch |", "How to read this", "### scalar: tile", "% of peak"):
        assert expected in page
    assert "## tiny in float32: share of the measured float32 peak" in page
    lines = readme.read_text().splitlines()
    assert (lines[0], lines[-1]) == ("before", "after")
    assert "old" not in lines
    assert f"{report.PLOT}(docs/benchmarks.svg)" in lines
    assert f"{report.PLOT}(benchmarks.svg)" in page.splitlines()
    assert "| batch x tokens | bertcpp | torch |" in lines


@pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="matplotlib is not installed")
def test_a_plot_is_drawn(compared: dict[str, Any], tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    results.write_text(json.dumps({"compare": compared}))
    run(sys.executable, "-m", "bench.plot", "--results", results, "--output", tmp_path / "plot.svg")
    assert "<svg" in (tmp_path / "plot.svg").read_text()


def test_operations_of_bert_base() -> None:
    bert = models.Model("bert-base", Path(), layers=12, hidden=768, intermediate=3072, heads=12, vocab=30522)
    assert bert.flop([128]) == pytest.approx(128 * (169.87e6 + 36864 * 128), rel=1e-4)
    assert bert.flop([10, 20]) == bert.flop([10]) + bert.flop([20])


def test_the_ragged_batch_is_ragged() -> None:
    lengths = workloads.SHAPES[-1].lengths
    assert (len(lengths), max(lengths), sum(lengths)) == (32, 128, 32 * 40)
    batch = workloads.batch(list(lengths), 30522)
    assert batch.input_ids.shape == (32, 128)
    np.testing.assert_array_equal(batch.attention_mask.sum(axis=1), lengths)
    assert (batch.input_ids[batch.attention_mask == 0] == 0).all()
    assert (batch.input_ids[batch.attention_mask == 1] >= 1000).all()


def test_texts_are_english_and_as_long_as_said() -> None:
    short, paragraphs = workloads.short_texts(), workloads.paragraphs()
    assert len(set(short)) == workloads.SHORT_TEXTS
    assert all(20 <= len(text) <= 100 for text in short)
    assert len(paragraphs) == workloads.PARAGRAPHS
    assert np.mean([len(text) for text in paragraphs]) > 380
    assert sum(" the " in text for text in paragraphs) > len(paragraphs) / 2
    assert short == workloads.short_texts()


def test_wrong_results_stop_the_comparison() -> None:
    rng = np.random.default_rng(0)
    reference = rng.normal(size=(2, 4, 8)).astype(np.float32)
    result = reference.copy()
    result[1, 2:] = 99.0  # padding of a sequence of two tokens does not count
    assert comparison.largest_difference(result, reference, [4, 2]) == 0
    result[0, 0, 0] += 0.1
    difference = comparison.largest_difference(result, reference, [4, 2])
    assert difference > comparison.TOLERANCES["float32"]
    result[1, 0, 0] = np.nan
    assert not comparison.largest_difference(result, reference, [4, 2]) <= comparison.TOLERANCES["float32"]
    with pytest.raises(ValueError, match="shape"):
        comparison.largest_difference(result[:1], reference, [4, 2])


def test_a_worker_that_fails_says_why(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    config = {
        "num_hidden_layers": 1,
        "hidden_size": 8,
        "intermediate_size": 8,
        "num_attention_heads": 1,
        "vocab_size": 9,
    }
    (folder / "config.json").write_text(json.dumps(config))
    spec = {
        "table": "bertcpp.benchmark.engines:ENGINES",
        "engine": "bertcpp",
        "model": "none",
        "folder": str(folder),
        "cache": str(tmp_path),
        "threads": 1,
        "dtype": "float32",
    }
    with pytest.raises(processes.WorkerFailedError, match=r"bertcpp: .*Error"):
        processes.WorkerProcess(spec, tmp_path / "log")


def test_processors_are_chosen_within_the_mask() -> None:
    allowed = os.sched_getaffinity(0)
    assert set(machine.choose_cpus(1)) <= allowed
    assert set(machine.choose_cpus(len(allowed))) == allowed
    with pytest.raises(ValueError, match="may use"):
        machine.choose_cpus(len(allowed) + 1)


def test_tasks_are_measured_beside_their_models_in_pytorch(tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    tasks = ("fill-mask", "feature-extraction", "pair scoring")
    options = ("--models", "tiny", "--tasks", *tasks, "--batch-sizes", 1, 5, "--texts", 4, "--rounds", 1)
    printed = run(sys.executable, "-m", "bench.tasks", *options, "--threads", 1, "--json", results)
    lines = json.loads(results.read_text())["lines"]
    assert [(line["task"], line["batch_size"], line["texts"]) for line in lines] == [
        (task, size, max(4, size)) for task in tasks for size in (1, 5)
    ]
    for line in lines:
        other = "sentence-transformers" if line["task"] == "pair scoring" else "transformers"
        assert list(line["answers_per_second"]) == ["bertcpp", other]
        for rates in (*line["answers_per_second"].values(), line["ratio"]):
            assert_spread(rates)
    assert printed.count("fill-mask") == 2


def test_answers_that_differ_are_told() -> None:
    same = [{"label": "good", "score": 0.25}, {"label": "bad", "score": 0.75}]
    assert tasks.differ(same, same) == 0
    assert tasks.differ([{**same[0], "score": 0.5}, same[1]], same) == 0.25
    assert tasks.differ(same[::-1], same) == float("inf"), "another label"
    assert tasks.differ([[0.0, 1.0]], [[0.5, 1.0]]) == 0.5
    apart = [
        ([0.5], [0.5, 0.5, 0.5]),
        (np.ones(1), np.ones(3)),
        (0.5, np.full(3, 0.5)),
        ([same], [same, same]),
        ({"a": 1, "b": 2}, {"a": 1}),
        ({"a": 1}, {"a": 1, "b": 2}),
        (None, same[0]),
        (None, 0.5),
        ({**same[0], "score": np.nan}, same[0]),
        (np.array([0.0, np.nan]), np.zeros(2)),
        ([0.0, np.nan], [0.0, 1.0]),
        ([np.zeros(2)], [np.full(2, np.nan)]),
    ]
    for ours, theirs in apart:
        assert tasks.differ(ours, theirs) == float("inf"), (ours, theirs)
    assert tasks.differ([], []) == tasks.differ(np.ones(3), np.ones(3)) == 0
    padded, own = [[[1.0], [2.0], [9.0]]], [[[1.0], [2.0]]]
    assert tasks.without_padding([padded], [own]) == [own]
