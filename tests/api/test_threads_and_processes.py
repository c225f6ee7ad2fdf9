"""One model in many threads and in child processes of every kind: the same bits, and nothing hangs."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest

import bertcpp
from bertcpp import _core

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = '''
"""Compute in a parent and in its children; print "same" if every child's bytes are the parent's."""
import hashlib
import multiprocessing
import sys

import numpy as np

import bertcpp

MODEL = None


def digest(model):
    ids = np.random.default_rng(0).integers(1000, 2000, (5, 77))
    return hashlib.sha256(model(ids).last_hidden_state.tobytes()).hexdigest()


def in_child(path):
    loaded = bertcpp.AutoModel.from_pretrained(path, num_threads=2)
    return [digest(loaded)] + ([digest(MODEL)] if MODEL is not None else [])


def main(method, path, with_torch):
    global MODEL
    if with_torch == "torch":
        import torch

        torch.set_num_threads(2)
        (torch.ones(600, 600) @ torch.ones(600, 600)).sum().item()  # its threads are up before the fork
    MODEL = bertcpp.AutoModel.from_pretrained(path, num_threads=2)
    expected = digest(MODEL)
    context = multiprocessing.get_context(method)
    with context.Pool(2) as pool:
        digests = pool.map_async(in_child, [path] * 4, chunksize=1).get(timeout=60)
    assert len(digests[0]) == (2 if method == "fork" else 1)
    assert {value for values in digests for value in values} == {expected}
    assert digest(MODEL) == expected
    print("same")


if __name__ == "__main__":
    main(*sys.argv[1:])
'''

EXIT_WHILE_COMPUTING = """
import sys
import threading
import time

import numpy as np

from bertcpp import _core

head = _core.Linear(np.ones((512, 512), np.float32))
x = np.ones((256, 512), np.float32)


def compute():
    while True:
        head(x, num_threads=int(sys.argv[1]))


for _ in range(2):
    threading.Thread(target=compute, daemon=True).start()
time.sleep(0.1)
"""

FORK_WHILE_COMPUTING = """
import hashlib, os, sys, threading, time
import numpy as np
import bertcpp

model = bertcpp.AutoModel.from_pretrained(sys.argv[1], num_threads=2)
ids = np.random.default_rng(0).integers(1000, 2000, (5, 77))
expected = model(ids).last_hidden_state.tobytes()
stop = threading.Event()

def keep_computing():
    while not stop.is_set():
        model(ids)

threads = [threading.Thread(target=keep_computing) for _ in range(2)]
for thread in threads:
    thread.start()
failures = 0
for _ in range(8):
    time.sleep(0.02)
    child = os.fork()
    if child == 0:
        os._exit(0 if model(ids).last_hidden_state.tobytes() == expected else 1)
    deadline = time.monotonic() + 20
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done or time.monotonic() > deadline:
            break
        time.sleep(0.005)
    if not done:
        os.kill(child, 9)
        os.waitpid(child, 0)
    failures += not done or status != 0
stop.set()
for thread in threads:
    thread.join()
sys.exit(f"{failures} of 8 children failed" if failures else 0)
"""


def test_eight_threads_compute_what_one_does(minilm: Path, rng: np.random.Generator) -> None:
    model = bertcpp.AutoModel.from_pretrained(minilm)
    batches = [rng.integers(1000, 2000, (int(rng.integers(1, 6)), int(rng.integers(1, 60)))) for _ in range(80)]
    expected = [model(ids).last_hidden_state.tobytes() for ids in batches]
    start = threading.Barrier(8)

    def work(worker: int) -> list[int]:
        start.wait(timeout=30)
        order = np.random.default_rng(worker).permutation(len(batches))
        return [index for index in order if model(batches[index]).last_hidden_state.tobytes() != expected[index]]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [[]] * 8


def test_threads_may_change_the_number_of_threads(minilm: Path) -> None:
    model = bertcpp.AutoModel.from_pretrained(minilm)
    ids = np.full((3, 40), 2023)
    expected = model(ids).last_hidden_state.tobytes()
    before = _core.get_num_threads()

    def work(count: int) -> bool:
        for step in range(20):
            model.num_threads = (None, 1, 2, 3)[(count + step) % 4]
            bertcpp.set_num_threads(1 + (count + step) % 3)
            if model(ids).last_hidden_state.tobytes() != expected:
                return False
        return True

    try:
        with ThreadPoolExecutor(4) as pool:
            assert all(pool.map(work, range(4)))
    finally:
        bertcpp.set_num_threads(before)


@pytest.mark.parametrize("torch", ["torch", "no torch"])
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_children_compute_the_same_bits(method: str, torch: str, minilm: Path, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    command = [sys.executable, str(program), method, str(minilm), torch]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout == "same\n"


def test_fork_while_other_threads_compute(minilm: Path) -> None:
    command = [sys.executable, "-c", FORK_WHILE_COMPUTING, str(minilm)]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert finished.returncode == 0, finished.stderr


@pytest.mark.parametrize("threads", [1, 2])
def test_exit_while_daemon_threads_compute(threads: int) -> None:
    command = [sys.executable, "-c", EXIT_WHILE_COMPUTING, str(threads)]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (finished.returncode, finished.stderr) == (0, "")


def test_other_python_threads_run_while_the_engine_computes(minilm: Path) -> None:
    """The GIL is released: a counting thread gets on while a long batch is computed."""
    model = bertcpp.AutoModel.from_pretrained(minilm, num_threads=1)
    ids = np.full((16, 256), 2023)
    ticks = 0
    stop = threading.Event()

    def count() -> None:
        nonlocal ticks
        while not stop.wait(0.002):
            ticks += 1

    thread = threading.Thread(target=count)
    thread.start()
    try:
        model(ids)
    finally:
        stop.set()
        thread.join()
    assert ticks >= 10
