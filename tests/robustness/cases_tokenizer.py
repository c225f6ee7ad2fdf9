"""Tokenizer files that are damaged or missing, and calls of a tokenizer that are wrong or unusual."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from case import Case, Raises, Works

import bertcpp
from bertcpp.errors import InputError, InputTypeError, TokenizerError

if TYPE_CHECKING:
    from workshop import Workshop


def file(name: str, path: str, content: bytes, message: str) -> Raises:
    return Raises(name, lambda w: w.write(path, content).tokenizer(), TokenizerError, message)


def call(name: str, message: str, *args: Any, error: type = InputError, **options: Any) -> Raises:
    return Raises(name, lambda w: w.tokenizer()(*args, **options), error, message)


def as_lists(batch: Any) -> dict[str, Any]:
    return {name: np.asarray(value).tolist() for name, value in batch.items()}


def same(name: str, *args: Any, **options: Any) -> Works:
    return Works(
        name,
        lambda w: as_lists(w.tokenizer()(*args, **options)),
        lambda w: as_lists(w.reference_tokenizer()(*args, **options)),
    )


def with_json(w: Workshop, change: Any) -> Any:
    """Load from a tokenizer.json that `change` has made of a sound one."""
    w.tokenizer().save_pretrained(w.folder)
    path = w.folder / "tokenizer.json"
    path.write_bytes(change(path.read_bytes()))
    return w.tokenizer()


CASES: list[Case] = [
    # Files.
    Raises(
        "no files",
        lambda w: w.remove("vocab.txt", "tokenizer_config.json").tokenizer(),
        TokenizerError,
        r"no tokenizer\.json and no vocab\.txt for BertTokenizer",
    ),
    Raises("no vocabulary", lambda w: w.remove("vocab.txt").tokenizer(), TokenizerError, r"no vocab\.txt"),
    Raises(
        "nothing that names a class",
        lambda w: w.remove("config.json", "tokenizer_config.json").tokenizer(),
        TokenizerError,
        "names a tokenizer",
    ),
    file("an empty vocabulary", "vocab.txt", b"", r"vocab\.txt: the vocabulary lacks '\[CLS\]'"),
    file("a vocabulary without [UNK]", "vocab.txt", b"[PAD]\n[CLS]\n[SEP]\n", r"lacks '\[UNK\]', the unk_token"),
    file("a vocabulary that is not UTF-8", "vocab.txt", b"[PAD]\n\xff\xfe\n", "vocab.txt: not UTF-8 text"),
    file(
        "tokenizer_config.json cut off",
        "tokenizer_config.json",
        b'{"do_lower',
        r"tokenizer_config\.json: not valid JSON",
    ),
    file(
        "tokenizer_config.json is a list", "tokenizer_config.json", b"[]", "holds a JSON list where an object is needed"
    ),
    file(
        "an unknown class", "tokenizer_config.json", b'{"tokenizer_class": "LlamaTokenizer"}', "'LlamaTokenizer' is not"
    ),
    file(
        "a class that is a number", "tokenizer_config.json", b'{"tokenizer_class": 7}', "tokenizer_class 7 is not known"
    ),
    file("tokenizer.json is empty", "tokenizer.json", b"", r"tokenizer\.json: not a tokenizer\.json"),
    file("tokenizer.json is no object", "tokenizer.json", b"[1]", r"tokenizer\.json: not a tokenizer\.json"),
    file("tokenizer.json without a model", "tokenizer.json", b'{"version": "1.0"}', "not a tokenizer.json that"),
    file(
        "tokenizer.json of the future",
        "tokenizer.json",
        b'{"version": "9.0", "model": {}}',
        "not a tokenizer.json that",
    ),
    file(
        "special_tokens_map.json cut off", "special_tokens_map.json", b"{", r"special_tokens_map\.json: not valid JSON"
    ),
    file("added_tokens.json is a list", "added_tokens.json", b"[]", r"added_tokens\.json: holds a JSON list"),
    file("added_tokens.json to words", "added_tokens.json", b'{"x": "y"}', "added tokens.*malformed"),
    file(
        "added_tokens_decoder is a list",
        "tokenizer_config.json",
        b'{"tokenizer_class": "BertTokenizer", "added_tokens_decoder": []}',
        "added tokens|added_tokens_decoder",
    ),
    Raises(
        "tokenizer.json cut off", lambda w: with_json(w, lambda b: b[:-9]), TokenizerError, "not a tokenizer.json that"
    ),
    Raises(
        "the model of an unknown kind",
        lambda w: with_json(w, lambda b: b.replace(b'"WordPiece"', b'"LetterPiece"')),
        TokenizerError,
        "not a tokenizer.json that",
    ),
    Raises("AutoTokenizer itself", lambda w: bertcpp.AutoTokenizer(), InputError, r"AutoTokenizer\.from_pretrained"),
    # Texts.
    call("no text", "no text: pass text="),
    call("None", "no text", None),
    call("a number", "text", 7),
    call("bytes", "text", b"the cat"),
    call("a dictionary", "text", {"text": "a"}),
    call("a set", "text", {"a"}),
    call("a generator", "text", (word for word in ["a"])),
    call("a list of numbers", "text", [1, 2]),
    call("a list with None", "text 1 has NoneType where a string is needed", ["a", None], error=InputTypeError),
    call("a list with a number", "text 1 has int where a string is needed: 3", ["a", 3], error=InputTypeError),
    call("a triple", "text 0 is a tuple of 3: it must be", [("a", "b", "c")], error=InputTypeError),
    call("a pair that is a number", "text_pair", "a", 3),
    call("a list and a string", "text is a list, so text_pair must be", ["a"], "b"),
    call("lists of different lengths", "text has 1 entries but text_pair has 2", ["a"], ["b", "c"]),
    call(
        "words that are no strings",
        "text 0 has str where a list of words is needed",
        [["a", 1]],
        error=InputTypeError,
        is_split_into_words=True,
    ),
    # Options.
    call("an unknown kind of tensor", "return_tensors='jax' is not known: use 'pt'", "a", return_tensors="jax"),
    call("tensors of rows that differ", "pad", ["a", "a cat"], return_tensors="pt"),
    call("an unknown padding", "padding='longst' is not known", "a", padding="longst"),
    call("an unknown truncation", "truncation='all' is not known", "a", truncation="all"),
    call("an unknown side", "padding_side must be 'right' or 'left', not 'top'", "a", padding_side="top"),
    call("a negative length", "max_length must be at least 0, not -1", "a", truncation=True, max_length=-1),
    call("a length in a word", "max_length must be a whole number, not str", "a", truncation=True, max_length="8"),
    call("a fractional length", "max_length must be a whole number, not float", "a", truncation=True, max_length=8.5),
    call(
        "no room for the special tokens",
        "max_length=1 has no room for the 2 special",
        "a",
        truncation=True,
        max_length=1,
    ),
    call(
        "a negative stride", "stride must be at least 0, not -3", "a cat sat", truncation=True, max_length=4, stride=-3
    ),
    call("a stride as long as the text", "stride", "a cat sat on the mat", truncation=True, max_length=5, stride=3),
    call(
        "a second text that is not there",
        "needs pairs of texts",
        "a cat sat on the mat",
        truncation="only_second",
        max_length=4,
    ),
    call("an unknown option", "unexpected keyword argument 'paddding'", "a", error=TypeError, paddding=True),
    Raises("no batch to pad", lambda w: w.tokenizer().pad({}), InputError, "input_ids"),
    Raises("an id that is a word", lambda w: w.tokenizer().decode("seven"), InputError, "token ids are whole numbers"),
    Raises("a negative id", lambda w: w.tokenizer().decode([-1]), InputError, r"token id -1 is outside"),
    # Unusual but sound.
    same("an empty string", ""),
    same("padded to a multiple of 0", "a", padding=True, pad_to_multiple_of=0),
    Works(
        "an empty list",
        lambda w: dict(w.tokenizer()([])),
        lambda w: {"input_ids": [], "token_type_ids": [], "attention_mask": []},
    ),
    Works("an empty list to tensors", lambda w: w.tokenizer()([], return_tensors="np").input_ids.shape, lambda w: (0,)),
    same("empty strings", ["", ""]),
    same("blanks", " \t\n "),
    same("control characters", "a\0cat\x7f\u200b\ufffd sat"),
    same("a lone surrogate is replaced", "a cat"),
    same("words that nobody knows", "Zyzzyva ☃ 猫 🐈"),
    same("accents", "A CÄT sät"),
    same("special tokens in the text", "[CLS] a [SEP] [MASK] cats"),
    same("a word of 1,000 letters", "a" * 1000),
    same("10,000 words", "cat " * 10_000, truncation=True),
    same("an empty pair", "a", ""),
    same("pairs", [("a cat", "sat"), ("on", "the mat")], padding=True),
    same("cut to the special tokens alone", "a cat", truncation=True, max_length=2),
    same("padded to a multiple", ["a", "a cat sat"], padding=True, pad_to_multiple_of=8, return_tensors="np"),
    same("padded to 16", "a", padding="max_length", max_length=16),
    same("words", [["the", "cats"], ["a"]], is_split_into_words=True, padding=True),
    Works(
        "carriage returns in the vocabulary",
        lambda w: (
            w.write("vocab.txt", (w.folder / "vocab.txt").read_bytes() + "a\u2028b\n".encode()).tokenizer().vocab_size
        ),
        lambda w: 16,
    ),
]
