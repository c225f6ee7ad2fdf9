"""One engine in a process of its own. Answers one JSON command a line.

python -m bertcpp.benchmark.worker '{"table": "bertcpp.benchmark.engines:ENGINES", "engine": ..., "model": ...,
                                     "folder": ..., "cache": ..., "threads": 2, "dtype": "float32"}'

    {"do": "prepare", "workload": ..., "output": path.npy, "seconds": s}  tries every way, keeps the fastest
    {"do": "compute", "workload": ..., "output": path.npy}                 the result of one way, nothing timed
    {"do": "run", "seconds": s}                                           seconds of each call, the first left out

The table holds a class for each engine, by name; a workload is what its `inputs` takes.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import models

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Worker", "main", "timed_calls"]

LEAST_CALLS = 2


def timed_calls(run: Callable[[], Any], seconds: float, least: int = LEAST_CALLS) -> list[float]:
    """Return the seconds of each call, for about `seconds` in all."""
    times: list[float] = []
    started = time.perf_counter()
    while len(times) < least or time.perf_counter() - started < seconds:
        begin = time.perf_counter()
        run()
        times.append(time.perf_counter() - begin)
    return times


class Worker:
    """Loads the engine of a specification and carries out commands."""

    def __init__(self, spec: dict[str, Any]) -> None:
        module, _, table = spec["table"].partition(":")
        kind = getattr(importlib.import_module(module), table)[spec["engine"]]
        model = models.from_folder(spec["model"], Path(spec["folder"]))
        self.engine: Any = kind(model, Path(spec["cache"]), spec["threads"], spec["dtype"])
        self.run: Callable[[], Any] | None = None

    def prepare(self, workload: Any, output: str, seconds: float) -> dict[str, Any]:
        """Warm up every way of running the workload and keep the fastest; its result is saved for comparison."""
        tried: dict[str, float] = {}
        self.run = None
        inputs = self.engine.inputs(workload)
        for name, run in self.engine.ways(inputs):
            run()
            tried[name] = min(timed_calls(run, seconds))
            if tried[name] == min(tried.values()):
                self.run, way = run, name
        if self.run is None:
            raise RuntimeError("the engine offers no way to run this")
        result = np.asarray(self.run(), dtype=np.float32)
        self.engine.check(inputs, result)
        np.save(output, result)
        return {"way": way, "tried_ms": {name: 1e3 * t for name, t in tried.items()}}

    def compute(self, workload: Any, output: str) -> dict[str, Any]:
        """Save the result, for an engine that others are compared with and that is not timed."""
        inputs = self.engine.inputs(workload)
        way, run = next(iter(self.engine.ways(inputs)))
        result = np.asarray(run(), dtype=np.float32)
        self.engine.check(inputs, result)
        np.save(output, result)
        return {"way": way}

    def carry_out(self, command: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to a command."""
        if command["do"] == "prepare":
            return self.prepare(command["workload"], command["output"], command["seconds"])
        if command["do"] == "compute":
            return self.compute(command["workload"], command["output"])
        if command["do"] == "run" and self.run is not None:
            # The first call finds caches and frequencies as another engine left them.
            return {"seconds": timed_calls(self.run, command["seconds"], LEAST_CALLS)[1:]}
        raise ValueError(f"{command['do']} cannot be done now")


def main() -> None:
    """Answer commands until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print must not get among the answers

    def answer(action: Callable[[], dict[str, Any]]) -> bool:
        try:
            reply = action()
        except Exception as error:  # whatever an engine raises is reported, and the other engines go on
            traceback.print_exc()
            reply = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(reply) + "\n")
        return "error" not in reply

    workers: list[Worker] = []

    def load() -> dict[str, Any]:
        workers.append(Worker(json.loads(sys.argv[1])))
        return {"loaded": True}

    if answer(load):
        for line in sys.stdin:
            command = json.loads(line)
            answer(functools.partial(workers[0].carry_out, command))


if __name__ == "__main__":
    main()
