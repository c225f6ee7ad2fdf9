"""Draws docs/benchmarks.svg from results; needs matplotlib.

python -m bench.plot [--results docs/benchmarks.json]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from bertcpp.benchmark.plot import grouped_bars

from .report import COMPARISONS, DOCS, TEXTS, by_machine, dates_of, in_order, named
from .tables import label


def _shares(axes: Any, title: str, shapes: dict[str, Any]) -> None:
    values = {
        (name, label(engine)): {key: 100 * share for key, share in line["share"].items()}
        for name, shape in shapes.items()
        for engine, line in shape["engines"].items()
    }
    grouped_bars(axes, list(shapes), list(dict.fromkeys(engine for _, engine in values)), values)
    axes.set_title(title, fontsize=9, loc="left")
    axes.set_xlabel("batch x tokens", fontsize=8)
    axes.legend(fontsize=7.5, ncols=6, frameon=False, loc="upper left")


def _rates(axes: Any, texts: list[dict[str, Any]]) -> None:
    values = {
        (kind, engine): line["texts_per_second"]
        for part in texts
        for kind, result in part["kinds"].items()
        for engine, line in result["engines"].items()
    }
    kinds = list(dict.fromkeys(kind for kind, _ in values))
    grouped_bars(axes, kinds, list(dict.fromkeys(engine for _, engine in values)), values)
    axes.set_title("all-MiniLM-L6-v2, text to vectors: texts a second", fontsize=9, loc="left")
    axes.legend(fontsize=7.5, frameon=False, loc="upper right")


def footer(results: dict[str, Any]) -> str:
    """Where and when the parts that are drawn were measured, and what the whiskers are."""
    drawn = {part: result for part, result in results.items() if part in (*COMPARISONS, *TEXTS)}
    machines = "; ".join(
        f"{named(group, drawn)}{about['cpu']}, {about['threads']} {'thread' if about['threads'] == 1 else 'threads'}"
        for group in by_machine(drawn)
        for about in [next(iter(group.values()))["machine"]]
    )
    dates = dates_of([result["machine"]["date"] for result in drawn.values()])
    return f"{machines}; {dates}; whiskers: 10th to 90th percentile of the rounds, interpolated"


def draw(results: dict[str, Any], path: Path) -> bool:
    """Write the figure, in the format of the path's suffix, unless it would be empty; whether it was written."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    results = in_order(results)
    shares = [
        (f"{model} in {dtype}: % of the measured {dtype} peak (padding counts as no work)", result["shapes"])
        for part, dtype in COMPARISONS.items()
        for model, result in results.get(part, {}).get("models", {}).items()
    ]
    texts = [results[part] for part in TEXTS if part in results]
    panels = len(shares) + bool(texts)
    if panels == 0:
        return False
    style: Any = {"svg.hashsalt": "bertcpp", "font.size": 8, "axes.linewidth": 0.6, "hatch.linewidth": 0.4}
    with mpl.rc_context(style):
        figure, grid = plt.subplots(panels, 1, figsize=(8.6, 2.9 * panels), squeeze=False, layout="constrained")
        axes = list(grid[:, 0])
        for (title, shapes), panel in zip(shares, axes, strict=False):
            _shares(panel, title, shapes)
        if texts:
            _rates(axes[-1], texts)
        figure.supxlabel(footer(results), fontsize=7, color="#555555")
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=150)
        plt.close(figure)
    return True


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m bench.plot", description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--results", type=Path, default=DOCS / "benchmarks.json")
    arguments.add_argument("--output", type=Path, default=DOCS / "benchmarks.svg")
    args = arguments.parse_args()
    drawn = draw(json.loads(args.results.read_text()), args.output)
    print(f"wrote {args.output}" if drawn else "there is nothing to draw")


if __name__ == "__main__":
    main()
