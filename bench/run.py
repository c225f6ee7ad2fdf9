"""Everything that `make bench` does, part by part; then the page and the plot.

python -m bench.run [--quick] [--parts compare int8 ...] [--models bert-base] [--rounds N] [--seconds S] [--output docs]

Results are written after each part: what an interrupted run has measured is kept, beside what earlier runs measured of
the other parts, and `python -m bench.report` makes the page of it.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bertcpp.benchmark import processes
from bertcpp.commands.options import positive, positive_number

from . import bandwidth, cold_start, compare, machine, models, report, tasks, text_to_vectors, threads

if TYPE_CHECKING:
    from types import ModuleType


class Part(NamedTuple):
    """A module with `parser` and `measure`, and the words of its command line.

    `passed` are those of run's own options that it takes, by the names that they have there.
    """

    module: ModuleType
    options: tuple[str, ...] = ()
    quick: tuple[str, ...] = ()
    passed: tuple[tuple[str, str], ...] = (("rounds", "--rounds"), ("seconds", "--seconds"))


_QUICK_COMPARISON = ("--models", "minilm", "--rounds", "3", "--seconds", "0.1")
_QUICK_TEXTS = ("--rounds", "2", "--seconds", "0.1", "--texts", "64")
_QUICK_ALONE = ("--model", "minilm", "--rounds", "3", "--seconds", "0.1")
_MODULES = {
    "compare": Part(compare, ("--dtype", "float32"), _QUICK_COMPARISON),
    "bfloat16": Part(compare, ("--dtype", "bfloat16"), _QUICK_COMPARISON),
    "int8": Part(compare, ("--dtype", "int8"), _QUICK_COMPARISON),
    "text": Part(text_to_vectors, ("--dtype", "float32"), _QUICK_TEXTS),
    "text-int8": Part(text_to_vectors, ("--dtype", "int8"), _QUICK_TEXTS),
    "threads": Part(threads, (), _QUICK_ALONE),
    "bandwidth": Part(bandwidth, (), _QUICK_ALONE),
    "cold": Part(cold_start, (), ("--repeat", "3"), (("rounds", "--repeat"),)),
}
PARTS = (*_MODULES, "tasks", "native")


def parser() -> argparse.ArgumentParser:
    arguments = argparse.ArgumentParser(prog="python -m bench.run", description=(__doc__ or "").splitlines()[0])
    compare.add_common_arguments(arguments)
    arguments.add_argument("--quick", action="store_true", help="a few minutes: fewer rounds, shapes and models")
    arguments.add_argument("--parts", nargs="+", choices=PARTS, metavar="PART",
                           help=f"of {', '.join(PARTS)}; default: all that can be measured here")  # fmt: skip
    arguments.add_argument("--models", nargs="+", choices=models.MODEL_NAMES, help="that engines are compared on")
    arguments.add_argument("--rounds", type=positive, help="turns in every part, in place of each part's own default")
    arguments.add_argument("--seconds", type=positive_number, help="of a turn, about, in every part that has them")
    arguments.add_argument("--patience", type=positive_number, metavar="SECONDS",
                           help="begin no further round of a shape after so long, once three are done")  # fmt: skip
    arguments.add_argument("--output", type=Path, default=report.DOCS, help="folder for benchmarks.json, .md and .svg")
    return arguments


def _given(args: argparse.Namespace, passed: tuple[tuple[str, str], ...]) -> list[str]:
    """Those of run's options that were given, as another command line has them."""
    values = [(name, getattr(args, option)) for option, name in passed]
    return [word for name, value in values if value is not None for word in (name, str(value))]


def obstacle(part: str, args: argparse.Namespace) -> str:
    """Why a part cannot be measured here; empty where it can."""
    if part == "native" and not args.native.is_file():
        return f"{args.native} is not there: `make bench` builds it"
    if part == "threads" and args.threads < 2:
        return "it takes two threads"
    if part == "tasks" and (absent := tasks.missing()):
        return f"{', '.join(absent)} not installed (`make bench-peers` does)"
    return ""


def chosen_parts(args: argparse.Namespace) -> list[str]:
    """The parts that were asked for, or all that can be measured here.

    Raises SystemExit where one that was asked for cannot.
    """
    obstacles = {part: why for part in args.parts or PARTS if (why := obstacle(part, args))}
    for part, why in obstacles.items():
        if args.parts:
            raise SystemExit(f"{part}: {why}")
        print(f"without {part}: {why}", file=sys.stderr)
    return [part for part in args.parts or PARTS if part not in obstacles]


def measure_native(args: argparse.Namespace) -> dict[str, Any]:
    """The results of bench_kernels, which prints its table first."""
    os.sched_setaffinity(0, machine.choose_cpus(args.threads))
    about = machine.describe(args.threads)
    more = ["--quick"] if args.quick else _given(args, (("rounds", "--repeat"),))
    command = [str(args.native), "--threads", str(args.threads), "--json", *more]
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


def measure_tasks(args: argparse.Namespace) -> dict[str, Any]:
    """In a process of its own, since both sides share it: PyTorch and its threads do not stay in this one."""
    more = ["--models", "tiny", "--rounds", "2", "--texts", "8", "--batch-sizes", "1", "8"] if args.quick else []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tasks.json"
        command = [sys.executable, "-m", "bench.tasks", "--threads", str(args.threads), "--json", str(path), *more]
        environment = processes.environment(args.threads) | processes.import_path()
        subprocess.run([*command, *_given(args, (("rounds", "--rounds"),))], check=True, env=environment)
        results: dict[str, Any] = json.loads(path.read_text())
        return results


def words(part: str, args: argparse.Namespace) -> list[str]:
    """The command line of a part's own module."""
    module, options, quick, passed = _MODULES[part]
    common = ["--threads", str(args.threads), "--cache", str(args.cache), "--native", str(args.native)]
    own: list[str] = []
    if module is compare:
        passed = (*passed, ("patience", "--patience"))
        own = ["--models", *args.models] if args.models else []
    return [*common, *options, *(quick if args.quick else ()), *own, *_given(args, passed)]


def measure(part: str, args: argparse.Namespace) -> dict[str, Any]:
    """One part with the amount of work that --quick, --rounds or their absence asks for."""
    if part == "native":
        return measure_native(args)
    if part == "tasks":
        return measure_tasks(args)
    module = _MODULES[part].module
    results: dict[str, Any] = module.measure(module.parser().parse_args(words(part, args)))
    if module is cold_start:
        cold_start.print_results(results)
    return results


def measure_all(args: argparse.Namespace, results: dict[str, Any], path: Path) -> list[str]:
    """Every part in turn, each written as soon as it is measured; the names of those that failed."""
    failed = []
    for part in chosen_parts(args):
        ticks = machine.cpu_ticks()
        try:
            measured = measure(part, args)
        except (Exception, SystemExit) as error:  # whatever went wrong with one part, the others are measured
            if not isinstance(error, SystemExit):
                traceback.print_exc()
            print(f"{part} is left as it was: {error}", file=sys.stderr)
            failed.append(part)
            continue
        measured["machine"]["stolen_percent"] = machine.stolen_since(ticks)
        results[part] = measured
        unfinished = path.with_suffix(".part")
        unfinished.write_text(json.dumps(results, indent=1) + "\n")
        unfinished.replace(path)
    return failed


def write_all(results: dict[str, Any], output: Path) -> list[Path]:
    """The plot, where there is something to draw and to draw it with, the page and the summary; what was written."""
    plotted = False
    if importlib.util.find_spec("matplotlib") is None:
        print("no plot without matplotlib: install it with `make bench-peers`", file=sys.stderr)
    else:
        from . import plot

        plotted = plot.draw(results, output / "benchmarks.svg")
    readme = machine.ROOT / "README.md" if output == report.DOCS else None
    return [*report.write(results, output, readme, plotted), *([output / "benchmarks.svg"] if plotted else [])]


def main() -> None:
    args = parser().parse_args()
    path = args.output / "benchmarks.json"
    args.output.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    failed = measure_all(args, results, path)
    if not results:
        raise SystemExit("nothing was measured, so there is no page")
    for written in write_all(results, args.output):
        print(f"wrote {written}")
    if failed:
        raise SystemExit(f"could not be measured: {', '.join(failed)}")


if __name__ == "__main__":
    main()
