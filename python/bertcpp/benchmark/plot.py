"""Draws what was measured; needs matplotlib."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import MissingDependencyError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["draw", "grouped_bars"]

# One hue for bertcpp, greys and muted hues for the others; distinct in print and to colour-blind readers too.
COLOURS = {
    "bertcpp": "#d1495b",
    "torch": "#9aa5b1",
    "onnxruntime": "#4f6d8f",
    "openvino": "#7fb7be",
    "ctranslate2": "#c9b458",
    "torch.compile": "#6b7280",
    "onnxruntime script": "#4f6d8f",
    "onnxruntime script, sorted": "#7fb7be",
    "sentence-transformers": "#9aa5b1",
}


# Of the same engine, another precision is hatched.
_HATCHES = {"bfloat16": "///", "int8": "..."}


def _colour(name: str) -> str:
    for dtype in _HATCHES:
        name = name.removesuffix(f" {dtype}")
    return COLOURS.get(name) or COLOURS.get(name.split(" ")[0], "#444444")


def grouped_bars(
    axes: Any, groups: list[str], engines: list[str], values: dict[tuple[str, str], dict[str, float]]
) -> None:
    """Draw groups of bars with their medians above them and whiskers from the 10th to the 90th percentile."""
    width = 0.84 / len(engines)
    for j, engine in enumerate(engines):
        known = [(i, values[group, engine]) for i, group in enumerate(groups) if (group, engine) in values]
        places = [i + (j - (len(engines) - 1) / 2) * width for i, _ in known]
        medians = [v["median"] for _, v in known]
        whiskers = [
            [max(0.0, v["median"] - v["p10"]) for _, v in known],
            [max(0.0, v["p90"] - v["median"]) for _, v in known],
        ]
        bars = axes.bar(
            places,
            medians,
            width * 0.92,
            yerr=whiskers,
            label=engine,
            color=_colour(engine),
            hatch=_HATCHES.get(engine.split(" ")[-1]),
            error_kw={"ecolor": "#333333", "elinewidth": 0.7},
        )
        axes.bar_label(bars, [f"{m:.0f}" if m >= 10 else f"{m:.2g}" for m in medians], fontsize=6.5, padding=2)
    axes.set_xticks(range(len(groups)), groups)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(y=0.25)  # room for the legend
    axes.set_ylim(bottom=0)


def draw(results: dict[str, Any], path: Path) -> None:
    """Write a figure of what `bertcpp bench` measured; its format is that of the path's suffix.

    Raises:
        MissingDependencyError: if matplotlib is not installed.
        ValueError: if the suffix is none that matplotlib writes.
    """
    try:
        import matplotlib as mpl
    except ImportError:
        raise MissingDependencyError("a plot needs matplotlib: pip install matplotlib") from None
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    shapes = results["shapes"]
    with mpl.rc_context({"svg.hashsalt": "bertcpp", "font.size": 8, "axes.linewidth": 0.6, "hatch.linewidth": 0.4}):
        figure, grid = plt.subplots(2, 1, figsize=(8.6, 6.2), layout="constrained")
        panels = (
            ("share", 100.0, "% of the measured peak of each precision"),
            ("tokens_per_second", 1e-3, "thousand tokens a second"),
        )
        for axes, (key, factor, title) in zip(grid, panels, strict=True):
            values = {
                (name, engine): {part: factor * value for part, value in line[key].items()}
                for name, shape in shapes.items()
                for engine, line in shape["engines"].items()
                if key in line
            }
            names = list(dict.fromkeys(engine for _, engine in values))
            if names:
                grouped_bars(axes, list(shapes), names, values)
                axes.legend(fontsize=7.5, ncols=6, frameon=False, loc="upper left")
            axes.set_title(f"{results['model']['name']}: {title}", fontsize=9, loc="left")
            axes.set_xlabel("texts x tokens", fontsize=8)
        about = results["machine"]
        told = f"{about['cpu']}, {about['threads']} threads, {about['date']}; whiskers: 10th to 90th percentile"
        figure.supxlabel(told, fontsize=7, color="#555555")
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=150)
        plt.close(figure)
