"""`bertcpp bench`: what it prints has the shape that is promised. Times are not judged here."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import embedding_checkpoints as checkpoints
import numpy as np
import pytest
from test_cli import COMMAND, ENVIRONMENT

from bertcpp import _core
from bertcpp.benchmark import comparison, engines, models, processes, workloads
from bertcpp.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

QUICK = ("--rounds", "2", "--seconds", "0.01", "--threads", "1")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, seed: int) -> Path:
    return checkpoints.save_encoder(tmp_path_factory.mktemp("model"), seed)


def bench(*arguments: Any, code: int = 0) -> tuple[str, str]:
    command = [*COMMAND, "bench", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=ENVIRONMENT)
    assert done.returncode == code, done.stderr
    return done.stdout, done.stderr


def test_the_table(model: Path) -> None:
    table, errors = bench(model, *QUICK, "--shapes", "2x9", "8x33")
    assert errors == ""
    lines = table.splitlines()
    assert lines[0].startswith(f"{model.name}: 3 layers of 32; ")
    assert lines[0].endswith(", 1 thread")
    header = next(line for line in lines if line.startswith("2 x 9 "))
    assert header.split()[3:] == ["ms", "10%", "to", "90%", "tokens/s", "of", "peak", "time", "error", "memory"]
    assert any(line.startswith("8 x 33 ") for line in lines)
    rows = [line.split() for line in lines if line.startswith("  bertcpp")]
    assert len(rows) == 2
    for row in rows:
        assert row[-4:-2] == ["1.00", "0"], "against itself"
        assert row[-1] == "MB"
        assert row[-5].endswith("%")
    assert lines[-1].startswith("measured peak, billions of operations a second: float32 ")


def test_json_a_plot_and_a_rival(model: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    _, errors = bench(
        *(model, *QUICK, "--shapes", "1x7", "--compare", "torch,openvino", "--cache", tmp_path / "cache"),
        *("--json", "--output", tmp_path / "results.json", "--plot", tmp_path / "results.svg"),
    )
    installed = not engines.ENGINES["openvino"].missing()
    assert installed or errors == "without openvino: openvino not installed\n"
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["model"] == {"name": model.name, "family": "bert", "layers": 3, "hidden_size": 32}
    assert results["machine"]["threads"] == 1
    assert results["failures"] == {}
    shape = results["shapes"]["1 x 7"]
    assert shape["lengths"] == [7]
    assert shape["reference"] == "torch"
    assert {"bertcpp", "torch"} <= set(shape["engines"])
    for line in shape["engines"].values():
        for key in ("latency_ms", "tokens_per_second", "share", "ratio"):
            assert 0 < line[key]["p10"] <= line[key]["median"] <= line[key]["p90"]
        assert line["difference"] <= 2e-5
        assert line["peak_rss_mb"] > 10
        median = line["latency_ms"]["median"]
        assert math.isclose(line["tokens_per_second"]["median"], 7e3 / median)
    assert results["peak_gflops"]["float32"]["median"] > 0
    assert "<svg" in (tmp_path / "results.svg").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "results.json", "results.svg"]


@pytest.mark.parametrize(
    ("code", "arguments", "message"),
    [
        (2, ["--shapes", "8by128"], "'8by128' is no shape; name texts x tokens, such as 8x128, or ragged"),
        (2, ["--shapes", "0x8"], "'0x8' is no shape"),
        (2, ["--shapes", "9999999x9999999"], "is no shape"),
        (2, ["--compare", "tensorflow"], "no engine 'tensorflow' to compare with; there are torch, onnxruntime"),
        (2, ["--dtype", "float8"], "invalid choice: 'float8'"),
        (2, ["--seconds", "nan"], "'nan' is not a positive number"),
        (1, ["--shapes", "1x100000"], r"1 x 100000: model\d* takes at most \d+ tokens; name shorter --shapes"),
        (1, ["--plot", "results.txt"], r"results.txt: the name must end in .svg, .png or .pdf"),
        (1, ["--plot", "gone/results.svg"], "gone/results.svg: there is no such folder"),
        (1, ["--threads", "1000"], "--threads 1000: this process may use"),
    ],
)
def test_mistakes(model: Path, code: int, arguments: list[str], message: str) -> None:
    output, errors = bench(model, *arguments, code=code)
    assert output == ""
    assert errors.count("\n") == 1
    assert re.search(message, errors), errors


def test_a_model_that_is_not_there() -> None:
    assert "no/such/model" in bench("no/such/model", code=1)[1]


def test_the_measured_peak() -> None:
    assert _core.measure_peak(num_threads=1) > 1e8
    assert _core.measure_peak("float32", num_threads=1, seconds=0.001) > 1e8
    with pytest.raises(InputError, match='no peak is measured for the dtype "float128"; there is one for float32'):
        _core.measure_peak("float128")
    with pytest.raises(InputError, match="seconds must lie above 0"):
        _core.measure_peak(seconds=float("nan"))
    with pytest.raises(InputError, match="num_threads must lie between"):
        _core.measure_peak(num_threads=-1)


def test_the_measured_bandwidth_of_memory() -> None:
    assert _core.measure_read_bandwidth(num_threads=1, seconds=0.001) > 1e8
    assert _core.measure_read_bandwidth(num_threads=3, seconds=0.001, bytes=1) > 1e3, "as little as there is"
    with pytest.raises(InputError, match="bytes must be 0, for several times what the caches hold, or more"):
        _core.measure_read_bandwidth(bytes=-1)
    with pytest.raises(MemoryError):
        _core.measure_read_bandwidth(bytes=1 << 60)
    with pytest.raises(InputError, match="seconds must lie above 0"):
        _core.measure_read_bandwidth(seconds=0)
    with pytest.raises(InputError, match="num_threads must lie between"):
        _core.measure_read_bandwidth(num_threads=2000)


def test_results_that_differ_are_not_timed(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine of the test's own, which computes something else."""
    (tmp_path / "wrong_engine.py").write_text(
        "from bertcpp.benchmark.engines import Bertcpp\n"
        "class Wrong(Bertcpp):\n"
        "    def ways(self, batch):\n"
        "        for name, run in super().ways(batch): yield name, lambda: 1.1 * run()\n"
        "    def check(self, inputs, result): pass\n"
        "class Broken(Bertcpp):\n"
        "    def load(self): raise OSError('no such luck')\n"
        "TABLE = {'bertcpp': Bertcpp, 'wrong': Wrong, 'broken': Broken}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    settings = comparison.Settings(1, tmp_path, rounds=1, seconds=0.001, table="wrong_engine:TABLE")
    measured = models.named(str(model))
    contestants = [comparison.Contestant(name) for name in ("bertcpp", "broken", "wrong")]
    workers, failures = comparison.start_all(contestants, measured, settings, tmp_path)
    try:
        assert failures == {"broken": "broken: OSError: no such luck"}
        with pytest.raises(RuntimeError, match=r"1 x 5: results differ from bertcpp's by more than rounding.*'wrong'"):
            comparison.compare_shape(workloads.named_shape("1x5"), measured, workers, None, settings)  # type: ignore[arg-type]
    finally:
        for worker in workers.values():
            worker.close()
    with pytest.raises(processes.WorkerFailedError, match="no such luck"):
        comparison.start_all(contestants[1:], measured, settings, tmp_path)


def test_models_of_other_families_and_places(model: Path, tmp_path: Path) -> None:
    bert = models.named(str(model))
    assert bert.inputs == ("input_ids", "attention_mask", "token_type_ids")
    config = json.loads((model / "config.json").read_text())
    for family, longest, inputs in (("roberta", config["max_position_embeddings"] - 2, 3), ("distilbert", None, 2)):
        folder = tmp_path / family
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(config | {"model_type": family, "pad_token_id": 1}))
        other = models.from_folder(family, folder)
        assert (other.family, len(other.inputs), other.padding) == (family, inputs, 1)
        assert longest is None or other.longest == longest
        assert other.key != bert.key
    batch = workloads.batch([2, 4], 100, padding=1)
    assert batch.input_ids[0, 2:].tolist() == [1, 1]
    assert np.all(batch.input_ids[batch.attention_mask == 1] > 1)


def test_help_needs_nothing_heavy() -> None:
    code = "import sys, bertcpp.cli; print(sorted({'numpy', 'json.tool', 'bertcpp.benchmark'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=ENVIRONMENT)
    assert done.stdout == "[]\n"
