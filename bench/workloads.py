"""What the engines are given: batches of token ids, by bertcpp.benchmark.workloads, and English text."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from bertcpp.benchmark.workloads import SEED, SHAPES, Batch, Shape, batch

from .machine import ROOT

__all__ = ["SHAPES", "Batch", "Shape", "batch", "paragraphs", "short_texts"]

SHORT_TEXTS = 256
PARAGRAPHS = 96
PARAGRAPH_CHARACTERS = 400


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
