"""Tokenizers from every layout of files that checkpoints have, and saved again."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
import tokenizer_checkpoints as checkpoints
import transformers
from tokenizer_checkpoints import COLUMNS, FAMILIES, TEXTS, Sides, agree

import bertcpp
from bertcpp.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

WORD_PIECE = ["BertTokenizer", "ElectraTokenizer", "DistilBertTokenizer", "MPNetTokenizer"]
SPECIAL = ["bos_token", "eos_token", "sep_token", "cls_token", "unk_token", "pad_token", "mask_token"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {family: checkpoints.save(family, tmp_path_factory.mktemp(family)) for family in FAMILIES}


def both(family: str, folder: Path, **options: Any) -> Sides:
    return Sides(
        checkpoints.our_class(family).from_pretrained(folder, **options),
        checkpoints.reference_class(family).from_pretrained(folder, **options),
    )


def compare(sides: Sides) -> None:
    agree(sides, TEXTS, **COLUMNS)
    agree(sides, TEXTS, TEXTS[::-1], padding=True, truncation=True, max_length=21, **COLUMNS)
    ours, theirs = sides
    assert ours.special_tokens_map == theirs.special_tokens_map
    assert sorted(ours.all_special_ids) == sorted(theirs.all_special_ids)
    assert ours.model_max_length == theirs.model_max_length
    assert (ours.padding_side, ours.truncation_side) == (theirs.padding_side, theirs.truncation_side)
    flags = [
        {i: (t.content, t.special, t.lstrip, t.rstrip, t.single_word) for i, t in side.added_tokens_decoder.items()}
        for side in sides
    ]
    assert flags[0] == flags[1]
    rows = ours(TEXTS)["input_ids"]
    assert ours.batch_decode(rows, skip_special_tokens=True) == theirs.batch_decode(rows, skip_special_tokens=True)


# Layouts.


CASING: list[dict[str, Any]] = [
    {},
    {"do_lower_case": False},
    {"do_lower_case": False, "strip_accents": True},
    {"strip_accents": False},
    {"tokenize_chinese_chars": False},
]


@pytest.mark.parametrize(
    ("family", "options"),
    [("BertTokenizer", options) for options in CASING]
    + [(family, options) for family in WORD_PIECE[1:] for options in CASING[::2]],
)
def test_word_piece_from_vocab_txt(
    folders: dict[str, Path], family: str, options: dict[str, Any], tmp_path: Path
) -> None:
    folder = checkpoints.keep_only(folders[family], tmp_path / "files", "vocab.txt", "config.json")
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 99, **options}))
    compare(both(family, folder))
    compare(both(family, folder, do_lower_case=True))
    alone = checkpoints.our_class(family)(folder / "vocab.txt", **options)
    assert alone(TEXTS)["input_ids"] == both(family, folder).reference(TEXTS)["input_ids"]


@pytest.mark.parametrize("family", WORD_PIECE)
@pytest.mark.parametrize("lower", [False, True])
def test_options_change_tokenizer_json(folders: dict[str, Path], family: str, lower: bool) -> None:
    for accents in (None, False, True):
        options = {"do_lower_case": lower, "strip_accents": accents, "tokenize_chinese_chars": not lower}
        compare(both(family, folders[family], **options))


@pytest.mark.parametrize("options", [{}, {"add_prefix_space": True}, {"trim_offsets": False}])
def test_roberta_from_vocab_and_merges(folders: dict[str, Path], options: dict[str, Any], tmp_path: Path) -> None:
    folder = checkpoints.keep_only(folders["RobertaTokenizer"], tmp_path / "files", "vocab.json", "merges.txt")
    (folder / "config.json").write_text(json.dumps({"model_type": "roberta"}))
    compare(both("RobertaTokenizer", folder, **options))
    compare(both("RobertaTokenizer", folders["RobertaTokenizer"], **options))
    alone = bertcpp.RobertaTokenizer(folder / "vocab.json", folder / "merges.txt", **options)
    assert alone(TEXTS)["input_ids"] == both("RobertaTokenizer", folder, **options).reference(TEXTS)["input_ids"]


@pytest.mark.parametrize("family", ["XLMRobertaTokenizer", "CamembertTokenizer"])
def test_sentencepiece_model(family: str, tmp_path: Path) -> None:
    checkpoints.sentencepiece_file(tmp_path / "sentencepiece.bpe.model")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": family}))
    ours = bertcpp.AutoTokenizer.from_pretrained(tmp_path)
    assert type(ours) is checkpoints.our_class(family)
    row = ours("The weather is lovely  today. <mask> @@user@@")
    assert (row["input_ids"][0], row["input_ids"][-1]) == (ours.cls_token_id, ours.sep_token_id)
    assert ours.mask_token_id in row["input_ids"]
    assert "@@user@@" in row.tokens()
    assert ours.decode(row["input_ids"], skip_special_tokens=True).startswith("The weather is lovely")
    front = ["<s>", "<pad>", "</s>", "<unk>"] if family == "XLMRobertaTokenizer" else ["<s>NOTUSED", "<pad>"]
    assert ours.convert_ids_to_tokens(range(len(front))) == front
    pytest.importorskip("sentencepiece", reason="transformers reads these files by sentencepiece only")
    compare(both(family, tmp_path))


@pytest.mark.parametrize("family", ["XLMRobertaTokenizer", "CamembertTokenizer"])
def test_sentencepiece_model_with_a_normalization_table(family: str, tmp_path: Path) -> None:
    sentencepiece = pytest.importorskip("sentencepiece", reason="trains the model")
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text for text in checkpoints.CORPUS if "\0" not in text),
        model_prefix=str(tmp_path / "sentencepiece.bpe"),
        vocab_size=300,
        character_coverage=0.98,
        normalization_rule_name="nmt_nfkc",
        user_defined_symbols=["@@user@@"],
        minloglevel=2,
    )
    compare(both(family, tmp_path))


@pytest.mark.parametrize("family", FAMILIES)
def test_tokenizer_json_alone(folders: dict[str, Path], family: str, tmp_path: Path) -> None:
    folder = checkpoints.keep_only(folders[family], tmp_path / "files", "tokenizer.json", "config.json")
    compare(both(family, folder))
    auto = bertcpp.AutoTokenizer.from_pretrained(folder)
    assert type(auto) is checkpoints.our_class(family)
    assert auto.model_max_length == transformers.AutoTokenizer.from_pretrained(folder).model_max_length == int(1e30)


@pytest.mark.parametrize("family", FAMILIES)
def test_older_layout(folders: dict[str, Path], family: str, tmp_path: Path) -> None:
    """special_tokens_map.json and added_tokens.json in place of added_tokens_decoder."""
    folder = checkpoints.keep_only(folders[family], tmp_path / "files", "tokenizer.json", "config.json")
    mask = {"content": "[MASK]" if family in WORD_PIECE[:3] else "<mask>", "lstrip": True, "rstrip": False}
    mask |= {"single_word": False, "normalized": False}
    saved = {"mask_token": mask, "additional_special_tokens": ["<x>", {**mask, "content": "<y>"}]}
    (folder / "special_tokens_map.json").write_text(json.dumps(saved))
    config = {"model_max_length": 1000000000000000019884624838656, "padding_side": "left", "tokenizer_class": family}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    compare(both(family, folder))
    compare(both(family, folder, additional_special_tokens=["<z>"]))
    assert any("<y>" in token for token in both(family, folder).ours.tokenize("a <y> b"))


@pytest.mark.parametrize("family", FAMILIES)
def test_added_tokens_decoder(folders: dict[str, Path], family: str, tmp_path: Path) -> None:
    folder = checkpoints.keep_only(folders[family], tmp_path / "files", "tokenizer.json", "config.json")
    config = json.loads((folders[family] / "tokenizer_config.json").read_text())
    size = len(checkpoints.our_class(family).from_pretrained(folders[family]))
    flags = {"lstrip": False, "normalized": True, "rstrip": True, "single_word": True, "special": False}
    config["added_tokens_decoder"][str(size)] = {"content": "newword", **flags}
    config["added_tokens_decoder"][str(size + 1)] = {"content": "<ent>", **flags, "special": True, "normalized": False}
    config["truncation_side"] = "left"
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    sides = both(family, folder)
    compare(sides)
    agree(sides, ["a newword here", "newwords are not", "Newword <ent> <ent>"], **COLUMNS)


@pytest.mark.parametrize("family", FAMILIES)
def test_settings_inside_tokenizer_json(folders: dict[str, Path], family: str, tmp_path: Path) -> None:
    """Truncation and padding saved in tokenizer.json give defaults for the sides and do nothing else."""
    folder = checkpoints.keep_only(folders[family], tmp_path / "files", "tokenizer.json", "config.json")
    content = json.loads((folder / "tokenizer.json").read_text())
    content["truncation"] = {"direction": "Left", "max_length": 7, "strategy": "LongestFirst", "stride": 0}
    content["padding"] = {
        "strategy": {"Fixed": 9}, "direction": "Left", "pad_to_multiple_of": None, "pad_id": 1, "pad_type_id": 0,
        "pad_token": "<pad>",
    }  # fmt: skip
    (folder / "tokenizer.json").write_text(json.dumps(content))
    sides = both(family, folder)
    compare(sides)
    assert (sides.ours.padding_side, sides.ours.truncation_side) == ("left", "left")


def test_special_tokens_of_another_name(folders: dict[str, Path]) -> None:
    options = {"mask_token": "<here>", "additional_special_tokens": ["<a>", "<b>"], "bos_token": "<begin>"}
    for family in FAMILIES:
        sides = both(family, folders[family], **options)
        compare(sides)
        agree(sides, "fill <here> and <a><b> <begin>", **COLUMNS)


def test_auto_tokenizer_takes_the_named_class(folders: dict[str, Path], tmp_path: Path) -> None:
    for family, folder in folders.items():
        assert type(bertcpp.AutoTokenizer.from_pretrained(folder, use_fast=True)) is checkpoints.our_class(family)
    generic = checkpoints.keep_only(folders["BertTokenizer"], tmp_path / "generic", "tokenizer.json", "config.json")
    (generic / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
    tokenizer = bertcpp.AutoTokenizer.from_pretrained(generic)
    assert type(tokenizer) is bertcpp.PreTrainedTokenizerFast
    reference = transformers.AutoTokenizer.from_pretrained(generic)
    assert dict(tokenizer(TEXTS)) == dict(reference(TEXTS))
    for model_type, expected in (("ernie", "BertTokenizer"), ("data2vec-text", "RobertaTokenizer")):
        folder = checkpoints.keep_only(folders[expected], tmp_path / model_type, "tokenizer.json")
        (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
        assert type(bertcpp.AutoTokenizer.from_pretrained(folder)) is checkpoints.our_class(expected)
    with pytest.raises(InputError, match="from_pretrained"):
        bertcpp.AutoTokenizer()


def test_a_class_of_another_family_is_said(folders: dict[str, Path], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        bertcpp.BertTokenizer.from_pretrained(folders["DistilBertTokenizer"])
    assert "DistilBertTokenizer" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        bertcpp.BertTokenizerFast.from_pretrained(folders["BertTokenizer"])
    assert caplog.text == ""


def test_subfolder(folders: dict[str, Path]) -> None:
    folder = folders["BertTokenizer"]
    tokenizer = bertcpp.BertTokenizer.from_pretrained(folder.parent, subfolder=folder.name)
    assert tokenizer("a") == bertcpp.BertTokenizer.from_pretrained(str(folder))("a")


# Saving.


@pytest.mark.parametrize("family", FAMILIES)
def test_saved_files_load_in_both(folders: dict[str, Path], family: str, tmp_path: Path) -> None:
    ours = checkpoints.our_class(family).from_pretrained(
        folders[family], model_max_length=33, padding_side="left", additional_special_tokens=["<extra>"]
    )
    ours.add_tokens(["addedword"])
    ours.add_special_tokens({"bos_token": "<start>"})
    paths = ours.save_pretrained(tmp_path / "new" / "folder")
    assert sorted(path.rsplit("/", 1)[1] for path in paths) == [
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    sides = both(family, tmp_path / "new" / "folder")
    compare(sides)
    compare(Sides(ours, sides.reference))
    assert sides.ours.model_max_length == 33
    agree(sides, "an addedword and <extra> <start> token", **COLUMNS)
    auto = transformers.AutoTokenizer.from_pretrained(tmp_path / "new" / "folder")
    assert type(auto) is checkpoints.reference_class(family)
    assert ours.save_pretrained(tmp_path, filename_prefix="x")[0].endswith("x-tokenizer_config.json")
    names = [path.rsplit("/", 1)[1] for path in ours.save_vocabulary(tmp_path / "vocabulary")]
    if family in WORD_PIECE:
        assert names == ["vocab.txt"]


# Damage.


def test_specials_are_those_of_the_reference(folders: dict[str, Path]) -> None:
    for family, folder in folders.items():
        sides = both(family, folder)
        for name in SPECIAL:
            assert getattr(sides.ours, name) == getattr(sides.reference, name)
