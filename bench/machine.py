"""What a measurement was taken on and with: the commit and stolen time beside what bertcpp.benchmark.machine tells."""

from __future__ import annotations

import argparse
import os
import subprocess
from pathlib import Path
from typing import Any

from bertcpp.benchmark import machine
from bertcpp.benchmark.machine import choose_cpus
from bertcpp.commands.options import positive

__all__ = ["ROOT", "choose_cpus", "commit", "cpu_ticks", "describe", "stolen_since", "threads_allowed"]

ROOT = Path(__file__).resolve().parent.parent


# What a benchmark writes into the tree, part after part.
WRITTEN = ("README.md", "docs/benchmarks.json", "docs/benchmarks.md", "docs/benchmarks.svg")


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def commit() -> str:
    """The short id of the commit that is measured, marked where the tree differs from it in more than results.

    Empty without git.
    """
    name = _git("rev-parse", "--short", "HEAD")
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", *(f":!{path}" for path in WRITTEN))
    return f"{name}-dirty" if name and changed else name


def threads_allowed(text: str) -> int:
    """The number of threads that an option's text is: from 1 to the processors that may be used."""
    most = len(os.sched_getaffinity(0))
    if positive(text) > most:
        raise argparse.ArgumentTypeError(f"{text!r} is more than the {most} processors that may be used")
    return int(text)


def cpu_ticks() -> tuple[int, int]:
    """(all, stolen) clock ticks of all processors so far; stolen ones went to other guests of the same host."""
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return sum(fields), fields[7]


def stolen_since(before: tuple[int, int]) -> float:
    """The share of all processors' time that the host gave to others since `before`, in percent."""
    total, stolen = (now - then for now, then in zip(cpu_ticks(), before, strict=True))
    return round(100 * stolen / max(1, total), 1)


def describe(threads: int) -> dict[str, Any]:
    """Everything that a reader needs to judge the numbers."""
    return {**machine.describe(threads), "commit": commit()}
