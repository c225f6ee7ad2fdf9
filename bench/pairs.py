"""Pairs scored a second by `bertcpp.CrossEncoder.predict` beside sentence-transformers', tokenization included.

python -m bench.pairs [--models tiny minilm base] [--batch-sizes 1 32] [--threads N] [--json FILE]

The checkpoint has random weights, one label and the tokenizer of all-MiniLM-L6-v2; a pair is two pieces of English
prose of 4 to 60 words. Both sides score in turns, and the scores are compared before they are timed.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from . import machine, models
from .tasks import SIZES, prose


def save(size: str, folder: Path) -> Path:
    """A reranker of that size with random weights."""
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(models.minilm_folder())
    config = transformers.BertConfig(vocab_size=len(tokenizer), num_labels=1, **SIZES[size])
    torch.manual_seed(1)
    transformers.AutoModelForSequenceClassification.from_config(config).eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def measure(size: str, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Pairs a second of both, for each batch size.

    Raises SystemExit if they do not score the same.
    """
    import sentence_transformers

    import bertcpp

    texts = prose(2 * args.pairs)
    pairs = list(zip(texts[::2], texts[1::2], strict=True))
    with tempfile.TemporaryDirectory() as folder:
        path = save(size, Path(folder))
        ours = bertcpp.CrossEncoder(path, num_threads=args.threads)
        theirs = sentence_transformers.CrossEncoder(str(path), device="cpu")
        apart = float(np.abs(ours.predict(pairs) - theirs.predict(pairs, show_progress_bar=False)).max())
        if apart > 1e-5:
            raise SystemExit(f"{size}: the scores are {apart} apart")
        found = []
        for batch_size in args.batch_sizes:
            seconds: dict[str, list[float]] = {"bertcpp": [], "sentence-transformers": []}
            for _ in range(args.rounds):
                for name, side in (("bertcpp", ours), ("sentence-transformers", theirs)):
                    start = time.perf_counter()
                    if batch_size == 1:
                        for pair in pairs:
                            side.predict(pair, show_progress_bar=False)
                    else:
                        side.predict(pairs, batch_size=batch_size, show_progress_bar=False)
                    seconds[name].append(time.perf_counter() - start)
            rates = {name: len(pairs) / statistics.median(times) for name, times in seconds.items()}
            ratio = rates["bertcpp"] / rates["sentence-transformers"]
            print(
                f"{size:7} {batch_size:5}  {rates['bertcpp']:8.1f}/s  {rates['sentence-transformers']:8.1f}/s  "
                f"{ratio:5.2f}x", flush=True,
            )  # fmt: skip
            found.append({"model": size, "batch_size": batch_size, "pairs_per_second": rates, "ratio": ratio})
    return found


def parser() -> argparse.ArgumentParser:
    arguments = argparse.ArgumentParser(prog="python -m bench.pairs", description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--models", nargs="+", choices=list(SIZES), default=["minilm"])
    arguments.add_argument("--batch-sizes", nargs="+", type=int, default=[1, 32])
    arguments.add_argument("--pairs", type=int, default=64, help="pairs of one measurement (default: 64)")
    arguments.add_argument("--rounds", type=int, default=3, help="turns of each side (default: 3)")
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--json", type=Path, help="write the results to this file")
    return arguments


def main(command_line: list[str] | None = None) -> None:
    args = parser().parse_args(command_line)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torch

        torch.set_num_threads(args.threads)
        logging.disable(logging.WARNING)
        print("model   batch  bertcpp     sentence-t.  faster", flush=True)
        results = [row for size in args.models for row in measure(size, args)]
    if args.json:
        about = machine.describe(args.threads)
        args.json.write_text(json.dumps({"machine": about, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
