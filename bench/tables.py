"""The tables of docs/benchmarks.md and README.md, each from the results of one part, as Markdown."""

from __future__ import annotations

from typing import Any

# Of a kernel's result, what is measured; the rest tells which case it is.
MEASURED = {"kernel", "microseconds", "unit", "rate", "reference", "reference_rate", "share", "samples", "weight_bytes"}


FEW = 10  # samples, below which the least and the most are told in place of percentiles


def interval(values: dict[str, float], digits: int, factor: float = 1) -> str:
    """The median, and in brackets the 10th and 90th percentile, or the range of few samples where it was kept."""
    around = ("least", "most") if values.get("samples", FEW) < FEW else ("p10", "p90")
    median, low, high = (f"{factor * values[key]:.{digits}f}" for key in ("median", *around))
    return f"{median} ({low} – {high})"  # noqa: RUF001  an en dash belongs between numbers


def milliseconds(values: dict[str, float]) -> str:
    return interval(values, 2 if values["median"] < 10 else 1)


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table, first column left, others right."""
    marks = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, marks, *rows)) + "\n"


def engine_names(shapes: dict[str, Any]) -> list[str]:
    names: list[str] = []
    for shape in shapes.values():
        names += [name for name in shape["engines"] if name not in names]
    return names


def label(engine: str) -> str:
    """An engine's name without its precision, where a table is of one precision."""
    for dtype in ("bfloat16", "int8"):
        engine = engine.removesuffix(f" {dtype}")
    return engine


def share_table(shapes: dict[str, Any]) -> str:
    """Shapes down, engines across: share of the peak of the precision that they compute in."""
    engines = engine_names(shapes)
    rows = []
    for name, shape in shapes.items():
        lines = [shape["engines"].get(engine) for engine in engines]
        best = max(line["share"]["median"] for line in lines if line)
        cells = []
        for line in lines:
            text = f"{100 * line['share']['median']:.0f}%" if line else "failed"
            cells.append(f"**{text}**" if line and line["share"]["median"] == best else text)
        rows.append([name, *cells])
    return table(["batch x tokens", *map(label, engines)], rows)


def largest_differences(shapes: dict[str, Any]) -> dict[str, float]:
    """For each engine the largest difference from the reference at any shape."""
    found: dict[str, float] = {}
    for shape in shapes.values():
        for engine, line in shape["engines"].items():
            found[label(engine)] = max(found.get(label(engine), 0.0), line["difference"])
    return found


def detail_table(shapes: dict[str, Any]) -> str:
    """One row for each shape and engine."""
    rows = []
    for name, shape in shapes.items():
        for engine, line in shape["engines"].items():
            rows.append([
                name, label(engine), line["way"], milliseconds(line["latency_ms"]), interval(line["share"], 0, 100),
                interval(line["ratio"], 2), f"{line['difference']:.0e}", str(shape["rounds"]), str(line["calls"]),
            ])  # fmt: skip
    header = ["batch x tokens", "engine", "run as", "ms", "% of peak", "ratio", "difference", "rounds", "calls"]
    return table(header, rows)


def ahead(name: str, dtype: str, shapes: dict[str, Any]) -> list[str]:
    """Where another engine than the first has the larger share of the peak or takes less time, in words."""
    told = []
    for shape, result in shapes.items():
        first, *others = result["engines"].values()
        for engine, line in zip(list(result["engines"])[1:], others, strict=True):
            if line["share"]["median"] > first["share"]["median"] or line["ratio"]["median"] < 1:
                share, own = (f"{100 * each['share']['median']:.0f}%" for each in (line, first))
                ratio = f"{line['ratio']['median']:.2f}"
                told.append(
                    f"{label(engine)} on {name}, {shape}, in {dtype} ({share} of the peak against {own}, {ratio} times "
                    "bertcpp's time)"
                )
    return told


def text_table(text: dict[str, Any]) -> str:
    """Texts a second in one precision."""
    rows = []
    for kind, result in text["kinds"].items():
        texts = f"{kind}, {result['mean_characters']:.0f} characters"
        for engine, line in result["engines"].items():
            rows.append([
                texts, label(engine), line["way"], interval(line["texts_per_second"], 0), interval(line["ratio"], 2),
                str(text["settings"]["rounds"]), str(line["calls"]),
            ])  # fmt: skip
    return table(["texts", "engine", "run as", "texts/s", "ratio", "rounds", "calls"], rows)


def threads_table(threads: dict[str, Any]) -> str:
    """What all threads gain over one, and what the peak gains."""
    rows = [
        [
            f"{dtype}, {shape}", milliseconds(line["one_ms"]), milliseconds(line["all_ms"]), interval(line["gain"], 2),
            interval(line["peak_gain"], 2), interval(line["of_peak_gain"], 0, 100) + "%",
        ]
        for dtype, shapes in threads["dtypes"].items()
        for shape, line in shapes.items()
    ]  # fmt: skip
    every = f"{threads['threads']} threads"
    return table(["", "1 thread, ms", f"{every}, ms", "gain", "gain of the peak", "of that"], rows)


def bandwidth_table(bandwidth: dict[str, Any]) -> str:
    """A short text beside the time that reading the weights takes, and the time that its arithmetic takes."""
    rows = [
        [
            f"{dtype}, {shape}", milliseconds(line["latency_ms"]), f"{line['packed_mb']:.0f}",
            interval(line["read_gbytes_per_second"], 1), milliseconds(line["reading_ms"]),
            milliseconds(line["arithmetic_ms"]), interval(line["over_reading"], 2), interval(line["over_limit"], 2),
        ]
        for dtype, shapes in bandwidth["dtypes"].items()
        for shape, line in shapes.items()
    ]  # fmt: skip
    header = ["", "ms", "weights, MB", "memory, GB/s", "reading once, ms", "arithmetic, ms", "times reading"]
    return table([*header, "times the limit"], rows)


def tasks_table(tasks: dict[str, Any]) -> str:
    """Answers a second on both sides, for each task, size and batch."""
    rows = []
    for line in tasks["lines"]:
        (other,) = (name for name in line["answers_per_second"] if name != "bertcpp")
        rates = [line["answers_per_second"][name]["median"] for name in ("bertcpp", other)]
        rows.append([
            line["task"], line["model"], str(line["batch_size"]), *(f"{rate:.{int(rate < 10)}f}" for rate in rates),
            other, interval(line["ratio"], 1), str(line["rounds"]),
        ])  # fmt: skip
    return table(["task", "size", "batch", "bertcpp", "answers/s of the other", "other", "ratio", "rounds"], rows)


def cold_table(cold: dict[str, Any]) -> str:
    """Seconds from the start of a process to its first output, and the most memory it held."""
    rows = [
        [name, interval(line["seconds"], 3), f"{line['peak_rss_mb']['median']:.0f}"]
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
        peak = interval(isa["peak_gflops"], 0)
        parts.append(f"### {isa['name']}: tile {isa['mr']} x {isa['nr']}, peak {peak} GFLOP/s\n")
        parts.append("Products `y[M,N] = x[M,K] w[N,K]^T + bias`, share of the peak; rows M, columns N x K.\n")
        parts.append(table(["M", *shapes], rows))
        others = [r for r in isa["results"] if r["kernel"] != "matmul" or r["activation"] != "identity"]
        parts.append(table(["kernel", "µs", "rate", "share", "of"], [_native_row(result) for result in others]))
    memory = native["memory_read_gbytes_per_second"]
    parts.append(
        f"Reading memory: {interval(memory, 1)} GB/s. With few rows a product is bound by that, not by arithmetic: "
        "its weights are walked through copies of 64 MB in all, as the layers of a model follow each other.\n"
    )
    return "\n".join(parts)


def _native_row(result: dict[str, Any]) -> list[str]:
    dims = ", ".join(f"{key} {value}" for key, value in result.items() if key not in MEASURED)
    return [
        f"{result['kernel']} {dims}", interval(result["microseconds"], 1),
        f"{result['rate']['median']:.1f} {result['unit']}", interval(result["share"], 0, 100) + "%",
        result["reference"].replace("_", " "),
    ]  # fmt: skip
