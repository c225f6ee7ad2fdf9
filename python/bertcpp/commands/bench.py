"""`bertcpp bench`: what this machine makes of a checkpoint, beside its peak and beside other engines."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import options
from .options import Command
from .terminal import table

if TYPE_CHECKING:
    import argparse

    from ..benchmark.comparison import Contestant, Settings
    from ..benchmark.models import Model
    from ..benchmark.workloads import Shape

__all__ = ["COMMAND"]

_EPILOG = """\
what is measured:
  Random token ids go through the model, in a process of its own, in turns; before and after each turn the processor's
  peak is measured by a loop of multiply-adds in registers. Results are compared before anything is timed.

  ms         median of a call, with the 10th and the 90th percentile
  tokens/s   of the median; padding counts as no token
  of peak    useful operations against the peak of the same precision, measured in the same round
  time       relative to the first line's, in the same round
  error      largest difference from PyTorch's float32 where it takes part, else from the first line
  memory     the most that the process held until then, loading included

shapes:
  8x128 is 8 texts of 128 tokens; ragged is 32 texts of up to 128 tokens, 40 on average.

other engines:
  --compare torch,onnxruntime,openvino,ctranslate2 adds those that are installed, with the same number of threads, each
  in the fastest way it has. Checkpoints are converted for them once and kept in --cache.

examples:
  bertcpp bench all-MiniLM-L6-v2
  bertcpp bench all-MiniLM-L6-v2 --shapes 1x16 8x128 --threads 1 --rounds 3
  bertcpp bench all-MiniLM-L6-v2 --shapes ragged --json --output results.json --plot results.svg
  bertcpp bench all-MiniLM-L6-v2 --shapes 1x128 --compare torch
"""

_DTYPES = ("float32", "bfloat16", "int8")


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.description = "Measure a checkpoint on this machine: latency, tokens a second, share of the peak, memory."
    parser.add_argument("model", metavar="MODEL", help="a folder, a hub name, or an installed package")
    what = parser.add_argument_group("what is measured")
    what.add_argument("--shapes", nargs="+", metavar="SHAPE", help="default: 1x16 1x128 1x512 8x128 ragged")
    told = "default: float32, or what the model's weights are packed in"
    what.add_argument("--dtype", nargs="+", choices=_DTYPES, help=told)
    what.add_argument("--threads", "--num-threads", type=options.positive, metavar="N", help="default: all")
    what.add_argument("--compare", metavar="ENGINES", help="other engines, between commas; all is those installed")
    what.add_argument("--rounds", type=options.positive, default=8, metavar="N", help="turns each (default: 8)")
    what.add_argument(
        "--seconds", type=options.positive_number, default=0.3, metavar="S", help="of a turn (default: 0.3)"
    )
    what.add_argument("--cache", type=Path, metavar="FOLDER", help="where conversions are kept")
    results = parser.add_argument_group("output")
    results.add_argument("--json", action="store_true", help="print JSON instead of the table")
    results.add_argument("-o", "--output", metavar="FILE", default="-", help="write to FILE, else standard output")
    results.add_argument("--plot", type=Path, metavar="FILE", help="draw the results (.svg, .png, .pdf)")
    options.add_running(parser, batch_size=None)


def _run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    from ..benchmark import comparison, machine, models, workloads
    from ..packed_weights import target_for
    from ..pooling import encoder_folder

    try:
        shapes = [workloads.named_shape(text) for text in arguments.shapes or ()] or list(workloads.SHAPES)
    except ValueError as error:
        parser.error(str(error))
    if arguments.plot is not None:
        _check_plot(arguments.plot)
    model = models.named(arguments.model)
    arguments.dtype = arguments.dtype or [target_for(encoder_folder(model.folder), None, None).dtype]
    rivals = _rivals(parser, arguments)
    shapes = _fitting(shapes, model, chosen=arguments.shapes is not None)
    threads = arguments.threads or len(machine.allowed_cpus())
    settings = comparison.Settings(
        threads, arguments.cache or models.DEFAULT_CACHE, arguments.rounds, arguments.seconds
    )
    settings.cache.mkdir(parents=True, exist_ok=True)
    contestants = [comparison.Contestant("bertcpp", dtype) for dtype in dict.fromkeys(arguments.dtype)] + rivals
    with options.opened_text(arguments.output) as write:
        show = None if arguments.json else write
        results = _measure(model, shapes, contestants, settings, show)
        if arguments.json:
            write(json.dumps(results, indent=1) + "\n")
    if arguments.plot is not None:
        from ..benchmark.plot import draw

        draw(results, arguments.plot)


def _rivals(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> list[Contestant]:
    """Return the other engines that were asked for and are installed, in each dtype that they have."""
    if not arguments.compare:
        return []
    from ..benchmark.comparison import BASELINE, Contestant
    from ..benchmark.engines import ENGINES, OPTIONAL

    known = [name for name in ENGINES if name != BASELINE]
    names = [name.strip() for name in arguments.compare.split(",")]
    if names == ["all"]:
        names = [name for name in known if name not in OPTIONAL]
    chosen = []
    for name in dict.fromkeys(names):
        if name not in known:
            parser.error(f"no engine {name!r} to compare with; there are {', '.join(known)}")
        if missing := ENGINES[name].missing():
            print(f"without {name}: {', '.join(missing)} not installed", file=sys.stderr)
            continue
        chosen += [Contestant(name, dtype) for dtype in dict.fromkeys(arguments.dtype) if dtype in ENGINES[name].dtypes]
    return chosen


def _check_plot(path: Path) -> None:
    import importlib.util

    from ..errors import InputError, MissingDependencyError

    if importlib.util.find_spec("matplotlib") is None:
        raise MissingDependencyError("--plot needs matplotlib: pip install matplotlib")
    if path.suffix not in (".svg", ".png", ".pdf"):
        raise InputError(f"--plot {path}: the name must end in .svg, .png or .pdf")
    if not path.absolute().parent.is_dir():
        raise InputError(f"--plot {path}: there is no such folder")


def _fitting(shapes: list[Shape], model: Model, chosen: bool) -> list[Shape]:
    """Return the shapes that the model has positions for; one that was named must be among them."""
    from ..errors import InputError

    fitting = [shape for shape in shapes if max(shape.lengths) <= model.longest]
    if chosen and len(fitting) < len(shapes):
        over = next(shape.name for shape in shapes if shape not in fitting)
        raise InputError(f"{over}: {model.name} takes at most {model.longest} tokens; name shorter --shapes")
    return fitting


def _measure(
    model: Model, shapes: list[Shape], contestants: list[Contestant], settings: Settings, show: Any
) -> dict[str, Any]:
    """Measure every shape and show each as it is done."""
    import os

    from .. import _core
    from ..benchmark import comparison, machine, rounds

    os.sched_setaffinity(0, machine.choose_cpus(settings.threads))
    peak = rounds.Peak(settings.threads)
    about = machine.describe(settings.threads) | {"instruction_set": _core.instruction_set()}
    results: dict[str, Any] = {
        "model": {"name": model.name, "family": model.family, "layers": model.layers, "hidden_size": model.hidden},
        "machine": about,
        "settings": {"rounds": settings.rounds, "seconds": settings.seconds},
        "shapes": {},
    }
    if show:
        show(
            f"{model.name}: {model.layers} layers of {model.hidden}; {about['cpu']}, {about['instruction_set']}, "
            f"{settings.threads} thread{'s' if settings.threads > 1 else ''}\n"
        )
    with tempfile.TemporaryDirectory() as logs:
        workers, results["failures"] = comparison.start_all(contestants, model, settings, Path(logs))
        try:
            for shape in shapes:
                measured = comparison.compare_shape(shape, model, workers, peak, settings)
                results["shapes"][shape.name] = measured
                if show:
                    show(_table(shape.name, measured))
        finally:
            for worker in workers.values():
                worker.close()
    results["peak_gflops"] = peak.spreads()
    if show:
        peaks = ", ".join(
            f"{dtype} {rates['median']:.0f} ({rates['p10']:.0f} to {rates['p90']:.0f})"
            for dtype, rates in results["peak_gflops"].items()
        )
        show(f"\nmeasured peak, billions of operations a second: {peaks}\n")
    return results


_HEADER = ("ms", "10% to 90%", "tokens/s", "of peak", "time", "error", "memory", "run as")


def _table(name: str, measured: dict[str, Any]) -> str:
    """Return the lines of a shape."""
    rows: list[tuple[str, ...]] = [(name, *_HEADER)]
    for engine, line in measured["engines"].items():
        ms, share = line["latency_ms"], line.get("share")
        digits = 2 if ms["median"] < 100 else 0
        rows.append((
            f"  {engine}",
            f"{ms['median']:.{digits}f}",
            f"{ms['p10']:.{digits}f} to {ms['p90']:.{digits}f}",
            f"{line['tokens_per_second']['median']:,.0f}",
            "-" if share is None else f"{100 * share['median']:.0f}%",
            f"{line['ratio']['median']:.2f}",
            f"{line['difference']:.0e}" if line["difference"] else "0",
            f"{line['peak_rss_mb']:.0f} MB",
            line["way"],
        ))  # fmt: skip
    if len(rows) == 2:  # nothing to tell apart
        rows = [row[:-1] for row in rows]
    return "\n" + table(rows, left=(0, len(_HEADER)), least=(22, 8, 16, 10))


COMMAND = Command("bench", "measure a checkpoint on this machine", _EPILOG, _configure, _run)
