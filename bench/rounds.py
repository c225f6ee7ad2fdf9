"""Rounds of turns: each engine's process works alone for a moment, between two measurements of the processor's peak.

A machine that slows down for a while slows the peak and the neighbours in the same round as much, so shares of the peak
and ratios between engines are taken within a round; the median over the rounds is reported.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np

from .machine import ROOT

THREAD_VARIABLES = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "RAYON_NUM_THREADS",
)  # fmt: skip


def environment(threads: int) -> dict[str, str]:
    """The environment of every process that is measured: the same number of threads for all, and no network."""
    quiet = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "TOKENIZERS_PARALLELISM": "true"}
    return os.environ | dict.fromkeys(THREAD_VARIABLES, str(threads)) | quiet


def spread(samples: list[float]) -> dict[str, float]:
    """Median, 10th and 90th percentile."""
    p10, median, p90 = np.percentile(samples, [10, 50, 90])
    return {"median": float(median), "p10": float(p10), "p90": float(p90)}


class WorkerFailedError(RuntimeError):
    """An engine raised, or its process died."""


class WorkerProcess:
    """A `bench.worker` at the other end of a pipe."""

    def __init__(self, spec: dict[str, Any], log: Path) -> None:
        self.name = spec["engine"]
        self.log = log
        with log.open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "bench.worker", json.dumps(spec)], cwd=ROOT, env=environment(spec["threads"]),
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
            )  # fmt: skip
        try:
            self._answer()
        except WorkerFailedError:
            self.close()
            raise

    def ask(self, **command: Any) -> dict[str, Any]:
        """Send a command and wait for its answer. Raises WorkerFailedError."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(command) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise WorkerFailedError(f"{self.name}: its process has ended") from None
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            last_words = self.log.read_text(errors="replace").strip()[-500:]
            raise WorkerFailedError(f"{self.name}: its process died with code {self.process.wait()}: {last_words}")
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise WorkerFailedError(f"{self.name}: {reply['error']}")
        return reply

    def _cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def settle(self, patience: float = 3.0) -> bool:
        """Wait until its threads sleep: some runtimes spin for a while after work. False if they never do."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            before = self._cpu_seconds()
            time.sleep(0.05)
            if self._cpu_seconds() - before <= 0.01:
                return True
        return False

    def peak_rss_mb(self) -> float:
        """The most memory that its process has held, MB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6

    def close(self) -> None:
        """End the process and wait for it."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


class Peak:
    """The processor's fp32 peak at this moment, by `bench_kernels --peak-only`."""

    def __init__(self, native: Path, threads: int) -> None:
        if not native.is_file():
            raise FileNotFoundError(f"{native} is not there: build it with `make native`")
        self.command = [str(native), "--peak-only", "--json", "--repeat", "3", "--threads", str(threads)]
        self.threads = threads
        self.samples: list[float] = []

    def measure(self) -> float:
        """Floating-point operations per second, all threads together."""
        done = subprocess.run(
            self.command, capture_output=True, text=True, check=True, env=environment(self.threads)
        )  # fmt: skip
        peak = float(json.loads(done.stdout)["instruction_sets"][0]["peak_gflops"]["median"]) * 1e9
        self.samples.append(peak)
        return peak


def take_turns(
    workers: dict[str, WorkerProcess], peak: Peak, rounds: int, seconds: float
) -> dict[str, list[dict[str, Any]]]:
    """`rounds` turns of every worker in a new order each round: the seconds of its calls, and the peak around them."""
    turns: dict[str, list[dict[str, Any]]] = {name: [] for name in workers}
    order = deque(workers)
    shuffle = random.Random(20)
    for _ in range(rounds):
        shuffle.shuffle(order)
        before = peak.measure()
        for name in order:
            calls = workers[name].ask(do="run", seconds=seconds)["seconds"]
            if not workers[name].settle():
                print(f"  {name}: its threads still spin while others are measured", file=sys.stderr)
            after = peak.measure()
            turns[name].append({"calls": calls, "peak": (before + after) / 2})
            before = after
    return turns


def summarize(turns: dict[str, list[dict[str, Any]]], flop: float, baseline: str) -> dict[str, dict[str, Any]]:
    """Latency over all calls; share of the peak and ratio to the baseline within each round."""
    per_round = {name: [float(np.median(turn["calls"])) for turn in mine] for name, mine in turns.items()}
    summary = {}
    for name, mine in turns.items():
        times = per_round[name]
        calls = [call for turn in mine for call in turn["calls"]]
        ratios = [own / base for own, base in zip(times, per_round[baseline], strict=True)]
        summary[name] = {
            "latency_ms": spread([1e3 * call for call in calls]),
            "calls": len(calls),
            "ratio": spread(ratios),
        }
        if flop > 0:
            shares = [flop / own / turn["peak"] for own, turn in zip(times, mine, strict=True)]
            summary[name]["share"] = spread(shares)
    return summary
