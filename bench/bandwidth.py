"""A short single text against what bounds it: reading the packed weights once from memory, and the arithmetic.

python -m bench.bandwidth [--threads N] [--model bert-base] [--dtypes float32 bfloat16 int8] [--json results.json]

Memory and the arithmetic peak are measured before and after each turn. The larger of the two times is the limit.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import tempfile
from pathlib import Path
from typing import Any

import bertcpp
from bertcpp import _core
from bertcpp.benchmark import rounds

from . import alone, compare, machine, models, workloads

SHAPES = ("1 x 16",)


def parser() -> argparse.ArgumentParser:
    arguments = argparse.ArgumentParser(prog="python -m bench.bandwidth", description=(__doc__ or "").splitlines()[0])
    alone.add_arguments(arguments, SHAPES)
    return arguments


def packed_bytes(model: models.Model, dtype: str) -> int:
    """How large the matrices of the encoder are as its kernels read them, without the tables of embeddings."""
    loaded = bertcpp.AutoModel.from_pretrained(str(model.folder), dtype=dtype, add_pooling_layer=False)
    return sum(part.nbytes for part in loaded._core.packed().values())


def summarize(turns: list[dict[str, float]], size: int, flop: float) -> dict[str, Any]:
    """Times of one shape in one dtype beside the two that bound it, all taken within rounds."""
    reading = [size / turn["bandwidth"] for turn in turns]
    computing = [flop / turn["peak"] for turn in turns]
    seconds = [turn["seconds"] for turn in turns]
    limits = [max(times) for times in zip(reading, computing, strict=True)]
    return {
        "packed_mb": size / 1e6,
        "gflop": flop / 1e9,
        "latency_ms": rounds.spread([1e3 * taken for taken in seconds]),
        "read_gbytes_per_second": rounds.spread([turn["bandwidth"] / 1e9 for turn in turns]),
        "peak_gflops": rounds.spread([turn["peak"] / 1e9 for turn in turns]),
        "reading_ms": rounds.spread([1e3 * taken for taken in reading]),
        "arithmetic_ms": rounds.spread([1e3 * taken for taken in computing]),
        "over_reading": rounds.spread([own / least for own, least in zip(seconds, reading, strict=True)]),
        "over_limit": rounds.spread([own / least for own, least in zip(seconds, limits, strict=True)]),
    }


def print_line(dtype: str, shape: str, line: dict[str, Any]) -> None:
    print(
        f"  {dtype:<9} {shape}: {line['latency_ms']['median']:.2f} ms; reading {line['packed_mb']:.0f} MB at "
        f"{line['read_gbytes_per_second']['median']:.1f} GB/s takes {line['reading_ms']['median']:.2f} ms "
        f"({line['over_reading']['median']:.2f} times that), arithmetic {line['arithmetic_ms']['median']:.2f} ms; "
        f"{line['over_limit']['median']:.2f} times the larger",
        flush=True,
    )


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Every dtype and shape; the results as a dict."""
    os.sched_setaffinity(0, machine.choose_cpus(args.threads))
    args.cache.mkdir(parents=True, exist_ok=True)
    about = machine.describe(args.threads)
    model = models.load(args.model, args.cache)
    sizes = {dtype: packed_bytes(model, dtype) for dtype in args.dtypes}
    print(f"memory: {model.name}, {args.threads} threads", flush=True)
    bandwidth = functools.partial(_core.measure_read_bandwidth, num_threads=args.threads)
    yardsticks = {
        dtype: {
            "bandwidth": bandwidth,
            "peak": functools.partial(rounds.peak_now, dtype, args.threads),
        }
        for dtype in args.dtypes
    }
    results: dict[str, Any] = {dtype: {} for dtype in args.dtypes}
    with tempfile.TemporaryDirectory() as logs, contextlib.ExitStack() as running:
        workers = {dtype: alone.start(model, dtype, args.threads, args.cache, Path(logs)) for dtype in args.dtypes}
        for worker in workers.values():
            running.callback(worker.close)
        for shape in (shape for shape in workloads.SHAPES if shape.name in args.shapes):
            for worker in workers.values():
                alone.prepare(worker, shape, args.seconds)
            turns = alone.take_turns(workers, yardsticks, args.rounds, args.seconds)
            for dtype, mine in turns.items():
                line = summarize(mine, sizes[dtype], model.flop(list(shape.lengths)))
                results[dtype][shape.name] = line
                print_line(dtype, shape.name, line)
    return alone.with_settings(results, args, about, model)


def main() -> None:
    compare.run(parser(), measure)


if __name__ == "__main__":
    main()
