"""bertcpp against other engines on the same batches of token ids, with equal threads, in one run.

python -m bench.compare [--models bert-base minilm] [--dtype int8] [--engines ...] [--threads N] [--json results.json]

Whatever the dtype, results are compared with PyTorch's in float32, or with bertcpp's where PyTorch is not installed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertcpp.benchmark import comparison, rounds
from bertcpp.benchmark.comparison import BASELINE, Contestant
from bertcpp.benchmark.engines import ENGINES, OPTIONAL
from bertcpp.commands.options import positive, positive_number

from . import machine, models, workloads

if TYPE_CHECKING:
    from collections.abc import Callable

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
                           help="of bertcpp and of the peers that have it")  # fmt: skip
    arguments.add_argument(
        "--rounds", type=positive, default=10, help="turns of each engine on each shape (default: 10)"
    )
    arguments.add_argument("--seconds", type=positive_number, default=0.5, help="of a turn, about (default: 0.5)")
    arguments.add_argument(
        "--patience", type=positive_number, default=75, metavar="SECONDS",
        help="begin no further round of a shape after so long, once three are done (default: 75)",
    )  # fmt: skip
    return arguments


def add_common_arguments(arguments: argparse.ArgumentParser) -> None:
    """What compare, text_to_vectors, cold_start and run share."""
    arguments.add_argument(
        "--threads", type=machine.threads_allowed, default=len(os.sched_getaffinity(0)), help="of every engine"
    )
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


def print_shape(name: str, result: dict[str, Any]) -> None:
    print(f"  {name} ({result['useful_gflop']:.2f} GFLOP, {result['rounds']} rounds)")
    for engine, line in result["engines"].items():
        latency, share, ratio = line["latency_ms"], line["share"], line["ratio"]
        print(
            f"    {engine:<22}{latency['median']:9.2f} ms ({latency['p10']:.2f} to {latency['p90']:.2f})"
            f"{100 * share['median']:6.0f}% of the {line['dtype']} peak{ratio['median']:7.2f} x bertcpp's time"
            f"   differs by {line['difference']:.1e}   [{line['way']}]"
        )
    sys.stdout.flush()


def measure_model(model: models.Model, names: list[str], peak: rounds.Peak, args: argparse.Namespace) -> dict[str, Any]:
    """Every shape, on a process for each engine."""
    settings = comparison.Settings(
        args.threads, args.cache, rounds=args.rounds, seconds=args.seconds, patience=args.patience
    )
    print(f"{model.name}: {', '.join(names)}, {args.threads} threads, {args.dtype}", flush=True)
    with tempfile.TemporaryDirectory() as logs, contextlib.ExitStack() as running:
        contestants = [Contestant(name, args.dtype) for name in names]
        workers, failures = comparison.start_all(contestants, model, settings, Path(logs))
        for worker in workers.values():
            running.callback(worker.close)
        untimed = None
        if args.dtype != "float32":
            exact = Contestant("torch" if not ENGINES["torch"].missing() else BASELINE)
            (Path(logs) / "untimed").mkdir()
            (untimed,) = comparison.start_all([exact], model, settings, Path(logs) / "untimed")[0].values()
            running.callback(untimed.close)
        shapes = {}
        for shape in (shape for shape in workloads.SHAPES if shape.name in args.shapes):
            shapes[shape.name] = comparison.compare_shape(shape, model, workers, peak, settings, untimed)
            print_shape(shape.name, shapes[shape.name])
    return {"shapes": shapes, "failures": failures}


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Every model and shape; the results as a dict."""
    os.sched_setaffinity(0, machine.choose_cpus(args.threads))
    args.cache.mkdir(parents=True, exist_ok=True)
    about = machine.describe(args.threads)
    peak = rounds.Peak(args.threads)
    names = installed_engines(args.engines, args.dtype)
    results = {name: measure_model(models.load(name, args.cache), names, peak, args) for name in args.models}
    return {
        "machine": about,
        "settings": {"rounds": args.rounds, "seconds": args.seconds, "dtype": args.dtype},
        "peak_gflops": peak.spreads()[args.dtype],
        "models": results,
    }


def run(parser: argparse.ArgumentParser, measure: Callable[[argparse.Namespace], dict[str, Any]]) -> None:
    """Measure as the command line says, and write the results where `--json` wants them."""
    args = parser.parse_args()
    results = measure(args)
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n")


def main() -> None:
    run(parser(), measure)


if __name__ == "__main__":
    main()
