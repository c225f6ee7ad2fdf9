"""How tests run the `bertcpp` command: a process of its own, on a tiny checkpoint."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import embedding_checkpoints as checkpoints
import numpy as np

import bertcpp

COMMAND = [sys.executable, "-m", "bertcpp"]
# The package that is tested, from whatever folder the command is run in.
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(bertcpp.__file__).resolve().parent.parent)}


def save_model(folder: Path, seed: int) -> Path:
    """Save a model of 24 numbers a text, with a prompt named query."""
    checkpoints.save_encoder(folder, seed)
    heads = [checkpoints.dense(np.random.default_rng(seed), checkpoints.HIDDEN, 24), ("Normalize", {}, {})]
    return checkpoints.save_modules(folder, "new", ["mean"], heads, prompts={"query": "Find: "})
