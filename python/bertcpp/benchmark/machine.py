"""What a measurement was taken on and with: processor, memory, threads, versions, date."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

__all__ = ["allowed_cpus", "choose_cpus", "cpu_model", "describe", "versions"]

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
    """Return the processor's name as the system reports it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(("model name", "Model Name")):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def allowed_cpus() -> list[int]:
    """Return the logical processors that this process may use."""
    return sorted(os.sched_getaffinity(0))


def choose_cpus(threads: int) -> list[int]:
    """Return the processors that `threads` threads are given: one of each core first, then their siblings.

    Raises:
        ValueError: if the process may use fewer.
    """
    allowed = allowed_cpus()
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
    """Return the installed versions of everything that is compared, without local suffixes such as `+cpu`."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package).split("+")[0]
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def describe(threads: int) -> dict[str, Any]:
    """Return everything that a reader needs to judge the numbers."""
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
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
    }
