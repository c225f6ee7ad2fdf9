"""Reads a tokenizer's files: builds the `tokenizers.Tokenizer` and collects the options of its class."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenizers import AddedToken, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE, WordPiece

from .errors import TokenizerError
from .special_tokens import SPECIAL_TOKEN_NAMES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .tokenizer_families import TokenizerFamily

__all__ = [
    "adopt_options",
    "build_tokenizer",
    "load_tokenizer_json",
    "merge_saved_tokens",
    "read_json_object",
    "require_files",
    "require_sound_options",
]

StrPath = str | os.PathLike[str]

FLAGS = (
    "do_lower_case",
    "tokenize_chinese_chars",
    "strip_accents",
    "do_basic_tokenize",
    "add_prefix_space",
    "trim_offsets",
    "clean_up_tokenization_spaces",
    "split_special_tokens",
)
OPTIONAL_FLAGS = ("strip_accents", "clean_up_tokenization_spaces", "split_special_tokens")


def read_json_object(path: StrPath) -> dict[str, Any]:
    """Read a file that holds one JSON object.

    Raises:
        TokenizerError: it cannot be read, is not JSON, or is something else than an object.
    """
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise TokenizerError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise TokenizerError(f"{path}: not valid JSON ({error}): download the file again") from error
    if not isinstance(value, dict):
        raise TokenizerError(f"{path}: holds a JSON {type(value).__name__} where an object is needed")
    return value


def require_files(folder: Path, family: TokenizerFamily) -> dict[str, str]:
    """The tokenizer files of a folder, by the constructor's argument that takes them.

    Raises:
        TokenizerError: there is neither a tokenizer.json nor what the family needs in its place.
    """
    if (folder / "tokenizer.json").is_file():
        return {"tokenizer_file": str(folder / "tokenizer.json")}
    needed = family.vocabulary_files
    missing = [name for name in needed.values() if not (folder / name).is_file()]
    if missing or not needed:
        instead = f" and no {', '.join(missing)}" if missing else ""
        raise TokenizerError(
            f"{folder}: no tokenizer.json{instead} for {family.name}: "
            "copy the tokenizer's files there, or save one with tokenizer.save_pretrained(folder)"
        )
    return {argument: str(folder / name) for argument, name in needed.items()}


def require_sound_options(options: Mapping[str, Any]) -> None:
    """Check the options of a tokenizer_config.json, or of a caller, that the tokenizer's classes read.

    Raises:
        TokenizerError: an option is of another type than its name promises, or has no such value.
    """

    def require(name: str, sound: bool, what: str) -> None:
        if not sound:
            raise TokenizerError(
                f"{name} must be {what}, not {options[name]!r}: pass {name}=, or repair tokenizer_config.json"
            )

    for name, value in options.items():
        if name in SPECIAL_TOKEN_NAMES[:-1]:
            require(name, value is None or isinstance(value, (str, AddedToken)), "a token")
        elif name in FLAGS:
            require(name, isinstance(value, bool) or (value is None and name in OPTIONAL_FLAGS), "true or false")
        elif name in ("padding_side", "truncation_side"):
            require(name, value in ("right", "left"), "'right' or 'left'")
    tokens = options.get("additional_special_tokens") or []
    sound = isinstance(tokens, (list, tuple)) and all(isinstance(token, (str, AddedToken)) for token in tokens)
    require("additional_special_tokens", sound, "a list of tokens")
    tokens = options.get("extra_special_tokens") or {}
    sound = isinstance(tokens, dict) and all(isinstance(token, (str, AddedToken)) for token in tokens.values())
    require("extra_special_tokens", sound, "an object of names and tokens")
    inputs = options.get("model_input_names")
    sound = inputs is None or (isinstance(inputs, (list, tuple)) and "input_ids" in inputs[:1])
    require("model_input_names", sound, "a list that begins with 'input_ids'")


def load_tokenizer_json(path: StrPath) -> Tokenizer:
    """Read a tokenizer.json.

    Raises:
        TokenizerError: it is missing, damaged, or of a version that the `tokenizers` library here does not read.
    """
    if not Path(path).is_file():
        raise TokenizerError(f"{path}: no such file")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except BaseException as error:  # the library raises bare Exception for whatever is wrong inside, or panics
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise TokenizerError(
            f"{path}: not a tokenizer.json that the installed tokenizers library reads ({error}): "
            "download the file again, or upgrade tokenizers"
        ) from error
    _require_sound_templates(path, _state(tokenizer.post_processor))
    _require_sound_characters(path, _state(tokenizer.normalizer))
    return tokenizer


def _require_sound_templates(path: StrPath, state: Mapping[str, Any]) -> None:
    """Refuse a template that names special tokens it does not define: the library would panic at the first text."""
    for part in state.get("processors", ()):
        _require_sound_templates(path, part)
    if state.get("type") != "TemplateProcessing":
        return
    pieces = [*state["single"], *state["pair"]]
    named = {piece["SpecialToken"]["id"] for piece in pieces if "SpecialToken" in piece}
    if undefined := sorted(named - set(state["special_tokens"])):
        raise TokenizerError(
            f"{path}: its post_processor names {undefined[0]!r} without defining it: download the file again"
        )


def _require_sound_characters(path: StrPath, state: Mapping[str, Any]) -> None:
    """Refuse a table of normalized characters that lookups could leave: the library would panic."""
    for part in state.get("normalizers", ()):
        _require_sound_characters(path, part)
    if state.get("type") != "Precompiled":
        return
    from .character_map import is_sound

    if not is_sound(base64.b64decode(state["precompiled_charsmap"])):
        raise TokenizerError(f"{path}: its table of normalized characters is damaged: download the file again")


def build_tokenizer(family: TokenizerFamily, files: Mapping[str, StrPath], options: Mapping[str, Any]) -> Tokenizer:
    """Build the tokenizer of a checkpoint that has no tokenizer.json, by its family's rules.

    Raises:
        TokenizerError: a file is missing or damaged, or the family cannot be built from such files.
    """
    for argument, name in family.vocabulary_files.items():
        if not files.get(argument):
            raise TokenizerError(f"{family.name} needs tokenizer_file=, or {argument}= (a {name})")
    if family.algorithm == "wordpiece":
        return _word_piece(family, files["vocab_file"], options)
    if family.algorithm == "byte_level_bpe":
        return _byte_level_bpe(files["vocab_file"], files["merges_file"], options)
    if family.algorithm == "sentencepiece":
        from .sentencepiece_model import build_sentencepiece_tokenizer

        return build_sentencepiece_tokenizer(files["vocab_file"], family.name)
    raise TokenizerError(f"{family.name} needs a tokenizer.json: pass tokenizer_file=")


def _ids_of(path: StrPath, vocabulary: Mapping[str, int], options: Mapping[str, Any], *names: str) -> list[Any]:
    """(token, id) of special tokens that the vocabulary must have."""
    found = []
    for name in names:
        token = str(options[name])
        if token not in vocabulary:
            raise TokenizerError(f"{path}: the vocabulary lacks {token!r}, the {name}: pass {name}= as it has it")
        found.append((token, vocabulary[token]))
    return found


def _read_text(path: StrPath) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise TokenizerError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise TokenizerError(f"{path}: not UTF-8 text ({error}): download the file again") from error


def _word_piece(family: TokenizerFamily, path: StrPath, options: Mapping[str, Any]) -> Tokenizer:
    text = _read_text(path)
    # Only line feeds end a line: vocabularies hold other characters that str.splitlines would split at.
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    vocabulary = {token: index for index, token in enumerate(lines)}
    cls, sep = _ids_of(path, vocabulary, options, "cls_token", "sep_token")
    _ids_of(path, vocabulary, options, "unk_token")
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token=str(options["unk_token"])))
    basic = options.get("do_basic_tokenize", True)
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=basic and options["tokenize_chinese_chars"],
        strip_accents=options["strip_accents"] if basic else False,
        lowercase=basic and options["do_lower_case"],
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    between = f"{sep[0]}:0 {sep[0]}:0" if family.doubled_separator else f"{sep[0]}:0"
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{cls[0]}:0 $A:0 {sep[0]}:0",
        pair=f"{cls[0]}:0 $A:0 {between} $B:1 {sep[0]}:1",
        special_tokens=[cls, sep],
    )
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    return tokenizer


def _byte_level_bpe(vocab_path: StrPath, merges_path: StrPath, options: Mapping[str, Any]) -> Tokenizer:
    vocabulary = read_json_object(vocab_path)
    sep, cls = _ids_of(vocab_path, vocabulary, options, "sep_token", "cls_token")
    # The first line is the version and the last one is empty.
    merges = [tuple(line.split()) for line in _read_text(merges_path).split("\n")[1:-1]]
    for number, merge in enumerate(merges, start=2):
        if len(merge) != 2:
            raise TokenizerError(f"{merges_path}: line {number} is not a pair of tokens: download the file again")
    try:
        model = BPE(vocabulary, merges, continuing_subword_prefix="", end_of_word_suffix="", fuse_unk=False)
    except Exception as error:  # the library raises bare Exception, and TypeError for ids that are not numbers
        raise TokenizerError(f"{merges_path} does not fit {vocab_path}: {error}") from error
    tokenizer = Tokenizer(model)
    spaced, trimmed = options["add_prefix_space"], options["trim_offsets"]
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=spaced)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.RobertaProcessing(
        sep=sep, cls=cls, add_prefix_space=spaced, trim_offsets=trimmed
    )
    return tokenizer


def adopt_options(tokenizer: Tokenizer, family: TokenizerFamily, options: Mapping[str, Any]) -> None:
    """Change a freshly read tokenizer where the options (lower-casing, prefix space ...) differ from its own rules."""
    state = _state(tokenizer.pre_tokenizer)
    spaced = options.get("add_prefix_space", False)
    if state.get("type") == "ByteLevel" and state["add_prefix_space"] != spaced:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(
            add_prefix_space=spaced, trim_offsets=state["trim_offsets"], use_regex=state["use_regex"]
        )
    if family.algorithm == "wordpiece":
        _adopt_normalization(tokenizer, family, options)
    if family.algorithm == "byte_level_bpe":
        state = _state(tokenizer.post_processor)
        spaced, trimmed = options["add_prefix_space"], options["trim_offsets"]
        differs = (state.get("add_prefix_space"), state.get("trim_offsets")) != (spaced, trimmed)
        if differs and state.get("type") == "RobertaProcessing":
            tokenizer.post_processor = processors.RobertaProcessing(
                sep=tuple(state["sep"]), cls=tuple(state["cls"]), add_prefix_space=spaced, trim_offsets=trimmed
            )
        elif differs and state.get("type") == "ByteLevel":
            tokenizer.post_processor = processors.ByteLevel(
                add_prefix_space=spaced, trim_offsets=trimmed, use_regex=state["use_regex"]
            )


def _state(part: Any) -> dict[str, Any]:
    """The settings of a tokenizer's part; none where it is absent or made of several."""
    if part is None:
        return {}
    state = json.loads(part.__getstate__())
    return state if isinstance(state, dict) else {}


def _adopt_normalization(tokenizer: Tokenizer, family: TokenizerFamily, options: Mapping[str, Any]) -> None:
    state = _state(tokenizer.normalizer)
    if state.get("type") != "BertNormalizer":
        return
    wanted = dict(state, lowercase=options["do_lower_case"], strip_accents=options["strip_accents"])
    if family.name != "MPNetTokenizer":  # transformers leaves MPNet's setting as the file has it
        wanted["handle_chinese_chars"] = options["tokenize_chinese_chars"]
    if wanted != state:
        wanted.pop("type")
        tokenizer.normalizer = normalizers.BertNormalizer(**wanted)


def _token(value: Any, **changes: Any) -> Any:
    """An AddedToken of its JSON form; whatever is not one stays as it is."""
    if not isinstance(value, dict) or "content" not in value:
        return value
    fields = {
        name: value[name] for name in ("single_word", "lstrip", "rstrip", "normalized", "special") if name in value
    }
    return AddedToken(value["content"], **(fields | changes))


def merge_saved_tokens(
    folder: Path, options: dict[str, Any], overrides: Mapping[str, Any], in_tokenizer: Mapping[int, AddedToken]
) -> dict[int, AddedToken]:
    """Complete the options by the special tokens that a checkpoint saves in three places; return its added tokens.

    Newer checkpoints have ``added_tokens_decoder`` in tokenizer_config.json; older ones special_tokens_map.json and
    added_tokens.json, which are read only where the former is absent.

    Args:
        folder: the checkpoint's.
        options: tokenizer_config.json with the caller's overrides; changed in place.
        overrides: the caller's.
        in_tokenizer: the added tokens of tokenizer.json, by id.

    Raises:
        TokenizerError: a file is damaged.
    """
    added: dict[int, AddedToken] = {}
    saved = options.pop("added_tokens_decoder", None)
    try:
        if saved is not None:
            added = {int(index): _token(value) for index, value in saved.items()}
        else:
            _merge_special_tokens_map(folder, options, overrides)
            _merge_added_tokens(folder, options, added)
            added.update(in_tokenizer)
        for name in SPECIAL_TOKEN_NAMES:
            value = options.get(name)
            options_value = [_token(token) for token in value] if isinstance(value, (list, tuple)) else _token(value)
            if options_value is not None:
                options[name] = options_value
    except (TypeError, ValueError, AttributeError) as error:
        raise TokenizerError(f"{folder}: the added tokens of its tokenizer files are malformed: {error}") from error
    if not all(isinstance(token, AddedToken) for token in added.values()):
        raise TokenizerError(f"{folder}: added_tokens_decoder in tokenizer_config.json holds something but tokens")
    by_text = {token.content: token for token in added.values()}
    for name in SPECIAL_TOKEN_NAMES[:-1]:
        if options.get(name) is not None:
            options[name] = by_text.get(str(options[name]), options[name])
    return added


def _merge_special_tokens_map(folder: Path, options: dict[str, Any], overrides: Mapping[str, Any]) -> None:
    path = folder / "special_tokens_map.json"
    if not path.is_file():
        return
    for name, value in read_json_object(path).items():
        if overrides.get(name):
            continue
        if name == "additional_special_tokens" and isinstance(value, list):
            known = list(options.get(name) or [])
            fresh = [_token(token, special=True) for token in value]
            options[name] = known + [token for token in fresh if token not in known]
        else:
            options[name] = _token(value, special=True)


def _merge_added_tokens(folder: Path, options: Mapping[str, Any], added: dict[int, AddedToken]) -> None:
    path = folder / "added_tokens.json"
    if not path.is_file():
        return
    special = {str(options[name]) for name in SPECIAL_TOKEN_NAMES[:-1] if options.get(name) is not None}
    special |= {str(token) for token in options.get("additional_special_tokens") or []}
    for text, index in read_json_object(path).items():
        added[int(index)] = AddedToken(text, normalized=text not in special, special=text in special)
