"""Answers a second of `bertcpp.pipeline` beside transformers' on the same checkpoints, tokenization included.

python -m bench.tasks [--models tiny minilm base] [--tasks ...] [--batch-sizes 1 8 32] [--threads N] [--json FILE]

Checkpoints have random weights and the tokenizer of all-MiniLM-L6-v2; texts are English prose of 4 to 60 words.
With a batch size of 1 both are called with one text after another, else with all of them and `batch_size=`. Both
answer in turns, and what they answer is compared before it is timed.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import statistics
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from . import machine, models

SIZES = {
    "tiny": {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 512},
    "minilm": {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536},
    "base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
}
INFERENCE = ["contradiction", "neutral", "entailment"]
# task: the class of transformers that the checkpoint is made by, the labels, and the options of the calls.
TASKS: dict[str, tuple[str, list[str], dict[str, Any]]] = {
    "text-classification": ("SequenceClassification", ["bad", "good"], {}),
    "token-classification": ("TokenClassification", ["O", "B-X", "I-X"], {"aggregation_strategy": "simple"}),
    "question-answering": ("QuestionAnswering", [], {}),
    "fill-mask": ("MaskedLM", [], {}),
    "zero-shot-classification": (
        "SequenceClassification",
        INFERENCE,
        {"candidate_labels": "sport, politics, art"},
    ),
    "feature-extraction": ("", [], {}),
}


def save(size: str, task: str, folder: Path) -> Path:
    """A checkpoint of that size with random weights and the task's head."""
    import torch
    import transformers

    head, labels, _ = TASKS[task]
    tokenizer = transformers.AutoTokenizer.from_pretrained(models.minilm_folder())
    named = {"id2label": dict(enumerate(labels)), "label2id": {label: i for i, label in enumerate(labels)}}
    config = transformers.BertConfig(vocab_size=len(tokenizer), **SIZES[size], **(named if labels else {}))
    torch.manual_seed(1)
    kind = getattr(transformers, f"AutoModelFor{head}" if head else "AutoModel")
    kind.from_config(config).eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def prose(count: int) -> list[str]:
    """English texts of 4 to 60 words, from the language reference that every Python carries."""
    from pydoc_data.topics import topics

    words = " ".join(topics[name] for name in sorted(topics)).split()
    rng = np.random.default_rng(3)
    lengths = rng.integers(4, 61, count)
    starts = rng.integers(0, len(words) - 61, count)
    return [re.sub(r"[\[\]]", "", " ".join(words[s : s + n])) for s, n in zip(starts, lengths, strict=True)]


def inputs_of(task: str, texts: list[str]) -> list[Any]:
    """What the task is asked."""
    if task == "question-answering":
        return [{"question": "What is it about?", "context": text} for text in texts]
    if task == "fill-mask":
        return [" ".join([*text.split()[:-1], "[MASK]"]) for text in texts]
    return texts


def differ(ours: Any, theirs: Any) -> float:
    """How far two answers are apart; infinitely, where they are not the same but for numbers."""
    if isinstance(theirs, dict):
        return max(differ(ours[key], value) for key, value in theirs.items())
    if isinstance(theirs, list):
        if theirs and isinstance(theirs[0], float):
            return float(np.abs(np.array(ours) - np.array(theirs)).max())
        return max((differ(a, b) for a, b in zip(ours, theirs, strict=True)), default=0.0)
    if isinstance(theirs, (float, np.floating)):
        return abs(float(ours) - float(theirs))
    return 0.0 if ours == theirs else float("inf")


def answers(task: Any, inputs: list[Any], batch_size: int, options: dict[str, Any]) -> Any:
    """All answers: one call for each input, or one for all."""
    if batch_size == 1:
        return [task(item, **options) for item in inputs]
    return task(inputs, batch_size=batch_size, **options)


def measure(size: str, task: str, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Answers a second of both, for each batch size.

    Raises SystemExit if they do not answer the same.
    """
    import transformers

    import bertcpp

    options = TASKS[task][2]
    inputs = inputs_of(task, prose(args.texts))
    with tempfile.TemporaryDirectory() as folder:
        path = str(save(size, task, Path(folder)))
        ours = bertcpp.pipeline(task, model=path, num_threads=args.threads)
        theirs = transformers.pipeline(task, model=path, device="cpu")
        apart = differ(answers(ours, inputs[:8], 1, options), answers(theirs, inputs[:8], 1, options))
        if apart > 1e-4:
            raise SystemExit(f"{size}, {task}: the answers are {apart} apart")
        found = []
        for batch_size in args.batch_sizes:
            seconds: dict[str, list[float]] = {"bertcpp": [], "transformers": []}
            for turn in range(args.rounds + 1):
                for name, side in (("bertcpp", ours), ("transformers", theirs)):
                    start = time.perf_counter()
                    answers(side, inputs, batch_size, options)
                    if turn > 0:
                        seconds[name].append(time.perf_counter() - start)
            rates = {name: len(inputs) / statistics.median(times) for name, times in seconds.items()}
            ratio = rates["bertcpp"] / rates["transformers"]
            print(
                f"{size:7} {task:26} {batch_size:3}  {rates['bertcpp']:8.1f}/s  {rates['transformers']:8.1f}/s  "
                f"{ratio:5.2f}x", flush=True,
            )  # fmt: skip
            found.append(
                {"model": size, "task": task, "batch_size": batch_size, "answers_per_second": rates, "ratio": ratio}
            )
    return found


def parser() -> argparse.ArgumentParser:
    arguments = argparse.ArgumentParser(prog="python -m bench.tasks", description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--models", nargs="+", choices=list(SIZES), default=["tiny", "minilm"])
    arguments.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    arguments.add_argument("--batch-sizes", nargs="+", type=int, default=[1, 8, 32])
    arguments.add_argument("--texts", type=int, default=32, help="texts of one measurement (default: 32)")
    arguments.add_argument("--rounds", type=int, default=3, help="turns of each side (default: 3)")
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--json", type=Path, help="write the results to this file")
    return arguments


def main(command_line: list[str] | None = None) -> None:
    args = parser().parse_args(command_line)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torch
        import transformers

        torch.set_num_threads(args.threads)
        transformers.logging.set_verbosity_error()
        logging.disable(logging.WARNING)
        print("model   task                       batch  bertcpp     transformers  faster", flush=True)
        results = [row for size in args.models for task in args.tasks for row in measure(size, task, args)]
    if args.json:
        about = machine.describe(args.threads)
        args.json.write_text(json.dumps({"machine": about, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
