"""A checkpoint's last hidden states: a vector for each token."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..batch_encoding import require_tensor_type
from ..errors import InputError, MissingDependencyError
from ..packed_batch import packed_positions
from ..pretrained_model import PreTrainedModel
from .task import Batch, Task, checked_tokenizer_options

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["FeatureExtraction"]


class _Settings(NamedTuple):
    tensors: str | None
    tokenizer: Mapping[str, Any]


class FeatureExtraction(Task):
    """Give the encoder's last hidden state of each token.

    An input is a string. The answer is a nested list ``[1, tokens, hidden_size]``: of the text's own tokens alone,
    never of padding.

    Options:
        return_tensors: True or ``"pt"`` for PyTorch tensors, ``"np"`` for NumPy arrays, instead of lists.
        truncation: cut texts to the model's limit.
        tokenize_kwargs: more options for the tokenizer.

    Example:
        >>> import bertcpp
        >>> extract = bertcpp.pipeline("feature-extraction", model="all-MiniLM-L6-v2")
        >>> extract("A short text.", return_tensors="np").shape
        (1, 6, 384)
    """

    task = "feature-extraction"
    loader = "AutoModel"
    options = frozenset({"return_tensors", "tokenize_kwargs", "truncation"})

    @classmethod
    def checked_model(cls, model: Any) -> Any:
        """The model, if it is of the kind that the task needs.

        Raises:
            InputError: it is not.
        """
        if not isinstance(model, PreTrainedModel):
            raise InputError(
                f"{cls.task} needs a model of bertcpp, not a {type(model).__name__}: load it with "
                "bertcpp.AutoModel.from_pretrained, or pass the checkpoint's name"
            )
        return model

    def _settings(self, options: dict[str, Any]) -> _Settings:
        chosen = super()._settings(options)
        more = checked_tokenizer_options(self.task, "tokenize_kwargs", chosen.get("tokenize_kwargs"))
        if chosen.get("truncation") is not None:
            if "truncation" in more:
                raise InputError("truncation was given twice, by name and in tokenize_kwargs")
            more["truncation"] = chosen["truncation"]
        tensors = chosen.get("return_tensors")
        tensors = "pt" if tensors is True else tensors
        return _Settings(require_tensor_type(tensors) if tensors else None, more)

    def _prepared(self, items: list[str], settings: _Settings, first: int) -> Batch:
        return Batch(self._encoded(items, settings.tokenizer), np.arange(len(items) + 1), items)

    def _solved(self, batch: Batch, settings: _Settings) -> Iterator[Any]:
        ids, cu_seqlens, types = batch.tokens
        positions = packed_positions(ids, cu_seqlens, self.model._packer.limits.padding_idx)
        outputs = self._core.forward(ids, cu_seqlens, positions, types, pooler=False, num_threads=self._threads())
        states = outputs["last_hidden_state"]
        for start, end in itertools.pairwise(cu_seqlens.tolist()):
            features = states[None, start:end]
            if settings.tensors is None:
                yield features.tolist()
            else:
                yield _torch_tensor(features.copy()) if settings.tensors == "pt" else features.copy()


def _torch_tensor(array: Any) -> Any:
    try:
        import torch
    except ImportError:
        raise MissingDependencyError(
            "return_tensors=True needs PyTorch, which is not installed: pip install 'bertcpp[torch]', or pass "
            "return_tensors='np' for NumPy arrays"
        ) from None
    return torch.from_numpy(array)
