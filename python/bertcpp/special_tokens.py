"""A tokenizer's vocabulary: special tokens by name, tokens to ids and back, and added tokens."""

from __future__ import annotations

import operator
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias, cast, overload

from tokenizers import AddedToken, Tokenizer

from .errors import InputError
from .tokenizer_backend import Backend, twin

__all__ = ["SPECIAL_TOKEN_NAMES", "Token", "TokenizerVocabulary"]

SPECIAL_TOKEN_NAMES = (
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
    "additional_special_tokens",
)

Token: TypeAlias = "str | AddedToken"

CLEANED_SPACES = (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're")


class _TokenName:
    """``tokenizer.mask_token``: the token's text, or None; may be assigned text, an AddedToken or None."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type) -> _TokenName: ...
    @overload
    def __get__(self, instance: TokenizerVocabulary, owner: type) -> str | None: ...
    def __get__(self, instance: TokenizerVocabulary | None, owner: type) -> _TokenName | str | None:
        if instance is None:
            return self
        token = instance._special_tokens.get(self.name)
        return None if token is None else str(token)

    def __set__(self, instance: TokenizerVocabulary, value: Token | None) -> None:
        if value is not None and not isinstance(value, (str, AddedToken)):
            raise InputError(f"{self.name} must be a string or an AddedToken, not {type(value).__name__}")
        instance._special_tokens[self.name] = value


class _TokenId:
    """``tokenizer.mask_token_id``: the token's id, or None where the token is not set."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name.removesuffix("_id")

    @overload
    def __get__(self, instance: None, owner: type) -> _TokenId: ...
    @overload
    def __get__(self, instance: TokenizerVocabulary, owner: type) -> int | None: ...
    def __get__(self, instance: TokenizerVocabulary | None, owner: type) -> _TokenId | int | None:
        if instance is None:
            return self
        token = getattr(instance, self.name)
        return None if token is None else instance._id_of(token)

    def __set__(self, instance: TokenizerVocabulary, value: int | None) -> None:
        setattr(instance, self.name, None if value is None else instance.convert_ids_to_tokens(value))


class TokenizerVocabulary:
    """What a tokenizer knows of its tokens; the base of the tokenizer classes."""

    bos_token = _TokenName()
    eos_token = _TokenName()
    unk_token = _TokenName()
    sep_token = _TokenName()
    pad_token = _TokenName()
    cls_token = _TokenName()
    mask_token = _TokenName()
    bos_token_id = _TokenId()
    eos_token_id = _TokenId()
    unk_token_id = _TokenId()
    sep_token_id = _TokenId()
    pad_token_id = _TokenId()
    cls_token_id = _TokenId()
    mask_token_id = _TokenId()

    def __init__(self, special_tokens: Mapping[str, Any], clean_up_tokenization_spaces: bool) -> None:
        self._special_tokens: dict[str, Any] = dict.fromkeys(SPECIAL_TOKEN_NAMES)
        self._special_tokens["additional_special_tokens"] = []
        self._changes = threading.Lock()
        self.clean_up_tokenization_spaces = clean_up_tokenization_spaces
        self._backend: Backend
        for name, value in special_tokens.items():
            if value is not None:
                self._set_special_token(name, value)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_changes"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._changes = threading.Lock()

    def _set_special_token(self, name: str, value: Any) -> None:
        if name == "additional_special_tokens":
            self.additional_special_tokens = value
        elif name in SPECIAL_TOKEN_NAMES:
            setattr(self, name, value)
        else:
            self._special_tokens[name] = value

    # Special tokens.

    @property
    def additional_special_tokens(self) -> list[str]:
        """Special tokens beyond the named ones."""
        return [str(token) for token in self._special_tokens["additional_special_tokens"]]

    @additional_special_tokens.setter
    def additional_special_tokens(self, value: Sequence[Token] | None) -> None:
        tokens = [] if value is None else value
        if not isinstance(tokens, (list, tuple)) or not all(isinstance(token, (str, AddedToken)) for token in tokens):
            raise InputError(f"additional_special_tokens must be a list of strings or AddedTokens, not {value!r}")
        self._special_tokens["additional_special_tokens"] = list(tokens)

    @property
    def additional_special_tokens_ids(self) -> list[int | None]:
        """The ids of :attr:`additional_special_tokens`."""
        return [self._id_of(token) for token in self.additional_special_tokens]

    @property
    def special_tokens_map_extended(self) -> dict[str, Any]:
        """The special tokens that are set, by name, as strings or as AddedTokens where they were given as such."""
        return {name: value for name, value in self._special_tokens.items() if value}

    @property
    def special_tokens_map(self) -> dict[str, str | list[str]]:
        """The special tokens that are set, by name, as strings."""
        return {
            name: [str(token) for token in value] if isinstance(value, (list, tuple)) else str(value)
            for name, value in self.special_tokens_map_extended.items()
        }

    @property
    def all_special_tokens_extended(self) -> list[Token]:
        """Each special token once, as a string or AddedToken."""
        found: dict[str, Token] = {}
        for value in self.special_tokens_map_extended.values():
            for token in value if isinstance(value, (list, tuple)) else [value]:
                found.setdefault(str(token), token)
        return list(found.values())

    @property
    def all_special_tokens(self) -> list[str]:
        """Each special token once."""
        return [str(token) for token in self.all_special_tokens_extended]

    @property
    def all_special_ids(self) -> list[int | None]:
        """The ids of :attr:`all_special_tokens`."""
        return [self._id_of(token) for token in self.all_special_tokens]

    # The vocabulary.

    @property
    def is_fast(self) -> bool:
        """True: the work is done by the `tokenizers` library."""
        return True

    @property
    def backend_tokenizer(self) -> Tokenizer:
        """The `tokenizers.Tokenizer`. Do not change it: threads share it."""
        return self._backend.tokenizer

    @property
    def vocab_size(self) -> int:
        """The number of tokens without the added ones."""
        return cast("int", self.backend_tokenizer.get_vocab_size(with_added_tokens=False))

    def __len__(self) -> int:
        return cast("int", self.backend_tokenizer.get_vocab_size(with_added_tokens=True))

    def __bool__(self) -> bool:
        return True

    def get_vocab(self) -> dict[str, int]:
        """Every token, added ones included, with its id."""
        return cast("dict[str, int]", self.backend_tokenizer.get_vocab(with_added_tokens=True))

    @property
    def vocab(self) -> dict[str, int]:
        """The same as :meth:`get_vocab`."""
        return self.get_vocab()

    @property
    def added_tokens_decoder(self) -> dict[int, AddedToken]:
        """The tokens that are matched before any other rule, by id."""
        return cast("dict[int, AddedToken]", self.backend_tokenizer.get_added_tokens_decoder())

    @property
    def added_tokens_encoder(self) -> dict[str, int]:
        """The ids of the tokens that are matched before any other rule."""
        return {token.content: index for index, token in sorted(self.added_tokens_decoder.items())}

    def get_added_vocab(self) -> dict[str, int]:
        """The same as :attr:`added_tokens_encoder`."""
        return self.added_tokens_encoder

    def _id_of(self, token: str) -> int | None:
        index: int | None = self.backend_tokenizer.token_to_id(token)
        if index is None and self.unk_token is not None:
            index = self.backend_tokenizer.token_to_id(self.unk_token)
        return index

    @overload
    def convert_tokens_to_ids(self, tokens: str) -> int | None: ...  # type: ignore[overload-overlap]  # str is a list
    @overload
    def convert_tokens_to_ids(self, tokens: Iterable[str]) -> list[int | None]: ...
    def convert_tokens_to_ids(self, tokens: str | Iterable[str]) -> int | list[int | None] | None:
        """The id of a token, or of each; an unknown one gets the id of ``unk_token``.

        Raises:
            InputError: something that is not a string.
        """
        if isinstance(tokens, str):
            return self._id_of(tokens)
        ids = []
        for token in tokens:
            if not isinstance(token, str):
                raise InputError(f"tokens are strings, not {type(token).__name__}: {token!r}")
            ids.append(self._id_of(token))
        return ids

    def convert_ids_to_tokens(self, ids: Any, skip_special_tokens: bool = False) -> Any:
        """The token of an id, or the list of tokens of many; None for an id that the vocabulary lacks.

        Raises:
            InputError: something that is not a whole number of at least 0.
        """
        if hasattr(ids, "tolist"):
            ids = ids.tolist()
        if not isinstance(ids, Iterable):
            return self.backend_tokenizer.id_to_token(_token_id(ids))
        skipped = set(self.all_special_ids) if skip_special_tokens else set()
        numbers = (_token_id(index) for index in ids)
        return [self.backend_tokenizer.id_to_token(index) for index in numbers if index not in skipped]

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """Tokens joined to text again."""
        decoder = self.backend_tokenizer.decoder
        return " ".join(tokens) if decoder is None else decoder.decode(list(tokens))

    def decode(
        self,
        token_ids: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        *,
        spaces_between_special_tokens: bool = True,
    ) -> str:
        """The text of token ids.

        Args:
            token_ids: one id, or a list or a one-dimensional array or tensor of them.
            skip_special_tokens: leave special tokens out.
            clean_up_tokenization_spaces: drop the space before punctuation and English contractions; None takes the
                tokenizer's own setting.
            spaces_between_special_tokens: accepted for compatibility; the decoder's own rule applies.

        Raises:
            InputError: something that is not a whole number of at least 0.
        """
        if hasattr(token_ids, "tolist"):
            token_ids = token_ids.tolist()
        if not isinstance(token_ids, Iterable):
            token_ids = [token_ids]
        numbers = [_token_id(index) for index in token_ids]
        text = self.backend_tokenizer.decode(numbers, skip_special_tokens=skip_special_tokens)
        if clean_up_tokenization_spaces is None:
            clean_up_tokenization_spaces = self.clean_up_tokenization_spaces
        return self.clean_up_tokenization(text) if clean_up_tokenization_spaces else text

    def batch_decode(
        self, sequences: Any, skip_special_tokens: bool = False, clean_up_tokenization_spaces: bool | None = None
    ) -> list[str]:
        """:meth:`decode` for each row of ids."""
        return [self.decode(row, skip_special_tokens, clean_up_tokenization_spaces) for row in sequences]

    @staticmethod
    def clean_up_tokenization(out_string: str) -> str:
        """Drop the spaces that tokenization leaves before punctuation and English contractions."""
        for spaced in CLEANED_SPACES:
            out_string = out_string.replace(spaced, spaced.strip(" "))
        return out_string

    # Additions. The tokenizer in use is never changed: a changed twin takes its place.

    def add_tokens(self, new_tokens: Token | Sequence[Token], special_tokens: bool = False) -> int:
        """Add tokens that are matched whole; return how many are new. The model's embeddings must have rows for them.

        Raises:
            InputError: something that is neither a string nor an AddedToken.
        """
        if not new_tokens:
            return 0
        tokens = [new_tokens] if isinstance(new_tokens, (str, AddedToken)) else list(new_tokens)
        for token in tokens:
            if not isinstance(token, (str, AddedToken)):
                raise InputError(f"a new token must be a string or an AddedToken, not {type(token).__name__}")
        with self._changes:
            changed = twin(self.backend_tokenizer)
            added: int = changed.add_special_tokens(tokens) if special_tokens else changed.add_tokens(tokens)
            self._backend = Backend(changed)
        return added

    def add_special_tokens(
        self, special_tokens_dict: Mapping[str, Any], replace_additional_special_tokens: bool = True
    ) -> int:
        """Set special tokens by name, adding those that the vocabulary lacks; return how many are new.

        Args:
            special_tokens_dict: names such as ``"pad_token"`` to tokens; ``"additional_special_tokens"`` to a list.
            replace_additional_special_tokens: replace the list of additional ones, or extend it.

        Raises:
            InputError: an unknown name, or something that is not a token.

        Example:
            >>> from bertcpp import AutoTokenizer
            >>> tokenizer = AutoTokenizer.from_pretrained("all-MiniLM-L6-v2")
            >>> tokenizer.add_special_tokens({"additional_special_tokens": ["[URL]"]})
            1
        """
        added: list[Token] = []
        for name, value in special_tokens_dict.items():
            if name not in SPECIAL_TOKEN_NAMES:
                raise InputError(f"{name!r} is no special token's name; there are {', '.join(SPECIAL_TOKEN_NAMES)}")
            if name != "additional_special_tokens":
                setattr(self, name, _special(value))
                added.append(_special(value))
                continue
            if not isinstance(value, (list, tuple)):
                raise InputError(f"additional_special_tokens must be a list, not {type(value).__name__}")
            known = [] if replace_additional_special_tokens else self._special_tokens[name]
            fresh = [_special(token) for token in value if str(token) not in map(str, known)]
            if fresh:
                self.additional_special_tokens = [*known, *fresh]
            added += fresh
        return self.add_tokens(added, special_tokens=True)


def _special(token: Any) -> AddedToken:
    if isinstance(token, AddedToken):
        return token
    if isinstance(token, str):
        return AddedToken(token, normalized=False, special=True)
    raise InputError(f"a special token must be a string or an AddedToken, not {type(token).__name__}")


def _token_id(value: Any) -> int:
    try:
        index = operator.index(value)
    except TypeError:
        raise InputError(f"token ids are whole numbers, not {type(value).__name__}: {value!r}") from None
    if not 0 <= index < 2**32:
        raise InputError(f"token id {index} is outside 0 .. 2**32 - 1")
    return index
