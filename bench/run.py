"""Everything that `make bench` does: kernels, engines, text to vectors, cold start; then the page and the plot.

python -m bench.run [--quick] [--threads N] [--parts native compare text cold] [--output docs]
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from bertcpp.benchmark import processes

from . import cold_start, compare, machine, report, text_to_vectors

PARTS = ("native", "compare", "text", "cold")


def parser() -> argparse.ArgumentParser:
    arguments = argparse.ArgumentParser(prog="python -m bench.run", description=__doc__.splitlines()[0])
    compare.add_common_arguments(arguments)
    arguments.add_argument("--quick", action="store_true", help="a minute or two: fewer rounds, shapes and models")
    arguments.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    arguments.add_argument("--output", type=Path, default=report.DOCS, help="folder for benchmarks.json, .md and .svg")
    return arguments


def _options(args: argparse.Namespace, more: list[str]) -> list[str]:
    return ["--threads", str(args.threads), "--cache", str(args.cache), "--native", str(args.native), *more]


def measure_native(args: argparse.Namespace) -> dict[str, Any]:
    """The results of bench_kernels, which prints its table first."""
    os.sched_setaffinity(0, machine.choose_cpus(args.threads))
    about = machine.describe(args.threads)
    command = [str(args.native), "--threads", str(args.threads), "--json", *(["--quick"] if args.quick else [])]
    print("kernels", flush=True)
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=True, env=processes.environment(args.threads)
    )  # fmt: skip
    results: dict[str, Any] = json.loads(done.stdout)
    for isa in results["instruction_sets"]:
        best = max(isa["results"], key=lambda r: r["share"]["median"] if r["kernel"] == "matmul" else 0)
        share, peak = 100 * best["share"]["median"], isa["peak_gflops"]["median"]
        print(f"  {isa['name']}: peak {peak:.0f} GFLOP/s, products up to {share:.0f}% of it")
    return {"machine": about, **results}


def measure(part: str, args: argparse.Namespace) -> dict[str, Any]:
    """One part with the amount of work that --quick or its absence asks for."""
    if part == "native":
        return measure_native(args)
    if part == "compare":
        quick = ["--models", "minilm", "--rounds", "3", "--seconds", "0.1"]
        return compare.measure(compare.parser().parse_args(_options(args, quick if args.quick else [])))
    if part == "text":
        quick = ["--rounds", "2", "--seconds", "0.1", "--texts", "64"]
        return text_to_vectors.measure(text_to_vectors.parser().parse_args(_options(args, quick if args.quick else [])))
    results = cold_start.measure(
        cold_start.parser().parse_args(_options(args, ["--repeat", "3"] if args.quick else []))
    )  # fmt: skip
    cold_start.print_results(results)
    return results


def main() -> None:
    args = parser().parse_args()
    if not args.native.is_file():
        raise SystemExit(f"{args.native} is not there: `make bench` builds it")
    path = args.output / "benchmarks.json"
    args.output.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    for part in args.parts:
        ticks = machine.cpu_ticks()
        results[part] = measure(part, args)
        results[part]["machine"]["stolen_percent"] = machine.stolen_since(ticks)
        path.write_text(json.dumps(results, indent=1) + "\n")
    if "compare" not in results:
        raise SystemExit("the page needs the comparison: run the part `compare` once")
    for written in report.write(
        results, args.output, machine.ROOT / "README.md" if args.output == report.DOCS else None
    ):
        print(f"wrote {written}")
    if importlib.util.find_spec("matplotlib") is None:
        print("no plot without matplotlib: install it with `make bench-peers`", file=sys.stderr)
        return
    from . import plot

    plot.draw(results, args.output / "benchmarks.svg")
    print(f"wrote {args.output / 'benchmarks.svg'}")


if __name__ == "__main__":
    main()
