"""Rounds of turns: each engine's process works alone for a moment, between two measurements of the processor's peak.

A machine that slows down for a while slows the peak and the neighbours in the same round as much, so shares of the peak
and ratios between engines are taken within a round; the median over the rounds is reported.
"""

from __future__ import annotations

import math
import random
import sys
import time
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from .. import _core
from ..errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .processes import WorkerProcess

__all__ = ["Peak", "in_turns", "peak_now", "spread", "summarize", "take_turns"]

Name = TypeVar("Name")
_LEAST_ROUNDS = 3  # however long they take
_TRIES = 5  # a neighbour that takes the processor during some of them takes nothing from the peak
_TRY_SECONDS = 0.002


def spread(samples: list[float]) -> dict[str, float]:
    """Return the median, the 10th and the 90th percentile, the least and the most, and the number of samples."""
    p10, median, p90 = np.percentile(samples, [10, 50, 90])
    return {
        "median": float(median), "p10": float(p10), "p90": float(p90), "least": float(min(samples)),
        "most": float(max(samples)), "samples": len(samples),
    }  # fmt: skip


def peak_now(dtype: str, threads: int) -> float:
    """Return the operations per second that the processor does at this moment, all threads together: the best of a few.

    Raises:
        InputError: where there is no loop of multiply-adds for the dtype.
    """
    return max(_core.measure_peak(dtype, num_threads=threads, seconds=_TRY_SECONDS) for _ in range(_TRIES))


class Peak:
    """The processor's peak at this moment, by the engine's own loops of multiply-adds."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.samples: dict[str, list[float]] = {}

    def measure(self, dtype: str = "float32") -> float | None:
        """Return operations per second, all threads together; None where there is no such loop for the dtype."""
        try:
            rate = peak_now(dtype, self.threads)
        except InputError:
            return None
        self.samples.setdefault(dtype, []).append(rate)
        return rate

    def spreads(self) -> dict[str, dict[str, float]]:
        """Return, for each dtype that was measured, billions of operations per second."""
        return {dtype: spread([rate / 1e9 for rate in rates]) for dtype, rates in self.samples.items()}


def in_turns(
    names: Iterable[Name], rounds: int, patience: float = math.inf, least: int = _LEAST_ROUNDS
) -> Iterator[Name]:
    """Yield whose turn it is: every name once a round, in a new order each round.

    Args:
        names: of those that take turns.
        rounds: how many there are at most.
        patience: seconds after which no further round begins, once `least` are done.
        least: rounds that are done however long they take.
    """
    order = list(names)
    shuffle = random.Random(20)
    started = time.monotonic()
    for done in range(rounds):
        if done >= least and time.monotonic() - started > patience:
            return
        shuffle.shuffle(order)
        yield from order


def take_turns(
    workers: dict[str, WorkerProcess], peak: Peak, rounds: int, seconds: float, patience: float = math.inf
) -> dict[str, list[dict[str, Any]]]:
    """Give every worker `rounds` turns, in a new order each round.

    Args:
        workers: by name.
        peak: what is measured before and after each turn.
        rounds: how many there are at most.
        seconds: of a turn, about.
        patience: seconds after which no further round begins, once three are done.

    Returns:
        for each worker and round the seconds of its `"calls"`, and the `"peak"` of its dtype around them.
    """
    turns: dict[str, list[dict[str, Any]]] = {name: [] for name in workers}
    measured: dict[str, float | None] = {}  # right before a turn, by dtype
    for name in in_turns(workers, rounds, patience):
        worker = workers[name]
        before = measured[worker.dtype] if worker.dtype in measured else peak.measure(worker.dtype)
        calls = worker.ask(do="run", seconds=seconds)["seconds"]
        if not worker.settle():
            print(f"  {name}: its threads still spin while others are measured", file=sys.stderr)
        after = peak.measure(worker.dtype)
        around = None if before is None or after is None else (before + after) / 2
        turns[name].append({"calls": calls, "peak": around})
        measured = {worker.dtype: after}
    return turns


def summarize(turns: dict[str, list[dict[str, Any]]], flop: float, baseline: str) -> dict[str, dict[str, Any]]:
    """Return latencies over all calls; shares of the peak and ratios to the baseline within each round.

    Args:
        turns: what `take_turns` returned.
        flop: operations of a call; 0 where they are not counted, which leaves shares out.
        baseline: the worker whose times others are divided by.
    """
    per_round = {name: [float(np.median(turn["calls"])) for turn in mine] for name, mine in turns.items()}
    summary: dict[str, dict[str, Any]] = {}
    for name, mine in turns.items():
        times = per_round[name]
        calls = [call for turn in mine for call in turn["calls"]]
        ratios = [own / base for own, base in zip(times, per_round[baseline], strict=True)]
        summary[name] = {
            "latency_ms": spread([1e3 * call for call in calls]),
            "calls": len(calls),
            "ratio": spread(ratios),
        }
        peaks = [turn["peak"] for turn in mine]
        if flop > 0 and None not in peaks:
            summary[name]["share"] = spread([flop / own / most for own, most in zip(times, peaks, strict=True)])
    return summary
