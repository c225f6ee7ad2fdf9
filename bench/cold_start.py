"""From the start of a process to its first embedding, the memory that takes, and what importing bertcpp costs.

python -m bench.cold_start [--threads N] [--repeat N] [--json results.json]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bertcpp.benchmark import exports, processes, rounds
from bertcpp.commands.options import positive

from . import machine, models
from .compare import add_common_arguments
from .text_engines import TEXT_ENGINES

TEXT = "A cat sits outside in the sun."
# Each prints one number of its embedding; sys.argv[1:] are the model's folder, the ONNX graph and the threads.
SCRIPTS = {
    "bertcpp": """
import sys
from bertcpp import SentenceTransformer
model = SentenceTransformer(sys.argv[1], num_threads=int(sys.argv[3]))
print(model.encode(sys.argv[4], normalize_embeddings=True)[0], flush=True)
""",
    "onnxruntime script": """
import json, os, sys
import numpy as np, onnxruntime, tokenizers
folder, graph, threads, text = sys.argv[1:]
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = int(threads)
session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
tokenizer = tokenizers.Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
tokenizer.enable_truncation(256)
tokenizer.no_padding()
ids = np.array([tokenizer.encode(text).ids])
feed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
vector = session.run(["last_hidden_state"], feed)[0].mean(axis=1)[0]
print((vector / np.linalg.norm(vector))[0], flush=True)
""",
    "sentence-transformers": """
import sys
from sentence_transformers import SentenceTransformer
import torch
torch.set_num_threads(int(sys.argv[3]))
model = SentenceTransformer(sys.argv[1], device="cpu")
print(model.encode(sys.argv[4], normalize_embeddings=True)[0], flush=True)
""",
    "import numpy": "import numpy; print(0, flush=True)",
    "import bertcpp": "import bertcpp; print(0, flush=True)",
    "python alone": "print(0, flush=True)",
}
EMBEDDERS = tuple(name for name in TEXT_ENGINES if name in SCRIPTS)
# After what is timed: the most memory that the process held, kB. (What wait4 tells is at least its parent's memory.)
TELL_MEMORY = """
print(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
"""


def parser() -> argparse.ArgumentParser:
    arguments = argparse.ArgumentParser(prog="python -m bench.cold_start", description=__doc__.splitlines()[0])
    add_common_arguments(arguments)
    arguments.add_argument("--json", type=Path, help="write the results to this file")
    arguments.add_argument("--repeat", type=positive, default=15, help="processes of each kind (default: 15)")
    return arguments


def run_once(script: str, arguments: list[str], environment: dict[str, str]) -> tuple[float, float, float]:
    """Seconds until it printed, the most memory it held (MB), and the number that it printed.

    Raises RuntimeError if the process fails.
    """
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", script + TELL_MEMORY, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, cwd=machine.ROOT, env=environment,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdout, process.stderr:
        line = process.stdout.readline()
        seconds = time.perf_counter() - started
        memory = process.stdout.readline()
        complaints = process.stderr.read()
    if process.wait() != 0 or not line:
        raise RuntimeError(f"a process ended with code {process.returncode}:\n{complaints[-1000:]}")
    return seconds, int(memory) * 1024 / 1e6, float(line)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Every kind of process in turns, after one unmeasured turn that fills the page cache."""
    os.sched_setaffinity(0, machine.choose_cpus(args.threads))
    args.cache.mkdir(parents=True, exist_ok=True)
    about = machine.describe(args.threads)
    model = models.load("minilm", args.cache)
    installed = {name for name in EMBEDDERS if not TEXT_ENGINES[name].missing()}
    names = [name for name in SCRIPTS if name not in EMBEDDERS or name in installed]
    graph = exports.ensure("onnx", model, args.cache) / "model.onnx" if "onnxruntime script" in names else ""
    arguments = [str(model.folder), str(graph), str(args.threads), TEXT]
    environment = processes.environment(args.threads)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    memory: dict[str, list[float]] = {name: [] for name in names}
    firsts: dict[str, float] = {}
    print(f"cold start: {', '.join(names)}", flush=True)
    for turn in range(args.repeat + 1):
        for name in names:
            time_taken, most, firsts[name] = run_once(SCRIPTS[name], arguments, environment)
            if turn > 0:
                seconds[name].append(time_taken)
                memory[name].append(most)
    for name in installed:
        if abs(firsts[name] - firsts["bertcpp"]) > 1e-5:
            raise SystemExit(f"{name} printed {firsts[name]}, bertcpp {firsts['bertcpp']}: not the same embedding")
    weights = (model.folder / "model.safetensors").stat().st_size / 1e6
    over = [own - base for own, base in zip(seconds["import bertcpp"], seconds["import numpy"], strict=True)]
    return {
        "machine": about,
        "settings": {"repeat": args.repeat},
        "weights_mb": weights,
        "import_over_numpy_ms": rounds.spread([1e3 * difference for difference in over]),
        "processes": {
            name: {"seconds": rounds.spread(seconds[name]), "peak_rss_mb": rounds.spread(memory[name])}
            for name in names
        },
    }


def print_results(results: dict[str, Any]) -> None:
    for name, line in results["processes"].items():
        taken, memory = line["seconds"], line["peak_rss_mb"]["median"]
        print(f"  {name:<22}{taken['median']:7.3f} s ({taken['p10']:.3f} to {taken['p90']:.3f})   {memory:6.0f} MB")
    over = results["import_over_numpy_ms"]["median"]
    print(f"  import bertcpp takes {over:.1f} ms more than import numpy; weights are {results['weights_mb']:.0f} MB")


def main() -> None:
    args = parser().parse_args()
    results = measure(args)
    print_results(results)
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
