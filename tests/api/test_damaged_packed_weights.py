"""Packed weights of another version or processor, damaged or crafted: refused by name, never used."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import bertcpp
import reference_models as reference
from bertcpp import _core
from bertcpp.checkpoint_writing import write_safetensors
from bertcpp.errors import (
    CorruptCheckpointError,
    InputError,
    UnsupportedFormatError,
    WeightMismatchError,
)
from bertcpp.packed_checkpoints import quantize
from bertcpp.packed_weights import PackedFile, packed_metadata

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FILE = "model.packed.safetensors"


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
            parameters: Any = metadata["parameters"]
            metadata = packed_metadata(metadata["dtype"], parameters, tensors, dtypes)
    write_safetensors(out / FILE, tensors, dtypes, metadata)


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    model = reference.random_model("bert", 5, kind="ForMaskedLM")
    return quantize(reference.save(model, tmp_path / "in"), tmp_path / "out")


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


def test_instruction_sets_that_pack_alike_read_what_another_wrote(packed: Path) -> None:
    here = bertcpp.instruction_set()
    ids = np.arange(5, 15)[None]
    expected = load(packed)(ids).logits
    x86 = ["scalar", "avx2", "avx2_vnni", "avx512", "avx512_vnni", "avx512_bf16", "amx"]
    carried = [*x86, "neon", "neon_dotprod"]
    alike = [name for name in carried if _core.panel_columns(name) == _core.panel_columns(here)]
    assert here in alike
    for other in alike:
        rewritten(packed, lambda tensors, metadata, name=other: metadata.update(instruction_set=name))
        assert np.array_equal(load(packed)(ids).logits, expected)


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


@pytest.mark.parametrize(
    "change",
    [{"parameters": "9" * 5000}, {"dtype": "auto"}, {"dtype": "float16"}],
    ids=["parameters", "auto", "float16"],
)
def test_a_sealed_header_that_nobody_writes(packed: Path, change: dict[str, str]) -> None:
    rewritten(packed, lambda tensors, metadata: metadata.update(change))
    with pytest.raises(CorruptCheckpointError, match=re.escape(FILE)):
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


def test_a_load_that_fails_leaves_the_file_as_it_was(packed: Path) -> None:
    before = {path: path.read_bytes() for path in packed.iterdir() if path.is_file()}
    with pytest.raises(InputError):
        bertcpp.AutoModel.from_pretrained(packed, dtype="bfloat16")
    assert {path: path.read_bytes() for path in packed.iterdir() if path.is_file()} == before
