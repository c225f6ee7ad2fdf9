"""Checkpoints without the tokens that texts do not use: the same answers for these, by us and by the originals."""

from __future__ import annotations

import json
import shutil
import warnings
from typing import TYPE_CHECKING, Any

import embedding_checkpoints
import numpy as np
import pytest
import tokenizer_checkpoints

import bertcpp
import reference_models as reference
from bertcpp import SentenceTransformer
from bertcpp.cli import main
from bertcpp.errors import CheckpointExistsError, ConfigError, InputError, TokenizerError, UnsupportedFormatError
from bertcpp.trimming import trim

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import torch
    import transformers

KEPT = tokenizer_checkpoints.TEXTS[::2]
OTHERS = tokenizer_checkpoints.TEXTS[1::2]


@pytest.fixture(scope="module")
def encoder(seed: int, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The tiny checkpoint of a family, with its tokenizer."""
    made: dict[str, Path] = {}

    def make(family: str) -> Path:
        if family not in made:
            made[family] = embedding_checkpoints.save_encoder(tmp_path_factory.mktemp(family), seed, family)
        return made[family]

    return make


def states(folder: Path, text: str) -> np.ndarray:
    tokenizer, model = (kind.from_pretrained(folder) for kind in (bertcpp.AutoTokenizer, bertcpp.AutoModel))
    return np.asarray(model(**tokenizer(text, truncation=True, return_tensors="np")).last_hidden_state)


@pytest.mark.filterwarnings("ignore:.*has no pooler")
@pytest.mark.parametrize("family", list(reference.FAMILIES))
def test_every_family(family: str, encoder: Callable[[str], Path], tmp_path: Path) -> None:
    folder = encoder(family)
    out = trim(folder, tmp_path / "out", KEPT)
    before, after = (bertcpp.AutoConfig.from_pretrained(place).vocab_size for place in (folder, out))
    assert after < before
    for text in KEPT:
        assert np.array_equal(states(out, text), states(folder, text)), text
    ours, theirs = (kind.from_pretrained(out) for kind in (bertcpp.AutoTokenizer, transformers.AutoTokenizer))
    whole = bertcpp.AutoTokenizer.from_pretrained(folder)
    assert len(ours) == len(theirs) == after
    assert ours.all_special_tokens == whole.all_special_tokens
    for text in KEPT + OTHERS:
        assert ours(text)["input_ids"] == theirs(text)["input_ids"], text
    for text in KEPT:
        assert ours.tokenize(text) == whole.tokenize(text)
    for text in OTHERS:  # known before, known now
        assert ours.tokenize(text).count(ours.unk_token) <= whole.tokenize(text).count(whole.unk_token), text
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = transformers.AutoModel.from_pretrained(out, attn_implementation="eager").eval()
    for text in OTHERS[:6]:
        row = ours(text, truncation=True, return_tensors="np")
        expected = reference.answer(model, **row)["last_hidden_state"]
        error = np.abs(states(out, text) - expected).max()
        assert error <= reference.TOLERANCE * np.abs(expected).max()


@pytest.mark.parametrize(
    ("family", "name"),
    [
        ("bert", "BertForPreTraining"),
        ("roberta", "RobertaForMaskedLM"),
        ("xlm-roberta", "XLMRobertaForMaskedLM"),
        ("distilbert", "DistilBertForMaskedLM"),
        ("electra", "ElectraForMaskedLM"),
        ("mpnet", "MPNetForMaskedLM"),
    ],
)
@pytest.mark.parametrize("tied", [True, False])
def test_heads_with_a_row_for_each_token(
    family: str, name: str, tied: bool, seed: int, encoder: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    shutil.copytree(encoder(family), folder)
    torch.manual_seed(seed)
    config = transformers.AutoConfig.from_pretrained(folder)
    config.tie_word_embeddings = tied
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = getattr(transformers, name)(config).eval()
        with torch.no_grad():
            for parameter in whole.parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape))
        reference.save(whole, folder)
        out = trim(folder, tmp_path / "out", KEPT)
        part = getattr(transformers, name).from_pretrained(out).eval()
    tokenizers = [transformers.AutoTokenizer.from_pretrained(place) for place in (folder, out)]
    kept = tokenizers[0].convert_tokens_to_ids(tokenizers[1].convert_ids_to_tokens(range(len(tokenizers[1]))))
    text = KEPT[0]
    answers = [
        reference.answer(model, **tokenizer(text, return_tensors="np"))
        for model, tokenizer in zip((whole, part), tokenizers, strict=True)
    ]
    logits = "prediction_logits" if name == "BertForPreTraining" else "logits"
    np.testing.assert_allclose(answers[1][logits], answers[0][logits][..., kept], rtol=0, atol=1e-5)
    ours = getattr(bertcpp, name).from_pretrained(out)(**tokenizers[1](text, return_tensors="np"))
    wanted = answers[1][logits]
    assert np.abs(ours[logits] - wanted).max() <= reference.TOLERANCE * np.abs(wanted).max()


def test_a_sentence_embedding_checkpoint(tmp_path: Path, minilm: Path, sentences: list[str]) -> None:
    shutil.copytree(minilm, tmp_path / "in")
    settings = {"prompts": {"query": "Represent quixotically: "}, "similarity_fn_name": "cosine"}
    (tmp_path / "in/config_sentence_transformers.json").write_text(json.dumps(settings))
    out = trim(tmp_path / "in", tmp_path / "out", sentences[:500])
    assert (out / "model.safetensors").stat().st_size < 0.7 * (minilm / "model.safetensors").stat().st_size
    assert {"modules.json", "1_Pooling", "vocab.txt"} <= {path.name for path in out.iterdir()}
    ours, whole = SentenceTransformer(out), SentenceTransformer(tmp_path / "in")
    for prompt in (None, "query"):
        vectors = ours.encode(sentences[:50], prompt_name=prompt)
        assert np.array_equal(vectors, whole.encode(sentences[:50], prompt_name=prompt))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sentence_transformers import SentenceTransformer as Theirs

        theirs = Theirs(str(out), device="cpu")
    mixed = sentences[490:510]
    assert np.abs(ours.encode(mixed) - theirs.encode(mixed)).max() <= 2e-6


@pytest.mark.filterwarnings("ignore:.*has no pooler")
@pytest.mark.parametrize(
    ("family", "files"),
    [
        ("bert", ["vocab.txt"]),
        ("roberta", ["vocab.json", "merges.txt"]),
        ("xlm-roberta", ["sentencepiece.bpe.model"]),
    ],
)
def test_checkpoints_without_a_tokenizer_json(
    family: str, files: list[str], encoder: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    shutil.copytree(encoder(family), folder)
    (folder / "tokenizer.json").unlink()
    if family == "xlm-roberta":
        tokenizer_checkpoints.sentencepiece_file(folder / files[0])
        count = len(bertcpp.AutoTokenizer.from_pretrained(folder))
        reference.save(reference.random_model(family, 1, vocab_size=count, pad_token_id=1), folder)
    assert all((folder / name).is_file() for name in files)
    out = trim(folder, tmp_path / "out", KEPT)
    for text in KEPT:
        assert np.array_equal(states(out, text), states(folder, text)), text
    assert (out / "sentencepiece.bpe.model").exists() is False
    if family != "xlm-roberta":  # the files of old are trimmed as well
        (out / "tokenizer.json").unlink()
        for text in KEPT:
            assert np.array_equal(states(out, text), states(folder, text)), text


def test_padding_keeps_its_place(encoder: Callable[[str], Path], tmp_path: Path) -> None:
    """Positions of RoBERTa count on from the padding token's id; tokens before it are kept for its sake."""
    out = trim(encoder("roberta"), tmp_path / "out", ["a"])
    config, tokenizer = (kind.from_pretrained(out) for kind in (bertcpp.AutoConfig, bertcpp.AutoTokenizer))
    before = bertcpp.AutoConfig.from_pretrained(encoder("roberta"))
    assert tokenizer.pad_token_id == config.pad_token_id == before.pad_token_id


def test_trimming_again_changes_nothing(encoder: Callable[[str], Path], tmp_path: Path) -> None:
    once = trim(encoder("bert"), tmp_path / "once", KEPT)
    twice = trim(once, tmp_path / "twice", KEPT)
    for name in ("tokenizer.json", "model.safetensors", "vocab.txt", "config.json"):
        assert (once / name).read_bytes() == (twice / name).read_bytes()


def test_the_command(encoder: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = "".join(json.dumps({"body": text}) + "\n" for text in KEPT)
    (tmp_path / "texts.jsonl").write_text(rows)
    line = ["trim", str(encoder("bert")), str(tmp_path / "out"), "--texts", str(tmp_path / "texts.jsonl")]
    assert main([*line, "--column", "body"]) == 0
    assert "bert, 3 layers, vocabulary of" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        main(line[:3])


def changed_tokenizer(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    content = json.loads((folder / "tokenizer.json").read_text())
    change(content)
    (folder / "tokenizer.json").write_text(json.dumps(content))


def word_level(content: dict[str, Any]) -> None:
    content["model"] = {"type": "WordLevel", "vocab": content["model"]["vocab"], "unk_token": "[UNK]"}


@pytest.mark.parametrize(
    ("family", "change", "error", "message"),
    [
        ("bert", word_level, UnsupportedFormatError, "of the kind WordLevel; WordPiece, Unigram and plain BPE can be"),
        ("roberta", lambda c: c["model"].update(dropout=0.5), UnsupportedFormatError, "BPE with dropout"),
        ("bert", lambda c: c.pop("model"), TokenizerError, "tokenizer.json"),
        ("bert", lambda c: c["model"]["vocab"].update(quixotic=5000), ConfigError, "has a token 5000"),
    ],
)
def test_tokenizers_that_are_not_trimmed(
    family: str, change: Any, error: type, message: str, encoder: Callable[[str], Path], tmp_path: Path
) -> None:
    shutil.copytree(encoder(family), tmp_path / "in")
    changed_tokenizer(tmp_path / "in", change)
    with pytest.raises(error, match=message):
        trim(tmp_path / "in", tmp_path / "out", ["quixotic"])
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_what_cannot_be_trimmed(encoder: Callable[[str], Path], tmp_path: Path) -> None:
    folder = encoder("bert")
    with pytest.raises(InputError, match="no texts"):
        trim(folder, tmp_path / "out", [])
    with pytest.raises(InputError, match="must be strings"):
        trim(folder, tmp_path / "out", ["a", 3])  # type: ignore[list-item]
    with pytest.raises(CheckpointExistsError, match="lie in each other"):
        trim(folder, folder, ["a"], overwrite=True)
    shutil.copytree(folder, tmp_path / "in")
    tensors = bertcpp.checkpoints.read_tensors(folder)
    rows = len(tensors["embeddings.word_embeddings.weight"])
    from safetensors.numpy import save_file

    save_file({**tensors, "score.weight": np.ones((rows, 2), np.float32)}, tmp_path / "in/model.safetensors")
    with pytest.raises(UnsupportedFormatError, match=r"'score.weight' has a row for each token"):
        trim(tmp_path / "in", tmp_path / "out", ["a"])
    config = json.loads((folder / "config.json").read_text())
    (tmp_path / "in/config.json").write_text(json.dumps({**config, "vocab_size": 90}))
    with pytest.raises(ConfigError, match="speaks of 90"):
        trim(tmp_path / "in", tmp_path / "out", ["a"])
