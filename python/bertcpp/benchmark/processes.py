"""A process for each engine, so that OpenMP runtimes never mix, at the other end of a pipe."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

__all__ = ["THREAD_VARIABLES", "WorkerFailedError", "WorkerProcess", "environment", "import_path"]

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "RAYON_NUM_THREADS",
)
_LAST_WORDS = 500  # characters of a process's complaints that are passed on


def environment(threads: int) -> dict[str, str]:
    """Return the environment of every process that is measured: as many threads for all, and no network."""
    quiet = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "TOKENIZERS_PARALLELISM": "true"}
    return os.environ | dict.fromkeys(THREAD_VARIABLES, str(threads)) | quiet


def import_path() -> dict[str, str]:
    """Return what lets a child import what this process can, wherever it runs."""
    return {"PYTHONPATH": os.pathsep.join(dict.fromkeys(os.path.abspath(entry) for entry in sys.path))}


class WorkerFailedError(RuntimeError):
    """An engine raised, or its process died."""


class WorkerProcess:
    """A `bertcpp.benchmark.worker` at the other end of a pipe.

    Args:
        spec: what the worker loads; see `worker`.
        log: where its complaints go.

    Raises:
        WorkerFailedError: if it cannot load it.
    """

    def __init__(self, spec: dict[str, Any], log: Path) -> None:
        self.name = str(spec["engine"])
        self.dtype = str(spec["dtype"])
        self.log = log
        command = [sys.executable, "-m", "bertcpp.benchmark.worker", json.dumps(spec)]
        with log.open("w") as errors:
            self.process = subprocess.Popen(
                command,
                cwd=log.parent,
                env=environment(spec["threads"]) | import_path(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,  # Ctrl-C is the parent's, which ends it
            )
        try:
            self._answer()
        except BaseException:
            self.close()
            raise

    def ask(self, **command: Any) -> dict[str, Any]:
        """Send a command and wait for its answer.

        Raises:
            WorkerFailedError: if the engine raised, or its process died.
        """
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(command) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise WorkerFailedError(f"{self.name}: its process has ended") from None
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            code = self.process.wait()
            last_words = self.log.read_text(errors="replace").strip()[-_LAST_WORDS:]
            raise WorkerFailedError(f"{self.name}: its process died with code {code}: {last_words}")
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise WorkerFailedError(f"{self.name}: {reply['error']}")
        return reply

    def _cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def settle(self, patience: float = 3.0) -> bool:
        """Wait until its threads sleep: some runtimes spin for a while after work. False if they never do."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            before = self._cpu_seconds()
            time.sleep(0.05)
            if self._cpu_seconds() - before <= 0.01:
                return True
        return False

    def peak_rss_mb(self) -> float:
        """Return the most memory that its process has held so far, MB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6

    def close(self) -> None:
        """End the process and wait for it."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(timeout=10)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
