"""Tiny tokenizers of every family, trained here, saved as transformers saves them; and texts that are hard."""

# ruff: noqa: RUF001 -- the texts are meant to hold look-alike characters

from __future__ import annotations

import json
import shutil
import struct
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

import bertcpp

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = [
    "The weather is lovely today.",
    "It's so sunny outside, isn't it?",
    "He drove to the stadium -- 40,000 people were there already!",
    "A",
    "",
    " ",
    "\t\n leading and trailing white space \r\n",
    "Zwei große Bäche fließen über grüne Wiesen; ÄÖÜ äöü ß.",
    "Élève, garçon, naïve, Ångström, Ñandú, żółć, Ελληνικά, Привет мир",
    "e\u0301 combining o\u0308 marks, ﬁ ligature, Å angstrom sign, ½ ① ²",
    "我喜欢自然语言处理。東京タワー、서울 타워",
    "Thai ภาษาไทย, Hindi हिन्दी, Arabic مرحبا بالعالم, Hebrew שלום",
    "Emoji 😀 👩‍👩‍👧‍👦 🇩🇪 👍🏽 and ❤️ in text",
    "control\x00 chars\x07 and \u200b zero\u200dwidth \ufeff marks \u00ad soft hyphen",
    "nbsp\u00a0here, thin\u2009space, line\u2028separator, ideographic\u3000space",
    "[CLS] special [SEP] tokens [MASK] inside <s> the </s> text <mask> <pad> [PAD] [UNK] <unk>",
    "I saw a [MASK] and another <mask> . [MASK]",
    "a" * 150 + " tail of a word that is too long for WordPiece",
    "supercalifragilisticexpialidocious antidisestablishmentarianism",
    "double  spaces   and    tabs\t\tinside",
    "URLs https://example.org/a?b=c&d=%20e#f and mail@example.org, C++/C#, 3.14e-10, $5.00",
    "'quoted' \"double\" `back` “curly” ‘single’ «guillemets» – — …",
    "don't won't can't we've they're I'm he's 'tis",
    "\u0130stanbul and \u0131 dotless; ǅ Ǆ titlecase; ﷺ expands; K Kelvin",
    "private \ue000 use, unassigned \U000e0fff and astral 𝒜𝓁𝑔 𐍈",
]
CORPUS = [
    *TEXTS,
    "The quick brown fox jumps over the lazy dog. How vexingly quick daft zebras jump!",
    "Sentences of many lengths are needed so that merges and pieces are learned from them.",
    "der die das und ist nicht ein eine le la les un une est et dans pour que qui",
] * 4
LONG_TEXT = " ".join(TEXTS * 12)

BERT_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ROBERTA_SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]

FAMILIES = {
    "BertTokenizer": "bert",
    "ElectraTokenizer": "electra",
    "DistilBertTokenizer": "distilbert",
    "MPNetTokenizer": "mpnet",
    "RobertaTokenizer": "roberta",
    "XLMRobertaTokenizer": "xlm-roberta",
    "CamembertTokenizer": "camembert",
}


def _template(tokenizer: Tokenizer, start: str, end: str, doubled: bool, second_type: int) -> Any:
    between = f"{end} {end}" if doubled else end
    return processors.TemplateProcessing(
        single=f"{start} $A {end}",
        pair=f"{start} $A {between} $B:{second_type} {end}:{second_type}",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in (start, end)],
    )


def _train_word_piece(special: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    tokenizer.train_from_iterator(
        CORPUS, trainers.WordPieceTrainer(vocab_size=600, special_tokens=special, show_progress=False)
    )
    return tokenizer


def _train_byte_level() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=ROBERTA_SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    end, start = (("</s>", tokenizer.token_to_id("</s>")), ("<s>", tokenizer.token_to_id("<s>")))
    tokenizer.post_processor = processors.RobertaProcessing(sep=end, cls=start, add_prefix_space=False)
    return tokenizer


def _train_unigram(special: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace("  ", " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=400, special_tokens=special, unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = _template(tokenizer, "<s>", "</s>", True, 0)
    return tokenizer


def train(family: str) -> Tokenizer:
    if family == "RobertaTokenizer":
        return _train_byte_level()
    if family == "XLMRobertaTokenizer":
        return _train_unigram(ROBERTA_SPECIAL)
    if family == "CamembertTokenizer":
        extra = ["<s>NOTUSED", "</s>NOTUSED", "<unk>NOTUSED"]
        return _train_unigram([extra[0], "<pad>", extra[1], "<unk>", extra[2], "<s>", "</s>", "<mask>"])
    if family == "MPNetTokenizer":
        tokenizer = _train_word_piece(["<s>", "<pad>", "</s>", "<unk>", "[UNK]", "<mask>"])
        tokenizer.post_processor = _template(tokenizer, "<s>", "</s>", True, 1)
        return tokenizer
    tokenizer = _train_word_piece(BERT_SPECIAL)
    tokenizer.post_processor = _template(tokenizer, "[CLS]", "[SEP]", False, 1)
    return tokenizer


def reference_class(family: str) -> Any:
    return getattr(transformers, f"{family}Fast")


def our_class(family: str) -> Any:
    return getattr(bertcpp, family)


def save(family: str, folder: Path, **options: Any) -> Path:
    """A checkpoint's tokenizer files, written by transformers."""
    options = {"model_max_length": 64, **options}
    tokenizer = reference_class(family)(tokenizer_object=train(family), **options)
    tokenizer.save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps({"model_type": FAMILIES[family]}))
    return folder


def keep_only(source: Path, folder: Path, *names: str) -> Path:
    """A copy of some of a checkpoint's files."""
    folder.mkdir(parents=True)
    for name in names:
        shutil.copy(source / name, folder / name)
    return folder


# A SentencePiece model file, written from the specification of its protocol buffer.


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


def _field(number: int, value: bytes | int) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def sentencepiece_file(path: Path, model_type: int = 1) -> Path:
    """A Unigram model with pieces of the trained tiny vocabulary, in SentencePiece's own order."""
    vocabulary = json.loads(_train_unigram(ROBERTA_SPECIAL).to_str())["model"]["vocab"]
    pieces = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3), ("@@user@@", 0.0, 4)]
    pieces += [(text, score, 1) for text, score in vocabulary if text not in ROBERTA_SPECIAL and "\0" not in text]
    encoded = b"".join(
        _field(1, _field(1, text.encode()) + _varint(2 << 3 | 5) + struct.pack("<f", score) + _field(3, kind))
        for text, score, kind in pieces
    )
    # Unknown fields (a seed, 64 bits wide) are skipped.
    trainer = _field(3, model_type) + _field(40, 0) + _varint(99 << 3 | 1) + struct.pack("<d", 1.0)
    normalizer = _field(1, b"identity") + _field(3, 1) + _field(4, 1)
    path.write_bytes(encoded + _field(2, trainer) + _field(3, normalizer))
    return path


def sentencepiece_characters(table: bytes) -> bytes:
    """What gives a SentencePiece model this table of normalized characters, if put after it."""
    return _field(3, _field(2, table))


# Comparison.


class Sides(NamedTuple):
    ours: Any
    reference: Any


COLUMNS = {
    "return_token_type_ids": True,
    "return_attention_mask": True,
    "return_special_tokens_mask": True,
    "return_offsets_mapping": True,
    "return_length": True,
}


def outcome(tokenizer: Any, *texts: Any, **options: Any) -> Any:
    """What a call returns, or that it raised; a panic of the library counts as raised."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            return tokenizer(*texts, **options)
    except (Exception, BaseException) as error:
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise
        return error


def same(ours: Any, theirs: Any) -> None:
    """Equal keys in equal order, equal values, equal types."""
    assert list(ours) == list(theirs)
    for key, value in theirs.items():
        if isinstance(value, np.ndarray):
            assert ours[key].dtype == value.dtype
            assert ours[key].shape == value.shape
            pairs = zip(ours[key], value, strict=True) if value.dtype == object else [(ours[key], value)]
            assert all(np.array_equal(a, b) for a, b in pairs), key
        else:
            assert type(ours[key]) is type(value), key
            assert ours[key] == value, key
    for row, expected in zip(ours.encodings, theirs.encodings, strict=True):
        for name in ("ids", "tokens", "type_ids", "attention_mask", "special_tokens_mask", "word_ids", "offsets"):
            assert getattr(row, name) == getattr(expected, name), name
        assert row.sequence_ids == expected.sequence_ids


def agree(sides: Sides, *texts: Any, **options: Any) -> None:
    theirs = outcome(sides.reference, *texts, **options)
    ours = outcome(sides.ours, *texts, **options)
    if isinstance(theirs, BaseException):
        # Theirs may be a panic or a bare Exception; ours is always one that says what to do.
        assert isinstance(ours, bertcpp.errors.BertcppError), (theirs, ours)
    else:
        assert not isinstance(ours, BaseException), (texts, options, ours)
        same(ours, theirs)
