"""What our tokenizers promise beyond transformers' results: threads, copies, clear errors, little to import."""

from __future__ import annotations

import copy
import logging
import pickle
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tokenizer_checkpoints as checkpoints
from tokenizer_checkpoints import FAMILIES, LONG_TEXT, TEXTS
from tokenizers import AddedToken

from bertcpp import BatchEncoding, BertTokenizer, RobertaTokenizer
from bertcpp.errors import InputError, InputTypeError, TokenizerError
from bertcpp.tokenization import EncodedIds
from bertcpp.tokenizer_backend import TWINS_KEPT, kept_lengths

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {family: checkpoints.save(family, tmp_path_factory.mktemp(family)) for family in FAMILIES}


@pytest.fixture
def bert(folders: dict[str, Path]) -> BertTokenizer:
    return BertTokenizer.from_pretrained(folders["BertTokenizer"])


# Threads.


def test_threads_share_one_tokenizer(minilm: Path, seed: int) -> None:
    """Eight threads mix every kind of call on one tokenizer; each result is what one thread alone gets."""
    tokenizer = BertTokenizer.from_pretrained(minilm)
    chance = random.Random(seed)

    def one_call() -> tuple[str, tuple[Any, ...], dict[str, Any]]:
        texts = chance.choices(TEXTS, k=chance.randint(1, 5))
        kind = chance.choice(["call", "call", "call", "encode_ids", "decode"])
        if kind == "encode_ids":
            return kind, (texts, chance.choice([None, 4, 16, 128])), {}
        if kind == "decode":
            return kind, ([chance.randrange(30000) for _ in range(20)],), {"skip_special_tokens": True}
        options: dict[str, Any] = {
            "padding": chance.choice([True, False, "max_length"]),
            "truncation": chance.choice([True, False, "only_first"]),
            "max_length": chance.randint(4, 24),
            "stride": chance.randint(0, 1),
            "return_overflowing_tokens": chance.random() < 0.5,
            "padding_side": chance.choice(["left", "right"]),
            "split_special_tokens": chance.random() < 0.3,
            "return_offsets_mapping": True,
            "verbose": False,
        }
        return kind, (texts,), options

    calls = [one_call() for _ in range(400)]

    def make(call: tuple[str, tuple[Any, ...], dict[str, Any]]) -> Any:
        kind, texts, options = call
        result = {"call": tokenizer, "encode_ids": tokenizer.encode_ids, "decode": tokenizer.decode}[kind](
            *texts, **options
        )
        if isinstance(result, EncodedIds):
            return result.input_ids.tolist(), result.cu_seqlens.tolist(), result.truncated.tolist()
        return dict(result) if isinstance(result, BatchEncoding) else result

    expected = [make(call) for call in calls]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            order = list(range(len(calls)))
            chance.shuffle(order)
            got = list(pool.map(make, [calls[i] for i in order]))
            assert got == [expected[i] for i in order]
    assert tokenizer.backend_tokenizer.truncation is None
    assert tokenizer.backend_tokenizer.padding is None


def test_a_thread_may_add_tokens_while_others_encode(bert: BertTokenizer) -> None:
    size = len(bert)

    def add(number: int) -> int:
        return bert.add_tokens([f"added{number}word"])

    def encode(_: int) -> int:
        return len(bert(TEXTS, truncation=True, max_length=12)["input_ids"])

    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(add if i % 4 == 0 else encode, i) for i in range(80)]
        results = [job.result() for job in jobs]
    assert [results[i] for i in range(0, 80, 4)] == [1] * 20
    assert len(bert) == size + 20
    assert bert.tokenize("x added40word") == ["x", "added40word"]


def test_twins_are_forgotten_in_the_end(bert: BertTokenizer) -> None:
    for length in range(2, 2 * TWINS_KEPT):
        assert len(bert(LONG_TEXT, truncation=True, max_length=length)["input_ids"]) == length
    assert len(bert._backend._twins) == TWINS_KEPT


# Copies.


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))])
def test_copies(folders: dict[str, Path], family: str, way: Callable[[Any], Any]) -> None:
    tokenizer = checkpoints.our_class(family).from_pretrained(folders[family], padding_side="left", model_max_length=16)
    tokenizer.add_tokens([AddedToken("added", single_word=True)])
    other = way(tokenizer)
    assert type(other) is type(tokenizer)
    assert repr(other) == repr(tokenizer)
    options: dict[str, Any] = {"padding": True, "truncation": True, "return_offsets_mapping": True}
    assert dict(other(TEXTS, **options)) == dict(tokenizer(TEXTS, **options))
    other.add_tokens(["onlythere"])
    assert "onlythere" not in tokenizer.get_vocab()
    assert other.add_tokens(["onlythere"]) == 0
    if way is not copy.copy:
        other.pad_token = other.cls_token
        assert tokenizer.pad_token != other.pad_token


def test_what_a_call_returns_can_be_copied(bert: BertTokenizer) -> None:
    batch = bert(TEXTS[:3], padding=True, return_tensors="np")
    for other in (copy.copy(batch), copy.deepcopy(batch), pickle.loads(pickle.dumps(batch))):
        assert list(other) == list(batch)
        assert np.array_equal(other.input_ids, batch.input_ids)
        assert other.word_ids(1) == batch.word_ids(1)
        other["input_ids"] = None
    assert batch["input_ids"] is not None


# What a call returns.


def test_batch_encoding(bert: BertTokenizer) -> None:
    batch = bert(["one two", "three"], padding=True, return_tensors="np")
    assert batch.input_ids is batch["input_ids"] is batch.data["input_ids"]
    assert list(batch) == list(batch.keys()) == ["input_ids", "token_type_ids", "attention_mask"]
    assert {**batch}.keys() == batch.keys()
    assert batch[0].tokens == batch.tokens(0)
    assert batch.is_fast
    assert batch.encodings is not None
    assert (batch.n_sequences, len(batch.encodings)) == (1, 2)
    with pytest.raises(AttributeError, match="'input_ids'"):
        _ = batch.nothing
    with pytest.raises(KeyError):
        _ = batch["nothing"]
    plain = BatchEncoding({"input_ids": [[1, 2], [3, 4]]})
    assert plain[:1] == {"input_ids": [[1, 2]]}
    with pytest.raises(KeyError, match="tokenizer"):
        _ = plain[0]
    with pytest.raises(InputError, match="tokens"):
        plain.tokens()
    assert plain.convert_to_tensors("np", prepend_batch_axis=True).input_ids.shape == (1, 2, 2)
    with pytest.raises(InputError, match="'pt'"):
        plain.convert_to_tensors("mxnet")
    own = np.arange(3)
    assert BatchEncoding({"a": own}, tensor_type="np")["a"] is own


def test_moving_is_for_tensors(bert: BertTokenizer, caplog: pytest.LogCaptureFixture) -> None:
    import torch

    batch = bert(["one"], return_tensors="pt", return_offsets_mapping=True)
    assert batch.to(torch.device("cpu")) is batch.to("cpu") is batch
    with caplog.at_level(logging.WARNING):
        assert batch.to(torch.float16).input_ids.dtype == torch.int64
    assert "float16" in caplog.text
    assert bert(["one"]).to("cpu")["input_ids"] == bert(["one"])["input_ids"]


def test_nothing_is_an_empty_batch(bert: BertTokenizer) -> None:
    assert dict(bert([])) == {"input_ids": [], "token_type_ids": [], "attention_mask": []}
    assert dict(bert([], padding=True, truncation=True)) == dict(bert([]))
    for kind in ("np", "pt"):
        assert tuple(bert([], return_tensors=kind)["input_ids"].shape) == (0,)
    encoded = bert.encode_ids([])
    assert (len(encoded), encoded.cu_seqlens.tolist(), encoded.input_ids.dtype) == (0, [0], np.int32)
    assert bert("")["input_ids"] == [bert.cls_token_id, bert.sep_token_id]


# Warnings.


def test_what_is_probably_not_meant_is_said_once(bert: BertTokenizer, caplog: pytest.LogCaptureFixture) -> None:
    expected = {
        "longer than the specified maximum": lambda: bert(LONG_TEXT),
        "without truncation": lambda: bert("a", max_length=5),
    }
    for message, call in expected.items():
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            call()
            call()
        assert caplog.text.count(message) == 1
    bert.model_max_length = int(1e30)
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        assert len(bert(LONG_TEXT, truncation=True, padding="max_length")["input_ids"]) > 100
        bert(LONG_TEXT, truncation=True)
    assert caplog.text.count("names none") == 1
    caplog.clear()
    with pytest.warns(UserWarning, match="max_length does nothing"):
        bert("a", padding=True, max_length=4)
    with caplog.at_level(logging.WARNING):
        bert(LONG_TEXT, padding=True, max_length=4, verbose=False)
    assert caplog.text == ""


# Errors.

LONE = "\ud800"
WRONG: list[tuple[Callable[[BertTokenizer], Any], type[Exception], str]] = [
    (lambda t: t(), InputError, "text="),
    (lambda t: t(["a", None]), InputTypeError, "text 1 has NoneType"),
    (lambda t: t(["a", "b", 3.5]), InputTypeError, "text 2 has float"),
    (lambda t: t([b"a"]), InputError, "decode bytes"),
    (lambda t: t(["a", b"a"]), InputTypeError, "text 1 has bytes"),
    (lambda t: t(np.array(["a"])), InputError, r"tolist\(\)"),
    (lambda t: t({"text": "a"}), InputError, "not dict"),
    (lambda t: t(iter(["a"])), InputError, "iterator"),
    (lambda t: t([("a", "b", "c")]), InputTypeError, "tuple of 3"),
    (lambda t: t(["a", ["b"]]), InputTypeError, "text 1 is a list of 1"),
    (lambda t: t([LONE]), InputError, "surrogate"),
    (lambda t: t(["a"], [LONE]), InputError, "surrogate"),
    (lambda t: t("a", ["b"]), InputTypeError, "list where a string"),
    (lambda t: t(["a"], "b"), InputError, "same length"),
    (lambda t: t(["a"], ["b", "c"]), InputError, "1 entries but text_pair has 2"),
    (lambda t: t(["a", "b"], ["c"]), InputError, "2 entries"),
    (lambda t: t("a", is_split_into_words=True), InputTypeError, "list of words"),
    (lambda t: t([["a"], "b"], is_split_into_words=True), InputTypeError, "text 1 has str"),
    (lambda t: t(["a", 2], is_split_into_words=True), InputTypeError, "list of words"),
    (lambda t: t("a", max_length=1, truncation=True), InputError, "2 special tokens"),
    (lambda t: t("a", "b", max_length=2, truncation=True), InputError, "3 special tokens"),
    (lambda t: t("a", max_length=-1, truncation=True), InputError, "at least 0"),
    (lambda t: t("a", max_length=3.5, truncation=True), InputError, "whole number"),
    (lambda t: t("a", max_length="5", truncation=True), InputError, "whole number"),
    (lambda t: t("a", stride=-1), InputError, "stride"),
    (lambda t: t("a", pad_to_multiple_of=-8, padding=True), InputError, "pad_to_multiple_of"),
    (lambda t: t("a", padding="longer"), InputError, "'longest'"),
    (lambda t: t("a", truncation="first"), InputError, "'only_first'"),
    (lambda t: t("a", padding_side="middle"), InputError, "padding_side"),
    (lambda t: t("a", return_tensors="tf"), InputError, "'pt'"),
    (lambda t: t("a", return_tensors=3), InputError, "'np'"),
    (lambda t: t(["a", "a b c"], return_tensors="pt"), ValueError, "padding=True"),
    (lambda t: t("a b", truncation="only_second", max_length=3), InputError, "pairs of texts"),
    (lambda t: t(["x", "a b"], truncation="only_second", max_length=3), InputError, "text 1: .*pairs"),
    (lambda t: t("a b", "c d e", truncation="only_first", max_length=5), InputError, "longest_first"),
    (lambda t: t("a b c d e", truncation=True, max_length=5, stride=3), InputError, "stride=3 must be less than the 3"),
    (lambda t: t("a b c d", "e f g h", truncation=True, max_length=7, stride=2), InputError, "less than the 2"),
    (lambda t: t("a", padding="max_length", max_length=15, pad_to_multiple_of=8, truncation=True), InputError, "mult"),
    (lambda t: t("a", padding="max_length", max_length=10**13), InputError, "fewer texts"),
    (lambda t: t("a", padding="max_length", max_length=2**62), InputError, "fewer texts"),
    (lambda t: t("a", padding=True, pad_to_multiple_of=10**12), InputError, "fewer texts"),
    (lambda t: t("a", nonsense=1), TypeError, "nonsense"),
    (lambda t: t.encode(["a", "b"]), InputError, "batch_encode_plus"),
    (lambda t: t.encode_plus([1, 2]), InputError, "batch_encode_plus"),
    (lambda t: t.tokenize(None), InputError, "text="),
    (lambda t: t.batch_encode_plus("a"), InputError, "not str"),
    (lambda t: t.encode_ids("a"), InputError, "list of strings"),
    (lambda t: t.encode_ids(["a", None]), InputTypeError, "text 1"),
    (lambda t: t.encode_ids([LONE]), InputError, "surrogate"),
    (lambda t: t.encode_ids(["a"], 1), InputError, "2 special tokens"),
    (lambda t: t.encode_ids(["a"], -1), InputError, "at least 0"),
    (lambda t: t.encode_ids(["a"], 2, ["b"]), InputError, "3 special tokens"),
    (lambda t: t.encode_ids(["a"], 9, ["b", "c"]), InputError, "pairs has 2"),
    (lambda t: t.encode_ids([("a", "b", "c")]), InputTypeError, "tuple of 3"),
    (lambda t: t.decode("text"), InputError, "whole numbers"),
    (lambda t: t.decode([1.5]), InputError, "whole numbers"),
    (lambda t: t.decode([-1]), InputError, "-1"),
    (lambda t: t.decode(2**40), InputError, "outside"),
    (lambda t: t.convert_ids_to_tokens([None]), InputError, "whole numbers"),
    (lambda t: t.convert_ids_to_tokens(-2), InputError, "outside"),
    (lambda t: t.convert_tokens_to_ids([3]), InputError, "strings"),
    (lambda t: t.add_tokens([3]), InputError, "AddedToken"),
    (lambda t: t.add_special_tokens({"nose_token": "x"}), InputError, "cls_token"),
    (lambda t: t.add_special_tokens({"cls_token": 3}), InputError, "int"),
    (lambda t: t.add_special_tokens({"additional_special_tokens": "x"}), InputError, "list"),
    (lambda t: setattr(t, "pad_token", 3), InputError, "pad_token"),
    (lambda t: setattr(t, "additional_special_tokens", [3]), InputError, "additional"),
    (lambda t: t.pad({"attention_mask": [1]}), InputError, "input_ids"),
    (lambda t: t.pad([]), InputError, "input_ids"),
    (lambda t: t.pad({"input_ids": [[1], [2]], "attention_mask": [[1]]}), InputError, "1 rows"),
    (lambda t: t.pad({"input_ids": [[1], [2]]}, padding_side="up"), InputError, "padding_side"),
    (lambda t: t.truncate_sequences([1, 2], None, 2), InputError, "2 tokens"),
    (lambda t: t.truncate_sequences([1, 2], None, 1, "only_second"), InputError, "only_second"),
    (lambda t: t.truncate_sequences([1, 2], None, 1, "all"), InputError, "'all'"),
    (lambda t: t.get_special_tokens_mask([1, 2]), InputError, "return_special_tokens_mask"),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_what_is_wrong_is_named(bert: BertTokenizer, number: int) -> None:
    call, error, message = WRONG[number]
    with pytest.raises(error, match=message):
        call(bert)
    assert bert("a")["input_ids"] == bert.encode("a")  # and nothing is left behind


def test_sides_that_are_none(bert: BertTokenizer) -> None:
    bert.truncation_side = "up"
    bert.padding_side = "down"
    assert bert.encode_plus("a", padding_side="left")
    for call in (
        lambda: bert("a b c", truncation=True, max_length=3, padding_side="left"),
        lambda: bert.encode_ids(["a"], 3),
    ):
        with pytest.raises(InputError, match="truncation_side must be 'right' or 'left', not 'up'"):
            call()
    with pytest.raises(InputError, match="padding_side must be 'right' or 'left', not 'down'"):
        bert("a")


def test_padding_without_a_padding_token(bert: BertTokenizer) -> None:
    bert.pad_token = None
    with pytest.raises(InputError, match="add_special_tokens"):
        bert(["a", "b c"], padding=True)
    bert.pad_token_id = bert.sep_token_id
    assert bert.pad_token == "[SEP]"
    assert bert(["a", "a b c"], padding=True)["input_ids"][0][-1] == bert.sep_token_id


def test_words_need_a_prefix_space(folders: dict[str, Path]) -> None:
    with pytest.raises(InputError, match="add_prefix_space=True"):
        RobertaTokenizer.from_pretrained(folders["RobertaTokenizer"])(["a", "b"], is_split_into_words=True)


def test_unknown_characters_need_an_unknown_token(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models

    Tokenizer(models.WordPiece({"a": 0}, unk_token="[UNK]")).save(str(tmp_path / "tokenizer.json"))
    tokenizer = BertTokenizer(tokenizer_file=tmp_path / "tokenizer.json", cls_token=None, sep_token=None)
    assert tokenizer("a")["input_ids"] == [0]
    with pytest.raises(InputError, match="cls_token"):
        tokenizer.build_inputs_with_special_tokens([0])
    broken = Tokenizer(models.WordPiece({"a": 0}, unk_token="?"))
    broken.save(str(tmp_path / "tokenizer.json"))
    options: dict[str, Any] = dict.fromkeys(["unk_token", "cls_token", "sep_token", "pad_token", "mask_token"])
    tokenizer = BertTokenizer(tokenizer_file=tmp_path / "tokenizer.json", **options)
    with pytest.raises(TokenizerError, match="cannot encode"):
        tokenizer("b")
    with pytest.raises(TokenizerError, match="cannot encode"):
        tokenizer.encode_ids(["b"])


# The numbers that stay.


def test_kept_lengths_use_the_whole_budget() -> None:
    for first in range(8):
        for second in range(8):
            for budget in range(16):
                kept = kept_lengths(first, second, budget, "longest_first")
                assert kept[1] is not None
                assert sum(kept) == min(budget, first + second)  # type: ignore[arg-type]
                assert kept[0] <= first
                assert kept[1] <= second
                if sum(kept) < first + second and kept[0] < first and kept[1] < second:  # type: ignore[arg-type]
                    assert abs(kept[0] - kept[1]) <= 1


def test_encode_ids_says_what_was_cut(minilm: Path, sentences: list[str]) -> None:
    tokenizer = BertTokenizer.from_pretrained(minilm)
    encoded = tokenizer.encode_ids(sentences, 32)
    rows = tokenizer(sentences, verbose=False)["input_ids"]
    assert encoded.truncated.tolist() == [len(row) > 32 for row in rows]
    assert encoded.lengths.tolist() == [min(len(row), 32) for row in rows]
    assert encoded.input_ids.dtype == encoded.cu_seqlens.dtype == np.int32
    assert encoded.token_type_ids is None
    assert encoded.input_ids.flags.c_contiguous


# What is imported.


def test_neither_transformers_nor_torch_is_imported(minilm: Path) -> None:
    source = (
        "import sys\nfrom bertcpp import AutoTokenizer\n"
        "tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])\n"
        "tokenizer(['a', 'b c'], padding=True, truncation=True, return_tensors='np')\n"
        "tokenizer.encode_ids(['a'])\n"
        "heavy = {'torch', 'transformers', 'huggingface_hub', 'sentence_transformers', 'requests'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", source, str(minilm)], check=True)
