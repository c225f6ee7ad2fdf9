"""Reads SentencePiece model files (a protocol buffer) and builds the equal Unigram tokenizer from them."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import Unigram

from .errors import TokenizerError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

__all__ = ["SentencePieceModel", "build_sentencepiece_tokenizer", "read_sentencepiece_model"]

# Field numbers of sentencepiece_model.proto.
PIECES, TRAINER_SPEC, NORMALIZER_SPEC = 1, 2, 3
PIECE_TEXT, PIECE_SCORE, PIECE_TYPE = 1, 2, 3
MODEL_TYPE, PRECOMPILED_CHARSMAP = 3, 2
UNIGRAM = 1
CONTROL, USER_DEFINED = 3, 4

VARINT, FIXED64, LENGTH_DELIMITED, FIXED32 = 0, 1, 2, 5


@dataclass
class SentencePieceModel:
    """What is needed of a SentencePiece model.

    Attributes:
        pieces: text, log probability and type (normal 1, unknown 2, control 3, user defined 4) of each piece.
        model_type: 1 for Unigram, 2 for BPE.
        precompiled_charsmap: the normalization table, empty for none.
    """

    pieces: list[tuple[str, float, int]] = field(default_factory=list)
    model_type: int = UNIGRAM
    precompiled_charsmap: bytes = b""


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError(f"a number of more than 64 bits at byte {at}")


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of one message: number, and an integer or the bytes of whatever is not one."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        wire_type = key & 7
        if wire_type == VARINT:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if wire_type == LENGTH_DELIMITED:
            length, at = _varint(data, at)
        elif wire_type in (FIXED32, FIXED64):
            length = 4 if wire_type == FIXED32 else 8
        else:
            raise ValueError(f"wire type {wire_type} at byte {at}")
        if at + length > len(data):
            raise ValueError(f"a field of {length} bytes at byte {at} of {len(data)}")
        yield key >> 3, data[at : at + length]
        at += length


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number in place of bytes")
    return value


def _int(value: int | bytes) -> int:
    if isinstance(value, bytes):
        raise ValueError("bytes in place of a number")
    return value


def _piece(data: bytes) -> tuple[str, float, int]:
    text, score, kind = "", 0.0, 1
    for number, value in _fields(data):
        if number == PIECE_TEXT:
            text = _bytes(value).decode("utf-8")
        elif number == PIECE_SCORE:
            (score,) = struct.unpack("<f", _bytes(value))
        elif number == PIECE_TYPE:
            kind = _int(value)
    return text, score, kind


def read_sentencepiece_model(path: str | os.PathLike[str]) -> SentencePieceModel:
    """Read a ``.model`` file.

    Raises:
        TokenizerError: the file is not a SentencePiece model, or is damaged.
    """
    model = SentencePieceModel()
    try:
        for number, value in _fields(Path(path).read_bytes()):
            if number == PIECES:
                model.pieces.append(_piece(_bytes(value)))
            elif number == TRAINER_SPEC:
                specification = dict(_fields(_bytes(value)))
                model.model_type = _int(specification.get(MODEL_TYPE, UNIGRAM))
            elif number == NORMALIZER_SPEC:
                specification = dict(_fields(_bytes(value)))
                model.precompiled_charsmap = _bytes(specification.get(PRECOMPILED_CHARSMAP, b""))
    except OSError as error:
        raise TokenizerError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, IndexError, struct.error) as error:
        raise TokenizerError(
            f"{path}: not a SentencePiece model, or a damaged one ({error}): download it again, "
            "or save a tokenizer.json beside it"
        ) from error
    if not model.pieces:
        raise TokenizerError(f"{path}: a SentencePiece model without pieces: download it again")
    return model


def _vocabulary(model: SentencePieceModel, family: str) -> list[tuple[str, float]]:
    """Pieces in the order of the checkpoint's ids: fairseq put its own special tokens before SentencePiece's."""
    pieces = [(text, score) for text, score, _ in model.pieces]
    if family == "CamembertTokenizer":
        # SentencePiece's own <unk> is pushed out of reach so that fairseq's takes its place.
        front = [("<s>NOTUSED", 0.0), ("<pad>", 0.0), ("</s>NOTUSED", 0.0), ("<unk>", 0.0), ("<unk>NOTUSED", -100.0)]
        return [*front, *pieces[1:], ("<mask>", 0.0)]
    return [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *pieces[3:], ("<mask>", 0.0)]


def build_sentencepiece_tokenizer(path: str | os.PathLike[str], family: str) -> Tokenizer:
    """The tokenizer of an XLM-RoBERTa or CamemBERT checkpoint that has a SentencePiece model only.

    Raises:
        TokenizerError: the file is not a Unigram SentencePiece model.
    """
    model = read_sentencepiece_model(path)
    if model.model_type != UNIGRAM:
        raise TokenizerError(
            f"{path}: SentencePiece model type {model.model_type} is not supported, only Unigram (1): "
            "convert it to a tokenizer.json and put that beside it"
        )
    vocabulary = _vocabulary(model, family)
    tokenizer = Tokenizer(Unigram(vocabulary, unk_id=3, byte_fallback=False))
    tokenizer.add_tokens(
        [
            AddedToken(text, normalized=False, special=kind == CONTROL)
            for text, _, kind in model.pieces
            if kind in (CONTROL, USER_DEFINED)
        ]
    )
    steps: list[normalizers.Normalizer] = [normalizers.Strip(left=False, right=True)]
    steps.append(normalizers.Replace(Regex(" {2,}"), "▁"))
    if model.precompiled_charsmap:
        steps.insert(0, normalizers.Precompiled(model.precompiled_charsmap))
    tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in ("<s>", "</s>")],
    )
    return tokenizer
