"""What a measurement was taken on and with: processor, memory, threads, versions, date."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = (
    "numpy",
    "tokenizers",
    "torch",
    "transformers",
    "sentence-transformers",
    "onnxruntime",
    "openvino",
    "ctranslate2",
)


def cpu_model() -> str:
    """The processor's name as the system reports it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(("model name", "Model Name")):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def choose_cpus(threads: int) -> list[int]:
    """One logical processor of each core first, then their siblings: those that `threads` threads are given.

    Raises ValueError if the process may use fewer.
    """
    allowed = sorted(os.sched_getaffinity(0))
    if not 1 <= threads <= len(allowed):
        raise ValueError(f"--threads {threads}: this process may use {len(allowed)} processors")
    seen: dict[str, int] = {}
    ranked = []
    for cpu in allowed:
        siblings = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        core = siblings.read_text().strip() if siblings.is_file() else str(cpu)
        ranked.append((seen.setdefault(core, 0), cpu))
        seen[core] += 1
    return sorted(cpu for _, cpu in sorted(ranked)[:threads])


def versions() -> dict[str, str]:
    """Installed versions of everything that is compared, without local suffixes such as `+cpu`."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package).split("+")[0]
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def commit() -> str:
    """The short id of the commit that is measured, marked where the tree differs from it; empty without git."""
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude", "*"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout.strip() if done.returncode == 0 else ""


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
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": cpu_model(),
        "processors": os.cpu_count(),
        "threads": threads,
        "memory_gib": round(memory / 2**30),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
        "versions": versions(),
        "commit": commit(),
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
    }
