"""Smaller checkpoints by leaving out the tokens that a corpus does not use, and their embeddings."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import architectures, checkpoints
from .checkpoint_writing import copy_beside_weights, new_folder, write_json, write_safetensors
from .configuration import AutoConfig
from .conversion import check_written
from .encoder_weights import encoder_prefix
from .errors import ConfigError, InputError, TokenizerError, UnsupportedFormatError
from .pooling import plain_modules, read_modules, read_settings
from .sentence_encoder import lower_cased
from .tokenization import AutoTokenizer
from .vocabulary import Vocabulary

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from .configuration import PretrainedConfig
    from .pooling import Modules
    from .tokenization import PreTrainedTokenizer
    from .weights import Weights

__all__ = ["trim"]

StrPath = str | os.PathLike[str]

# What the families' heads for masked language modeling have a row for each token in.
_VOCABULARY_WIDE = frozenset(
    f"{name}.{part}"
    for name in (
        "cls.predictions.decoder",
        "cls.predictions",
        "lm_head.decoder",
        "lm_head",
        "generator_lm_head",
        "vocab_projector",
    )
    for part in ("weight", "bias")
)
_BATCH = 1000  # texts that are cut into tokens at once


def trim(model: StrPath, out: StrPath, texts: Sequence[str], *, overwrite: bool = False) -> Path:
    """Write a checkpoint with the tokens alone that texts use, and those that every other text can be cut into.

    Texts that were given are cut as before, which is verified, and so have the same hidden states. Others fall apart
    into smaller pieces where a token is gone; none becomes unknown that was known. Special tokens all stay.

    Args:
        model: a folder, a hub name, or an installed package.
        out: the new folder; it appears when it is whole. SentencePiece's own file is left out: tokenizer.json takes its
            place.
        texts: what the model is for. The prompts of a sentence-embedding checkpoint are put before them, too.
        overwrite: replace a checkpoint that is there already.

    Returns:
        The path of the new folder.

    Raises:
        InputError: there are no texts.
        UnsupportedFormatError: the tokenizer is of a kind that is not trimmed, or a tensor has a row for each token and
            is not known.
        TokenizerError: the tokenizer's files are missing or damaged.
        BertcppError: the checkpoint cannot be read, or not be written.

    Example:
        >>> import tempfile, bertcpp
        >>> from bertcpp.trimming import trim
        >>> with tempfile.TemporaryDirectory() as place:
        ...     folder = trim("all-MiniLM-L6-v2", f"{place}/smaller", ["The cat sat on the mat."])
        ...     config = bertcpp.AutoConfig.from_pretrained(folder)
        >>> config.vocab_size < 3000
        True
    """
    texts = list(texts)
    if not texts:
        raise InputError("there are no texts to keep the tokens of; give those that the model is for")
    folder = checkpoints.locate(model)
    modules = read_modules(folder) or plain_modules(folder)
    config = AutoConfig.from_pretrained(modules.encoder)
    tokenizer = _tokenizer(modules, modules.encoder)
    prompts = {text for text in (read_settings(folder).get("prompts") or {}).values() if text}
    vocabulary = Vocabulary(_tokenizer_json(modules.encoder), str(modules.encoder / "tokenizer.json"))
    kept = _kept_ids(vocabulary, tokenizer, config, _cut(tokenizer, texts, prompts))
    places = {old: new for new, old in enumerate(kept)}
    with new_folder(out, source=folder, overwrite=overwrite) as made:
        copy_beside_weights(folder, made, modules.encoder)
        place = made / modules.encoder.relative_to(folder)
        _write_tokenizer(place, vocabulary, places)
        _write_config(place / "config.json", len(kept), places)
        with checkpoints.open_weights(modules.encoder) as weights:
            tensors = dict(_tensors(config, weights, np.array(kept)))
            dtypes = {name: weights.dtype_of(name) for name in tensors}
            write_safetensors(place / "model.safetensors", tensors, dtypes)
        check_written(place, modules.encoder)
        _verify(tokenizer, _tokenizer(modules, place), places, texts, prompts)
    return Path(out)


def _tokenizer(modules: Modules, place: Path) -> PreTrainedTokenizer:
    tokenizer: PreTrainedTokenizer = AutoTokenizer.from_pretrained(place)
    return lower_cased(tokenizer) if modules.lower_case else tokenizer


def _tokenizer_json(folder: Path) -> dict[str, Any]:
    """What tokenizer.json says, or would say if there were one beside the vocabulary."""
    path = folder / "tokenizer.json"
    if path.is_file():
        return checkpoints.read_json(path)
    content: dict[str, Any] = json.loads(AutoTokenizer.from_pretrained(folder).backend_tokenizer.to_str())
    return content


def _cut(tokenizer: PreTrainedTokenizer, texts: Sequence[str], prompts: set[str]) -> Iterator[list[int]]:
    """The ids of each text, with special tokens and whole, also behind each prompt."""
    backend = tokenizer.backend_tokenizer
    for prompt in ("", *sorted(prompts)):
        for start in range(0, len(texts), _BATCH):
            batch = texts[start : start + _BATCH]
            if not all(isinstance(text, str) for text in batch):
                raise InputError("texts must be strings")
            yield from (encoding.ids for encoding in backend.encode_batch([prompt + text for text in batch]))


def _kept_ids(
    vocabulary: Vocabulary, tokenizer: PreTrainedTokenizer, config: PretrainedConfig, rows: Iterator[list[int]]
) -> list[int]:
    used: set[int] = set()
    for row in rows:
        used.update(row)
    used.update(index for index in tokenizer.all_special_ids if index is not None)
    used.update(index for _, index in _token_ids(vars(config)) if index < config.vocab_size)
    # Families that count positions from the padding token's id must keep that id.
    padding = architectures.of(config).padding_idx(config)
    used.update(range(padding + 1) if padding is not None else ())
    kept = vocabulary.needed(used)
    if max(kept) >= config.vocab_size:
        raise ConfigError(
            f"the tokenizer has a token {max(kept)}, but config.json speaks of {config.vocab_size}; they are not of "
            "one checkpoint"
        )
    return sorted(kept)


def _token_ids(fields: Mapping[str, Any]) -> list[tuple[str, int]]:
    """The fields of a configuration that name a token, as ``pad_token_id``."""
    return [(name, value) for name, value in fields.items() if name.endswith("_token_id") and type(value) is int]


def _write_tokenizer(folder: Path, vocabulary: Vocabulary, places: Mapping[int, int]) -> None:
    """Rewrite the tokenizer's files in a copy of a checkpoint's folder."""
    content = vocabulary.trimmed(places)
    write_json(folder / "tokenizer.json", content)
    for path in folder.glob("*.model"):
        path.unlink()  # SentencePiece's, which still has all pieces
    words = vocabulary.words(places)
    if (folder / "vocab.txt").is_file() and vocabulary.is_word_piece:
        (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in words), encoding="utf-8")
    if (folder / "vocab.json").is_file() and vocabulary.is_bpe:
        write_json(folder / "vocab.json", content["model"]["vocab"])
        pairs = [pair if isinstance(pair, str) else " ".join(pair) for pair in content["model"]["merges"]]
        (folder / "merges.txt").write_text("".join(f"{pair}\n" for pair in ["#version: 0.2", *pairs]), encoding="utf-8")
    path = folder / "added_tokens.json"
    if path.is_file():
        write_json(path, {token: places[index] for token, index in checkpoints.read_json(path).items()})
    path = folder / "tokenizer_config.json"
    if path.is_file():
        fields = checkpoints.read_json(path)
        added = fields.get("added_tokens_decoder")
        if isinstance(added, dict):
            fields["added_tokens_decoder"] = {str(places[int(index)]): token for index, token in added.items()}
        write_json(path, fields)


def _write_config(path: Path, count: int, places: Mapping[int, int]) -> None:
    fields = checkpoints.read_json(path)
    moved = {name: places[index] for name, index in _token_ids(fields) if index in places}
    write_json(path, {**fields, **moved, "vocab_size": count})


def _tensors(config: PretrainedConfig, weights: Weights, kept: NDArray[np.int64]) -> Iterator[tuple[str, NDArray[Any]]]:
    row = architectures.of(config)
    prefix = encoder_prefix(row, {name: name for name in weights}, weights)
    table = f"{prefix}{row.tensors['embeddings.word']}.weight"
    parts = tuple(f"{prefix}{name.partition('{i}')[0]}" for name in row.tensors.values())
    for name in weights:
        tensor = weights[name]
        if name == table or name in _VOCABULARY_WIDE:
            tensor = tensor[kept]
        elif tensor.ndim and len(tensor) == config.vocab_size and not name.startswith(parts):
            raise UnsupportedFormatError(
                f"{weights.folder}: {name!r} has a row for each token, and bertcpp does not know what of; it cannot be "
                "trimmed"
            )
        yield name, tensor


def _verify(
    before: PreTrainedTokenizer,
    after: PreTrainedTokenizer,
    places: Mapping[int, int],
    texts: Sequence[str],
    prompts: set[str],
) -> None:
    """Refuse a tokenizer that cuts one of the texts otherwise."""
    pairs = zip(_cut(before, texts, prompts), _cut(after, texts, prompts), strict=True)
    for number, (old, new) in enumerate(pairs):
        if [places[index] for index in old] != new:
            raise TokenizerError(
                f"without the tokens that are not used, the tokenizer cuts texts[{number % len(texts)}] otherwise; its "
                "rules are not ones that can be trimmed"
            )
