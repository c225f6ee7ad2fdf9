"""Writes docs/benchmarks.md, and the summary in README.md, from results.

python -m bench.report [--results docs/benchmarks.json]
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

from .machine import ROOT

DOCS = ROOT / "docs"
# Of a kernel's result, what is measured; the rest tells which case it is.
MEASURED = {"kernel", "microseconds", "unit", "rate", "reference", "reference_rate", "share", "samples", "weight_bytes"}
README_SECTION = re.compile(r"(<!-- benchmarks -->\n).*?(<!-- /benchmarks -->)", re.DOTALL)

HOW_TO_READ = Path(__file__).with_name("how_to_read.md")


def _interval(values: dict[str, float], digits: int, factor: float = 1) -> str:
    median, low, high = (f"{factor * values[key]:.{digits}f}" for key in ("median", "p10", "p90"))
    return f"{median} ({low} – {high})"  # noqa: RUF001  an en dash belongs between numbers


def _milliseconds(values: dict[str, float]) -> str:
    return _interval(values, 2 if values["median"] < 10 else 1)


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table, first column left, others right."""
    marks = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, marks, *rows)) + "\n"


def _engine_names(shapes: dict[str, Any]) -> list[str]:
    names: list[str] = []
    for shape in shapes.values():
        names += [name for name in shape["engines"] if name not in names]
    return names


def machine_lines(results: dict[str, Any]) -> str:
    """Processor, threads, versions and date."""
    about = results["compare"]["machine"]
    peak = results["compare"]["peak_gflops"]
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    loads = ", ".join(f"{part['machine']['load_before']} ({name})" for name, part in results.items())
    stolen = ", ".join(f"{part['machine'].get('stolen_percent', 'unknown')} ({name})" for name, part in results.items())
    return (
        f"{about['cpu']}, {about['processors']} processors, {about['threads']} threads used, "
        f"{about['memory_gib']} GiB, {about['system']}, Python {about['python']}. "
        f"Measured fp32 peak {_interval(peak, 0)} GFLOP/s. "
        f"{about['date']}, bertcpp at {about['commit'] or 'an unknown commit'}. "
        f"Load before each part: {loads}. Processor time that the host gave to other guests during it, in percent: "
        f"{stolen}.\n\nVersions: {versions}.\n"
    )


def share_table(shapes: dict[str, Any]) -> str:
    """Shapes down, engines across: share of the fp32 peak."""
    engines = _engine_names(shapes)
    rows = []
    for name, shape in shapes.items():
        lines = [shape["engines"].get(engine) for engine in engines]
        best = max(line["share"]["median"] for line in lines if line)
        cells = []
        for line in lines:
            text = f"{100 * line['share']['median']:.0f}%" if line else "failed"
            cells.append(f"**{text}**" if line and line["share"]["median"] == best else text)
        rows.append([name, *cells])
    return table(["batch x tokens", *engines], rows)


def detail_table(shapes: dict[str, Any]) -> str:
    """One row for each shape and engine."""
    rows = []
    for name, shape in shapes.items():
        for engine, line in shape["engines"].items():
            rows.append([
                name, engine, line["way"], _milliseconds(line["latency_ms"]), _interval(line["share"], 0, 100),
                _interval(line["ratio"], 2), f"{line['difference']:.0e}",
            ])  # fmt: skip
    return table(["batch x tokens", "engine", "run as", "ms", "% of peak", "ratio", "difference"], rows)


def text_table(text: dict[str, Any]) -> str:
    """Texts a second."""
    rows = []
    for kind, result in text["kinds"].items():
        label = f"{kind}, {result['mean_characters']:.0f} characters"
        for engine, line in result["engines"].items():
            rows.append([
                label, engine, line["way"], _interval(line["texts_per_second"], 0), _interval(line["ratio"], 2),
            ])  # fmt: skip
    return table(["texts", "engine", "run as", "texts/s", "ratio"], rows)


def cold_table(cold: dict[str, Any]) -> str:
    """Seconds from the start of a process to its first output, and the most memory it held."""
    rows = [
        [name, _interval(line["seconds"], 3), f"{line['peak_rss_mb']['median']:.0f}"]
        for name, line in cold["processes"].items()
    ]
    return table(["process", "seconds to the first output", "peak memory, MB"], rows)


def native_tables(native: dict[str, Any]) -> str:
    """Shares of the peak for each instruction set: products by rows and shape, then the other kernels."""
    parts = []
    for isa in native["instruction_sets"]:
        products = [r for r in isa["results"] if r["kernel"] == "matmul"]
        plain = {(r["m"], f"{r['n']} x {r['k']}"): r for r in products if r["activation"] == "identity"}
        shapes = list(dict.fromkeys(shape for _, shape in plain))
        rows = [
            [str(m), *(f"{100 * plain[m, shape]['share']['median']:.0f}%" for shape in shapes)]
            for m in dict.fromkeys(m for m, _ in plain)
        ]
        peak = _interval(isa["peak_gflops"], 0)
        parts.append(f"### {isa['name']}: tile {isa['mr']} x {isa['nr']}, peak {peak} GFLOP/s\n")
        parts.append("Products `y[M,N] = x[M,K] w[N,K]^T + bias`, share of the peak; rows M, columns N x K.\n")
        parts.append(table(["M", *shapes], rows))
        others = [r for r in isa["results"] if r["kernel"] != "matmul" or r["activation"] != "identity"]
        parts.append(table(["kernel", "µs", "rate", "share", "of"], [_native_row(result) for result in others]))
    memory = native["memory_read_gbytes_per_second"]
    parts.append(
        f"Reading memory: {_interval(memory, 1)} GB/s. With few rows a product is bound by that, not by arithmetic: "
        "its weights are walked through copies of 64 MB in all, as the layers of a model follow each other.\n"
    )
    return "\n".join(parts)


def _native_row(result: dict[str, Any]) -> list[str]:
    known = {
        "kernel",
        "microseconds",
        "unit",
        "rate",
        "reference",
        "reference_rate",
        "share",
        "samples",
        "weight_bytes",
    }
    dims = ", ".join(f"{key} {value}" for key, value in result.items() if key not in known)
    return [
        f"{result['kernel']} {dims}", _interval(result["microseconds"], 1),
        f"{result['rate']['median']:.1f} {result['unit']}", _interval(result["share"], 0, 100) + "%",
        result["reference"].replace("_", " "),
    ]  # fmt: skip


def page(results: dict[str, Any]) -> str:
    """docs/benchmarks.md."""
    parts = ["# Benchmarks\n", "Written by `make bench`; numbers are not edited by hand.\n", machine_lines(results)]
    parts.append("![Share of the fp32 peak by engine](benchmarks.svg)\n")
    for model, result in results["compare"]["models"].items():
        parts.append(f"## {model}: share of the measured fp32 peak\n")
        parts += [share_table(result["shapes"]), detail_table(result["shapes"])]
        failures = dict(result["failures"])
        for name, shape in result["shapes"].items():
            failures |= {f"{engine} at {name}": why for engine, why in shape["failures"].items()}
        if failures:
            parts.append("Could not be measured: " + "; ".join(f"{k}: {v}" for k, v in failures.items()) + "\n")
    if "text" in results:
        parts += ["## Text to vectors with all-MiniLM-L6-v2, tokenization included\n", text_table(results["text"])]
        sources = "English prose: the licences that Debian carries and the language reference inside Python."
        parts.append(f"{sources} Ratios are times relative to bertcpp's.\n")
    if "cold" in results:
        over = results["cold"]["import_over_numpy_ms"]["median"]
        parts += ["## From the start of a process to the first embedding\n", cold_table(results["cold"])]
        parts.append(
            f"Files are in the page cache. `import bertcpp` takes {abs(over):.1f} ms {'more' if over > 0 else 'less'} "
            "than `import numpy`: it loads NumPy, and everything else, when it is first used. "
            f"The weights are {results['cold']['weights_mb']:.0f} MB.\n"
        )
    parts.append(HOW_TO_READ.read_text())
    if "native" in results:
        parts += [f"## Kernels, {results['native']['threads']} threads\n", native_tables(results["native"])]
    return "\n".join(parts)


def readme_summary(results: dict[str, Any]) -> str:
    """What README.md shows between its markers."""
    about = results["compare"]["machine"]
    parts = ["![Share of the fp32 peak by engine](docs/benchmarks.svg)\n"]
    for model, result in results["compare"]["models"].items():
        parts += [f"Share of the processor's measured fp32 peak, {model}, float32:\n", share_table(result["shapes"])]
    if "text" in results:
        parts += ["Text to vectors with all-MiniLM-L6-v2, tokenization included:\n", text_table(results["text"])]
    if "cold" in results:
        processes = results["cold"]["processes"]
        shown = [name for name in processes if not name.startswith(("import", "python"))]
        starts = ", ".join(f"{name} {processes[name]['seconds']['median']:.2f} s" for name in shown)
        parts.append(f"From the start of a process to the first embedding: {starts}.\n")
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    parts.append(
        f"{about['cpu']}, {about['threads']} threads, {about['date']}; {versions}. In brackets the 10th and 90th "
        "percentile; equal threads and inputs for all, padding counted as no work. "
        "[docs/benchmarks.md](docs/benchmarks.md) has all numbers and how they were taken; `make bench` repeats them.\n"
    )
    return "\n".join(parts)


def write(results: dict[str, Any], docs: Path = DOCS, readme: Path | None = ROOT / "README.md") -> list[Path]:
    """Write the page, and the summary into a README that has markers for it; returns what was written."""
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
    arguments = argparse.ArgumentParser(prog="python -m bench.report", description=__doc__.splitlines()[0])
    arguments.add_argument("--results", type=Path, default=DOCS / "benchmarks.json")
    for path in write(json.loads(arguments.parse_args().results.read_text())):
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
