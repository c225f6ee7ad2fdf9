"""Damaged, hostile and merely unusual safetensors files."""

from __future__ import annotations

import json
import os
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
from case import Case, Raises, Works
from workshop import CONFIG, Workshop, safetensors_bytes, tensors_of, with_header

from bertcpp.errors import (
    CheckpointNotFoundError,
    CorruptCheckpointError,
    MissingTensorError,
    WeightMismatchError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

NAME = "pooler.dense.bias"  # [8], the last of the tensors that the cases below change
QUERY = "encoder.layer.0.attention.self.query.weight"
WORDS = "embeddings.word_embeddings.weight"


def data(name: str, change: Callable[[bytes], bytes], message: str, error: type = CorruptCheckpointError) -> Raises:
    return Raises(name, lambda w: w.data(change).load(), error, message)


def header(
    name: str, change: Callable[[dict[str, Any]], Any], message: str, error: type = CorruptCheckpointError
) -> Raises:
    return Raises(name, lambda w: w.header(change).load(), error, message)


def entry(name: str, message: str, error: type = CorruptCheckpointError, **fields: Any) -> Raises:
    return header(name, lambda h: h[NAME].update(fields), message, error)


def tensors(name: str, change: Callable[[dict[str, np.ndarray]], Any], message: str, error: type) -> Raises:
    return Raises(name, lambda w: w.tensors(change).load(), error, message)


def same(name: str, change: Callable[[Workshop], Any]) -> Works:
    """The change makes no difference to transformers, nor to us."""

    def act(w: Workshop) -> Any:
        change(w)
        return w.hidden()

    return Works(name, act, lambda w: w.reference_hidden())


def swapped(h: dict[str, Any]) -> None:
    h[NAME]["data_offsets"], h[QUERY]["data_offsets"] = h[QUERY]["data_offsets"], h[NAME]["data_offsets"]


def overlapping(h: dict[str, Any]) -> None:
    h["pooler.dense.weight"]["data_offsets"] = [offset + 4 for offset in h["pooler.dense.weight"]["data_offsets"]]


def duplicated(h: dict[str, Any]) -> bytes:
    text = json.dumps(h)
    return (text[:-1] + f', "{NAME}": {json.dumps(h[NAME])}}}').encode()


def sparse(w: Workshop) -> Any:
    """A header that claims 150 MB, in a file that has them but takes no room on the disk."""
    with w.weights.open("wb") as file:
        file.write(struct.pack("<Q", 150_000_000) + b"{")
        file.truncate(200_000_000)
    return w.load()


def replaced_by(make: Callable[[str], Any]) -> Callable[[Workshop], Any]:
    def act(w: Workshop) -> Any:
        w.weights.unlink()
        make(str(w.weights))
        return w.load()

    return act


def set_nan(t: dict[str, np.ndarray]) -> None:
    t[QUERY][1, 2] = np.nan


def set_infinite(t: dict[str, np.ndarray]) -> None:
    t[WORDS][6] = np.inf


def bfloat16(w: Workshop) -> None:
    """Keep the upper halves of the weights' bits."""
    bits = {name: (tensor.view(np.uint32) >> 16).astype(np.uint16) for name, tensor in tensors_of(CONFIG).items()}
    w.weights.write_bytes(safetensors_bytes(bits, dict.fromkeys(bits, "BF16")))


def convert(dtype: type) -> Callable[[Workshop], Any]:
    return lambda w: w.tensors(lambda t: t.update({name: tensor.astype(dtype) for name, tensor in t.items()}))


def rename(t: dict[str, np.ndarray], old: str, new: str) -> None:
    for name in list(t):
        t[name.replace(old, new)] = t.pop(name)


CASES: list[Case] = [
    # The file.
    data("empty file", lambda b: b"", "has 0 bytes, too few"),
    data("seven bytes", lambda b: b[:7], "has 7 bytes, too few"),
    data("eight bytes", lambda b: b[:8], r"the header should have \d+ bytes, but the file has 8"),
    data(
        "header length past the end",
        lambda b: struct.pack("<Q", len(b)) + b[8:],
        "it is cut off or no safetensors file",
    ),
    data("header length of 2**64 - 1", lambda b: b"\xff" * 8 + b[8:], "should have 18446744073709551615 bytes"),
    data("header length 0", lambda b: bytes(8) + b[8:], "the header does not begin with '{'"),
    data("header length too short", lambda b: struct.pack("<Q", 20) + b[8:], "the header is not valid JSON"),
    Raises(
        "header over 100 MB", sparse, CorruptCheckpointError, "header of 150000000 bytes is over the format's limit"
    ),
    data("cut in the header", lambda b: b[:100], "it is cut off or no safetensors file"),
    data("cut in the data", lambda b: b[:-100], r"tensor '.*' has the data_offsets \[\d+, \d+\], but the file has \d+"),
    data("last byte missing", lambda b: b[:-1], "but the file has"),
    data("a byte too many", lambda b: b + b"\0", "1 bytes at the end belong to no tensor"),
    data("zeros", lambda b: bytes(len(b)), "the header does not begin with '{'"),
    data("a web page", lambda b: b"<!DOCTYPE html><html>not found</html>", "it is cut off or no safetensors file"),
    data("a zip archive", lambda b: b"PK\x03\x04" + b, "it is cut off or no safetensors file"),
    data(
        "a pointer of Git LFS",
        lambda b: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
        "pointer of Git LFS.*git lfs pull",
    ),
    Raises(
        "no file", lambda w: w.remove("model.safetensors").load(), CheckpointNotFoundError, "has no weights: neither"
    ),
    Raises("a folder in its place", replaced_by(os.mkdir), CheckpointNotFoundError, "has no weights"),
    Raises("a named pipe in its place", replaced_by(os.mkfifo), CheckpointNotFoundError, "has no weights"),
    Raises(
        "a link to nowhere",
        replaced_by(lambda path: os.symlink("gone", path)),
        CheckpointNotFoundError,
        "has no weights",
    ),
    Raises(
        "a link to itself", replaced_by(lambda path: os.symlink(path, path)), CheckpointNotFoundError, "has no weights"
    ),
    Raises(
        "a named pipe behind a shard",
        lambda w: (
            os.mkfifo(w.folder / "shard"),
            w.remove("model.safetensors").write("model.safetensors.index.json", {"weight_map": {NAME: "shard"}}).load(),
        ),
        CheckpointNotFoundError,
        "speaks of shard, not there",
    ),
    # The header as JSON.
    header("header is a list", lambda h: b"[]", "the header does not begin with '{'"),
    header("header begins with a space", lambda h: b" " + json.dumps(h).encode(), "does not begin with '{'"),
    header("header is not UTF-8", lambda h: json.dumps(h).encode()[:-1] + b', "\xff": {}}', "not valid JSON.*utf-8"),
    header("header has rest after its object", lambda h: json.dumps(h).encode() + b"}", "not valid JSON.*Extra data"),
    header("header has NaN", lambda h: b'{"a": NaN}', "not valid JSON.*NaN is no JSON"),
    header("header is nested without end", lambda h: b'{"a":' * 100_000, "not valid JSON"),
    header("header has a number of 10,000 digits", lambda h: b'{"a": ' + b"9" * 10_000 + b"}", "not valid JSON"),
    header("a tensor twice", duplicated, f"the name '{NAME}' occurs twice"),
    header("no tensors but data", lambda h: b"{}", "bytes at the end belong to no tensor"),
    data("no tensors, no data", lambda b: with_header(b"{}", b""), "are missing: embeddings.word_", MissingTensorError),
    header(
        "metadata is a list", lambda h: h.update(__metadata__=[]), r"__metadata__ must map strings to strings, not \[\]"
    ),
    header("metadata has a number", lambda h: h.update(__metadata__={"a": 1}), "__metadata__ must map strings"),
    # An entry.
    header("entry is a list", lambda h: h.update({NAME: []}), r"needs dtype, shape and data_offsets, but has \[\]"),
    header("entry is null", lambda h: h.update({NAME: None}), "needs dtype, shape and data_offsets"),
    header("entry without dtype", lambda h: h[NAME].pop("dtype"), "needs dtype, shape and data_offsets"),
    header("entry without shape", lambda h: h[NAME].pop("shape"), "needs dtype, shape and data_offsets"),
    header("entry without data_offsets", lambda h: h[NAME].pop("data_offsets"), "needs dtype, shape and data_offsets"),
    entry("unknown dtype", "has the unknown dtype 'F99'", dtype="F99"),
    entry("dtype in lower case", "has the unknown dtype 'f32'", dtype="f32"),
    entry("dtype is a number", "has the unknown dtype 32", dtype=32),
    entry("dtype is a list", r"has the unknown dtype \['F32'\]", dtype=["F32"]),
    entry("dtype is null", "has the unknown dtype None", dtype=None),
    entry("shape is a number", "has the shape 8, which must be a list of sizes", shape=8),
    entry("shape is null", "which must be a list of sizes", shape=None),
    entry("shape is an object", "which must be a list of sizes", shape={"0": 8}),
    entry("negative size", r"has the shape \[-8\], which must be a list", shape=[-8]),
    entry("two negative sizes", "which must be a list of sizes", shape=[-2, -4]),
    entry("fractional size", r"has the shape \[8\.0\], which must be a list", shape=[8.0]),
    entry("boolean size", "which must be a list of sizes", shape=[8, True]),
    entry("size in a string", "which must be a list of sizes", shape=["8"]),
    entry("size of 2**63", "which must be a list of sizes", shape=[2**63]),
    entry("shape that overflows 64 bits", "more than can be addressed", shape=[2**40, 2**40]),
    entry("shape that wraps round to the right size", "more than can be addressed", shape=[2**62, 4, 2, 8]),
    entry("33 dimensions", "has 33 dimensions", shape=[1] * 32 + [8]),
    entry("shape too small", "which is not the 32 bytes", shape=[7]),
    entry("shape too large", "which is not the 32 bytes", shape=[9]),
    entry("no dimension", "which is not the 32 bytes", shape=[]),
    entry("offsets are a number", r"data_offsets 0, which must be \[begin, end\]", data_offsets=0),
    entry("one offset", r"which must be \[begin, end\]", data_offsets=[0]),
    entry("three offsets", r"which must be \[begin, end\]", data_offsets=[0, 32, 64]),
    entry("negative offset", r"which must be \[begin, end\]", data_offsets=[-32, 0]),
    entry("fractional offset", r"which must be \[begin, end\]", data_offsets=[0.0, 32]),
    entry("boolean offset", r"which must be \[begin, end\]", data_offsets=[False, 32]),
    entry("offsets in reverse", "but the file has", data_offsets=[32, 0]),
    entry("offsets past the end", "but the file has", data_offsets=[10**6, 10**6 + 32]),
    entry("offsets of 2**64", r"which must be \[begin, end\]", data_offsets=[2**64, 2**64 + 32]),
    header("offsets that overlap", overlapping, r"tensor '.*' (overlaps the one|leaves a gap) before it"),
    entry("offsets of another tensor", r"overlaps the one before it|leaves a gap", data_offsets=[0, 32]),
    header("offsets of two tensors exchanged", swapped, "which is not the 256 bytes|which is not the 32 bytes"),
    header("a tensor left out of the header", lambda h: h.pop(QUERY), "leaves a gap before it"),
    # Tensors that contradict the configuration.
    entry("weights of int32", r"has the dtype I32, but weights are F32, F16", WeightMismatchError, dtype="I32"),
    entry("weights of uint32", "has the dtype U32, but weights are", WeightMismatchError, dtype="U32"),
    Raises(
        "uint16 is not taken for bfloat16",
        lambda w: w.tensors(lambda t: t.update({NAME: t[NAME].astype(np.float16)}), {NAME: "U16"}).load(),
        WeightMismatchError,
        "has the dtype U16, but weights are",
    ),
    Raises(
        "weights of float8",
        lambda w: w.tensors(lambda t: t.update({NAME: np.zeros(8, np.uint8)}), {NAME: "F8_E4M3"}).load(),
        WeightMismatchError,
        "has the dtype F8_E4M3, but weights are.*before it was quantized",
    ),
    tensors(
        "a tensor missing",
        lambda t: t.pop(QUERY),
        rf"1 of the encoder's tensors are missing: {QUERY}",
        MissingTensorError,
    ),
    tensors("all tensors missing", lambda t: t.clear(), "21 of the encoder's tensors are missing", MissingTensorError),
    tensors("half a pooler", lambda t: t.pop(NAME), rf"are missing: {NAME}", MissingTensorError),
    tensors(
        "names of another family", lambda t: rename(t, "encoder.", "transformer."), "are missing", MissingTensorError
    ),
    tensors(
        "a tensor of another shape",
        lambda t: t.update({QUERY: t[QUERY][:4]}),
        rf"tensor '{QUERY}' has the shape \[4, 8\], but config.json asks for \[8, 8\]",
        WeightMismatchError,
    ),
    tensors(
        "a tensor transposed",
        lambda t: t.update({"encoder.layer.0.output.dense.weight": t["encoder.layer.0.output.dense.weight"].T.copy()}),
        r"has the shape \[12, 8\], but config.json asks for \[8, 12\]",
        WeightMismatchError,
    ),
    tensors(
        "a tensor with a dimension too many",
        lambda t: t.update({NAME: t[NAME][None]}),
        r"has the shape \[1, 8\], but config.json asks for \[8\]",
        WeightMismatchError,
    ),
    tensors("an empty tensor", lambda t: t.update({NAME: t[NAME][:0]}), r"has the shape \[0\]", WeightMismatchError),
    # Unusual but sound.
    same("header padded with spaces", lambda w: w.header(lambda h: json.dumps(h).encode() + b" " * 100)),
    same("data at an odd address", lambda w: w.header(lambda h: json.dumps(h).encode().ljust(4001))),
    same("no metadata", lambda w: w.header(lambda h: h.pop("__metadata__") and None)),
    same("metadata is null", lambda w: w.header(lambda h: h.update(__metadata__=None))),
    same("an entry with one field more", lambda w: w.header(lambda h: h[NAME].update(note="x"))),
    same("tensors in another order", lambda w: w.tensors(lambda t: [t.update({n: t.pop(n)}) for n in sorted(t)])),
    same("tensors that are not needed", lambda w: w.tensors(lambda t: t.update({"cls.bias": np.zeros(3, np.float32)}))),
    same("a buffer of positions", lambda w: w.tensors(lambda t: t.update({"embeddings.position_ids": np.arange(16)}))),
    same("a scalar", lambda w: w.tensors(lambda t: t.update({"scale": np.float32(1).reshape(())}))),
    same("a tensor of no elements", lambda w: w.tensors(lambda t: t.update({"empty": np.zeros((0, 4), np.float32)}))),
    same("NaN among the weights", lambda w: w.tensors(set_nan)),
    same("infinity among the weights", lambda w: w.tensors(set_infinite)),
    same("float16", convert(np.float16)),
    same("float64", convert(np.float64)),
    same("bfloat16", bfloat16),
]
