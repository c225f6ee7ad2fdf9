"""bertcpp alone: its processes in turns, each turn between two measurements of what the processor can do just then."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bertcpp.benchmark import comparison
from bertcpp.benchmark.comparison import BASELINE, Contestant
from bertcpp.benchmark.rounds import in_turns
from bertcpp.commands.options import positive, positive_number

from . import models, workloads
from .compare import add_common_arguments

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping, Sequence

    from bertcpp.benchmark.processes import WorkerProcess

DTYPES = ("float32", "bfloat16", "int8")


def add_arguments(arguments: argparse.ArgumentParser, shapes: Sequence[str]) -> None:
    """What the measurements of bertcpp alone share."""
    add_common_arguments(arguments)
    arguments.add_argument("--json", type=Path, help="write the results to this file")
    arguments.add_argument("--model", default="bert-base", choices=models.MODEL_NAMES, help="default: bert-base")
    arguments.add_argument("--dtypes", nargs="+", default=list(DTYPES), choices=DTYPES)
    arguments.add_argument("--shapes", nargs="+", default=list(shapes), metavar="SHAPE",
                           choices=[s.name for s in workloads.SHAPES])  # fmt: skip
    arguments.add_argument("--rounds", type=positive, default=10, help="turns of each process (default: 10)")
    arguments.add_argument("--seconds", type=positive_number, default=0.5, help="of a turn, about (default: 0.5)")


def with_settings(
    results: dict[str, Any], args: argparse.Namespace, about: dict[str, Any], model: models.Model
) -> dict[str, Any]:
    """The results by dtype and what they were measured with."""
    return {
        "machine": about,
        "settings": {"rounds": args.rounds, "seconds": args.seconds},
        "model": model.name,
        "threads": args.threads,
        "dtypes": results,
    }


def start(model: models.Model, dtype: str, threads: int, cache: Path, logs: Path) -> WorkerProcess:
    """A process that computes in this dtype with so many threads."""
    folder = Path(tempfile.mkdtemp(dir=logs))
    settings = comparison.Settings(threads, cache)
    workers, _ = comparison.start_all([Contestant(BASELINE, dtype)], model, settings, folder)
    (worker,) = workers.values()
    return worker


def prepare(worker: WorkerProcess, shape: workloads.Shape, seconds: float) -> np.ndarray[Any, Any]:
    """Warm up on a shape; its hidden states."""
    return comparison.result_of(worker, list(shape.lengths), do="prepare", seconds=seconds / 4)


def take_turns(
    workers: Mapping[Any, WorkerProcess],
    yardsticks: Mapping[Any, Mapping[str, Callable[[], float]]],
    rounds: int,
    seconds: float,
) -> dict[Any, list[dict[str, float]]]:
    """Give every process its turns, in a new order each round.

    Returns for each of them and each round the median `"seconds"` of a call, and of each of its yardsticks the mean of
    what it was before and after.
    """
    turns: dict[Any, list[dict[str, float]]] = {name: [] for name in workers}
    for name in in_turns(workers, rounds):
        before = {kind: measure() for kind, measure in yardsticks[name].items()}
        calls = workers[name].ask(do="run", seconds=seconds)["seconds"]
        workers[name].settle()
        around = {kind: (before[kind] + measure()) / 2 for kind, measure in yardsticks[name].items()}
        turns[name].append({"seconds": float(np.median(calls)), **around})
    return turns
