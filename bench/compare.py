"""bertcpp against other engines on the same batches of token ids, with equal threads, in one run.

python -m bench.compare [--models bert-base minilm] [--engines ...] [--threads N] [--rounds N] [--json results.json]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from . import machine, models, rounds, workloads
from .engines import ENGINES, OPTIONAL

BASELINE = "bertcpp"
# Largest difference from the reference, as a share of its largest magnitude, that still counts as the same model.
FP32_TOLERANCE = 1e-3
DEFAULT_NATIVE = machine.ROOT / "build" / "bench_kernels"


def parser() -> argparse.ArgumentParser:
    arguments = argparse.ArgumentParser(prog="python -m bench.compare", description=__doc__.splitlines()[0])
    add_common_arguments(arguments)
    arguments.add_argument("--json", type=Path, help="write the results to this file")
    arguments.add_argument("--models", nargs="+", default=["bert-base", "minilm"], choices=models.MODEL_NAMES)
    arguments.add_argument("--shapes", nargs="+", default=[s.name for s in workloads.SHAPES], metavar="SHAPE",
                           choices=[s.name for s in workloads.SHAPES])  # fmt: skip
    arguments.add_argument("--engines", nargs="+", choices=list(ENGINES), metavar="ENGINE",
                           help=f"default: what is installed of {', '.join(e for e in ENGINES if e not in OPTIONAL)}; "
                           f"also {', '.join(OPTIONAL)}")  # fmt: skip
    arguments.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "int8"],
                           help="of the peers that have it; bertcpp stays float32")  # fmt: skip
    arguments.add_argument("--rounds", type=int, default=12, help="turns of each engine on each shape (default: 12)")
    arguments.add_argument("--seconds", type=float, default=0.5, help="of a turn, about (default: 0.5)")
    return arguments


def add_common_arguments(arguments: argparse.ArgumentParser) -> None:
    """What compare, text_to_vectors, cold_start and run share."""
    arguments.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of every engine")
    arguments.add_argument("--cache", type=Path, default=models.DEFAULT_CACHE, help="folder for models and exports")
    arguments.add_argument("--native", type=Path, default=DEFAULT_NATIVE, help="the bench_kernels program")


def installed_engines(wanted: list[str] | None, dtype: str) -> list[str]:
    """The engines to measure, bertcpp first. Raises SystemExit where one that was asked for is not installed."""
    names = wanted or [name for name in ENGINES if name not in OPTIONAL]
    chosen = [BASELINE]
    for name in names:
        missing = ENGINES[name].missing()
        if missing and (wanted or name == BASELINE):
            raise SystemExit(f"{name} needs {', '.join(missing)}: install the peers with `make bench-peers`")
        if missing:
            print(f"without {name}: {', '.join(missing)} not installed (`make bench-peers` does)", file=sys.stderr)
        elif name != BASELINE and dtype in ENGINES[name].dtypes:
            chosen.append(name)
    return chosen


def start(engine: str, model: models.Model, args: argparse.Namespace, logs: Path, kind: str = "hidden") -> Any:
    """A worker process for an engine; peers get the dtype that was asked for."""
    spec = {
        "kind": kind,
        "engine": engine,
        "model": model.name,
        "folder": str(model.folder),
        "cache": str(args.cache),
        "threads": args.threads,
        "dtype": "float32" if engine == BASELINE else getattr(args, "dtype", "float32"),
    }
    return rounds.WorkerProcess(spec, logs / f"{model.name}-{engine}.log")


def start_all(names: list[str], model: models.Model, args: argparse.Namespace, logs: Path, kind: str = "hidden") -> Any:
    """Workers by name, and what went wrong with the peers that could not be started."""
    workers, failures = {}, {}
    for name in names:
        try:
            workers[name] = start(name, model, args, logs, kind)
            workers[name].settle()
        except rounds.WorkerFailedError as error:
            if name == BASELINE:
                raise
            failures[name] = str(error)
            print(f"  {error}", file=sys.stderr)
    return workers, failures


def largest_difference(result: np.ndarray[Any, Any], reference: np.ndarray[Any, Any], lengths: list[int]) -> float:
    """Over the tokens that are no padding: max |result - reference| / max |reference|."""
    if result.ndim != 3 or result.shape[0] != len(lengths) or result.shape[2] != reference.shape[2]:
        raise ValueError(f"a result of shape {result.shape} in place of {reference.shape}")
    pairs = [(result[i, :n], reference[i, :n]) for i, n in enumerate(lengths)]
    difference = np.max([np.abs(a - b).max() for a, b in pairs])  # NumPy's max, unlike Python's, keeps NaN
    return float(difference / np.max([np.abs(b).max() for _, b in pairs]))


def measure_shape(
    shape: workloads.Shape, model: models.Model, workers: dict[str, Any], peak: rounds.Peak, args: argparse.Namespace
) -> dict[str, Any]:
    """One shape on every engine: agreement first, then times."""
    lengths = list(shape.lengths)
    prepared: dict[str, dict[str, Any]] = {}
    outputs: dict[str, np.ndarray[Any, Any]] = {}
    failures: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, worker in workers.items():
            path = Path(folder) / "output.npy"
            try:
                prepared[name] = worker.ask(do="prepare", workload=lengths, output=str(path), seconds=args.seconds / 2)
                outputs[name] = np.load(path)
            except rounds.WorkerFailedError as error:
                if name == BASELINE:
                    raise
                failures[name] = str(error)
                print(f"  {error}", file=sys.stderr)
            worker.settle()
    reference = "torch" if args.dtype == "float32" and "torch" in outputs else BASELINE
    differences = {name: largest_difference(out, outputs[reference], lengths) for name, out in outputs.items()}
    wrong = {name: d for name, d in differences.items() if args.dtype == "float32" and not d <= FP32_TOLERANCE}
    if wrong:
        raise SystemExit(f"{model.name} {shape.name}: results differ from {reference}'s, nothing is measured: {wrong}")
    turns = rounds.take_turns({name: workers[name] for name in outputs}, peak, args.rounds, args.seconds)
    summary = rounds.summarize(turns, model.flop(lengths), BASELINE)
    for name, line in summary.items():
        line |= {"difference": differences[name], **prepared[name]}
    return {
        "lengths": lengths,
        "useful_gflop": model.flop(lengths) / 1e9,
        "padded_gflop": model.flop([max(lengths)] * len(lengths)) / 1e9,
        "reference": reference,
        "engines": summary,
        "failures": failures,
    }


def print_shape(name: str, result: dict[str, Any]) -> None:
    print(f"  {name} ({result['useful_gflop']:.2f} GFLOP)")
    for engine, line in result["engines"].items():
        latency, share, ratio = line["latency_ms"], line["share"], line["ratio"]
        print(
            f"    {engine:<14}{latency['median']:9.2f} ms ({latency['p10']:.2f} to {latency['p90']:.2f})"
            f"{100 * share['median']:6.0f}% of peak{ratio['median']:7.2f} x bertcpp's time"
            f"   differs by {line['difference']:.1e}   [{line['way']}]"
        )
    sys.stdout.flush()


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Every model and shape; the results as a dict."""
    os.sched_setaffinity(0, machine.choose_cpus(args.threads))
    args.cache.mkdir(parents=True, exist_ok=True)
    about = machine.describe(args.threads)
    peak = rounds.Peak(args.native, args.threads)
    peak.measure()
    names = installed_engines(args.engines, args.dtype)
    results: dict[str, Any] = {}
    for model_name in args.models:
        model = models.load(model_name, args.cache)
        print(f"{model.name}: {', '.join(names)}, {args.threads} threads, {args.dtype}", flush=True)
        with tempfile.TemporaryDirectory() as logs:
            workers, failures = start_all(names, model, args, Path(logs))
            try:
                shapes = {}
                for shape in (shape for shape in workloads.SHAPES if shape.name in args.shapes):
                    shapes[shape.name] = measure_shape(shape, model, workers, peak, args)
                    print_shape(shape.name, shapes[shape.name])
            finally:
                for worker in workers.values():
                    worker.close()
        results[model.name] = {"shapes": shapes, "failures": failures}
    return {
        "machine": about,
        "settings": {"rounds": args.rounds, "seconds": args.seconds, "dtype": args.dtype},
        "peak_gflops": rounds.spread([p / 1e9 for p in peak.samples]),
        "models": results,
    }


def main() -> None:
    args = parser().parse_args()
    results = measure(args)
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
