"""TensorFlow's and Keras' files, damaged: what is wrong is said, and what is not noticed has changed nothing."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bertcpp.conversion import convert
from bertcpp.crc32c import crc32c, masked
from bertcpp.errors import CheckpointError, CorruptCheckpointError, WeightMismatchError
from bertcpp.sorted_table import unpack_snappy
from bertcpp.tensor_bundle import TensorBundle

if TYPE_CHECKING:
    import numpy as np

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
GOOGLE = FIXTURES / "google_bert"
DATA = "bert_model.ckpt.data-00001-of-00003"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    shutil.copytree(GOOGLE, tmp_path / "google")
    return tmp_path / "google"


def contents(folder: Path) -> dict[str, bytes]:
    bundle = TensorBundle(folder / "bert_model.ckpt")
    return {name: bundle[name].tobytes() for name in bundle}


def outcome(folder: Path, index: bytes) -> dict[str, bytes] | None:
    """What is read with that index; None where it is refused with one of our exceptions."""
    (folder / "bert_model.ckpt.index").write_bytes(index)
    try:
        return contents(folder)
    except CheckpointError:
        return None


def test_a_flipped_bit_anywhere_in_the_index(checkpoint: Path, rng: np.random.Generator) -> None:
    index = (checkpoint / "bert_model.ckpt.index").read_bytes()
    sound = contents(checkpoint)
    refused = 0
    for place in range(0, len(index), 5):
        flipped = bytearray(index)
        flipped[place] ^= 1 << int(rng.integers(8))
        found = outcome(checkpoint, bytes(flipped))
        assert found in (None, sound), place
        refused += found is None
    assert refused >= 0.9 * len(index) / 5


def test_an_index_cut_off_anywhere(checkpoint: Path) -> None:
    index = (checkpoint / "bert_model.ckpt.index").read_bytes()
    for length in [*range(0, len(index), 41), len(index) - 1]:
        assert outcome(checkpoint, index[:length]) is None


def test_an_index_that_lies_under_a_right_checksum(checkpoint: Path, rng: np.random.Generator) -> None:
    """Whoever makes a file to harm computes its checksums: parsing must hold by itself."""
    index = (checkpoint / "bert_model.ckpt.index").read_bytes()
    ends = [place for place in range(5, len(index) - 48) if sealed(index, place)]
    assert ends, "the block of data was not found"
    for _ in range(150):
        changed = bytearray(index)
        for _ in range(int(rng.integers(1, 4))):
            changed[int(rng.integers(ends[0]))] = int(rng.integers(256))
        checksum = masked(crc32c(bytes(changed[: ends[0] + 1])))
        changed[ends[0] + 1 : ends[0] + 5] = checksum.to_bytes(4, "little")
        outcome(checkpoint, bytes(changed))  # anything but one of our exceptions fails


def sealed(index: bytes, end: int) -> bool:
    """Whether the first block ends there."""
    stored = int.from_bytes(index[end + 1 : end + 5], "little")
    return masked(crc32c(index[: end + 1])) == stored


@pytest.mark.parametrize("place", [0, 1, 1000, 3777, 5659])
def test_a_flipped_bit_in_the_data(place: int, checkpoint: Path) -> None:
    data = bytearray((checkpoint / DATA).read_bytes())
    data[place] ^= 4
    (checkpoint / DATA).write_bytes(data)
    with pytest.raises(CorruptCheckpointError, match="checksum"):
        contents(checkpoint)
    with pytest.raises(CorruptCheckpointError, match=r"the data of '.*' is damaged"):
        convert(checkpoint, checkpoint.parent / "out")
    assert [path.name for path in checkpoint.parent.iterdir()] == ["google"]  # nothing is left lying


@pytest.mark.parametrize("length", [0, 1, 5000, 5659])
def test_data_cut_off(length: int, checkpoint: Path) -> None:
    (checkpoint / DATA).write_bytes((checkpoint / DATA).read_bytes()[:length])
    with pytest.raises(CorruptCheckpointError, match="which has fewer; the checkpoint is cut off"):
        TensorBundle(checkpoint / "bert_model.ckpt")


@pytest.mark.parametrize(
    ("packed", "plain"),
    [
        (b"\x00", b""),
        (b"\x03\x08abc", b"abc"),
        (b"\x08\x04ab\x16\x02\x00", b"abababab"),  # a copy with an offset of two bytes, over itself
        (b"\x06\x04ab\x01\x02", b"ababab"),  # of one
        (b"\x05\x04ab\x0b\x02\x00\x00\x00", b"ababa"),  # of four
        (b"\x46\xf0\x45" + bytes(70), bytes(70)),  # a literal whose length has a byte of its own
    ],
)
def test_snappy(packed: bytes, plain: bytes) -> None:
    assert unpack_snappy(packed) == plain


@pytest.mark.parametrize(
    "packed", [b"", b"\x80", b"\x04\x08abc", b"\x02\x08abc", b"\x03\x0cabc", b"\x08\x04ab\x16\x03\x00", b"\xff" * 9]
)
def test_damaged_snappy(packed: bytes) -> None:
    with pytest.raises((ValueError, IndexError)):
        unpack_snappy(packed)


@pytest.mark.parametrize("length", [0, 1, 8, 96, 5000, 40000, -1])
def test_keras_files_cut_off(length: int, tmp_path: Path) -> None:
    """Only what HDF5 answers for: with other damage, it has been seen to read without end."""
    folder = tmp_path / "keras"
    shutil.copytree(FIXTURES / "keras_bert", folder)
    (folder / "tf_model.h5").write_bytes((folder / "tf_model.h5").read_bytes()[:length])
    with pytest.raises(CorruptCheckpointError, match=r"tf_model.h5 is damaged, or no HDF5 file"):
        convert(folder, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["keras"]


def test_a_checkpoint_of_another_model(checkpoint: Path) -> None:
    config = (checkpoint / "bert_config.json").read_text().replace('"num_hidden_layers": 2', '"num_hidden_layers": 3')
    (checkpoint / "bert_config.json").write_text(config)
    with pytest.raises(WeightMismatchError, match=r"google: 16 of the encoder's tensors are missing.*layer\.2"):
        convert(checkpoint, checkpoint.parent / "out")
