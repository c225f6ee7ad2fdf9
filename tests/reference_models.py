"""Models of transformers with random weights, saved as checkpoints, and their answers as the truth to compare with."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what torch and transformers say about themselves at import
    import torch
    import transformers
    from transformers.modeling_utils import no_init_weights

TOLERANCE = 2e-5  # of the largest magnitude in a hidden state

# family: the prefix of transformers' class names
FAMILIES = {
    "bert": "Bert",
    "roberta": "Roberta",
    "xlm-roberta": "XLMRoberta",
    "camembert": "Camembert",
    "distilbert": "DistilBert",
    "electra": "Electra",
    "mpnet": "MPNet",
}
# More families that are the same layers under other names.
RELATIVES = {"ernie": "Ernie", "data2vec-text": "Data2VecText"}
# Families that number positions after the padding token's id, so that two or more positions are never used.
POSITION_OFFSET = {"roberta": 2, "xlm-roberta": 2, "camembert": 2, "data2vec-text": 2, "mpnet": 2}
_DISTILBERT_NAMES = {
    "hidden_size": "dim",
    "num_hidden_layers": "n_layers",
    "num_attention_heads": "n_heads",
    "intermediate_size": "hidden_dim",
    "hidden_act": "activation",
}
TINY = {
    "vocab_size": 97,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 56,
    "max_position_embeddings": 64,
}
BASE = {
    "vocab_size": 1000,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "max_position_embeddings": 512,
}


def config_of(family: str, **changes: Any) -> Any:
    """A transformers configuration: `TINY` with changes, in the family's own words."""
    values = TINY | {"embedding_size": 20} | changes if family == "electra" else TINY | changes
    values["max_position_embeddings"] += POSITION_OFFSET.get(family, 0)
    if family == "distilbert":
        values = {_DISTILBERT_NAMES.get(name, name): value for name, value in values.items()}
    return getattr(transformers, (FAMILIES | RELATIVES)[family] + "Config")(**values)


def random_model(family: str, seed: int, config: Any = None, kind: str = "Model", **changes: Any) -> Any:
    """A transformers model whose every parameter is random, biases and norms too, in float32 and eval mode.

    `kind` is what follows the family in the class's name, such as ``ForMaskedLM``.
    """
    config = config_of(family, **changes) if config is None else config
    config._attn_implementation = "eager"
    with warnings.catch_warnings(), no_init_weights():  # every parameter is drawn below
        warnings.simplefilter("ignore")
        model = getattr(transformers, (FAMILIES | RELATIVES)[family] + kind)(config).eval()
        model.tie_weights()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if "LayerNorm" in name or "layer_norm" in name:
                parameter.copy_(1 + 0.2 * noise if name.endswith("weight") else 0.2 * noise)
            elif name.endswith("bias"):
                parameter.copy_(0.3 * noise)
            elif "embeddings.weight" in name or "relative_attention_bias" in name:
                parameter.copy_(noise)
            else:
                parameter.copy_(noise * 1.3 / parameter.shape[-1] ** 0.5)
    return model


def save(model: Any, folder: Path, **options: Any) -> Path:
    """Save a checkpoint as transformers does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save_pretrained(folder, **options)
    return folder


def answer(model: Any, **inputs: Any) -> Any:
    """What transformers computes for NumPy inputs, as NumPy arrays."""
    tensors = {
        name: torch.from_numpy(np.ascontiguousarray(value)) if isinstance(value, np.ndarray) else value
        for name, value in inputs.items()
    }
    for name in ("input_ids", "token_type_ids", "position_ids"):
        if name in tensors:
            tensors[name] = tensors[name].long()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outputs = model(**tensors)
    return {
        name: tuple(layer.numpy() for layer in value) if isinstance(value, tuple) else value.numpy()
        for name, value in outputs.items()
    }


def assert_agrees(ours: Any, reference: Any, kept: Any = None, tolerance: float = TOLERANCE) -> None:
    """Every field agrees within `tolerance` of its largest magnitude; `kept` bool `[B, S]`: only there, else zeros."""
    assert list(ours.keys()) == list(reference.keys())
    for name, expected in reference.items():
        layers = zip(ours[name], expected, strict=True) if isinstance(expected, tuple) else [(ours[name], expected)]
        for layer, (actual, wanted) in enumerate(layers):
            actual = np.asarray(actual)
            assert actual.dtype == np.float32
            assert actual.shape == wanted.shape, name
            if kept is not None and name != "pooler_output":
                # Attention weights are [B, heads, S, S]: a masked token asks nothing, and nobody looks at it.
                dropped = np.broadcast_to(~kept[:, None, :, None], wanted.shape) if actual.ndim == 4 else ~kept
                assert not actual[dropped].any(), f"{name} is not zero where the mask is"
                wanted = np.where(dropped.reshape(dropped.shape + (1,) * (wanted.ndim - dropped.ndim)), 0, wanted)
            error = np.abs(actual - wanted).max() / np.abs(wanted).max()
            assert error <= tolerance, f"{name}[{layer}] is off by {error:.2e} of the largest magnitude"


def random_mask(rng: np.random.Generator, kind: str, batch: int, length: int) -> np.ndarray:
    """int64 `[batch, length]` with padding to the `left` or the `right`, or `holes` but in column 0."""
    if kind == "holes":
        mask = rng.integers(0, 2, (batch, length))
        mask[:, 0] = 1
        return mask
    lengths = rng.integers(1, length + 1, batch)
    lengths[0] = length
    mask = (np.arange(length) < lengths[:, None]).astype(np.int64)
    return mask[:, ::-1].copy() if kind == "left" else mask
