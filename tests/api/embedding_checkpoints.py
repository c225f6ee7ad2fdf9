"""Tiny random sentence-embedding checkpoints, in the layout before sentence-transformers 5.4 and in that since."""

from __future__ import annotations

import json
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import tokenizer_checkpoints
from safetensors.numpy import save_file

import reference_models

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what torch and transformers say about themselves at import
    import sentence_transformers

if TYPE_CHECKING:
    from pathlib import Path

LAYOUTS = ("old", "new")
HIDDEN = 32  # of the tiny encoders
MODES = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")  # in the old layout's order
TOKENIZERS = {
    "bert": "BertTokenizer",
    "electra": "ElectraTokenizer",
    "distilbert": "DistilBertTokenizer",
    "mpnet": "MPNetTokenizer",
    "roberta": "RobertaTokenizer",
    "xlm-roberta": "XLMRobertaTokenizer",
    "camembert": "CamembertTokenizer",
}
TEXTS = [
    "The weather is lovely today.",
    "",
    "A",
    "It's so sunny outside, isn't it? " * 3,
    "Zwei große Bäche fließen über grüne Wiesen.",
    "special [SEP] tokens <pad> in [PAD] the </s> text",
    "我喜欢自然语言处理。",
]
PAIRS = [("The weather", "is lovely today."), ("", "A"), ("It's so sunny outside", "")]

_OLD_TYPES = "sentence_transformers.models."
_NEW_TYPES = {
    "Transformer": "sentence_transformers.base.modules.transformer.",
    "Pooling": "sentence_transformers.sentence_transformer.modules.pooling.",
    "Dense": "sentence_transformers.base.modules.dense.",
    "Dropout": "sentence_transformers.sentence_transformer.modules.dropout.",
    "LayerNorm": "sentence_transformers.sentence_transformer.modules.layer_norm.",
    "Normalize": "sentence_transformers.sentence_transformer.modules.normalize.",
}
_FLAGS = {mode: f"pooling_mode_{mode}" for mode in ("weightedmean_tokens", "mean_sqrt_len_tokens", "lasttoken")} | {
    "cls": "pooling_mode_cls_token",
    "max": "pooling_mode_max_tokens",
    "mean": "pooling_mode_mean_tokens",
    "weightedmean": "pooling_mode_weightedmean_tokens",
}


def save_encoder(folder: Path, seed: int, family: str = "bert", model_max_length: int = 64) -> Path:
    """An encoder with its tokenizer, as transformers saves them; no modules."""
    tokenizer_checkpoints.save(TOKENIZERS[family], folder, model_max_length=model_max_length)
    size = len(sentence_tokenizer(folder))
    special = json.loads((folder / "tokenizer_config.json").read_text())
    padding = next(
        (int(i) for i, t in special["added_tokens_decoder"].items() if t["content"] in ("<pad>", "[PAD]")), 0
    )
    model = reference_models.random_model(family, seed, vocab_size=size, pad_token_id=padding)
    return reference_models.save(model, folder)


def sentence_tokenizer(folder: Path) -> Any:
    """The tokenizer of transformers."""
    import transformers

    return transformers.AutoTokenizer.from_pretrained(folder)


def pooling_config(layout: str, modes: list[str], include_prompt: bool = True) -> dict[str, Any]:
    """What 1_Pooling/config.json holds."""
    if layout == "new":
        pooling_mode: Any = modes[0] if len(modes) == 1 else modes
        return {"embedding_dimension": HIDDEN, "pooling_mode": pooling_mode, "include_prompt": include_prompt}
    flags = {flag: mode in modes for mode, flag in _FLAGS.items() if mode in MODES}
    return {"word_embedding_dimension": HIDDEN, **flags, "include_prompt": include_prompt}


def save_modules(
    folder: Path,
    layout: str,
    modes: list[str],
    heads: list[tuple[str, dict[str, Any], dict[str, np.ndarray]]] = (),  # type: ignore[assignment]
    *,
    include_prompt: bool = True,
    encoder_settings: dict[str, Any] | None = None,
    **settings: Any,
) -> Path:
    """Write what sentence-transformers writes beside an encoder.

    Args:
        folder: where the encoder lies.
        layout: one of `LAYOUTS`.
        modes: of pooling.
        heads: type, configuration and tensors of each module after pooling.
        include_prompt: of pooling.
        encoder_settings: for `sentence_bert_config.json`; None writes none.
        settings: for `config_sentence_transformers.json`, if there are any.
    """
    modules = [("Transformer", {}, {}), ("Pooling", pooling_config(layout, modes, include_prompt), {}), *heads]
    entries = []
    for index, (kind, config, tensors) in enumerate(modules):
        path = "" if index == 0 else f"{index}_{kind}"
        (folder / path).mkdir(exist_ok=True)
        if index and (config or kind != "Normalize"):
            (folder / path / "config.json").write_text(json.dumps(config))
        if tensors:
            save_file(tensors, folder / path / "model.safetensors")
        dotted = (_OLD_TYPES if layout == "old" else _NEW_TYPES[kind]) + kind
        entries.append({"idx": index, "name": str(index), "path": path, "type": dotted})
    (folder / "modules.json").write_text(json.dumps(entries))
    if encoder_settings is not None:
        (folder / "sentence_bert_config.json").write_text(json.dumps(encoder_settings))
    if settings:
        (folder / "config_sentence_transformers.json").write_text(json.dumps(settings))
    return folder


def dense(
    rng: np.random.Generator, width: int, out: int, activation: str = "Tanh", bias: bool = True
) -> tuple[str, dict[str, Any], dict[str, np.ndarray]]:
    """A Dense module with random weights."""
    package = "linear" if activation == "Identity" else "activation"
    config = {
        "in_features": width,
        "out_features": out,
        "bias": bias,
        "activation_function": f"torch.nn.modules.{package}.{activation}",
    }
    tensors = {"linear.weight": rng.standard_normal((out, width)).astype(np.float32) / np.float32(width**0.5)}
    if bias:
        tensors["linear.bias"] = rng.standard_normal(out).astype(np.float32)
    return "Dense", config, tensors


def layer_norm(rng: np.random.Generator, width: int) -> tuple[str, dict[str, Any], dict[str, np.ndarray]]:
    """A LayerNorm module with random weights."""
    tensors = {f"norm.{name}": rng.standard_normal(width).astype(np.float32) for name in ("weight", "bias")}
    return "LayerNorm", {"dimension": width}, tensors


def truth(folder: Path, **options: Any) -> Any:
    """The model as sentence-transformers loads it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return sentence_transformers.SentenceTransformer(str(folder), device="cpu", **options)


def encode(model: Any, inputs: Any, **options: Any) -> Any:
    """What sentence-transformers embeds, without what it says meanwhile."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.encode(inputs, show_progress_bar=False, **options)


def assert_close(ours: Any, expected: Any, tolerance: float = 2e-5) -> None:
    """Same shape, and within `tolerance` of the largest magnitude."""
    ours, expected = np.asarray(ours), np.asarray(expected)
    assert ours.shape == expected.shape
    scale = np.abs(expected).max() if expected.size else 1.0
    assert np.abs(ours.astype(np.float64) - expected).max(initial=0.0) <= tolerance * scale
