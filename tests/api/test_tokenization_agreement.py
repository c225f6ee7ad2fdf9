"""Every output of our tokenizers is transformers' own, for every family, option and kind of text."""

from __future__ import annotations

import itertools
import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tokenizer_checkpoints as checkpoints
import transformers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizer_checkpoints import COLUMNS, FAMILIES, LONG_TEXT, TEXTS, Sides, agree, outcome, same

import bertcpp

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {family: checkpoints.save(family, tmp_path_factory.mktemp(family)) for family in FAMILIES}


@pytest.fixture(scope="module")
def all_sides(folders: dict[str, Path], minilm: Path) -> dict[str, Sides]:
    made = {
        family: Sides(
            checkpoints.our_class(family).from_pretrained(folder),
            checkpoints.reference_class(family).from_pretrained(folder),
        )
        for family, folder in folders.items()
    }
    made["MiniLM"] = Sides(
        bertcpp.BertTokenizer.from_pretrained(minilm), transformers.BertTokenizerFast.from_pretrained(minilm)
    )
    return made


EVERY_FAMILY = [*FAMILIES, "MiniLM"]


@pytest.fixture(params=EVERY_FAMILY)
def sides(request: pytest.FixtureRequest, all_sides: dict[str, Sides]) -> Sides:
    return all_sides[request.param]


def test_single_texts(sides: Sides) -> None:
    for text in [*TEXTS, LONG_TEXT]:
        agree(sides, text, **COLUMNS)
        agree(sides, text)


def test_batches(sides: Sides) -> None:
    agree(sides, TEXTS)
    agree(sides, TEXTS, padding=True, **COLUMNS)
    agree(sides, tuple(TEXTS), padding="longest", return_tensors="np", **COLUMNS)
    agree(sides, TEXTS, return_tensors="np")  # ragged


def test_pairs(sides: Sides) -> None:
    for first, second in itertools.islice(itertools.permutations(TEXTS, 2), 0, 600, 29):
        agree(sides, first, second, **COLUMNS)
    second = TEXTS[::-1]
    agree(sides, TEXTS, second, padding=True, **COLUMNS)
    pairs = list(zip(TEXTS, second, strict=True))
    agree(sides, pairs, padding=True, **COLUMNS)
    agree(sides, [list(pair) for pair in pairs], **COLUMNS)
    agree(sides, [pairs[0], TEXTS[1], pairs[2]], padding=True)


@pytest.mark.parametrize(
    "truncation", [True, False, None, "longest_first", "only_first", "only_second", "do_not_truncate"]
)
@pytest.mark.parametrize("padding", [True, False, "longest", "max_length", "do_not_pad"])
def test_padding_and_truncation(sides: Sides, padding: Any, truncation: Any) -> None:
    texts = [TEXTS[i] for i in (0, 2, 3, 4, 12, 17)]
    for max_length in (None, 8):
        for pairs in (None, texts[::-1]):
            agree(sides, texts, pairs, padding=padding, truncation=truncation, max_length=max_length, **COLUMNS)
    agree(sides, LONG_TEXT, padding=padding, truncation=truncation, **COLUMNS)
    agree(sides, TEXTS[2], padding=padding, truncation=truncation, max_length=9, return_tensors="np")


@pytest.mark.parametrize("stride", [0, 3])
@pytest.mark.parametrize("truncation", [True, "only_first", "only_second"])
def test_overflowing(sides: Sides, truncation: Any, stride: int) -> None:
    options: dict[str, Any] = {"truncation": truncation, "stride": stride, "return_overflowing_tokens": True, **COLUMNS}
    texts = [TEXTS[i] for i in (0, 1, 2, 3, 12, 20)]
    for max_length in (8, 12):
        agree(sides, texts, max_length=max_length, **options)
        agree(sides, texts, texts[::-1], max_length=max_length, **options)
        agree(sides, texts, padding="max_length", max_length=max_length, return_tensors="np", **options)
        agree(sides, TEXTS[2], max_length=max_length, **options)
        agree(sides, LONG_TEXT, max_length=max_length, **options)


def test_shortest_lengths(sides: Sides) -> None:
    special = sides.ours.num_special_tokens_to_add(), sides.ours.num_special_tokens_to_add(pair=True)
    assert special == (
        sides.reference.num_special_tokens_to_add(),
        sides.reference.num_special_tokens_to_add(pair=True),
    )
    for length in range(special[0], 8):
        agree(sides, TEXTS[2], truncation=True, max_length=length, **COLUMNS)
    for length in range(special[1], 12):
        for truncation in (True, "only_first", "only_second"):
            agree(sides, TEXTS[0], TEXTS[2], truncation=truncation, max_length=length, **COLUMNS)
    for length in range(5):
        agree(sides, TEXTS[2], truncation=True, max_length=length, add_special_tokens=False, **COLUMNS)


def test_sides_and_multiples(folders: dict[str, Path]) -> None:
    for family, folder in folders.items():
        options = {"padding_side": "left", "truncation_side": "left", "model_max_length": 20}
        sides = Sides(
            checkpoints.our_class(family).from_pretrained(folder, **options),
            checkpoints.reference_class(family).from_pretrained(folder, **options),
        )
        for multiple in (None, 1, 4, 7):
            agree(sides, TEXTS, padding=True, pad_to_multiple_of=multiple, **COLUMNS)
        agree(sides, TEXTS, TEXTS[::-1], padding=True, truncation=True, **COLUMNS)
        agree(sides, TEXTS, padding=True, truncation=True, padding_side="right", max_length=12, **COLUMNS)
        agree(sides, TEXTS, truncation=True, stride=2, return_overflowing_tokens=True, max_length=9, **COLUMNS)
        agree(sides, TEXTS, padding="max_length", truncation=True, max_length=16, pad_to_multiple_of=8)
        agree(sides, TEXTS, padding="max_length", truncation=True, max_length=15, pad_to_multiple_of=8)
        agree(sides, TEXTS, padding="max_length", max_length=15, pad_to_multiple_of=8)


def test_without_special_tokens(sides: Sides) -> None:
    for texts in (TEXTS, list(zip(TEXTS, TEXTS[::-1], strict=True))):
        agree(sides, texts, add_special_tokens=False, **COLUMNS)
        agree(sides, texts, add_special_tokens=False, padding=True, truncation=True, max_length=6, **COLUMNS)
    agree(sides, TEXTS, split_special_tokens=True, **COLUMNS)
    agree(sides, TEXTS, split_special_tokens=True, truncation=True, max_length=7, **COLUMNS)
    agree(sides, TEXTS, **COLUMNS)  # and nothing of that stays behind


def test_words(sides: Sides, folders: dict[str, Path]) -> None:
    if isinstance(sides.ours, bertcpp.RobertaTokenizer):
        agree(sides, ["two", "words"], is_split_into_words=True)
        folder = folders["RobertaTokenizer"]
        sides = Sides(
            bertcpp.RobertaTokenizer.from_pretrained(folder, add_prefix_space=True),
            transformers.RobertaTokenizerFast.from_pretrained(folder, add_prefix_space=True),
        )
        agree(sides, TEXTS, **COLUMNS)
    words = [text.split(" ") for text in TEXTS]
    agree(sides, words, is_split_into_words=True, padding=True, **COLUMNS)
    agree(sides, words[0], is_split_into_words=True, **COLUMNS)
    agree(sides, words[2], words[0], is_split_into_words=True, **COLUMNS)
    agree(sides, words, words[::-1], is_split_into_words=True, truncation=True, max_length=15, **COLUMNS)
    agree(sides, [], is_split_into_words=True)
    agree(sides, [[]], is_split_into_words=True)


@pytest.mark.parametrize(
    "texts",
    [
        (None,), ([None],), (["a", None],), (["a", b"b"],), (b"a",), (3,), ([1, 2],), ({"a": 1},), (["a"], ["b", "c"]),
        (["a"], "b"), ("a", ["b"]), ("a", ["b", "c"]), (["a"], [None]), ([("a", "b", "c")],), ([("a", 1)],),
        ("\ud800",),
        (["a", "x\udfff"],), (np.array(["a", "b"]),), ([("a", None)],), (["a", ["b"]],), (float("nan"),), (["a", 1.5],),
    ],
)  # fmt: skip
def test_what_is_no_text_is_refused_by_both(all_sides: dict[str, Sides], texts: tuple[Any, ...]) -> None:
    sides = all_sides["BertTokenizer"]
    assert isinstance(outcome(sides.reference, *texts), Exception)
    ours = outcome(sides.ours, *texts)
    assert isinstance(ours, bertcpp.errors.InputError)
    assert isinstance(ours, ValueError)
    assert len(str(ours)) > 20


def test_strings_of_numpy_are_strings(all_sides: dict[str, Sides]) -> None:
    agree(all_sides["BertTokenizer"], [np.str_("a b"), "c"], **COLUMNS)
    agree(all_sides["BertTokenizer"], "a", "")
    agree(all_sides["BertTokenizer"], ["a"], [""])


def test_labels(sides: Sides) -> None:
    agree(sides, text_target=TEXTS[0])
    agree(sides, TEXTS[:3], text_target=TEXTS[3:6], padding=True)


def test_torch_tensors(sides: Sides) -> None:
    import torch

    for options in ({}, COLUMNS):
        theirs = sides.reference(TEXTS, TEXTS[::-1], padding=True, return_tensors="pt", **options)
        ours = sides.ours(TEXTS, TEXTS[::-1], padding=True, return_tensors="pt", **options)
        assert list(ours) == list(theirs)
        for key, value in theirs.items():
            assert ours[key].dtype == value.dtype
            assert torch.equal(ours[key], value)
        assert ours.to("cpu") is ours
    assert isinstance(outcome(sides.ours, TEXTS, return_tensors="pt"), ValueError)
    assert isinstance(outcome(sides.reference, TEXTS, return_tensors="pt"), ValueError)


def test_maps_between_tokens_words_and_characters(sides: Sides) -> None:
    texts = [TEXTS[i] for i in (0, 7, 10, 12)]
    ours, theirs = sides.ours(texts, texts[::-1]), sides.reference(texts, texts[::-1])
    assert ours.n_sequences == theirs.n_sequences == 2
    for row, text in enumerate(texts):
        for method in ("tokens", "word_ids", "sequence_ids"):
            assert getattr(ours, method)(row) == getattr(theirs, method)(row)
        for token in range(len(ours["input_ids"][row])):
            assert ours.token_to_chars(row, token) == theirs.token_to_chars(row, token)
            assert ours.token_to_word(row, token) == theirs.token_to_word(row, token)
            assert ours.token_to_sequence(row, token) == theirs.token_to_sequence(row, token)
        for character in range(len(text)):
            assert ours.char_to_token(row, character) == theirs.char_to_token(row, character)
            assert ours.char_to_word(row, character) == theirs.char_to_word(row, character)
        for sequence in (0, 1):
            assert ours.word_to_tokens(row, 0, sequence) == theirs.word_to_tokens(row, 0, sequence)
            assert ours.word_to_chars(row, 0, sequence) == theirs.word_to_chars(row, 0, sequence)


def test_other_ways_to_call(sides: Sides) -> None:
    ours, theirs = sides
    for text in TEXTS:
        assert ours.encode(text) == theirs.encode(text)
        assert ours.encode(text, "pair", add_special_tokens=False) == theirs.encode(
            text, "pair", add_special_tokens=False
        )
        assert ours.tokenize(text) == theirs.tokenize(text)
        assert ours.tokenize(text, "pair", add_special_tokens=True) == theirs.tokenize(
            text, "pair", add_special_tokens=True
        )
    same(ours.encode_plus(TEXTS[0], TEXTS[1]), theirs.encode_plus(TEXTS[0], TEXTS[1]))
    same(ours.batch_encode_plus(TEXTS, padding=True), theirs.batch_encode_plus(TEXTS, padding=True))
    pairs = list(zip(TEXTS, TEXTS[::-1], strict=True))
    same(ours.batch_encode_plus(pairs, padding=True), theirs.batch_encode_plus(pairs, padding=True))


def test_back_to_text(sides: Sides) -> None:
    ours, theirs = sides
    rows = ours(TEXTS)["input_ids"]
    for skip, clean in itertools.product((False, True), (None, False, True)):
        options = {"skip_special_tokens": skip, "clean_up_tokenization_spaces": clean}
        assert ours.batch_decode(rows, **options) == theirs.batch_decode(rows, **options)
        assert ours.decode(np.array(rows[2]), **options) == theirs.decode(np.array(rows[2]), **options)
    assert ours.decode(rows[0][1]) == theirs.decode(rows[0][1])
    for row in rows:
        tokens = ours.convert_ids_to_tokens(row)
        assert tokens == theirs.convert_ids_to_tokens(row)
        assert ours.convert_ids_to_tokens(row, skip_special_tokens=True) == theirs.convert_ids_to_tokens(
            row, skip_special_tokens=True
        )
        assert ours.convert_tokens_to_ids(tokens) == theirs.convert_tokens_to_ids(tokens)
        assert ours.convert_tokens_to_string(tokens) == theirs.convert_tokens_to_string(tokens)
    assert ours.convert_ids_to_tokens(10**6) is None
    assert theirs.convert_ids_to_tokens(10**6) is None
    assert ours.convert_tokens_to_ids("no such token") == theirs.convert_tokens_to_ids("no such token")


ATTRIBUTES = [
    "all_special_ids", "all_special_tokens", "special_tokens_map", "additional_special_tokens", "vocab_size",
    "additional_special_tokens_ids", "model_max_length", "padding_side", "truncation_side", "model_input_names",
    "max_len_single_sentence", "max_len_sentences_pair", "clean_up_tokenization_spaces", "added_tokens_encoder",
    "pad_token_type_id", "is_fast",
    *(f"{name}_token{end}" for name in ("cls", "sep", "pad", "unk", "mask", "bos", "eos") for end in ("", "_id")),
]  # fmt: skip


def test_attributes(sides: Sides) -> None:
    for name in ATTRIBUTES:
        assert getattr(sides.ours, name) == getattr(sides.reference, name), name
    assert len(sides.ours) == len(sides.reference)
    assert sides.ours.get_vocab() == sides.reference.get_vocab()
    assert sides.ours.get_added_vocab() == sides.reference.get_added_vocab()
    decoders = [{i: repr(t) for i, t in side.added_tokens_decoder.items()} for side in sides]
    assert decoders[0] == decoders[1]


def test_sequences_of_ids(sides: Sides) -> None:
    ours, theirs = sides
    first, second = list(range(10, 21)), list(range(30, 37))
    for pair in ((first,), (first, second), ([], second)):
        assert ours.build_inputs_with_special_tokens(*pair) == theirs.build_inputs_with_special_tokens(*pair)
        if not isinstance(ours, (bertcpp.BertTokenizer, bertcpp.DistilBertTokenizer, bertcpp.ElectraTokenizer)):
            expected = theirs.create_token_type_ids_from_sequences(*pair)
            assert ours.create_token_type_ids_from_sequences(*pair) == expected
        else:
            types = ours.create_token_type_ids_from_sequences(*pair)
            assert types == theirs.create_token_type_ids_from_sequences(*pair)
            assert len(types) == len(ours.build_inputs_with_special_tokens(*pair))
    row = ours(TEXTS[0])["input_ids"]
    assert ours.get_special_tokens_mask(row, already_has_special_tokens=True) == theirs.get_special_tokens_mask(
        row, already_has_special_tokens=True
    )
    for count, strategy in itertools.product((0, 1, 4, 6), ("longest_first", "only_first", "only_second")):
        options = {"num_tokens_to_remove": count, "truncation_strategy": strategy, "stride": 2}
        assert ours.truncate_sequences(first, second, **options) == theirs.truncate_sequences(first, second, **options)
        if strategy != "only_second":
            assert ours.truncate_sequences(first, **options) == theirs.truncate_sequences(first, **options)


def test_pad(sides: Sides) -> None:
    ours, theirs = sides
    for options in (
        {}, {"padding": "max_length", "max_length": 40}, {"pad_to_multiple_of": 8}, {"padding_side": "left"},
        {"return_tensors": "np"}, {"padding": False}, {"padding": "max_length"},
    ):  # fmt: skip
        for make in (
            lambda side: side(TEXTS[:6], return_special_tokens_mask=True),
            lambda side: [side(text) for text in TEXTS[:6]],
            lambda side: {"input_ids": [[5, 6, 7], [8], []]},
        ):
            if options == {"padding": False}:
                options = {**options, "return_attention_mask": True}
            expected, got = theirs.pad(make(theirs), **options), ours.pad(make(ours), **options)
            assert sorted(got) == sorted(expected)
            for key in expected:
                assert np.array_equal(np.asarray(got[key], dtype=object), np.asarray(expected[key], dtype=object)), key
        single = ours.pad(ours(TEXTS[0]), **options)
        reference = theirs.pad(theirs(TEXTS[0]), **options)
        assert {k: np.asarray(v).tolist() for k, v in single.items()} == {
            k: np.asarray(v).tolist() for k, v in reference.items()
        }
    arrays = ours.pad([{"input_ids": np.arange(3)}, {"input_ids": np.arange(5)}])
    assert isinstance(arrays["input_ids"], np.ndarray)
    assert arrays["input_ids"].shape == (2, 5)


@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize("max_length", [None, 5, 20])
def test_encode_ids(sides: Sides, max_length: int | None, pairs: bool) -> None:
    texts = [*TEXTS, LONG_TEXT]
    second = texts[::-1] if pairs else None
    encoded = sides.ours.encode_ids(texts, max_length, second)
    logging.disable(logging.WARNING)
    uncut = sides.reference(texts, second)
    logging.disable(logging.NOTSET)
    cut = {"truncation": True, "max_length": max_length} if max_length else {}
    expected = sides.reference(texts, second, return_token_type_ids=True, verbose=False, **cut)
    assert len(encoded) == len(texts)
    assert encoded.lengths.tolist() == [len(row) for row in expected["input_ids"]]
    assert encoded.input_ids.tolist() == [i for row in expected["input_ids"] for i in row]
    types = np.zeros_like(encoded.input_ids) if encoded.token_type_ids is None else encoded.token_type_ids
    assert types.tolist() == [i for row in expected["token_type_ids"] for i in row]
    assert encoded.truncated.tolist() == [len(row) > (max_length or 10**9) for row in uncut["input_ids"]]
    for i in (0, 5, 12):
        alone = sides.ours.encode_ids([texts[i]], max_length, second and [second[i]])
        assert np.array_equal(alone.input_ids, encoded.input_ids[slice(*encoded.cu_seqlens[i : i + 2])])


def test_encode_ids_cuts_on_the_left(folders: dict[str, Path]) -> None:
    for family, folder in folders.items():
        ours = checkpoints.our_class(family).from_pretrained(folder, truncation_side="left")
        theirs = checkpoints.reference_class(family).from_pretrained(folder, truncation_side="left")
        for second in (None, TEXTS[::-1]):
            encoded = ours.encode_ids(TEXTS, 9, second)
            expected = theirs(TEXTS, second, truncation=True, max_length=9)["input_ids"]
            assert encoded.input_ids.tolist() == [i for row in expected for i in row]


CHARACTERS = st.one_of(
    st.text(max_size=60),
    st.text(alphabet="ab cdeéüß.,'!?-\t\n[]<>/", max_size=80),
    st.lists(st.sampled_from([*TEXTS, "[MASK]", "<mask>", "</s>", " ", "你好", "😀"]), max_size=4).map(" ".join),
)
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "add_special_tokens": st.booleans(),
        "padding": st.sampled_from([True, False, "longest", "max_length", "do_not_pad"]),
        "truncation": st.sampled_from([True, False, "longest_first", "only_first", "only_second"]),
        "max_length": st.integers(5, 40),
        "stride": st.integers(0, 4),
        "pad_to_multiple_of": st.sampled_from([None, 1, 5, 8]),
        "padding_side": st.sampled_from([None, "left", "right"]),
        "return_overflowing_tokens": st.booleans(),
        "split_special_tokens": st.booleans(),
        "return_tensors": st.sampled_from([None, "np"]),
        **{name: st.sampled_from([True, False]) for name in COLUMNS},
    },
)


@pytest.mark.parametrize("family", EVERY_FAMILY)
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_anything(all_sides: dict[str, Sides], family: str, data: st.DataObject) -> None:
    texts = data.draw(st.lists(CHARACTERS, min_size=1, max_size=4))
    second = data.draw(st.one_of(st.none(), st.lists(CHARACTERS, min_size=len(texts), max_size=len(texts))))
    options = data.draw(OPTIONS)
    agree(all_sides[family], texts, second, **options)
    agree(all_sides[family], texts[0], second and second[0], **options)
