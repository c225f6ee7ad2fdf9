"""What the engines are given: batches of token ids, and English text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .machine import ROOT

SEED = 20
SHORT_TEXTS = 256
PARAGRAPHS = 96
PARAGRAPH_CHARACTERS = 400


@dataclass(frozen=True)
class Shape:
    """A batch: its name in tables and the tokens of each sequence."""

    name: str
    lengths: tuple[int, ...]


def _ragged(count: int, longest: int, mean: int) -> tuple[int, ...]:
    """`count` lengths up to `longest` with exactly this mean, skewed as lengths of texts are."""
    rng = np.random.default_rng(SEED)
    lengths = np.clip(np.rint(rng.gamma(2.0, mean / 2.0, count)), 4, longest).astype(int)
    lengths[rng.integers(count)] = longest
    while (excess := int(lengths.sum()) - count * mean) != 0:
        movable = np.flatnonzero((lengths > 4) & (lengths < longest))
        lengths[rng.choice(movable)] -= np.sign(excess)
    return tuple(int(n) for n in lengths)


SHAPES = (
    Shape("1 x 16", (16,)),
    Shape("1 x 128", (128,)),
    Shape("1 x 512", (512,)),
    Shape("8 x 128", (128,) * 8),
    Shape("32 ragged", _ragged(32, 128, 40)),
)


@dataclass(frozen=True)
class Batch:
    """Padded int64 arrays `[batch, longest]`, as a tokenizer gives them to every engine."""

    input_ids: np.ndarray[Any, Any]
    attention_mask: np.ndarray[Any, Any]
    token_type_ids: np.ndarray[Any, Any]


def batch(lengths: list[int], vocab: int) -> Batch:
    """Random token ids of these lengths, padded with 0 to the longest; the same for every engine and run."""
    rng = np.random.default_rng(SEED + 1)
    ids = np.zeros((len(lengths), max(lengths)), np.int64)
    mask = np.zeros_like(ids)
    for row, length in enumerate(lengths):
        ids[row, :length] = rng.integers(min(1000, vocab // 2), vocab, length)
        mask[row, :length] = 1
    return Batch(ids, mask, np.zeros_like(ids))


def _prose_files() -> list[Path]:
    licences = Path("/usr/share/common-licenses")
    files = sorted(path for path in licences.glob("*") if path.is_file() and not path.is_symlink())
    return [*files, ROOT / "LICENSE"]


def _prose() -> list[str]:
    """Paragraphs of English: licences that every Debian carries, and the language reference that Python carries."""
    from pydoc_data.topics import topics

    texts = [path.read_text(errors="replace") for path in _prose_files()]
    texts += [topics[name] for name in sorted(topics)]
    kept = []
    for text in texts:
        for paragraph in re.split(r"\n\s*\n", text):
            line = " ".join(paragraph.split())
            letters = sum(character.isalpha() or character == " " for character in line)
            if len(line) >= 40 and letters >= 0.9 * len(line) and "::=" not in line:
                kept.append(line)
    return list(dict.fromkeys(kept))


def short_texts(count: int = SHORT_TEXTS) -> list[str]:
    """Sentences of 20 to 100 characters."""
    sentences = [s.strip() for line in _prose() for s in re.split(r"(?<=[.;:?!]) ", line)]
    return _sample([s for s in dict.fromkeys(sentences) if 20 <= len(s) <= 100], count)


def paragraphs(count: int = PARAGRAPHS) -> list[str]:
    """Passages of at most 400 characters, cut between words."""
    words = " ".join(_prose()).split(" ")
    passages, line = [], ""
    for word in words:
        if len(line) + len(word) + 1 > PARAGRAPH_CHARACTERS:
            passages.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return _sample(passages, count)


def _sample(texts: list[str], count: int) -> list[str]:
    if len(texts) < count:
        raise RuntimeError(f"only {len(texts)} texts were found where {count} are needed")
    chosen = np.random.default_rng(SEED + 2).choice(len(texts), count, replace=False)
    return [texts[i] for i in chosen]
