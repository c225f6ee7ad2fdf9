"""Folders of `bertcpp quantize`: the same bits as the checkpoint gives, or a refusal that names the remedy."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import safetensors.torch
import task_checkpoints
import torch

import bertcpp
import reference_models as reference
from bertcpp import SentenceTransformer, _core
from bertcpp.cli import main
from bertcpp.errors import (
    CheckpointExistsError,
    CheckpointNotFoundError,
    InputError,
    MissingHeadError,
    UnsupportedFormatError,
)
from bertcpp.importance import Probe
from bertcpp.packed_checkpoints import quantize
from bertcpp.packed_weights import PackedFile
from bertcpp.pruning import prune

if TYPE_CHECKING:
    from pathlib import Path

DTYPES = ("int8", "bfloat16", "float32")
FILE = "model.packed.safetensors"
TEXTS = ["The weather is lovely today.", "It's so sunny outside!", "a", "She drove to the stadium, and back again."]


def saved(family: str, folder: Path, seed: int = 5, **changes: Any) -> Path:
    return reference.save(reference.random_model(family, seed, **changes), folder)


def assert_same_bits(ours: Any, expected: Any) -> None:
    assert ours.keys() == expected.keys()
    for name, wanted in expected.items():
        for mine, theirs in zip(*(v if isinstance(v, tuple) else (v,) for v in (ours[name], wanted)), strict=True):
            assert np.array_equal(mine, theirs), name


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", [*reference.FAMILIES, *reference.RELATIVES])
def test_every_family(family: str, dtype: str, tmp_path: Path, rng: np.random.Generator) -> None:
    source = saved(family, tmp_path / "in")
    out = quantize(source, tmp_path / "out", dtype=dtype)
    mask = reference.random_mask(rng, "right", 5, 40)
    inputs = {"input_ids": rng.integers(5, 97, mask.shape), "attention_mask": mask, "output_hidden_states": True}
    model = bertcpp.AutoModel.from_pretrained(out)
    expected = bertcpp.AutoModel.from_pretrained(source, dtype=dtype)
    assert_same_bits(model(**inputs), expected(**inputs))
    assert model._core.config == expected._core.config
    assert not (out / "model.safetensors").exists()


def test_pruned_heads_odd_sizes_and_sixteen_bits(tmp_path: Path, rng: np.random.Generator) -> None:
    """Head counts come back though no query matrix is there; tables and heads stay as they were stored."""
    model = reference.random_model("bert", 5, hidden_size=36, num_attention_heads=6, intermediate_size=53)
    pruned = prune(reference.save(model.half(), tmp_path / "in"), tmp_path / "pruned", heads={0: [1, 3], 2: [0]})
    ids = rng.integers(5, 97, (3, 20))
    for dtype in DTYPES:
        out = quantize(pruned, tmp_path / dtype, dtype=dtype)
        ours, expected = (
            bertcpp.AutoModel.from_pretrained(folder, **more)(ids, output_attentions=True)
            for folder, more in ((out, {}), (pruned, {"dtype": dtype}))
        )
        assert_same_bits(ours, expected)
        assert [len(layer[0]) for layer in ours.attentions] == [4, 6, 5]
        assert PackedFile(out / FILE)["embeddings.word_embeddings.weight"].dtype == np.float16


@pytest.mark.parametrize("dtype", DTYPES)
def test_sentence_transformer(dtype: str, minilm: Path, tmp_path: Path, sentences: list[str]) -> None:
    out = quantize(minilm, tmp_path / "out", dtype=dtype)
    model = SentenceTransformer(out)
    expected = SentenceTransformer(str(minilm), model_kwargs={"dtype": dtype}).encode(sentences[:40])
    assert np.array_equal(model.encode(sentences[:40]), expected)
    again = pickle.loads(pickle.dumps(model))
    assert np.array_equal(again.encode(sentences[:3]), model.encode(sentences[:3]))
    for asked in ("auto", dtype):
        assert SentenceTransformer(out, model_kwargs={"dtype": asked})._where.dtype == dtype


def test_task_models(minilm: Path, tmp_path: Path) -> None:
    """Heads of their own, one that is the word embeddings, and one that reads the pooler."""
    for task, text in (
        ("text-classification", TEXTS[0]),
        ("token-classification", TEXTS[3]),
        ("fill-mask", "The weather is [MASK]."),
    ):
        source = task_checkpoints.save(tmp_path / task, task, minilm)
        out = quantize(source, tmp_path / f"{task}-int8")
        ours = bertcpp.pipeline(task, model=str(out))(text)
        assert ours == bertcpp.pipeline(task, model=str(source), dtype="int8")(text)
        assert ours != bertcpp.pipeline(task, model=str(source))(text)
    with pytest.raises(MissingHeadError, match="no head for BertForQuestionAnswering"):
        bertcpp.AutoModelForQuestionAnswering.from_pretrained(out)
    scorer = task_checkpoints.save(tmp_path / "scorer", "text-classification", minilm)
    packed = bertcpp.CrossEncoder(quantize(scorer, tmp_path / "scorer-bf16", dtype="bfloat16"))
    expected = bertcpp.CrossEncoder(scorer, model_kwargs={"dtype": "bfloat16"})
    assert np.array_equal(packed.predict([(TEXTS[0], TEXTS[1])]), expected.predict([(TEXTS[0], TEXTS[1])]))
    for load in (bertcpp.SparseEncoder, bertcpp.AutoModelForMaskedLM.from_pretrained):
        assert load(quantize(tmp_path / "fill-mask", tmp_path / "words", overwrite=True)) is not None


def test_other_dtypes_and_devices_are_refused(minilm: Path, tmp_path: Path) -> None:
    out = quantize(minilm, tmp_path / "out", dtype="int8")
    with pytest.raises(InputError, match=r"packed in int8 .* dtype is 'float32'.*bertcpp quantize MODEL"):
        bertcpp.AutoModel.from_pretrained(out, dtype="float32")
    with pytest.raises(InputError, match="dtype is 'bfloat16'"):
        SentenceTransformer(out, model_kwargs={"dtype": "bfloat16"})
    model = bertcpp.AutoModel.from_pretrained(out)
    with pytest.raises(InputError, match="packed in int8"):
        model.float()
    assert model.to("cpu") is model
    assert model([[101, 102]]).last_hidden_state.shape == (1, 2, 384)
    with pytest.raises(CheckpointNotFoundError, match="has no weights"):
        bertcpp.AutoModel.from_pretrained(out, use_safetensors=False)


def test_what_needs_the_original_says_so(minilm: Path, tmp_path: Path) -> None:
    out = quantize(minilm, tmp_path / "out")
    for act in (
        lambda: prune(out, tmp_path / "pruned", layers=[1]),
        lambda: quantize(out, tmp_path / "twice"),
        lambda: bertcpp.conversion.convert(out, tmp_path / "converted"),
    ):
        with pytest.raises(UnsupportedFormatError, match="use the one that they were made of"):
            act()
    with pytest.raises((InputError, UnsupportedFormatError), match="made of"):
        Probe(out, TEXTS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_a_torch_file_with_whole_numbers(tmp_path: Path) -> None:
    """Buffers such as the positions of older checkpoints."""
    source = saved("bert", tmp_path / "in")
    tensors = safetensors.torch.load_file(source / "model.safetensors")
    tensors |= {"embeddings.position_ids": torch.arange(9)[None], "some.flags": torch.tensor([True, False])}
    torch.save(tensors, source / "pytorch_model.bin")
    (source / "model.safetensors").unlink()
    ids = np.arange(5, 40)[None]
    out = quantize(source, tmp_path / "out")
    assert_same_bits(
        bertcpp.AutoModel.from_pretrained(out)(ids), bertcpp.AutoModel.from_pretrained(source, dtype="int8")(ids)
    )
    assert prune(source, tmp_path / "pruned", heads={0: [1]}).is_dir()


def test_packed_weights_elsewhere_in_the_folder_change_nothing(minilm: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(minilm, model)
    quantize(minilm, model / "int8")
    assert SentenceTransformer(model)._where.dtype == "float32"
    out = quantize(minilm, tmp_path / "out")
    torch.save(safetensors.torch.load_file(minilm / "model.safetensors"), out / "pytorch_model.bin")
    assert bertcpp.AutoModel.from_pretrained(out, use_safetensors=False)._core.config["dtype"] == "float32"


def test_an_encoder_deep_in_its_folder(minilm: Path, tmp_path: Path) -> None:
    modules = json.loads((minilm / "modules.json").read_text())
    for module in modules:
        made = tmp_path / "in" / "deep" / module["type"]
        made.mkdir(parents=True)
        if (minilm / module["path"]).is_dir():  # one without settings needs none
            shutil.copytree(minilm / module["path"], made, dirs_exist_ok=True)
        module["path"] = f"deep/{module['type']}"
    (tmp_path / "in" / "modules.json").write_text(json.dumps(modules))
    out = quantize(tmp_path / "in", tmp_path / "out")
    expected = SentenceTransformer(minilm, model_kwargs={"dtype": "int8"}).encode(TEXTS)
    assert np.array_equal(SentenceTransformer(out).encode(TEXTS), expected)


def test_another_instruction_set_in_use(minilm: Path, tmp_path: Path) -> None:
    """One that packs alike computes with what was packed here, to the bits of what it packs itself; others refuse."""
    out = quantize(minilm, tmp_path / "out", dtype="bfloat16")
    program = (
        "import sys; from bertcpp import SentenceTransformer as S\n"
        f"packed = S({str(out)!r}).encode('A cat.')\n"
        f"own = S({str(minilm)!r}, model_kwargs={{'dtype': 'bfloat16'}}).encode('A cat.')\n"
        "sys.exit(packed.tobytes() != own.tobytes())"
    )
    columns = _core.panel_columns(bertcpp.instruction_set())
    assert columns > 0
    alike = {name for name in bertcpp.instruction_sets() if _core.panel_columns(name) == columns}
    for name in bertcpp.instruction_sets():
        environment = os.environ | {"BERTCPP_ISA": name}
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
        )
        assert (done.returncode == 0) == (name in alike), name
        assert name in alike or f"bertcpp uses {name} on this processor" in done.stderr


def test_out_must_be_free(tmp_path: Path) -> None:
    source = saved("bert", tmp_path / "in")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/notes.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(CheckpointExistsError):
            quantize(source, tmp_path / "out", overwrite=overwrite)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["notes.txt"]
    with pytest.raises(CheckpointExistsError, match="lie in each other"):
        quantize(source, source)
    with pytest.raises(InputError, match="dtype is 'int4'"):
        quantize(source, tmp_path / "other", dtype="int4")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_what_is_killed_while_it_writes_leaves_no_folder(number: int, tmp_path: Path) -> None:
    source = saved("bert", tmp_path / "in")
    program = (
        "import sys, time, bertcpp.packed_checkpoints as p\n"
        "from bertcpp.cli import main\n"
        "write = p.write_safetensors\n"
        "def slow(path, *args):\n"
        "    write(path, *args)\n"
        "    path.write_bytes(path.read_bytes()[:2000])\n"
        "    print('half', flush=True)\n"
        "    time.sleep(60)\n"
        "p.write_safetensors = slow\n"
        f"sys.exit(main(['quantize', {str(source)!r}, {str(tmp_path / 'out')!r}]))\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "half\n"
        process.send_signal(number)
    assert process.returncode in (128 + number, -number)
    left = [path.name for path in tmp_path.iterdir() if path.name != "in"]
    assert left == [] if number == signal.SIGTERM else all(name.startswith(".out.") for name in left)
    assert quantize(source, tmp_path / "out").is_dir()


def test_the_command(minilm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "out")
    assert main(["quantize", str(minilm), out, "--dtype", "bfloat16"]) == 0
    assert "22,713,216 parameters" in capsys.readouterr().out
    assert main(["info", out, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)["checkpoint"]
    assert facts["stored_as"] == [f"bfloat16, packed for {bertcpp.instruction_set()}"]
    assert main(["embed", "--model", out, TEXTS[0], "--format", "jsonl"]) == 0
    vector = json.loads(capsys.readouterr().out)["embedding"]
    expected = SentenceTransformer(str(minilm), model_kwargs={"dtype": "bfloat16"}).encode(TEXTS[0])
    assert np.array_equal(np.array(vector, np.float32), expected)
    assert main(["embed", "--model", out, TEXTS[0], "--dtype", "int8"]) == 1
    assert "bertcpp quantize MODEL OUT --dtype int8" in capsys.readouterr().err
    cache = str(tmp_path / "cache")
    measured = ["bench", out, "--shapes", "1x8", "--rounds", "1", "--seconds", "0.01", "--json", "--cache", cache]
    assert main(measured) == 0
    assert "bertcpp bfloat16" in capsys.readouterr().out
    assert main(["quantize", str(minilm), out]) == 1
    assert "is there already" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["quantize", "--help"])
    assert "--dtype {int8,bfloat16,float32,auto}" in capsys.readouterr().out


MEMORY = """
import sys, time
import bertcpp

def own():
    with open("/proc/self/smaps_rollup") as rollup:
        kilobytes = {line.split()[0]: int(line.split()[1]) for line in rollup if line.split()[-1] == "kB"}
    return (kilobytes["Private_Clean:"] + kilobytes["Private_Dirty:"]) * 1024

import numpy, tokenizers, bertcpp.sentence_encoder, bertcpp.tokenization
before = own()
model = bertcpp.AutoModel.from_pretrained(sys.argv[1], num_threads=1)
model([[101, 7592, 102]])
print(own() - before, flush=True)
sys.stdin.read()
"""


def test_processes_share_one_copy(minilm: Path, tmp_path: Path) -> None:
    """The second process's own memory, while the first still maps the file, is far less than the weights."""
    out = quantize(minilm, tmp_path / "out", dtype="float32")
    size = (out / FILE).stat().st_size
    command = [sys.executable, "-c", MEMORY, str(out)]
    pipe = subprocess.PIPE
    with (
        subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as first,
        subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as second,
    ):
        assert first.stdout is not None
        assert second.stdout is not None
        first.stdout.readline()
        second.stdout.readline()
        third = subprocess.run(command, input="", capture_output=True, text=True, check=True)
        for process in (first, second):
            assert process.stdin is not None
            process.stdin.close()
    assert int(third.stdout) < 15e6 < size / 4
