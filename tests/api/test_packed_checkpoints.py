"""Folders of `bertcpp quantize`: the same bits as the checkpoint gives, or a refusal that names the remedy."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import task_checkpoints

import bertcpp
import reference_models as reference
from bertcpp import SentenceTransformer
from bertcpp.checkpoint_writing import write_safetensors
from bertcpp.cli import main
from bertcpp.errors import (
    CheckpointExistsError,
    CheckpointNotFoundError,
    CorruptCheckpointError,
    InputError,
    MissingHeadError,
    UnsupportedFormatError,
    WeightMismatchError,
)
from bertcpp.importance import Probe
from bertcpp.packed_checkpoints import quantize
from bertcpp.packed_weights import PackedFile, packed_metadata
from bertcpp.pruning import prune

if TYPE_CHECKING:
    from collections.abc import Callable
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


def rewritten(out: Path, change: Callable[[dict[str, Any], dict[str, str]], None], seal: bool = True) -> None:
    """The packed file with changed tensors or metadata, its checksums made anew."""
    file = PackedFile(out / FILE)
    tensors = {name: np.array(file[name]) for name in file}
    metadata = dict(file.metadata)
    change(tensors, metadata)
    dtypes = {name: file.dtype_of(name) if name in file else "U8" for name in tensors}
    if seal:
        kept = {name: metadata[name] for name in ("layout", "instruction_set")}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("bertcpp._core.packed_layout", lambda: kept["layout"])
            patch.setattr("bertcpp._core.instruction_set", lambda: kept["instruction_set"])
            metadata = packed_metadata(metadata["dtype"], file.parameters, tensors, dtypes)
    write_safetensors(out / FILE, tensors, dtypes, metadata)


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    return quantize(saved("bert", tmp_path / "in", kind="ForMaskedLM"), tmp_path / "out")


def load(out: Path) -> Any:
    return bertcpp.AutoModelForMaskedLM.from_pretrained(out)


def test_another_layout_is_refused(packed: Path) -> None:
    rewritten(packed, lambda tensors, metadata: metadata.update(layout="999"))
    with pytest.raises(UnsupportedFormatError, match=r"layout '999'.*bertcpp quantize MODEL OUT"):
        load(packed)


def test_another_instruction_set_is_refused(packed: Path) -> None:
    rewritten(packed, lambda tensors, metadata: metadata.update(instruction_set="avx1024"))
    with pytest.raises(UnsupportedFormatError, match=r"packed for avx1024, but .*bertcpp quantize MODEL OUT, here"):
        load(packed)


def test_another_instruction_set_in_use_is_refused(minilm: Path, tmp_path: Path) -> None:
    out = quantize(minilm, tmp_path / "out")
    program = f"import bertcpp; bertcpp.SentenceTransformer({str(out)!r})"
    for name in bertcpp.instruction_sets():
        environment = os.environ | {"BERTCPP_ISA": name}
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
        )
        assert (done.returncode == 0) == (name == bertcpp.instruction_set())
        assert name == bertcpp.instruction_set() or f"bertcpp uses {name} on this processor" in done.stderr


@pytest.mark.parametrize("name", ["layout", "instruction_set", "dtype", "parameters", "checksums", "seal"])
def test_metadata_that_lack_or_contradict(packed: Path, name: str) -> None:
    rewritten(packed, lambda tensors, metadata: metadata.pop(name), seal=False)
    with pytest.raises(CorruptCheckpointError, match=f"lack {name}"):
        load(packed)


@pytest.mark.parametrize("wrong", ["not JSON", "[]", "{}", '{"a": 1}', "[" * 100000])
def test_checksums_that_are_none(packed: Path, wrong: str) -> None:
    rewritten(packed, lambda tensors, metadata: metadata.update(checksums=wrong), seal=False)
    with pytest.raises(CorruptCheckpointError, match="a checksum for each tensor"):
        load(packed)


def test_a_dtype_that_was_renamed(packed: Path) -> None:
    rewritten(packed, lambda tensors, metadata: metadata.update(dtype="bfloat16"), seal=False)
    with pytest.raises(CorruptCheckpointError, match="the header is not the one that was written"):
        load(packed)


def test_sizes_that_do_not_fit_never_reach_the_kernels(packed: Path) -> None:
    """A file whose checksums are right, and whose parts are not those of config.json."""
    whole = (packed / FILE).read_bytes()
    for name in PackedFile(packed / FILE):
        if not name.startswith("packed:"):
            continue
        for change in (lambda part: part[:-64], lambda part: np.append(part, part[:64]), lambda part: part[:0]):
            (packed / FILE).write_bytes(whole)
            rewritten(packed, lambda tensors, metadata: tensors.update({name: change(tensors[name])}))  # noqa: B023
            with pytest.raises(WeightMismatchError, match=r"must be \d+ bytes|is no order"):
                load(packed)
    for order in (np.zeros(32, "<i4"), np.arange(1, 33, dtype="<i4"), np.full(32, -1, "<i4")):
        (packed / FILE).write_bytes(whole)
        rewritten(packed, lambda tensors, metadata: tensors.update({"packed:hidden_order": order.view(np.uint8)}))  # noqa: B023
        with pytest.raises(WeightMismatchError, match="no order of 32 channels"):
            load(packed)
    (packed / FILE).write_bytes(whole)
    rewritten(packed, lambda tensors, metadata: tensors.pop("packed:layers.1.ffn.up.packed.bias"))
    with pytest.raises(WeightMismatchError, match=r"layers\.1\.ffn\.up\.packed\.bias' is missing"):
        load(packed)


def test_bytes_are_no_weights() -> None:
    """What stands for matrices cannot stand for vectors or tables, and must lie as kernels need it."""
    settings = {"vocab_size": 8, "hidden_size": 8, "num_hidden_layers": 0, "num_attention_heads": 2}
    settings |= {"intermediate_size": 8, "max_position_embeddings": 8, "hidden_act": "gelu", "embedding_size": 4}
    tables = {f"embeddings.{name}.weight": np.ones((8, 4), np.float32) for name in ("word", "position")}
    norm = {f"embeddings.norm.{part}": np.ones(4, np.float32) for part in ("weight", "bias")}
    matrix = {"embeddings.projection.weight": np.ones((8, 4), np.float32)}
    matrix |= {"embeddings.projection.bias": np.ones(8, np.float32)}
    encoder = bertcpp._core.Encoder(settings, {**tables, **norm, **matrix})
    parts = encoder.packed()
    again = bertcpp._core.Encoder(settings, {**tables, **norm, **parts})
    del encoder  # the views keep its memory
    ids, offsets = np.arange(3), np.array([0, 3])
    assert again.forward(ids, offsets, ids)["last_hidden_state"].shape == (3, 8)
    shifted = {name: np.empty(part.size + 1, np.uint8)[1:] for name, part in parts.items()}
    with pytest.raises(WeightMismatchError, match="multiple of 64"):
        bertcpp._core.Encoder(settings, {**tables, **norm, **shifted})
    with pytest.raises(WeightMismatchError, match="floats, not bytes"):
        bertcpp._core.Encoder(settings, {**tables, **norm, **parts, "embeddings.norm.bias": np.ones(4, np.uint8)})
    assert all(not part.flags.writeable for part in parts.values())


def test_flipped_bytes_are_found_wherever_they_are(packed: Path) -> None:
    whole = (packed / FILE).read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    end = len(whole[:header].rstrip())
    file = PackedFile(packed / FILE)
    places = [*range(8), *range(8, end, 61)]
    unused = {"embeddings.position_ids"}  # of which nothing is read
    for name, entry in file.entries.items():
        if name not in unused and entry.end > entry.start:
            places += [entry.start, (entry.start + entry.end) // 2, entry.end - 1]
    for place in places:
        broken = bytearray(whole)
        broken[place] ^= 0x04
        (packed / FILE).write_bytes(broken)
        with pytest.raises((CorruptCheckpointError, UnsupportedFormatError)):
            load(packed)
    (packed / FILE).write_bytes(whole)
    assert load(packed) is not None


def test_a_file_cut_short_is_refused(packed: Path) -> None:
    whole = (packed / FILE).read_bytes()
    for length in (0, 7, 100, len(whole) // 2, len(whole) - 64, len(whole) - 1):
        (packed / FILE).write_bytes(whole[:length])
        with pytest.raises(CorruptCheckpointError):
            load(packed)


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


def test_a_load_that_fails_leaves_the_file_as_it_was(packed: Path) -> None:
    before = {path: path.read_bytes() for path in packed.iterdir() if path.is_file()}
    with pytest.raises(InputError):
        bertcpp.AutoModel.from_pretrained(packed, dtype="bfloat16")
    assert {path: path.read_bytes() for path in packed.iterdir() if path.is_file()} == before


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
