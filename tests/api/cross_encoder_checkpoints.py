"""Tiny random checkpoints with heads that sentence-transformers' CrossEncoder and SparseEncoder read."""

from __future__ import annotations

import json
import warnings
from typing import TYPE_CHECKING, Any

import embedding_checkpoints as checkpoints
import transformers

if TYPE_CHECKING:
    from pathlib import Path


def save(folder: Path, seed: int, family: str = "bert", auto: str = "SequenceClassification", **config: Any) -> Path:
    """A model of `family` with the head of `AutoModelFor` + `auto`, its tokenizer, and fields of its configuration."""
    import torch

    checkpoints.save_encoder(folder, seed, family)
    loaded = transformers.AutoConfig.from_pretrained(folder)
    for name, value in config.items():
        setattr(loaded, name, value)
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = getattr(transformers, f"AutoModelFor{auto}").from_config(loaded)
    with torch.no_grad():
        for parameter in model.parameters():  # large enough for scores that differ
            parameter.add_(torch.randn_like(parameter) * 0.15)
    model.save_pretrained(folder)
    return folder


def change(folder: Path, name: str, **fields: Any) -> Path:
    """Set fields of a JSON file; ... removes one."""
    path = folder / name
    content = json.loads(path.read_text()) if path.is_file() else {}
    content |= fields
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not ...}))
    return folder
