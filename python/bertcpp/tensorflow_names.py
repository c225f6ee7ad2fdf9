"""What TensorFlow's variables of a model are called in transformers' PyTorch checkpoints, and which way they lie.

A dense kernel is `[in, out]` there and `[out, in]` here. Google's code and transformers' TensorFlow classes name the
same layers, each with habits of their own.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

__all__ = ["google_name", "is_optimizer_state", "keras_names", "turned"]

_LEAVES = {"kernel": "weight", "gamma": "weight", "embeddings": "weight", "beta": "bias"}
_GOOGLE_LEAVES = _LEAVES | {"output_weights": "weight", "output_bias": "bias"}
# Heads that Google's run_classifier.py and run_squad.py add, by transformers' names.
_GOOGLE_HEADS = {
    "output_weights": "classifier.weight",
    "output_bias": "classifier.bias",
    "cls/squad/output_weights": "qa_outputs.weight",
    "cls/squad/output_bias": "qa_outputs.bias",
}
_OPTIMIZER = re.compile(r"(adam|lamb|adamw)_[mv]|(AdamWeightDecay|LAMB|Adam)\w*|global_step|beta[12]_power|.*_EMA\w*")


def is_optimizer_state(name: str) -> bool:
    """Whether a variable is no part of the model but of its training.

    Example:
        >>> from bertcpp.tensorflow_names import is_optimizer_state
        >>> is_optimizer_state("bert/pooler/dense/kernel/adam_m"), is_optimizer_state("bert/pooler/dense/kernel")
        (True, False)
    """
    return any(_OPTIMIZER.fullmatch(part) for part in name.split("/"))


def google_name(name: str) -> str:
    """Return transformers' name of a variable of Google's BERT.

    Example:
        >>> from bertcpp.tensorflow_names import google_name
        >>> google_name("bert/encoder/layer_3/attention/self/query/kernel")
        'bert.encoder.layer.3.attention.self.query.weight'
    """
    if name in _GOOGLE_HEADS:
        return _GOOGLE_HEADS[name]
    parts = re.sub(r"(^|/)layer_(\d+)(?=/)", r"\1layer/\2", name).split("/")
    if parts[-1].endswith("_embeddings"):
        parts.append("weight")
    else:
        parts[-1] = _GOOGLE_LEAVES.get(parts[-1], parts[-1])
    return ".".join(parts)


def keras_names(names: Iterable[str], prefix: str) -> dict[str, str]:
    """Return transformers' names of the variables of its TensorFlow classes.

    Args:
        names: the variables', such as ``tf_bert_model/bert/encoder/layer_._0/output/dense/kernel:0``.
        prefix: what the family's encoder is called, such as ``bert``.

    Example:
        >>> from bertcpp.tensorflow_names import keras_names
        >>> list(keras_names(["tf_bert_for_masked_lm/mlm___cls/predictions/bias:0"], "bert").values())
        ['cls.predictions.bias']
    """
    split = {name: _levels(name) for name in names}
    # The first level is the model's own name, unless the encoder stands there.
    outer = {levels[0] for levels in split.values() if len(levels) > 2 and levels[1] == prefix}
    outer |= {levels[0] for levels in split.values() if levels[0].startswith("tf")} if not outer else set()
    outer.discard(prefix)
    found = {}
    for name, levels in split.items():
        inner = levels[1:] if levels[0] in outer and len(levels) > 1 else list(levels)
        inner[-1] = _LEAVES.get(inner[-1], inner[-1])
        found[name] = ".".join(inner)
    return found


def _levels(name: str) -> list[str]:
    """``$1___$2`` stands for ``$2``, and ``_._`` for a step into a list."""
    levels = [level.rpartition("___")[2] for level in name.removesuffix(":0").split("/")]
    return [part for level in levels for part in level.replace("_._", "/").split("/") if part]


def turned(name: str, array: NDArray[Any]) -> NDArray[Any]:
    """Return a variable's array as PyTorch's layer holds it."""
    kernel = name.removesuffix(":0").rpartition("/")[2] == "kernel"
    return array.T if kernel and array.ndim == 2 else array
