"""Guessing the words that are masked in a text."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..errors import InputError
from ..sequence_building import whole_number
from .scores import softmax
from .task import Batch, Task, checked_tokenizer_options, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["FillMask"]

logger = logging.getLogger(__name__)


class _Settings(NamedTuple):
    top_k: int
    targets: NDArray[np.int64] | None
    tokenizer: Mapping[str, Any]


class FillMask(Task):
    """Guess what is masked.

    An input is a string with the tokenizer's mask token in it. The answer is a list of ``{"score", "token",
    "token_str", "sequence"}``, best first; where a text has several masks a list of such lists, in each of which the
    other masks stay. Scores are those of each mask by itself.

    Options:
        top_k: how many guesses for each mask, 5 by default.
        targets: the only words to choose from, a string or a list; of one that is not a token of the vocabulary the
            first token is taken, and it is said so.
        tokenizer_kwargs: options for the tokenizer, such as ``{"truncation": True}``.

    Example:
        >>> import bertcpp
        >>> fill = bertcpp.pipeline("fill-mask", model="bert-base-uncased")  # doctest: +SKIP
        >>> fill("The capital of France is [MASK].")[0]["token_str"]  # doctest: +SKIP
        'paris'
    """

    task = "fill-mask"
    head = "ForMaskedLM"
    loader = "AutoModelForMaskedLM"
    options = frozenset({"top_k", "targets", "tokenizer_kwargs"})
    _remedy_for_length = "pass tokenizer_kwargs={'truncation': True} to cut it, or split the text"

    def __call__(self, inputs: Any, **options: Any) -> Any:
        """Guess; see the class, and `Task.__call__`. A list of one text gives that text's guesses alone."""
        result = super().__call__(inputs, **options)
        return result[0] if isinstance(inputs, list) and len(inputs) == 1 else result

    def _settings(self, options: dict[str, Any]) -> _Settings:
        if self.tokenizer.mask_token_id is None:
            raise InputError("the tokenizer has no mask token: set tokenizer.mask_token to the one of its vocabulary")
        chosen = super()._settings(options)
        top_k = 5 if chosen.get("top_k") is None else whole_number("top_k", chosen["top_k"], 1)
        targets = chosen.get("targets")
        more = checked_tokenizer_options(self.task, "tokenizer_kwargs", chosen.get("tokenizer_kwargs"))
        return _Settings(top_k, None if targets is None else self._target_ids(targets), more)

    def _target_ids(self, targets: Any) -> NDArray[np.int64]:
        """The tokens that may be guessed, each once.

        Raises:
            InputError: there are none.
        """
        targets = [targets] if isinstance(targets, str) or not isinstance(targets, Iterable) else list(targets)
        if not all(isinstance(target, str) for target in targets):
            raise InputError(f"targets must be words, a string or a list of strings, not {shown(targets)}")
        ids = []
        for target in targets:
            index = self.tokenizer.backend_tokenizer.token_to_id(target)
            if index is None:
                pieces = self.tokenizer(target, add_special_tokens=False)["input_ids"]
                if not pieces:
                    logger.warning("The target %r has no token in the vocabulary and is left out.", target)
                    continue
                index = pieces[0]
                token = self.tokenizer.convert_ids_to_tokens(index)
                logger.warning("The target %r is no token; its first token %r stands in.", target, token)
            ids.append(index)
        if not ids:
            raise InputError("targets holds no word of the vocabulary; pass at least one, or leave targets out")
        return np.array(sorted(set(ids)))

    def _prepared(self, items: list[str], settings: _Settings, first: int) -> Batch:
        tokens = self._encoded(items, settings.tokenizer)
        counts = np.add.reduceat(tokens.input_ids == self.tokenizer.mask_token_id, tokens.cu_seqlens[:-1])
        if not counts.all():
            place = int(np.argmin(counts))
            raise InputError(
                f"inputs[{first + place}] has no mask token; write {self.tokenizer.mask_token} where a word is to be "
                f"guessed: {shown(items[place])}"
            )
        return Batch(tokens, np.arange(len(items) + 1), items)

    def _solved(self, batch: Batch, settings: _Settings) -> Iterator[Any]:
        tokens = batch.tokens
        places = np.flatnonzero(tokens.input_ids == self.tokenizer.mask_token_id)
        logits = self.model.packed_logits(tokens, positions=places, num_threads=self._num_threads)
        guesses, scores = self._best(logits, settings)
        bounds = np.searchsorted(places, tokens.cu_seqlens).tolist()
        for sequence, (start, end) in enumerate(itertools.pairwise(bounds)):
            begin, stop = tokens.cu_seqlens[sequence : sequence + 2].tolist()
            ids = tokens.input_ids[begin:stop]
            rows = [
                self._filled(ids, int(places[mask]) - begin, guesses[mask], scores[mask], end - start == 1)
                for mask in range(start, end)
            ]
            yield rows[0] if len(rows) == 1 else rows

    def _best(self, logits: NDArray[np.float32], settings: _Settings) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The best tokens of each mask and their scores, best first: both ``[masks, top_k]``."""
        scores = softmax(logits)
        if settings.targets is not None:
            scores = scores[:, settings.targets]
        count = min(settings.top_k, scores.shape[1])
        rows = np.arange(len(scores))[:, None]
        best = np.argpartition(scores, -count, axis=1)[:, -count:] if count < scores.shape[1] else None
        chosen = np.broadcast_to(np.arange(count), (len(scores), count)) if best is None else np.sort(best, axis=1)
        chosen = chosen[rows, np.argsort(-scores[rows, chosen], axis=1, kind="stable")]
        return chosen if settings.targets is None else settings.targets[chosen], scores[rows, chosen]

    def _filled(
        self,
        ids: NDArray[np.int32],
        place: int,
        guesses: NDArray[np.int64],
        scores: NDArray[np.float32],
        only: bool,
    ) -> list[dict[str, Any]]:
        """The guesses for the mask at `place`; where it is not the only one, the others are shown."""
        padding = self.tokenizer.pad_token_id
        answers = []
        for guess, score in zip(guesses.tolist(), scores.tolist(), strict=True):
            filled = ids.copy()
            filled[place] = guess
            answers.append(
                {
                    "score": score,
                    "token": guess,
                    "token_str": self.tokenizer.decode([guess]),
                    "sequence": self.tokenizer.decode(filled[filled != padding], skip_special_tokens=only),
                }
            )
        return answers
