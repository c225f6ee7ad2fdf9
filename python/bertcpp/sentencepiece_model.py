"""Reads SentencePiece model files (a protocol buffer) and builds the equal Unigram tokenizer from them."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import Unigram

from .character_map import is_sound
from .errors import TokenizerError
from .protobuf_wire import as_bytes, as_int, fields

if TYPE_CHECKING:
    import os

__all__ = ["SentencePieceModel", "build_sentencepiece_tokenizer", "read_sentencepiece_model"]

# Field numbers of sentencepiece_model.proto.
PIECES, TRAINER_SPEC, NORMALIZER_SPEC = 1, 2, 3
PIECE_TEXT, PIECE_SCORE, PIECE_TYPE = 1, 2, 3
MODEL_TYPE, PRECOMPILED_CHARSMAP = 3, 2
UNIGRAM = 1
CONTROL, USER_DEFINED = 3, 4


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


def _piece(data: bytes) -> tuple[str, float, int]:
    text, score, kind = "", 0.0, 1
    for number, value in fields(data):
        if number == PIECE_TEXT:
            text = as_bytes(value).decode("utf-8")
        elif number == PIECE_SCORE:
            (score,) = struct.unpack("<f", as_bytes(value))
        elif number == PIECE_TYPE:
            kind = as_int(value)
    return text, score, kind


def read_sentencepiece_model(path: str | os.PathLike[str]) -> SentencePieceModel:
    """Read a ``.model`` file.

    Raises:
        TokenizerError: the file is not a SentencePiece model, or is damaged.
    """
    model = SentencePieceModel()
    try:
        for number, value in fields(Path(path).read_bytes()):
            if number == PIECES:
                model.pieces.append(_piece(as_bytes(value)))
            elif number == TRAINER_SPEC:
                specification = dict(fields(as_bytes(value)))
                model.model_type = as_int(specification.get(MODEL_TYPE, UNIGRAM))
            elif number == NORMALIZER_SPEC:
                specification = dict(fields(as_bytes(value)))
                model.precompiled_charsmap = as_bytes(specification.get(PRECOMPILED_CHARSMAP, b""))
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
        TokenizerError: the file is not a Unigram SentencePiece model, or is damaged.
    """
    model = read_sentencepiece_model(path)
    if model.model_type != UNIGRAM:
        raise TokenizerError(
            f"{path}: SentencePiece model type {model.model_type} is not supported, only Unigram (1): "
            "convert it to a tokenizer.json and put that beside it"
        )
    vocabulary = _vocabulary(model, family)
    if missing := sorted({"<s>", "</s>"} - {text for text, _ in vocabulary}):
        raise TokenizerError(
            f"{path}: its pieces lack {missing[0]!r}, so it is not of {family}, or damaged: download it again, "
            "or save a tokenizer.json beside it"
        )
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
        if not is_sound(model.precompiled_charsmap):
            raise TokenizerError(
                f"{path}: its table of normalized characters is damaged: download it again, "
                "or save a tokenizer.json beside it"
            )
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
