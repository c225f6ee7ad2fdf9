"""What all tokenizers share: loading a checkpoint's files, saving them, copies and pickles."""

from __future__ import annotations

import copy
import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tokenizers import AddedToken, Tokenizer

from .errors import TokenizerError
from .text_encoding import TextEncoder
from .tokenizer_backend import Backend, twin
from .tokenizer_families import FAMILIES, TokenizerFamily
from .tokenizer_files import (
    adopt_options,
    build_tokenizer,
    load_tokenizer_json,
    merge_saved_tokens,
    read_json_object,
    require_files,
    require_sound_options,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Self

__all__ = ["PreTrainedTokenizer"]

logger = logging.getLogger(__name__)

# What transformers' from_pretrained also takes, and what has no meaning here.
WITHOUT_EFFECT = (
    "config",
    "from_slow",
    "proxies",
    "resume_download",
    "trust_remote_code",
    "use_auth_token",
    "use_fast",
)
NOT_SAVED = (
    "name_or_path",
    "tokenizer_file",
    "vocab_file",
    "merges_file",
    "special_tokens_map_file",
    "tokenizer_class",
)


class PreTrainedTokenizer(TextEncoder):
    """A tokenizer as its tokenizer.json describes it; the base of the families' tokenizers.

    One tokenizer may be used by any number of threads at once. It can be copied and pickled.

    Args:
        vocab_file: vocab.txt, vocab.json or a SentencePiece model, where there is no tokenizer.json.
        merges_file: merges.txt beside a vocab.json.
        tokenizer_file: a tokenizer.json; takes the place of the former two.
        tokenizer_object: a `tokenizers.Tokenizer`; takes the place of all three, and is copied.
        added_tokens_decoder: tokens to match before any other rule, by id.
        options: what tokenizer_config.json may hold: special tokens (``mask_token="[MASK]"``), ``model_max_length``,
            ``padding_side`` and ``truncation_side`` (``"right"`` or ``"left"``), ``model_input_names``,
            ``do_lower_case``, ``strip_accents``, ``tokenize_chinese_chars``, ``add_prefix_space``,
            ``clean_up_tokenization_spaces``, ``split_special_tokens`` ...

    Raises:
        TokenizerError: a file is missing or damaged, or an option contradicts it.
    """

    family: ClassVar[TokenizerFamily] = FAMILIES["PreTrainedTokenizer"]

    def __init__(
        self,
        vocab_file: str | os.PathLike[str] | None = None,
        merges_file: str | os.PathLike[str] | None = None,
        *,
        tokenizer_file: str | os.PathLike[str] | None = None,
        tokenizer_object: Tokenizer | None = None,
        added_tokens_decoder: Mapping[int, AddedToken] | None = None,
        **options: Any,
    ) -> None:
        options = {**self.family.options, **options}
        require_sound_options(options)
        if self.family.mask_takes_space and isinstance(options.get("mask_token"), str):
            options["mask_token"] = AddedToken(options["mask_token"], lstrip=True, normalized=False, special=True)
        tokenizer = tokenizer_object
        if tokenizer is None and tokenizer_file is not None:
            tokenizer = load_tokenizer_json(tokenizer_file)
        elif tokenizer is None:
            files = {"vocab_file": vocab_file or "", "merges_file": merges_file or ""}
            # transformers' classes have this default where there is no tokenizer.json, and another where there is one.
            options.setdefault("clean_up_tokenization_spaces", self.family.algorithm == "wordpiece")
            tokenizer = build_tokenizer(self.family, files, options)
        self.vocab_file = None if vocab_file is None else os.fspath(vocab_file)
        if (padding := tokenizer.padding) is not None:
            options.setdefault("pad_token", padding["pad_token"])
            options.setdefault("padding_side", padding["direction"])
        if (truncation := tokenizer.truncation) is not None:
            options.setdefault("truncation_side", truncation["direction"])
        if tokenizer_object is not None:
            tokenizer = twin(tokenizer_object)
        super().__init__(self.family, options)
        self.name_or_path = str(options.get("name_or_path", ""))
        self.init_kwargs = options
        self._add_missing_tokens(tokenizer, added_tokens_decoder or {})
        adopt_options(tokenizer, self.family, options)
        tokenizer.encode_special_tokens = self.split_special_tokens
        self._backend = Backend(tokenizer)

    def _add_missing_tokens(self, tokenizer: Tokenizer, decoder: Mapping[int, AddedToken]) -> None:
        """Add saved tokens, and special tokens that the vocabulary lacks, as special where they are named so."""
        special_tokens = self.all_special_tokens_extended
        special_texts = {str(token) for token in special_tokens}
        present = tokenizer.get_added_tokens_decoder()
        tokens: list[AddedToken] = []
        for _, token in sorted(decoder.items()):
            token.special = token.special or token.content in special_texts
            tokens.append(token)
        known = {token.content for token in (*present.values(), *tokens)}
        for named in special_tokens:
            if str(named) in known:
                continue
            token = named if isinstance(named, AddedToken) else AddedToken(named, special=True)
            token.special = True
            tokens.append(token)
        # Adding a token again takes over its flags; where nothing differs there is nothing to do.
        if any(repr(token) not in map(repr, present.values()) for token in tokens):
            tokenizer.add_tokens(tokens)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        *,
        cache_dir: str | os.PathLike[str] | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        token: str | bool | None = None,
        revision: str | None = None,
        subfolder: str = "",
        **options: Any,
    ) -> Self:
        """Load the tokenizer of a checkpoint.

        Args:
            pretrained_model_name_or_path: a folder, a name on the Hugging Face hub, or of an installed model package.
            cache_dir: where downloads are kept, as huggingface_hub has it.
            force_download: download again what is there.
            local_files_only: download nothing.
            token: for the hub's private models.
            revision: a branch, tag or commit of the hub's.
            subfolder: the folder inside the checkpoint.
            options: settings that take the place of the checkpoint's own, such as ``model_max_length=128``,
                ``do_lower_case=False``, ``padding_side="left"``.

        Raises:
            CheckpointError: there is no such checkpoint.
            TokenizerError: its tokenizer files are missing or damaged.

        Example:
            >>> from bertcpp import BertTokenizer
            >>> tokenizer = BertTokenizer.from_pretrained("all-MiniLM-L6-v2")
            >>> tokenizer("This is an example sentence.")["input_ids"]
            [101, 2023, 2003, 2019, 2742, 6251, 1012, 102]
        """
        from .checkpoints import locate

        folder = locate(
            pretrained_model_name_or_path,
            revision=revision,
            cache_dir=cache_dir,
            token=token,
            local_files_only=local_files_only,
            force_download=force_download,
            subfolder=subfolder,
        )
        return cls._from_folder(folder, str(pretrained_model_name_or_path), options)

    @classmethod
    def _from_folder(cls, folder: Path, name: str, overrides: Mapping[str, Any]) -> Self:
        config = folder / "tokenizer_config.json"
        options = read_json_object(config) if config.is_file() else {}
        overrides = {key: value for key, value in overrides.items() if key not in WITHOUT_EFFECT}
        saved_class = options.get("tokenizer_class")
        if isinstance(saved_class, str) and saved_class.removesuffix("Fast") != cls.family.name:
            logger.warning(
                "%s was saved with a %s but is loaded as a %s: its texts may be tokenized in another way than its "
                "model has learned. AutoTokenizer takes the right class.",
                name,
                saved_class,
                cls.__name__,
            )
        options = {key: value for key, value in options.items() if key not in (*NOT_SAVED, "auto_map")}
        options.update(overrides)
        files = require_files(folder, cls.family)
        tokenizer = load_tokenizer_json(files["tokenizer_file"]) if "tokenizer_file" in files else None
        in_tokenizer = {} if tokenizer is None else tokenizer.get_added_tokens_decoder()
        added = merge_saved_tokens(folder, options, overrides, in_tokenizer)
        options["name_or_path"] = name
        if tokenizer is None:
            return cls(**files, added_tokens_decoder=added, **options)
        return cls(tokenizer_object=tokenizer, added_tokens_decoder=added, **options)

    def save_pretrained(
        self, save_directory: str | os.PathLike[str], *, filename_prefix: str | None = None
    ) -> tuple[str, ...]:
        """Write tokenizer.json, tokenizer_config.json and special_tokens_map.json, which transformers reads too.

        Args:
            save_directory: made where it does not exist.
            filename_prefix: put before each name, with a hyphen.

        Returns:
            The paths of the files written.

        Raises:
            OSError: the folder cannot be written to.
        """
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        prefix = f"{filename_prefix}-" if filename_prefix else ""
        config = {name: value for name, value in self.init_kwargs.items() if name not in NOT_SAVED}
        config.update(
            model_max_length=self.model_max_length,
            padding_side=self.padding_side,
            truncation_side=self.truncation_side,
            clean_up_tokenization_spaces=self.clean_up_tokenization_spaces,
            **self.special_tokens_map,
            added_tokens_decoder={index: _saved(token) for index, token in self.added_tokens_decoder.items()},
            tokenizer_class=type(self).__name__ if self.family.vocabulary_files else "PreTrainedTokenizerFast",
        )
        special = self.special_tokens_map_extended
        paths = []
        for name, value in (("tokenizer_config.json", config), ("special_tokens_map.json", special)):
            path = folder / f"{prefix}{name}"
            text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, default=_saved_without_special)
            path.write_text(text + "\n", encoding="utf-8")
            paths.append(str(path))
        path = folder / f"{prefix}tokenizer.json"
        path.write_text(self.backend_tokenizer.to_str(pretty=True), encoding="utf-8")
        return (*paths, str(path))

    def save_vocabulary(
        self, save_directory: str | os.PathLike[str], filename_prefix: str | None = None
    ) -> tuple[str, ...]:
        """Write the vocabulary alone, in the model's own files (vocab.txt; vocab.json and merges.txt ...)."""
        Path(save_directory).mkdir(parents=True, exist_ok=True)
        return tuple(self.backend_tokenizer.model.save(str(save_directory), filename_prefix))

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        other = type(self).__new__(type(self))
        state = self.__getstate__()
        memo[id(self._backend)] = self._backend  # never changes, so copies share it
        other.__setstate__(copy.deepcopy(state, memo))
        return other

    def __repr__(self) -> str:
        added = "".join(f"\n\t{index}: {token!r}," for index, token in self.added_tokens_decoder.items())
        return (
            f"{type(self).__name__}(name_or_path={self.name_or_path!r}, vocab_size={self.vocab_size}, "
            f"model_max_length={self.model_max_length}, is_fast={self.is_fast}, padding_side={self.padding_side!r}, "
            f"truncation_side={self.truncation_side!r}, special_tokens={self.special_tokens_map}, "
            f"clean_up_tokenization_spaces={self.clean_up_tokenization_spaces}, "
            f"added_tokens_decoder={{{added}\n}})"
        )


def _saved(token: AddedToken) -> dict[str, Any]:
    state: dict[str, Any] = token.__getstate__()
    return state


def _saved_without_special(token: Any) -> dict[str, Any]:
    """The form of special_tokens_map.json, where every token is special."""
    if not isinstance(token, AddedToken):
        raise TokenizerError(f"an option of type {type(token).__name__} cannot be saved: {token!r}")
    return {name: value for name, value in _saved(token).items() if name != "special"}
