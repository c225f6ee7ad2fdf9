"""Engines on the same batches of token ids, with equal threads: agreement first, then times in turns."""

from __future__ import annotations

import math
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from . import rounds
from .processes import WorkerFailedError, WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .models import Model
    from .workloads import Shape

__all__ = [
    "BASELINE",
    "TOLERANCES",
    "Contestant",
    "Settings",
    "compare_shape",
    "largest_difference",
    "result_of",
    "start_all",
]

BASELINE = "bertcpp"
_TABLE = "bertcpp.benchmark.engines:ENGINES"
# Largest difference from the reference, as a share of its largest magnitude, that still counts as the same model.
TOLERANCES = {"float32": 1e-3, "bfloat16": 0.1, "int8": 0.5}


class Contestant(NamedTuple):
    """An engine, and what it computes in."""

    engine: str
    dtype: str = "float32"

    @property
    def name(self) -> str:
        """What tables call it."""
        return self.engine if self.dtype == "float32" else f"{self.engine} {self.dtype}"


@dataclass(frozen=True)
class Settings:
    """How much is measured, and with what.

    Attributes:
        threads: of every engine.
        cache: where exports for other engines are kept.
        rounds: turns of each contestant on each shape.
        seconds: of a turn, about.
        table: the classes of the engines, as `module:name`.
        patience: seconds after which no further round of a shape begins, once three are done.
    """

    threads: int
    cache: Path
    rounds: int = 12
    seconds: float = 0.5
    table: str = _TABLE
    patience: float = math.inf


def start_all(
    contestants: Sequence[Contestant], model: Model, settings: Settings, logs: Path
) -> tuple[dict[str, WorkerProcess], dict[str, str]]:
    """Start a process for each contestant.

    Returns:
        the processes by name, and what went wrong with those that could not be started.

    Raises:
        WorkerFailedError: if the first one could not.
    """
    workers: dict[str, WorkerProcess] = {}
    failures: dict[str, str] = {}
    try:
        for contestant in contestants:
            spec = {
                "table": settings.table,
                "engine": contestant.engine,
                "model": model.name,
                "folder": str(model.folder),
                "cache": str(settings.cache),
                "threads": settings.threads,
                "dtype": contestant.dtype,
            }
            log = logs / f"{len(workers) + len(failures)}.log"
            try:
                workers[contestant.name] = WorkerProcess(spec, log)
                workers[contestant.name].settle()
            except WorkerFailedError as error:
                if not workers:
                    raise
                _note(failures, contestant.name, error)
    except BaseException:
        for worker in workers.values():
            worker.close()
        raise
    return workers, failures


def _note(failures: dict[str, str], name: str, error: Exception) -> None:
    failures[name] = str(error)
    print(f"  {error}", file=sys.stderr)


def largest_difference(result: np.ndarray[Any, Any], reference: np.ndarray[Any, Any], lengths: list[int]) -> float:
    """Return, over the tokens that are no padding, max |result - reference| / max |reference|.

    Raises:
        ValueError: if the shapes differ.
    """
    if result.ndim != 3 or result.shape[0] != len(lengths) or result.shape[2] != reference.shape[2]:
        raise ValueError(f"a result of shape {result.shape} in place of {reference.shape}")
    pairs = [(result[i, :n], reference[i, :n]) for i, n in enumerate(lengths)]
    difference = np.max([np.abs(a - b).max() for a, b in pairs])  # NumPy's max, unlike Python's, keeps NaN
    return float(difference / np.max([np.abs(b).max() for _, b in pairs]))


def compare_shape(
    shape: Shape,
    model: Model,
    workers: dict[str, WorkerProcess],
    peak: rounds.Peak,
    settings: Settings,
    untimed: WorkerProcess | None = None,
) -> dict[str, Any]:
    """Measure one shape on every contestant, once their results agree.

    Results are compared with those of `untimed`, a process that takes no turns; without it with PyTorch's where it
    takes part in float32, else with those of the first contestant.

    Raises:
        RuntimeError: if they do not agree.
        WorkerFailedError: if the first contestant fails, or `untimed`.
    """
    lengths = list(shape.lengths)
    first = next(iter(workers))
    prepared, outputs, failures = _prepare(lengths, workers, settings)
    reference = "torch" if "torch" in outputs else first
    truth, exactness = outputs[reference], workers[reference].dtype
    if untimed is not None:
        reference, truth, exactness = f"{untimed.name} {untimed.dtype}", result_of(untimed, lengths), untimed.dtype
    differences = {name: largest_difference(output, truth, lengths) for name, output in outputs.items()}
    wrong = {
        name: difference
        for name, difference in differences.items()
        if not difference <= max(TOLERANCES[workers[name].dtype], TOLERANCES[exactness])
    }
    if wrong:
        raise RuntimeError(
            f"{model.name} {shape.name}: results differ from {reference}'s by more than rounding, so nothing is "
            f"measured: {wrong}"
        )
    taking_part = {name: workers[name] for name in outputs}
    turns = rounds.take_turns(taking_part, peak, settings.rounds, settings.seconds, settings.patience)
    summary = rounds.summarize(turns, model.flop(lengths), first)
    for name, line in summary.items():
        latencies = ((key, line["latency_ms"][key]) for key in ("median", "p10", "p90"))
        rates = {key: sum(lengths) / (value / 1e3) for key, value in latencies}
        line |= {
            "tokens_per_second": {"median": rates["median"], "p10": rates["p90"], "p90": rates["p10"]},
            "dtype": workers[name].dtype,
            "difference": differences[name],
            "peak_rss_mb": workers[name].peak_rss_mb(),
            **prepared[name],
        }
    return {
        "lengths": lengths,
        "useful_gflop": model.flop(lengths) / 1e9,
        "padded_gflop": model.flop([max(lengths)] * len(lengths)) / 1e9,
        "reference": reference,
        "rounds": len(turns[first]),
        "engines": summary,
        "failures": failures,
    }


def result_of(worker: WorkerProcess, lengths: list[int], do: str = "compute", **options: float) -> np.ndarray[Any, Any]:
    """Have a worker compute a batch, by this command with these options, and return its hidden states."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "states.npy"
        worker.ask(do=do, workload=lengths, output=str(path), **options)
        worker.settle()
        result: np.ndarray[Any, Any] = np.load(path)
        return result


def _prepare(
    lengths: list[int], workers: dict[str, WorkerProcess], settings: Settings
) -> tuple[dict[str, dict[str, Any]], dict[str, np.ndarray[Any, Any]], dict[str, str]]:
    """Let every contestant find its fastest way; what it says of it, its results, and what went wrong."""
    prepared: dict[str, dict[str, Any]] = {}
    outputs: dict[str, np.ndarray[Any, Any]] = {}
    failures: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "states.npy"
        for name, worker in workers.items():
            try:
                prepared[name] = worker.ask(
                    do="prepare", workload=lengths, output=str(path), seconds=settings.seconds / 2
                )
                outputs[name] = np.load(path)
            except WorkerFailedError as error:
                if not outputs:
                    raise
                _note(failures, name, error)
            worker.settle()
    return prepared, outputs, failures
