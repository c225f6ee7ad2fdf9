"""Tiny random checkpoints with heads, saved as transformers saves them, and both sides' tasks over them."""

from __future__ import annotations

import itertools
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import tokenizer_checkpoints
import torch
import transformers

import bertcpp
import reference_models

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOLERANCE = 1e-5  # of scores
HEADS = {
    "feature-extraction": "Model",
    "fill-mask": "ForMaskedLM",
    "question-answering": "ForQuestionAnswering",
    "text-classification": "ForSequenceClassification",
    "token-classification": "ForTokenClassification",
    "zero-shot-classification": "ForSequenceClassification",
}
INFERENCE = {0: "CONTRADICTION", 1: "NEUTRAL", 2: "ENTAILMENT"}
ENTITIES = {0: "O", 1: "B-PER", 2: "I-PER", 3: "B-LOC", 4: "I-LOC", 5: "MISC"}
_TOKENIZERS = {"roberta": "RobertaTokenizer", "xlm-roberta": "XLMRobertaTokenizer"}


class Sides(NamedTuple):
    """One task over one checkpoint, ours and transformers'."""

    folder: Path
    ours: Any
    reference: Any


def named(labels: dict[int, str]) -> dict[str, Any]:
    """Fields of a configuration for these labels."""
    return {"id2label": labels, "label2id": {label: index for index, label in labels.items()}}


def save(folder: Path, task: str, minilm: Path, family: str = "bert", seed: int = 3, **changes: Any) -> Path:
    """A checkpoint for a task: of BERT with MiniLM's tokenizer, of other families with tiny ones trained here."""
    if family == "bert":
        tokenizer = transformers.AutoTokenizer.from_pretrained(minilm)
        tokenizer.save_pretrained(folder)
    else:
        options = {"model_max_length": 512, "add_prefix_space": True}
        tokenizer_checkpoints.save(_TOKENIZERS[family], folder, **options)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    sizes = {
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        "max_position_embeddings": 512,
        "num_hidden_layers": 2,
    }
    config = reference_models.config_of(family, **(sizes | changes))
    model = reference_models.random_model(family, seed, config, kind=HEADS[task])
    return reference_models.save(model, folder)


def sides(folder: Path, task: str, **options: Any) -> Sides:
    """Both sides' tasks over a checkpoint."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reference = transformers.pipeline(task, model=str(folder), device="cpu", **options)
    return Sides(folder, bertcpp.pipeline(task, model=str(folder), **options), reference)


def quietly(function: Any, *args: Any, **options: Any) -> Any:
    """A call without what it says meanwhile; PyTorch takes one thread, as more only hinder models this small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = function(*args, **options)
            return list(result) if hasattr(result, "__next__") else result
    finally:
        torch.set_num_threads(threads)


def agree(pair: Sides, *inputs: Any, **options: Any) -> Any:
    """Both sides give the same answer; return it.

    Where two answers nearly tie, rounding decides between them: then ours is one that theirs gives too once its weights
    have moved by a few units in their last place.
    """
    theirs = quietly(pair.reference, *inputs, **options)
    ours = quietly(pair.ours, *inputs, **options)
    try:
        same(ours, theirs)
    except AssertionError:
        items = inputs and isinstance(inputs[0], list) and isinstance(ours, list) and len(ours) == len(inputs[0])
        left = [place for place in range(len(ours)) if not alike(ours[place], theirs[place])] if items else [0]
        for answers in moved_answers(pair.reference, *inputs, **options):
            left = [
                place for place in left if not alike(*((ours[place], answers[place]) if items else (ours, answers)))
            ]
            if not left:
                return ours
        raise
    return ours


def moved_answers(reference: Any, *inputs: Any, **options: Any) -> Iterator[Any]:
    """What a transformers task answers with weights moved by about 3e-7 of themselves, again and again."""
    parameters = [parameter.data for parameter in reference.model.parameters()]
    originals = [parameter.clone() for parameter in parameters]
    generator = torch.Generator().manual_seed(0)
    try:
        for _ in range(20):
            for parameter, original in zip(parameters, originals, strict=True):
                parameter.copy_(original * (1 + 3e-7 * torch.randn(original.shape, generator=generator)))
            yield quietly(reference, *inputs, **options)
    finally:
        for parameter, original in zip(parameters, originals, strict=True):
            parameter.copy_(original)


def alike(ours: Any, theirs: Any) -> bool:
    """Whether `same` accepts the two."""
    try:
        same(ours, theirs)
    except AssertionError:
        return False
    return True


def same(ours: Any, theirs: Any, where: str = "") -> None:
    """Equal keys, texts and whole numbers; scores within `TOLERANCE`."""
    if isinstance(theirs, dict):
        assert list(ours) == list(theirs), where
        for key, value in theirs.items():
            same(ours[key], value, f"{where}[{key!r}]")
    elif isinstance(theirs, list):
        assert isinstance(ours, list), where
        assert len(ours) == len(theirs), f"{where}: {ours} against {theirs}"
        for place, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
            same(mine, other, f"{where}[{place}]")
    elif isinstance(theirs, (float, np.floating)):
        assert type(ours) is float, where
        assert abs(ours - theirs) <= TOLERANCE, f"{where}: {ours} against {theirs}"
    else:
        assert ours == theirs, f"{where}: {ours!r} against {theirs!r}"


def ragged_texts(rng: np.random.Generator, words: list[str], count: int, longest: int) -> list[str]:
    """Texts of words drawn at random, of 1 to `longest` words, with odd white space and signs between them."""
    between = [" ", " ", " ", "  ", "\n", "\t", ", ", "-", "... ", " \u2014 ", "\u00a0", " 😀 "]
    texts = []
    for length in rng.integers(1, longest + 1, count):
        chosen = rng.choice(words, length)
        gaps = rng.choice(between, length)
        texts.append("".join(itertools.chain.from_iterable(zip(chosen, gaps, strict=True))))
    return texts


def fitting(texts: list[str], family: str) -> list[str]:
    """The texts that a family's tiny tokenizer, which knows few words, does not cut into too many tokens."""
    return texts if family == "bert" else [text for text in texts[::2] if len(text) < 300]
