"""Tokenizers from files that are damaged, missing, or say what cannot be."""

from __future__ import annotations

import base64
import json
import random
import struct
from typing import TYPE_CHECKING, Any

import pytest
import tokenizer_checkpoints as checkpoints
from tokenizer_checkpoints import FAMILIES, TEXTS

import bertcpp
from bertcpp.errors import BertcppError, CheckpointNotFoundError, TokenizerError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {family: checkpoints.save(family, tmp_path_factory.mktemp(family)) for family in FAMILIES}


def damaged(source: Path, folder: Path, name: str, content: str | bytes | None) -> Path:
    names = ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "config.json"]
    checkpoints.keep_only(source, folder, *names)
    if content is None:
        (folder / name).unlink()
    elif isinstance(content, bytes):
        (folder / name).write_bytes(content)
    else:
        (folder / name).write_text(content)
    return folder


DAMAGE: list[tuple[str, str | bytes | None]] = [
    ("tokenizer.json", None),
    ("tokenizer.json", ""),
    ("tokenizer.json", "{"),
    ("tokenizer.json", "[]"),
    ("tokenizer.json", b"\xff\xfe\x00"),
    ("tokenizer.json", '{"version": "99"}'),
    ("tokenizer.json", '{"model": {"type": "Nothing"}}'),
    ("tokenizer_config.json", "{"),
    ("tokenizer_config.json", "[1]"),
    ("tokenizer_config.json", "3"),
    ("tokenizer_config.json", b"\xff\xfe"),
    ("tokenizer_config.json", "[" * 200_000),
    ("tokenizer_config.json", '{"model_max_length": "long"}'),
    ("tokenizer_config.json", '{"model_max_length": NaN}'),
    ("tokenizer_config.json", '{"model_max_length": -3}'),
    ("tokenizer_config.json", '{"padding_side": "middle"}'),
    ("tokenizer_config.json", '{"truncation_side": 1}'),
    ("tokenizer_config.json", '{"pad_token": 3}'),
    ("tokenizer_config.json", '{"pad_token": ["[PAD]"]}'),
    ("tokenizer_config.json", '{"additional_special_tokens": "x"}'),
    ("tokenizer_config.json", '{"additional_special_tokens": [1]}'),
    ("tokenizer_config.json", '{"added_tokens_decoder": {"x": {"content": "a"}}}'),
    ("tokenizer_config.json", '{"added_tokens_decoder": {"5": {"content": 3}}}'),
    ("tokenizer_config.json", '{"added_tokens_decoder": {"5": "a"}}'),
    ("tokenizer_config.json", '{"added_tokens_decoder": [3]}'),
    ("tokenizer_config.json", '{"extra_special_tokens": [1]}'),
    ("tokenizer_config.json", '{"extra_special_tokens": {"image_token": 1}}'),
    ("tokenizer_config.json", '{"model_input_names": 3}'),
    ("tokenizer_config.json", '{"model_input_names": ["attention_mask"]}'),
    ("tokenizer_config.json", '{"do_lower_case": "yes"}'),
    ("tokenizer_config.json", '{"strip_accents": 3}'),
    ("special_tokens_map.json", "{"),
    ("special_tokens_map.json", '{"mask_token": {"content": 5}}'),
]


def test_template_of_undefined_tokens(folders: dict[str, Path], tmp_path: Path) -> None:
    """The library would panic at the first text."""
    source = json.loads((folders["BertTokenizer"] / "tokenizer.json").read_text())
    template = source["post_processor"]
    del template["special_tokens"]["[SEP]"]
    for nested in (False, True):
        source["post_processor"] = {"type": "Sequence", "processors": [template]} if nested else template
        path = tmp_path / f"{nested}.json"
        path.write_text(json.dumps(source))
        with pytest.raises(TokenizerError, match=r"'\[SEP\]' without defining it"):
            bertcpp.BertTokenizer(tokenizer_file=path)


def test_options_that_mean_nothing_here(folders: dict[str, Path], tmp_path: Path) -> None:
    options = {"use_fast": False, "trust_remote_code": True, "config": object(), "proxies": None}
    for cls in (bertcpp.BertTokenizer, bertcpp.AutoTokenizer):
        tokenizer = cls.from_pretrained(folders["BertTokenizer"], **options)
        assert not options.keys() & tokenizer.init_kwargs.keys()
        tokenizer.save_pretrained(tmp_path)
    with pytest.raises(TokenizerError, match="cannot be saved"):
        bertcpp.BertTokenizer.from_pretrained(folders["BertTokenizer"], note=object()).save_pretrained(tmp_path)


@pytest.mark.parametrize(("name", "content"), DAMAGE, ids=[f"{name}-{i}" for i, (name, _) in enumerate(DAMAGE)])
def test_damaged_files(folders: dict[str, Path], tmp_path: Path, name: str, content: str | bytes | None) -> None:
    folder = damaged(folders["BertTokenizer"], tmp_path / "files", name, content)
    if name == "special_tokens_map.json":
        (folder / "tokenizer_config.json").write_text("{}")
    else:
        (folder / "special_tokens_map.json").unlink()
    with pytest.raises(TokenizerError) as raised:
        bertcpp.BertTokenizer.from_pretrained(folder)
    assert str(tmp_path) in str(raised.value) or "must be" in str(raised.value)


def test_vocabularies_that_cannot_be_read(folders: dict[str, Path], tmp_path: Path) -> None:
    cases: list[tuple[str, str, dict[str, Any]]] = [
        ("[CLS]\n[SEP]\na\n", "unk_token", {}),
        ("[UNK]\n[SEP]\na\n", "cls_token", {}),
        ("[UNK]\n[CLS]\n[SEP]\na\n", "sep_token", {"sep_token": "[END]"}),
        ("", "cls_token", {}),
    ]
    for number, (content, named, options) in enumerate(cases):
        path = tmp_path / f"{number}.txt"
        path.write_text(content)
        with pytest.raises(TokenizerError, match=named):
            bertcpp.BertTokenizer(path, **options)
    (tmp_path / "latin.txt").write_bytes(b"[UNK]\n\xe9\n")
    for path in (tmp_path / "latin.txt", tmp_path / "absent.txt", tmp_path):
        with pytest.raises(TokenizerError, match=str(path)):
            bertcpp.BertTokenizer(path)
    with pytest.raises(TokenizerError, match="vocab_file="):
        bertcpp.BertTokenizer()
    with pytest.raises(TokenizerError, match="tokenizer_file="):
        bertcpp.PreTrainedTokenizer()
    with pytest.raises(TokenizerError, match="no such file"):
        bertcpp.BertTokenizer(tokenizer_file=tmp_path / "absent.json")
    source = folders["RobertaTokenizer"]
    for name, content in (
        ("vocab.json", '{"<s>": 0, "</s>": "x"}'),
        ("vocab.json", '{"a": 0}'),
        ("merges.txt", "#version\na b c\n"),
        ("merges.txt", "#version\nnot there\n"),
    ):
        folder = checkpoints.keep_only(source, tmp_path / f"{name}{len(content)}", "vocab.json", "merges.txt")
        (folder / name).write_text(content)
        with pytest.raises(TokenizerError, match=name):
            bertcpp.RobertaTokenizer.from_pretrained(folder)


def test_sentencepiece_models_that_cannot_be_read(tmp_path: Path, seed: int) -> None:
    whole = checkpoints.sentencepiece_file(tmp_path / "good.model").read_bytes()
    checkpoints.sentencepiece_file(tmp_path / "bpe.model", model_type=2)
    with pytest.raises(TokenizerError, match="Unigram"):
        bertcpp.XLMRobertaTokenizer(tmp_path / "bpe.model")
    path = tmp_path / "bad.model"
    for content in (b"", b"\xff" * 40, b"\x0a\x05abc", b"\x08\x01", b"{}", whole[:-3], b"\x0a\x01\x08"):
        path.write_bytes(content)
        with pytest.raises(TokenizerError, match=r"bad\.model"):
            bertcpp.XLMRobertaTokenizer(path)
    path.write_bytes(whole.replace(b"</s>", b"</t>"))
    with pytest.raises(TokenizerError, match=r"bad\.model: its pieces lack '</s>'"):
        bertcpp.CamembertTokenizer(path)
    chance = random.Random(seed)
    for _ in range(300):
        changed = bytearray(whole)
        changed[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        path.write_bytes(changed[: chance.choice([len(whole), chance.randrange(len(whole))])])
        for family in (bertcpp.XLMRobertaTokenizer, bertcpp.CamembertTokenizer):
            try:
                family(path)("a text")
            except BertcppError as error:
                assert len(str(error)) > 20  # noqa: PT017


def character_map(units: dict[int, int], texts: bytes = b"a\0") -> bytes:
    """A table whose trie is 512 units, these and zeros."""
    return struct.pack("<I512I", 2048, *(units.get(place, 0) for place in range(512))) + texts


# "A" becomes "a": the root's children begin at 256; that of 65 has its own at 300, and they begin with the value 0.
ROOT, UNIT_OF_A, VALUE = 256 << 10, (321 ^ 300) << 10 | 1 << 8 | 65, 1 << 31
SOUND = {0: ROOT, 321: UNIT_OF_A, 300: VALUE}


@pytest.mark.parametrize(
    "table",
    [
        b"no table",
        b"\x03\0\0\0abc",
        b"\x04\0\0\0" + b"\0" * 8,
        character_map(SOUND)[:100],
        character_map(SOUND | {0: 512 << 10}),  # its children lie behind the end
        character_map(SOUND | {321: 512 << 10 | 1 << 8 | 65}),
        character_map(SOUND | {300: VALUE | 3}),  # a text behind the end
        character_map(SOUND | {300: VALUE | 1}, "\u00e4\0".encode()),  # one that begins within a character
        character_map(SOUND, b"\xff\0"),
    ],
)
def test_tables_of_characters_that_lead_out_of_themselves(tmp_path: Path, table: bytes) -> None:
    """The library would panic at a text."""
    whole = checkpoints.sentencepiece_file(tmp_path / "good.model").read_bytes()
    path = tmp_path / "bad.model"
    path.write_bytes(whole + checkpoints.sentencepiece_characters(table))
    with pytest.raises(TokenizerError, match=r"bad\.model: its table of normalized characters is damaged"):
        bertcpp.XLMRobertaTokenizer(path)
    # The same in a tokenizer.json, where it can be told from one that the library refuses.
    path.write_bytes(whole + checkpoints.sentencepiece_characters(character_map(SOUND)))
    source = bertcpp.XLMRobertaTokenizer(path).backend_tokenizer.to_str()
    sound, changed = (base64.b64encode(part).decode() for part in (character_map(SOUND), table))
    assert sound in source
    (tmp_path / "tokenizer.json").write_text(source.replace(sound, changed))
    with pytest.raises(TokenizerError, match=r"tokenizer\.json: (its table of|not a tokenizer\.json)"):
        bertcpp.XLMRobertaTokenizer(tokenizer_file=tmp_path / "tokenizer.json")


def test_a_table_of_characters_with_bits_turned(tmp_path: Path, seed: int) -> None:
    whole = checkpoints.sentencepiece_file(tmp_path / "good.model").read_bytes()
    path = tmp_path / "bad.model"
    sound = character_map(SOUND)
    path.write_bytes(whole + checkpoints.sentencepiece_characters(sound))
    assert bertcpp.XLMRobertaTokenizer(path).backend_tokenizer.normalizer.normalize_str("Aha A") == "aha a"
    chance, refused = random.Random(seed), 0
    places = [*range(8), *range(1204, 1208), *range(1288, 1292), len(sound) - 2]
    for _ in range(300):
        changed = bytearray(sound)
        changed[chance.choice(places)] ^= 1 << chance.randrange(8)
        path.write_bytes(whole + checkpoints.sentencepiece_characters(bytes(changed)))
        try:
            bertcpp.XLMRobertaTokenizer(path)("".join(map(chr, range(1, 400))))
        except TokenizerError:
            refused += 1
    assert 0 < refused < 300


def test_what_is_missing_is_named(folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match=r"no tokenizer\.json and no vocab\.txt"):
        bertcpp.BertTokenizer.from_pretrained(tmp_path)
    with pytest.raises(TokenizerError, match=r"sentencepiece\.bpe\.model"):
        bertcpp.XLMRobertaTokenizer.from_pretrained(tmp_path)
    with pytest.raises(TokenizerError, match=r"vocab\.json, merges\.txt"):
        bertcpp.RobertaTokenizer.from_pretrained(tmp_path)
    with pytest.raises(TokenizerError, match="no model_type"):
        bertcpp.AutoTokenizer.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "t5"}')
    with pytest.raises(TokenizerError, match="'t5'"):
        bertcpp.AutoTokenizer.from_pretrained(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "BertJapaneseTokenizer"}')
    with pytest.raises(TokenizerError, match="BertJapaneseTokenizer"):
        bertcpp.AutoTokenizer.from_pretrained(tmp_path)
    with pytest.raises(CheckpointNotFoundError):
        bertcpp.AutoTokenizer.from_pretrained(tmp_path / "nowhere")


def test_every_damaged_byte_is_noticed_or_harmless(folders: dict[str, Path], tmp_path: Path, seed: int) -> None:
    """Single bit flips and cuts of each file load or raise what is documented; never anything else."""
    chance = random.Random(seed)
    source = folders["BertTokenizer"]
    folder = damaged(source, tmp_path / "files", "config.json", (source / "config.json").read_bytes())
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        whole = (source / name).read_bytes()
        for _ in range(120):
            changed = bytearray(whole)
            changed[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
            cut = chance.choice([len(whole), len(whole), chance.randrange(len(whole))])
            (folder / name).write_bytes(changed[:cut])
            try:
                bertcpp.AutoTokenizer.from_pretrained(folder)(TEXTS[2], truncation=True, max_length=16)
            except BertcppError as error:
                assert len(str(error)) > 20  # noqa: PT017
        (folder / name).write_bytes(whole)
