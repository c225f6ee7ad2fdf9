"""What more threads gain: bertcpp with one thread and with all, in turns, beside the peaks of one thread and of all.

python -m bench.threads [--threads N] [--model bert-base] [--dtypes float32 bfloat16 int8] [--json results.json]

Two processors of a shared machine are not always twice one: what the measured peak gains in the same turns says what
there was to be gained.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bertcpp.benchmark import rounds

from . import alone, compare, machine, models, workloads

if TYPE_CHECKING:
    from bertcpp.benchmark.processes import WorkerProcess

SHAPES = ("8 x 128", "32 ragged")


def parser() -> argparse.ArgumentParser:
    arguments = argparse.ArgumentParser(prog="python -m bench.threads", description=(__doc__ or "").splitlines()[0])
    alone.add_arguments(arguments, SHAPES)
    return arguments


def measure_shape(
    shape: workloads.Shape, workers: dict[int, WorkerProcess], args: argparse.Namespace
) -> dict[str, Any]:
    """One shape in one dtype, once one thread and all have given the same bits."""
    one, every = sorted(workers)
    states = {threads: alone.prepare(worker, shape, args.seconds) for threads, worker in workers.items()}
    if not np.array_equal(states[one], states[every]):
        raise SystemExit(f"{shape.name}: {every} threads give other bits than one; nothing is measured")
    dtype = workers[one].dtype
    peaks = {threads: {"peak": functools.partial(rounds.peak_now, dtype, threads)} for threads in workers}
    turns = alone.take_turns(workers, peaks, args.rounds, args.seconds)
    pairs = list(zip(turns[one], turns[every], strict=True))
    gains = [a["seconds"] / b["seconds"] for a, b in pairs]
    possible = [b["peak"] / a["peak"] for a, b in pairs]
    return {
        "one_ms": rounds.spread([1e3 * turn["seconds"] for turn in turns[one]]),
        "all_ms": rounds.spread([1e3 * turn["seconds"] for turn in turns[every]]),
        "gain": rounds.spread(gains),
        "peak_gain": rounds.spread(possible),
        "of_peak_gain": rounds.spread([gain / most for gain, most in zip(gains, possible, strict=True)]),
    }


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Every dtype and shape; the results as a dict."""
    if args.threads < 2:
        raise SystemExit("there is nothing to measure with one thread: --threads 2 or more")
    os.sched_setaffinity(0, machine.choose_cpus(args.threads))
    args.cache.mkdir(parents=True, exist_ok=True)
    about = machine.describe(args.threads)
    model = models.load(args.model, args.cache)
    print(f"threads: {model.name} with 1 and with {args.threads}", flush=True)
    results: dict[str, Any] = {dtype: {} for dtype in args.dtypes}
    for dtype in args.dtypes:
        with tempfile.TemporaryDirectory() as logs, contextlib.ExitStack() as running:
            workers = {n: alone.start(model, dtype, n, args.cache, Path(logs)) for n in (1, args.threads)}
            for worker in workers.values():
                running.callback(worker.close)
            for shape in (shape for shape in workloads.SHAPES if shape.name in args.shapes):
                line = results[dtype][shape.name] = measure_shape(shape, workers, args)
                print(
                    f"  {dtype:<9} {shape.name:<10}{line['gain']['median']:6.2f} times as fast as one "
                    f"({line['gain']['p10']:.2f} to {line['gain']['p90']:.2f}), the peak "
                    f"{line['peak_gain']['median']:.2f} times", flush=True,
                )  # fmt: skip
    return alone.with_settings(results, args, about, model)


def main() -> None:
    compare.run(parser(), measure)


if __name__ == "__main__":
    main()
