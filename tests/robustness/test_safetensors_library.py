"""Our reader takes what the safetensors library takes, with the same bytes, and refuses what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save
from test_damage import SMALLEST, changed
from workshop import safetensors_bytes, tensors_of

from bertcpp.errors import BertcppError
from bertcpp.safetensors_file import SafetensorsFile

CORPUS = Path(__file__).parent / "corpus"
# The examples are the same in every run, and share a folder.
SAME_FOLDER = settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
STRICTER = {"twice-the-same-name.safetensors"}  # the library takes the last of them


def ours(path: Path, content: bytes) -> dict[str, bytes] | None:
    """Each tensor's bytes, or None if the file is refused."""
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    try:
        file = SafetensorsFile(path)
    except BertcppError:
        return None
    return {name: content[entry.start : entry.end] for name, entry in file.entries.items()}


def theirs(content: bytes) -> dict[str, bytes] | None:
    try:
        return {name: bytes(tensor["data"]) for name, tensor in deserialize(content)}
    except SafetensorError:
        return None


def test_the_corpus(tmp_path: Path) -> None:
    files = sorted(CORPUS.rglob("*.safetensors"))
    assert len(files) > 30
    for file in files:
        content = file.read_bytes()
        expected = None if file.name in STRICTER else theirs(content)
        assert ours(tmp_path / "x", content) == expected, file.name


def test_every_bit_of_a_header(tmp_path: Path) -> None:
    content = safetensors_bytes(tensors_of(SMALLEST))
    header = 8 + int.from_bytes(content[:8], "little")
    verdicts = set()
    for damaged in changed(content, range(header), (0xFF, 1, 2, 4, 8, 16, 32, 64, 128)):
        expected = theirs(damaged)
        assert ours(tmp_path / "x", damaged) == expected
        verdicts.add(expected is None)
    assert verdicts == {True, False}


def pieces() -> st.SearchStrategy[str]:
    """What headers are made of, right and wrong."""
    right = ["0", "1", "2", "4", "8"]
    wrong = ["-0", "-1", "1.0", "1e0", "01", "true", "null", '"4"', str(2**64)]
    sizes = st.sampled_from(right + wrong)
    lists = st.lists(sizes, max_size=3).map(lambda items: f"[{','.join(items)}]")
    dtypes = st.sampled_from(['"F32"', '"F16"', '"U8"', '"F4"', '"I64"', '"f32"', '"F8_E4M3"', "4", "null"])
    names = st.sampled_from(['"a"', '"b"', '"c"', '"__metadata__"', '""', r'"\u0061"'])
    fields = st.tuples(dtypes, lists, lists)
    entries = fields.map(lambda f: f'{{"dtype":{f[0]},"shape":{f[1]},"data_offsets":{f[2]}}}')
    others = st.sampled_from(["{}", "[]", "null", '{"format":"pt"}', '{"n":1}'])
    pairs = st.tuples(names, entries | others)
    return st.lists(pairs, max_size=3, unique_by=lambda pair: pair[0].replace(r"\u0061", "a")).map(
        lambda items: "{" + ",".join(f"{name}:{entry}" for name, entry in items) + "}"
    )


@settings(SAME_FOLDER, max_examples=1500)
@given(header=pieces(), data=st.integers(0, 16))
def test_headers_of_every_make(header: str, data: int, tmp_path: Path) -> None:
    content = len(header).to_bytes(8, "little") + header.encode() + bytes(range(data))
    assert ours(tmp_path / "x", content) == theirs(content)


arrays = st.sampled_from(["<f4", "<f2", "<f8", "<i8", "<i4", "<i2", "i1", "u1", "<u2", "<u4", "<u8", "?"]).flatmap(
    lambda dtype: st.lists(st.integers(0, 3), max_size=3).map(
        lambda shape: (np.arange(int(np.prod(shape))) % 2).astype(dtype).reshape(shape)
    )
)


@settings(SAME_FOLDER, max_examples=200)
@given(tensors=st.dictionaries(st.text(max_size=5).filter(lambda name: name != "__metadata__"), arrays, max_size=5))
def test_what_the_library_writes(tensors: dict[str, np.ndarray], tmp_path: Path) -> None:
    (tmp_path / "x").unlink(missing_ok=True)
    (tmp_path / "x").write_bytes(save(tensors))
    file = SafetensorsFile(tmp_path / "x")
    assert set(file) == set(tensors)
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(file[name], tensor, strict=True)
        assert file.shape_of(name) == tensor.shape


@pytest.mark.parametrize("shape", [[2**62, 2**62, 0], [0, 2**62, 2**62]])
def test_zero_sizes_do_not_hide_others(shape: list[int], tmp_path: Path) -> None:
    """A product with a 0 in it is 0, whatever overflowed beside it."""
    header = f'{{"a":{{"dtype":"F32","shape":{shape},"data_offsets":[0,0]}}}}'.encode()
    assert ours(tmp_path / "x", len(header).to_bytes(8, "little") + header) is None
