"""From texts to normalized vectors with all-MiniLM-L6-v2: texts a second, tokenization included, equal threads.

python -m bench.text_to_vectors [--threads N] [--rounds N] [--json results.json]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from bertcpp.benchmark import comparison, rounds
from bertcpp.benchmark.comparison import BASELINE, Contestant
from bertcpp.commands.options import positive, positive_number

from . import machine, models, workloads
from .compare import add_common_arguments, run
from .text_engines import TEXT_ENGINES

# Cosine between the vectors of two engines, at least, for them to count as the same model.
LEAST_COSINE = {"float32": 0.9999, "int8": 0.9}


def parser() -> argparse.ArgumentParser:
    arguments = argparse.ArgumentParser(prog="python -m bench.text_to_vectors", description=__doc__.splitlines()[0])
    add_common_arguments(arguments)
    arguments.add_argument("--json", type=Path, help="write the results to this file")
    arguments.add_argument("--engines", nargs="+", choices=list(TEXT_ENGINES), metavar="ENGINE",
                           help=f"default: what is installed of {', '.join(TEXT_ENGINES)}")  # fmt: skip
    arguments.add_argument("--dtype", default="float32", choices=["float32", "int8"],
                           help="of bertcpp and of the peers that have it (default: float32)")  # fmt: skip
    arguments.add_argument(
        "--texts", type=positive, default=workloads.SHORT_TEXTS, help="short texts; paragraphs: 3/8 of it"
    )
    arguments.add_argument("--rounds", type=positive, default=8, help="turns of each engine on each kind of text")
    arguments.add_argument("--seconds", type=positive_number, default=1.0, help="of a turn, at least two passes")
    return arguments


def _engines(wanted: list[str] | None, dtype: str) -> list[str]:
    names = [name for name in wanted or TEXT_ENGINES if name != BASELINE]
    for name in [BASELINE, *(wanted or [])]:
        if missing := TEXT_ENGINES[name].missing():
            raise SystemExit(f"{name} needs {', '.join(missing)}: install the peers with `make bench-peers`")
    usable = [name for name in names if not TEXT_ENGINES[name].missing() and dtype in TEXT_ENGINES[name].dtypes]
    return [BASELINE, *usable]


def least_cosine(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> float:
    """Of corresponding rows, which have length 1."""
    if a.shape != b.shape:
        raise ValueError(f"vectors of shape {a.shape} in place of {b.shape}")
    return float((a.astype(np.float64) * b).sum(axis=1).min())


def measure_texts(
    texts: list[str], workers: dict[str, Any], peak: rounds.Peak, args: argparse.Namespace
) -> dict[str, Any]:
    """One kind of text on every engine, bertcpp first: the same vectors, then times."""
    baseline = next(iter(workers))
    prepared, vectors = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vectors.npy"
        for name, worker in workers.items():
            prepared[name] = worker.ask(do="prepare", workload=texts, output=str(path), seconds=0)
            vectors[name] = np.load(path)
            worker.settle()
    cosines = {name: least_cosine(v, vectors[baseline]) for name, v in vectors.items()}
    if wrong := {name: c for name, c in cosines.items() if not c >= LEAST_COSINE[args.dtype]}:
        raise SystemExit(f"vectors differ from {baseline}'s, nothing is measured: {wrong}")
    turns = rounds.take_turns(workers, peak, args.rounds, args.seconds)
    summary = rounds.summarize(turns, 0, baseline)
    for name, line in summary.items():
        calls = [call for turn in turns[name] for call in turn["calls"]]
        line["texts_per_second"] = rounds.spread([len(texts) / call for call in calls])
        line |= {"least_cosine": cosines[name], "peak_rss_mb": workers[name].peak_rss_mb(), **prepared[name]}
    return {
        "texts": len(texts),
        "mean_characters": round(float(np.mean([len(text) for text in texts])), 1),
        "engines": summary,
    }


def print_texts(kind: str, result: dict[str, Any]) -> None:
    print(f"  {result['texts']} {kind}, {result['mean_characters']:.0f} characters on average")
    for engine, line in result["engines"].items():
        rate = line["texts_per_second"]
        print(
            f"    {engine:<32}{rate['median']:8.0f} texts/s ({rate['p10']:.0f} to {rate['p90']:.0f})"
            f"{line['ratio']['median']:7.2f} x bertcpp's time   [{line['way']}]"
        )
    sys.stdout.flush()


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Short texts and paragraphs on every engine; the results as a dict."""
    os.sched_setaffinity(0, machine.choose_cpus(args.threads))
    args.cache.mkdir(parents=True, exist_ok=True)
    about = machine.describe(args.threads)
    peak = rounds.Peak(args.threads)
    settings = comparison.Settings(args.threads, args.cache, table="bench.text_engines:TEXT_ENGINES")
    names = _engines(args.engines, args.dtype)
    contestants = [Contestant(name, args.dtype) for name in names]
    model = models.load("minilm", args.cache)
    print(
        f"texts to vectors: {', '.join(names)}, {args.threads} threads, {args.dtype}",
        flush=True,
    )
    kinds = {
        "short texts": workloads.short_texts(args.texts),
        "paragraphs": workloads.paragraphs(max(1, args.texts * 3 // 8)),
    }
    results = {}
    with tempfile.TemporaryDirectory() as logs:
        workers, failures = comparison.start_all(contestants, model, settings, Path(logs))
        try:
            for kind, texts in kinds.items():
                results[kind] = measure_texts(texts, workers, peak, args)
                print_texts(kind, results[kind])
        finally:
            for worker in workers.values():
                worker.close()
    return {
        "machine": about,
        "settings": {"rounds": args.rounds, "seconds": args.seconds, "dtype": args.dtype},
        "kinds": results,
        "failures": failures,
    }


def main() -> None:
    run(parser(), measure)


if __name__ == "__main__":
    main()
