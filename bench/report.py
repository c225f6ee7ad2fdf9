"""Writes docs/benchmarks.md, and the summary in README.md, from results.

python -m bench.report [--results docs/benchmarks.json]

A part that has not been measured is left out.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

from . import tables
from .machine import ROOT
from .tables import interval

DOCS = ROOT / "docs"
README_SECTION = re.compile(r"(<!-- benchmarks -->\n).*?(<!-- /benchmarks -->)", re.DOTALL)
HOW_TO_READ = Path(__file__).with_name("how_to_read.md")
PLOT = "![Share of the measured peak by engine]"

# The parts that compare engines, with the precision of each.
COMPARISONS = {"compare": "float32", "bfloat16": "bfloat16", "int8": "int8"}
TEXTS = {"text": "float32", "text-int8": "int8"}

ORDER = (*COMPARISONS, *TEXTS, "threads", "bandwidth", "tasks", "cold", "native")


def in_order(results: dict[str, Any]) -> dict[str, Any]:
    """The parts in the order of the page, in whatever order they were measured."""
    return {part: results[part] for part in ORDER if part in results}


def machine_lines(results: dict[str, Any]) -> str:
    """Processor, threads, versions and peaks."""
    about = next(iter(results.values()))["machine"]
    peaks = [
        f"{dtype} {interval(results[part]['peak_gflops'], 0)}" for part, dtype in COMPARISONS.items() if part in results
    ]
    measured = f" Measured peak, billions of operations a second: {', '.join(peaks)}." if peaks else ""
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return (
        f"{about['cpu']}, {about['processors']} processors, {about['threads']} threads used, "
        f"{about['memory_gib']} GiB, {about['system']}, Python {about['python']}.{measured}\n\nVersions: {versions}.\n"
    )


def parts_table(results: dict[str, Any]) -> str:
    """When and from which commit each part was measured, and how busy others kept the machine."""
    rows = []
    first = next(iter(results.values()))["machine"]
    for part, result in results.items():
        about = result["machine"]
        stolen = about.get("stolen_percent")
        alike = (about["cpu"], about["threads"]) == (first["cpu"], first["threads"])
        name = part if alike else f"{part} ({about['cpu']}, {about['threads']} threads)"
        rows.append([
            name, about["date"], about["commit"] or "unknown", f"{about['load_before']:.2f}",
            "unknown" if stolen is None else f"{stolen:.1f}%",
        ])  # fmt: skip
    header = ["part of `make bench`", "date", "commit", "load before", "processor time that other guests took"]
    return tables.table(header, rows)


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%" if share >= 0.0095 else f"{100 * share:.1g}%"


def difference_line(shapes: dict[str, Any]) -> str:
    """How far each engine is from the reference."""
    references = {shape["reference"] for shape in shapes.values()}
    reference = "PyTorch's" if all(name.startswith("torch") for name in references) else "bertcpp's"
    told = ", ".join(f"{engine} {_percent(most)}" for engine, most in tables.largest_differences(shapes).items())
    return f"Largest difference from {reference} float32 hidden states, of their largest magnitude: {told}.\n"


def comparison_sections(results: dict[str, Any]) -> list[str]:
    """Shares of the peak, precision by precision, and everything behind them."""
    parts = []
    for part, dtype in COMPARISONS.items():
        for model, result in results.get(part, {}).get("models", {}).items():
            shapes = result["shapes"]
            parts += [f"## {model} in {dtype}: share of the measured {dtype} peak\n", tables.share_table(shapes)]
            if dtype != "float32":
                parts.append(difference_line(shapes))
            parts.append(tables.detail_table(shapes))
            failures = dict(result["failures"])
            for name, shape in shapes.items():
                failures |= {f"{engine} at {name}": why for engine, why in shape["failures"].items()}
            if failures:
                told = "; ".join(f"{engine}: {why}" for engine, why in failures.items())
                parts.append(f"Could not be measured: {told}\n")
    return parts


def text_sections(results: dict[str, Any]) -> list[str]:
    """Texts a second, precision by precision."""
    measured = {part: dtype for part, dtype in TEXTS.items() if part in results}
    if not measured:
        return []
    parts = ["## Text to vectors with all-MiniLM-L6-v2, tokenization included\n"]
    for part, dtype in measured.items():
        parts += [f"In {dtype}:\n", tables.text_table(results[part])]
    sources = "English prose: the licences that Debian carries and the language reference inside Python."
    lost = " [precision.md](precision.md) has what int8 loses, on both sides." if "text-int8" in measured else ""
    return [*parts, f"{sources} Ratios are times relative to bertcpp's.{lost}\n"]


def alone_sections(results: dict[str, Any]) -> list[str]:
    """bertcpp against what the processor and its memory allow."""
    parts = []
    if "threads" in results:
        threads = results["threads"]
        parts += [f"## What {threads['threads']} threads gain on {threads['model']}\n", tables.threads_table(threads)]
        parts.append(
            "bertcpp alone, with one thread and with all in turns; results are the same bits. The last columns are "
            "what the measured peak gains in the same turns, which on a shared machine is not always the number of "
            "threads, and how much of that gain bertcpp has.\n"
        )
    if "bandwidth" in results:
        bandwidth = results["bandwidth"]
        parts += [f"## A short text and the memory: {bandwidth['model']}\n", tables.bandwidth_table(bandwidth)]
        parts.append(
            "A short text must at least read the weights once, and do its arithmetic at the peak of its precision: the "
            "larger of the two times is the limit. Memory is measured by reading a buffer of several times the caches' "
            "size with all threads, in the same turns; weights that a cache keeps between calls can be read faster.\n"
        )
    return parts


def tasks_section(tasks: dict[str, Any]) -> list[str]:
    return [
        "## Tasks: answers a second\n",
        "`bertcpp.pipeline` beside transformers' pipelines, and `CrossEncoder.predict` beside sentence-transformers', "
        "in float32 with equal threads, tokenization included; batch 1 is one call for each text. Random weights; "
        "English texts of 4 to 60 words; answers are compared before they are timed.\n",
        tables.tasks_table(tasks),
    ]


def cold_section(cold: dict[str, Any]) -> list[str]:
    over = cold["import_over_numpy_ms"]["median"]
    return [
        "## From the start of a process to the first embedding\n",
        tables.cold_table(cold),
        f"Files are in the page cache. `import bertcpp` takes {abs(over):.1f} ms {'more' if over > 0 else 'less'} "
        "than `import numpy`: it loads NumPy, and everything else, when it is first used. "
        f"The weights are {cold['weights_mb']:.0f} MB.\n",
    ]


def page(results: dict[str, Any]) -> str:
    """docs/benchmarks.md."""
    parts = ["# Benchmarks\n", "Written by `make bench`; numbers are not edited by hand.\n", machine_lines(results)]
    parts += [parts_table(results), f"{PLOT}(benchmarks.svg)\n"]
    parts += comparison_sections(results) + text_sections(results) + alone_sections(results)
    if "tasks" in results:
        parts += tasks_section(results["tasks"])
    if "cold" in results:
        parts += cold_section(results["cold"])
    parts.append(HOW_TO_READ.read_text())
    if "native" in results:
        parts.append(f"## Kernels in float32, {results['native']['threads']} threads\n")
        parts.append(tables.native_tables(results["native"]))
    return "\n".join(parts)


def _range(values: list[float], digits: int) -> str:
    low, high = f"{min(values):.{digits}f}", f"{max(values):.{digits}f}"
    return low if low == high else f"{low} to {high}"


def one_liners(results: dict[str, Any]) -> list[str]:
    """What README.md says of the parts whose tables are on the page."""
    told = []
    if "tasks" in results:
        ratios = [line["ratio"]["median"] for line in results["tasks"]["lines"]]
        told.append(
            f"Pipelines and cross-encoders in float32 answer {_range(ratios, 1)} times as fast as those of "
            "transformers and sentence-transformers, by task, size and batch."
        )
    if "threads" in results:
        threads = results["threads"]
        lines = [line for shapes in threads["dtypes"].values() for line in shapes.values()]
        gains, possible = (_range([line[key]["median"] for line in lines], 2) for key in ("gain", "peak_gain"))
        told.append(
            f"{threads['threads']} threads are {gains} times as fast as one; the measured peak gains {possible} times."
        )
    if "bandwidth" in results:
        bandwidth = results["bandwidth"]
        ratios = ", ".join(
            f"{dtype} {line['over_limit']['median']:.2f}"
            for dtype, shapes in bandwidth["dtypes"].items()
            for line in shapes.values()
        )
        told.append(
            f"One short text through {bandwidth['model']} takes, as a multiple of the larger of reading the weights "
            f"once and doing the arithmetic: {ratios}."
        )
    if "cold" in results:
        processes = results["cold"]["processes"]
        shown = [name for name in processes if not name.startswith(("import", "python"))]
        starts = ", ".join(f"{name} {processes[name]['seconds']['median']:.2f} s" for name in shown)
        told.append(f"From the start of a process to the first embedding: {starts}.")
    return told


def readme_summary(results: dict[str, Any]) -> str:
    """What README.md shows between its markers: the largest model that was compared, texts, and a line for the rest."""
    parts = [f"{PLOT}(docs/benchmarks.svg)\n"]
    for part, dtype in COMPARISONS.items():
        for model, result in list(results.get(part, {}).get("models", {}).items())[:1]:
            shapes = result["shapes"]
            parts += [f"Share of the processor's measured {dtype} peak, {model} in {dtype}:\n"]
            parts.append(tables.share_table(shapes))
            if dtype != "float32":
                parts.append(difference_line(shapes))
    for part, dtype in TEXTS.items():
        if part in results:
            parts.append(f"Text to vectors with all-MiniLM-L6-v2 in {dtype}, tokenization included:\n")
            parts.append(tables.text_table(results[part]))
    if lines := one_liners(results):
        parts.append("\n".join(f"- {line}" for line in lines) + "\n")
    abouts = [result["machine"] for result in results.values()]
    versions = ", ".join(f"{name} {version}" for name, version in abouts[0]["versions"].items())
    dates = _dates([about["date"] for about in abouts])
    parts.append(
        f"{abouts[0]['cpu']}, {abouts[0]['threads']} threads, {dates}; {versions}. In brackets the 10th and 90th "
        "percentile; equal threads and inputs for all, padding counted as no work. "
        "[docs/benchmarks.md](docs/benchmarks.md) has all numbers and how they were taken; `make bench` repeats them.\n"
    )
    return "\n".join(parts)


def _dates(dates: list[str]) -> str:
    first, last = min(dates), max(dates)
    return first if first == last else f"{first} to {last}"


def write(results: dict[str, Any], docs: Path = DOCS, readme: Path | None = ROOT / "README.md") -> list[Path]:
    """Write the page, and the summary into a README that has markers for it; returns what was written."""
    results = in_order(results)
    written = [docs / "benchmarks.md"]
    written[0].write_text(page(results))
    if readme is not None and readme.is_file():
        text = readme.read_text()
        summary = readme_summary(results)
        replaced = README_SECTION.sub(lambda found: f"{found[1]}\n{summary}\n{found[2]}", text)
        if replaced != text:
            readme.write_text(replaced)
            written.append(readme)
    return written


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m bench.report", description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--results", type=Path, default=DOCS / "benchmarks.json")
    for path in write(json.loads(arguments.parse_args().results.read_text())):
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
