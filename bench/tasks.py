"""Answers a second of `bertcpp.pipeline` and `CrossEncoder.predict` beside transformers' and sentence-transformers'.

python -m bench.tasks [--models tiny minilm base] [--tasks ...] [--batch-sizes 1 8 32] [--threads N] [--json FILE]

Tokenization is included. Checkpoints have random weights and the tokenizer of all-MiniLM-L6-v2; texts are English prose
of 4 to 60 words, a pair is two of them. With a batch size of 1 both are called with one text after another, else with
all of them and `batch_size=`. Both answer in turns, and what they answer is compared before it is timed.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import re
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bertcpp.benchmark import rounds
from bertcpp.commands.options import positive, positive_number

from . import machine, models

if TYPE_CHECKING:
    from collections.abc import Callable

    Side = Callable[[list[Any], int], Any]  # from inputs and a batch size to answers

SIZES = {
    "tiny": {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 512},
    "minilm": {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536},
    "base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
}
TEXTS = {"tiny": 32, "minilm": 32, "base": 8}  # a measurement's, and a batch's where that is larger
INFERENCE = ["contradiction", "neutral", "entailment"]
PAIRS = "pair scoring"  # CrossEncoder, the others are pipelines
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
    PAIRS: ("SequenceClassification", ["score"], {"show_progress_bar": False}),
}
MOST_APART = 1e-4
# What the page says of how turns are taken; results without it were taken without.
SINCE = {"unmeasured_turn": True, "new_order": True}


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


def inputs_of(task: str, count: int) -> list[Any]:
    """What the task is asked."""
    if task == PAIRS:
        texts = prose(2 * count)
        return list(zip(texts[::2], texts[1::2], strict=True))
    texts = prose(count)
    if task == "question-answering":
        return [{"question": "What is it about?", "context": text} for text in texts]
    if task == "fill-mask":
        return [" ".join([*text.split()[:-1], "[MASK]"]) for text in texts]
    return texts


def differ(ours: Any, theirs: Any) -> float:
    """How far two answers are apart; infinitely, where more than numbers differ, or where one is not a number."""
    if isinstance(theirs, dict) or isinstance(ours, dict):
        if not isinstance(ours, dict) or not isinstance(theirs, dict) or ours.keys() != theirs.keys():
            return math.inf
        return max((differ(ours[key], value) for key, value in theirs.items()), default=0.0)
    if isinstance(theirs, np.ndarray) or _are_numbers(theirs):
        return _apart(np.asarray(ours), np.asarray(theirs))
    if isinstance(theirs, (list, tuple)):
        if not isinstance(ours, (list, tuple, np.ndarray)) or len(ours) != len(theirs):
            return math.inf
        return max((differ(a, b) for a, b in zip(ours, theirs, strict=True)), default=0.0)
    if isinstance(theirs, (float, np.floating)):
        return _apart(np.asarray(ours), np.asarray(theirs)) if isinstance(ours, (float, np.floating)) else math.inf
    return 0.0 if not isinstance(ours, np.ndarray) and ours == theirs else math.inf


def _are_numbers(answer: Any) -> bool:
    """Whether it is a list of numbers, such as a row of hidden states."""
    return isinstance(answer, list) and bool(answer) and all(isinstance(value, float) for value in answer)


def _apart(ours: np.ndarray[Any, Any], theirs: np.ndarray[Any, Any]) -> float:
    if ours.shape != theirs.shape:
        return math.inf
    most = float(np.abs(ours - theirs).max(initial=0.0))
    return math.inf if math.isnan(most) else most


def without_padding(theirs: list[Any], ours: list[Any]) -> list[Any]:
    """Hidden states as transformers' feature-extraction gives them for a batch, without those of padding."""
    return [[states[: len(own)] for own, states in zip(*both, strict=True)] for both in zip(ours, theirs, strict=True)]


def side_of(call: Any, options: dict[str, Any]) -> Side:
    """One call for each input where the batch size is 1, else one for all."""

    def answers(inputs: list[Any], batch_size: int) -> Any:
        if batch_size == 1:
            return [call(item, **options) for item in inputs]
        return call(inputs, batch_size=batch_size, **options)

    return answers


def sides_of(task: str, path: str, threads: int) -> tuple[str, dict[str, Side]]:
    """What bertcpp is measured beside, and both of them."""
    import bertcpp

    options = TASKS[task][2]
    if task == PAIRS:
        import sentence_transformers

        ours = bertcpp.CrossEncoder(path, num_threads=threads).predict
        other, theirs = "sentence-transformers", sentence_transformers.CrossEncoder(path, device="cpu").predict
    else:
        import transformers

        ours = bertcpp.pipeline(task, model=path, num_threads=threads)
        other, theirs = "transformers", transformers.pipeline(task, model=path, device="cpu")
    return other, {"bertcpp": side_of(ours, options), other: side_of(theirs, options)}


def take_turns(sides: dict[str, Side], inputs: list[Any], batch_size: int, args: argparse.Namespace) -> dict[str, Any]:
    """Answers a second of both, and how many times as many bertcpp gives in the same round."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for answers in sides.values():
        answers(inputs, batch_size)  # unmeasured
    for name in rounds.in_turns(sides, args.rounds, args.patience, least=2):
        begin = time.perf_counter()
        sides[name](inputs, batch_size)
        seconds[name].append(time.perf_counter() - begin)
    own, other = seconds.values()
    return {
        "rounds": len(own),
        "answers_per_second": {
            name: rounds.spread([len(inputs) / taken for taken in times]) for name, times in seconds.items()
        },
        "ratio": rounds.spread([theirs / ours for ours, theirs in zip(own, other, strict=True)]),
    }


def measure_task(size: str, task: str, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Both sides at each batch size, once they have answered the same, which warms them up as well.

    Raises SystemExit if they do not.
    """
    found = []
    with tempfile.TemporaryDirectory() as folder:
        other, sides = sides_of(task, str(save(size, task, Path(folder))), args.threads)
        for batch_size in args.batch_sizes:
            inputs = inputs_of(task, max(args.texts or TEXTS[size], batch_size))
            some = inputs[: max(batch_size // 2, 8)]
            ours, theirs = (answers(some, batch_size) for answers in sides.values())
            if task == "feature-extraction":
                theirs = without_padding(theirs, ours)
            if not (apart := differ(ours, theirs)) <= MOST_APART:
                raise SystemExit(f"{size}, {task}, batches of {batch_size}: the answers are {apart} apart")
            line = take_turns(sides, inputs, batch_size, args)
            rates, ratio = line["answers_per_second"], line["ratio"]
            print(
                f"  {size:<7}{task:<26}{batch_size:3}  {rates['bertcpp']['median']:8.1f}/s  {other} "
                f"{rates[other]['median']:8.1f}/s {ratio['median']:6.2f}x ({ratio['p10']:.2f} to {ratio['p90']:.2f})",
                flush=True,
            )
            found.append({"model": size, "task": task, "batch_size": batch_size, "texts": len(inputs), **line})
    return found


def parser() -> argparse.ArgumentParser:
    arguments = argparse.ArgumentParser(prog="python -m bench.tasks", description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--models", nargs="+", choices=list(SIZES), default=list(SIZES))
    arguments.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS), metavar="TASK",
                           help=f"of {', '.join(TASKS)}; default: all")  # fmt: skip
    arguments.add_argument("--batch-sizes", nargs="+", type=positive, default=[1, 8, 32])
    told = ", ".join(f"{count} of {size}" for size, count in TEXTS.items())
    arguments.add_argument(
        "--texts", type=positive, help=f"of one turn, or a batch's where that is larger (default: {told})"
    )
    arguments.add_argument("--rounds", type=positive, default=3, help="turns of each side (default: 3)")
    arguments.add_argument(
        "--patience", type=positive_number, default=4, metavar="SECONDS",
        help="begin no further round of a line after so long, once two are done (default: 4)",
    )  # fmt: skip
    arguments.add_argument(
        "--threads", type=machine.threads_allowed, default=len(os.sched_getaffinity(0)), help="of both"
    )
    arguments.add_argument("--json", type=Path, help="write the results to this file")
    return arguments


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Every size, task and batch size; the results as a dict."""
    os.sched_setaffinity(0, machine.choose_cpus(args.threads))
    about = machine.describe(args.threads)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torch
        import transformers

        torch.set_num_threads(args.threads)
        transformers.logging.set_verbosity_error()
        logging.disable(logging.WARNING)
        print(f"tasks: bertcpp and its models in PyTorch, {args.threads} threads, answers a second", flush=True)
        lines = [line for size in args.models for task in args.tasks for line in measure_task(size, task, args)]
    return {"machine": about, "settings": {"rounds": args.rounds, "patience": args.patience, **SINCE}, "lines": lines}


def missing() -> list[str]:
    """The packages that are not installed and that this needs."""
    import importlib.util

    return [
        name for name in ("torch", "transformers", "sentence_transformers") if importlib.util.find_spec(name) is None
    ]


def main(command_line: list[str] | None = None) -> None:
    args = parser().parse_args(command_line)
    if absent := missing():
        sys.exit(f"{', '.join(absent)} not installed: `make bench-peers` does")
    results = measure(args)
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
