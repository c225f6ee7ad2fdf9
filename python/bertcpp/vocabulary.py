"""A tokenizer.json with fewer tokens that cuts given texts as before, and every other text into smaller pieces.

Which tokens must stay beside those that are used, so that nothing else changes:

- WordPiece takes the longest token that fits. One that never was taken can go; single characters stay, to fall back on,
  and tokens with a character that has no token of its own.
- BPE joins pairs by rank. Whatever a used token was joined from stays, and of the joints those between tokens that
  stay; the ones that go never were the first in line in a word of the texts.
- Unigram takes the most probable pieces. Without pieces that lost, the winner is the same; the least probable piece
  stays, as the price of unknown characters hangs on it, and so do characters, as with WordPiece.
"""

from __future__ import annotations

import copy
import itertools
from typing import TYPE_CHECKING, Any

from .errors import TokenizerError, UnsupportedFormatError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = ["Vocabulary"]

Json = dict[str, Any]


class Vocabulary:
    """The tokens of a tokenizer.json.

    Args:
        content: the file's JSON.
        where: the file, for messages.

    Raises:
        UnsupportedFormatError: its model is of a kind that is not trimmed.
        TokenizerError: it is damaged.
    """

    def __init__(self, content: Json, where: str) -> None:
        self._content = content
        self._where = where
        try:
            self._model: Json = content["model"]
            self._kind = self._model.get("type") or ("BPE" if "merges" in self._model else "WordPiece")
            self._check_kind()
            if self._kind == "Unigram":
                self._ids = {piece: index for index, (piece, _) in enumerate(self._model["vocab"])}
            else:
                self._ids = dict(self._model["vocab"])
            self._added = {token["content"]: int(token["id"]) for token in content.get("added_tokens") or []}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, UnsupportedFormatError):
                raise
            raise TokenizerError(f"{where} is no tokenizer.json that can be read ({error!r}); get it again") from None

    def _check_kind(self) -> None:
        model = self._model
        odd = [
            name
            for name in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "ignore_merges")
            if self._kind == "BPE" and model.get(name)
        ]
        if self._kind not in ("WordPiece", "BPE", "Unigram") or odd:
            what = f"{self._kind} with {', '.join(odd)}" if odd else str(self._kind)
            raise UnsupportedFormatError(
                f"{self._where} is a tokenizer of the kind {what}; WordPiece, Unigram and plain BPE can be trimmed"
            )

    def needed(self, used: Collection[int]) -> set[int]:
        """Return the ids that must stay for the ids `used`, these included."""
        kept = set(used) | set(self._added.values())
        for token, index in self._ids.items():
            spelled = self._spelled(token)
            if len(spelled) == 1 or _is_byte(token) or not all(part in self._ids for part in spelled):
                kept.add(index)
        unknown = self._model.get("unk_token")
        if unknown in self._ids:
            kept.add(self._ids[unknown])
        if self._kind == "Unigram":
            scores = [score for _, score in self._model["vocab"]]
            kept.add(min(range(len(scores)), key=scores.__getitem__))
            if self._model.get("unk_id") is not None:
                kept.add(int(self._model["unk_id"]))
        elif self._kind == "BPE":
            ranks = {pair: rank for rank, pair in enumerate(self._merges())}
            for token in [token for token, index in self._ids.items() if index in kept]:
                kept.update(self._ids[part] for part in _joined(token, ranks) if part in self._ids)
        return kept

    def _spelled(self, token: str) -> list[str]:
        """The characters of a token, as the tokens that they are by themselves."""
        if self._kind != "WordPiece":
            return list(token)
        prefix = self._model.get("continuing_subword_prefix") or ""
        inside = bool(prefix) and token.startswith(prefix) and token != prefix
        characters = list(token.removeprefix(prefix) if inside else token)
        return [prefix + character if inside or place else character for place, character in enumerate(characters)]

    def _merges(self) -> list[tuple[str, str]]:
        """The pairs that BPE joins, which older files hold as one string each."""
        found = []
        for pair in self._model["merges"]:
            first, second = pair.split(" ") if isinstance(pair, str) else pair
            found.append((first, second))
        return found

    def trimmed(self, places: Mapping[int, int]) -> Json:
        """Return the JSON of a tokenizer with those tokens alone: the new id of each old one."""
        content = copy.deepcopy(self._content)
        model = content["model"]
        if self._kind == "Unigram":
            model["vocab"] = [entry for index, entry in enumerate(self._model["vocab"]) if index in places]
            if model.get("unk_id") is not None:
                model["unk_id"] = places[model["unk_id"]]
        else:
            model["vocab"] = {token: places[index] for token, index in self._ids.items() if index in places}
        if self._kind == "BPE":
            kept = model["vocab"]
            model["merges"] = [
                given
                for given, (first, second) in zip(self._model["merges"], self._merges(), strict=True)
                if first in kept and second in kept and first + second in kept
            ]
        for token in content.get("added_tokens") or []:
            token["id"] = places[token["id"]]
        if content.get("padding"):
            content["padding"]["pad_id"] = places.get(content["padding"]["pad_id"], 0)
        _renumber(content.get("post_processor"), places)
        return content

    def words(self, places: Mapping[int, int]) -> list[str]:
        """Return the model's own tokens that stay, in the order of their new ids."""
        return sorted((token for token, index in self._ids.items() if index in places), key=lambda t: self._ids[t])

    @property
    def is_word_piece(self) -> bool:
        """Whether the tokens are WordPiece's, which vocab.txt lists."""
        return self._kind == "WordPiece"

    @property
    def is_bpe(self) -> bool:
        """Whether the tokens are BPE's, which vocab.json and merges.txt list."""
        return self._kind == "BPE"


def _is_byte(token: str) -> bool:
    """Whether a token stands for a byte that has no token of its own, as ``<0x0A>``."""
    return len(token) == 6 and token.startswith("<0x") and token.endswith(">")


def _joined(token: str, ranks: Mapping[tuple[str, str], int]) -> list[str]:
    """All that BPE makes on the way to a token, single characters included."""
    parts = list(token)
    made = list(parts)
    while len(parts) > 1:
        pairs = [ranks.get(pair, len(ranks)) for pair in itertools.pairwise(parts)]
        first = min(range(len(pairs)), key=pairs.__getitem__)
        if pairs[first] == len(ranks):
            break
        parts[first : first + 2] = [parts[first] + parts[first + 1]]
        made.append(parts[first])
    return made


def _renumber(processor: Any, places: Mapping[int, int]) -> None:
    """Put new ids into what adds special tokens."""
    if not isinstance(processor, dict):
        return
    for part in processor.get("processors") or []:
        _renumber(part, places)
    for name in ("sep", "cls"):
        if isinstance(processor.get(name), list):
            token, index = processor[name]
            processor[name] = [token, places[index]]
    tokens = processor.get("special_tokens")
    for token in tokens.values() if isinstance(tokens, dict) else ():
        token["ids"] = [places[index] for index in token["ids"]]
