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


def by_machine(results: dict[str, Any]) -> list[dict[str, Any]]:
    """The results in groups of parts that were measured on the same machine, with the same threads and versions."""
    groups: list[dict[str, Any]] = []
    for part, result in results.items():
        alike = (group for group in groups if _setting(next(iter(group.values()))) == _setting(result))
        group = next(alike, None)
        if group is None:
            groups.append(group := {})
        group[part] = result
    return groups


def _setting(result: dict[str, Any]) -> list[Any]:
    about = result["machine"]
    return [about[key] for key in ("cpu", "processors", "threads", "memory_gib", "system", "python", "versions")]


def named(group: dict[str, Any], results: dict[str, Any]) -> str:
    """The parts of a group and a colon; nothing where it has all of them."""
    return "" if len(group) == len(results) else f"{', '.join(group)}: "


def versions_of(group: dict[str, Any]) -> str:
    about = next(iter(group.values()))["machine"]
    return ", ".join(f"{name} {version}" for name, version in about["versions"].items())


def machine_lines(results: dict[str, Any]) -> str:
    """Processor, threads, versions and peaks, for each group of parts that agree in them."""
    told = []
    for group in by_machine(results):
        about = next(iter(group.values()))["machine"]
        peaks = [
            f"{dtype} {interval(group[part]['peak_gflops'], 0)}" for part, dtype in COMPARISONS.items() if part in group
        ]
        measured = f" Measured peak, billions of operations a second: {', '.join(peaks)}." if peaks else ""
        told.append(
            f"{named(group, results)}{about['cpu']}, {about['processors']} processors, {about['threads']} threads "
            f"used, {about['memory_gib']} GiB, {about['system']}, Python {about['python']}.{measured}\n\n"
            f"Versions: {versions_of(group)}.\n"
        )
    return "\n".join(told)


def _keeps_ranges(result: Any) -> bool:
    """Whether each spread in a part's results tells of how many samples it is, and their least and most."""
    if isinstance(result, dict):
        shown = (value for key, value in result.items() if key != "tokens_per_second")  # no table has it
        return ("samples" in result if "p10" in result else True) and all(map(_keeps_ranges, shown))
    return all(map(_keeps_ranges, result)) if isinstance(result, list) else True


def brackets(results: dict[str, Any]) -> str:
    """What stands in brackets, of parts with ranges and of those without."""
    few = f"of fewer than {tables.FEW} samples"
    measured = {part: result for part, result in results.items() if part != "native"}  # which has 10 or more of all
    kept = [part for part, result in measured.items() if _keeps_ranges(result)]
    if len(kept) == len(measured):
        return f"In brackets the 10th and 90th percentile, {few} the least and the most"
    but = f", but in {', '.join(kept)} the least and the most are told" if kept else ""
    return f"In brackets the 10th and 90th percentile; {few} they are interpolated, within the least and the most{but}"


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
            f"threads, and how much of that gain bertcpp has. {threads['settings']['rounds']} rounds.\n"
        )
    if "bandwidth" in results:
        bandwidth = results["bandwidth"]
        parts += [f"## A short text and the memory: {bandwidth['model']}\n", tables.bandwidth_table(bandwidth)]
        parts.append(
            "A short text must at least read the weights once, and do its arithmetic at the peak of its precision: the "
            "larger of the two times is the limit. Memory is measured by reading a buffer of 256 MiB to 2 GiB, eight "
            "times the third-level caches between these bounds, with all threads, in the same turns; weights that a "
            f"cache keeps between calls can be read faster. {bandwidth['settings']['rounds']} rounds.\n"
        )
    return parts


def tasks_section(tasks: dict[str, Any]) -> list[str]:
    """Tasks, and how turns were taken when these were measured."""
    settings = tasks["settings"]
    warmed = (
        "and each side has an unmeasured turn; the order is new in each round"
        if settings.get("unmeasured_turn") and settings.get("new_order")
        else "which is all that warms them up; bertcpp has the first turn of each round"
    )
    return [
        "## Tasks: answers a second\n",
        "`bertcpp.pipeline` beside transformers' pipelines, and `CrossEncoder.predict` beside sentence-transformers', "
        "in float32 with equal threads, tokenization included; batch 1 is one call for each text. Random weights; "
        "English texts of 4 to 60 words. Both sides share one process; answers are compared before they are timed, "
        f"{warmed}. A line that takes long gets fewer rounds, at least two.\n",
        tables.tasks_table(tasks),
    ]


def cold_section(cold: dict[str, Any]) -> list[str]:
    over = cold["import_over_numpy_ms"]["median"]
    return [
        "## From the start of a process to the first embedding\n",
        tables.cold_table(cold),
        f"Files are in the page cache. `import bertcpp` takes {abs(over):.1f} ms {'more' if over > 0 else 'less'} "
        "than `import numpy`: it loads NumPy, and everything else, when it is first used. "
        f"The weights are {cold['weights_mb']:.0f} MB. {cold['settings']['repeat']} processes of each kind.\n",
    ]


def page(results: dict[str, Any], plotted: bool = False) -> str:
    """docs/benchmarks.md, with the plot where it was drawn."""
    parts = ["# Benchmarks\n", "Written by `make bench`; numbers are not edited by hand.\n", machine_lines(results)]
    parts += [parts_table(results), f"{brackets(results)}.\n"]
    if plotted:
        parts.append(f"{PLOT}(benchmarks.svg)\n")
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


def readme_summary(results: dict[str, Any], plotted: bool = False) -> str:
    """What README.md shows between its markers: every model that was compared, texts, and a line for the rest."""
    parts = [f"{PLOT}(docs/benchmarks.svg)\n"] if plotted else []
    rivals: list[str] = []
    for part, dtype in COMPARISONS.items():
        for model, result in results.get(part, {}).get("models", {}).items():
            shapes = result["shapes"]
            rivals += tables.ahead(model, dtype, shapes)
            parts += [f"Share of the processor's measured {dtype} peak, {model} in {dtype}:\n"]
            parts.append(tables.share_table(shapes))
            if dtype != "float32":
                parts.append(difference_line(shapes))
    for part, dtype in TEXTS.items():
        if part in results:
            parts.append(f"Text to vectors with all-MiniLM-L6-v2 in {dtype}, tokenization included:\n")
            parts.append(tables.text_table(results[part]))
    if lines := [*([f"Ahead of bertcpp: {'; '.join(rivals)}."] if rivals else []), *one_liners(results)]:
        parts.append("\n".join(f"- {line}" for line in lines) + "\n")
    abouts = [result["machine"] for result in results.values()]
    dates = dates_of([about["date"] for about in abouts])
    machines = "; ".join(
        f"{named(group, results)}{about['cpu']}, {about['threads']} threads, {versions_of(group)}"
        for group in by_machine(results)
        for about in [next(iter(group.values()))["machine"]]
    )
    parts.append(
        f"{dates}; {machines}. {brackets(results)}; equal threads and inputs for all, padding counted as no work. "
        "[docs/benchmarks.md](docs/benchmarks.md) has all numbers and how they were taken; `make bench` repeats them.\n"
    )
    return "\n".join(parts)


def dates_of(dates: list[str]) -> str:
    first, last = min(dates), max(dates)
    return first if first == last else f"{first} to {last}"


def write(
    results: dict[str, Any],
    docs: Path = DOCS,
    readme: Path | None = ROOT / "README.md",
    plotted: bool = False,
) -> list[Path]:
    """Write the page, and the summary into a README that has markers for it; returns what was written.

    Both show the plot only where it was drawn of these results.
    """
    results = in_order(results)
    written = [docs / "benchmarks.md"]
    written[0].write_text(page(results, plotted))
    if readme is not None and readme.is_file():
        text = readme.read_text()
        summary = readme_summary(results, plotted)
        replaced = README_SECTION.sub(lambda found: f"{found[1]}\n{summary}\n{found[2]}", text)
        if replaced != text:
            readme.write_text(replaced)
            written.append(readme)
    return written


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m bench.report", description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--results", type=Path, default=DOCS / "benchmarks.json")
    results = json.loads(arguments.parse_args().results.read_text())
    for path in write(results, plotted=(DOCS / "benchmarks.svg").is_file()):
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
