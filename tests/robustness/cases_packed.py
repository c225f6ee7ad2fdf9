"""Files of packed weights that are damaged, of another bertcpp or processor, or beside what they do not fit."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

from case import Case, Raises, Works
from workshop import CONFIG, Workshop, safetensors_bytes, tensors_of, with_header

import bertcpp
from bertcpp.errors import (
    CheckpointExistsError,
    ConfigError,
    CorruptCheckpointError,
    InputError,
    MissingTensorError,
    UnsupportedFormatError,
    WeightMismatchError,
)
from bertcpp.packed_checkpoints import quantize

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

FILE = "model.packed.safetensors"


def packed(w: Workshop, **options: Any) -> Workshop:
    """The same checkpoint, its weights packed; the ordinary ones are beside it as `original`."""
    original = w.folder.with_name("original")
    w.folder.rename(original)
    return Workshop.at(quantize(original, w.folder, **options))


def changed(
    name: str, change: Callable[[bytearray], Any], message: str, error: type = CorruptCheckpointError
) -> Raises:
    """The file's bytes changed in place; where a change returns bytes, these are the file."""

    def act(w: Workshop) -> Any:
        path = packed(w).folder / FILE
        content = bytearray(path.read_bytes())
        path.write_bytes(change(content) or content)
        return w.load()

    return Raises(name, act, error, message)


def header(
    name: str, change: Callable[[dict[str, Any]], Any], message: str, error: type = CorruptCheckpointError
) -> Raises:
    def rewrite(content: bytearray) -> bytes:
        end = 8 + int.from_bytes(content[:8], "little")
        entries = json.loads(content[8:end])
        change(entries)
        return with_header(json.dumps(entries).encode(), bytes(content[end:]))

    return changed(name, rewrite, message, error)


def metadata(name: str, message: str, error: type = CorruptCheckpointError, **fields: str) -> Raises:
    return header(name, lambda entries: entries["__metadata__"].update(fields), message, error)


def flip_first(content: bytearray) -> None:
    """A bit of the data's first byte, which is a packed part's."""
    content[8 + int.from_bytes(content[:8], "little")] ^= 1


def flip_last(content: bytearray) -> None:
    content[-1] ^= 1


def configured(name: str, message: str, error: type, **fields: Any) -> Raises:
    return Raises(name, lambda w: packed(w).config(**fields).load(), error, message)


def renamed(w: Workshop) -> Any:
    """An ordinary file under the name of a packed one."""
    w.weights.rename(w.folder / FILE)
    return w.load()


def swapped(w: Workshop) -> Any:
    """The file of another checkpoint of the same family, beside this one's configuration."""
    other = w.folder.with_name("other")
    shutil.copytree(w.folder, other)
    wide = CONFIG | {"intermediate_size": 24}
    Workshop.at(other).config(intermediate_size=24).weights.write_bytes(safetensors_bytes(tensors_of(wide)))
    shutil.copy(quantize(other, w.folder.with_name("packed")) / FILE, packed(w).folder / FILE)
    return w.load()


def like_original(dtype: str) -> Works:
    def original(w: Workshop) -> np.ndarray:
        place = w.folder.with_name("original")
        return Workshop.at(place if place.is_dir() else w.folder).hidden(dtype=dtype)

    return Works(f"packed {dtype}", lambda w: packed(w, dtype=dtype).hidden(), original)


CASES: list[Case] = [
    like_original("int8"),
    like_original("bfloat16"),
    like_original("float32"),
    # Bytes.
    changed("a bit of a packed part", flip_first, r"'packed:.+' is not the one that was written"),
    changed("the last bit", flip_last, "is not the one that was written"),
    changed("cut short", lambda content: bytes(content[:-64]), "of data"),
    changed("a byte too many", lambda content: bytes(content) + b"\0", "belong to no tensor"),
    changed("empty", lambda content: bytes(8), "does not begin with"),
    Raises("an ordinary file", renamed, CorruptCheckpointError, "the metadata lack layout, instruction_set"),
    Raises("of another size", swapped, WeightMismatchError, "'encoder.layer.0.intermediate.dense.bias' has the shape"),
    # What the header says.
    metadata(
        "another layout", r"layout '0', but this bertcpp reads.*again: bertcpp q", UnsupportedFormatError, layout="0"
    ),
    metadata("another instruction set", "not the one that was written", instruction_set="sse2"),
    metadata("another dtype", "not the one that was written", dtype="float32"),
    metadata("a dtype that there is not", "not the one that was written", dtype="int2"),
    metadata("no checksums", "a checksum for each tensor", checksums="{}"),
    metadata("checksums that are not JSON", "a checksum for each tensor", checksums="{"),
    metadata("another seal", "not the one that was written", seal="0" * 64),
    metadata("a count that is none", "not the one that was written", parameters="-1"),
    header("no metadata", lambda entries: entries.pop("__metadata__"), "the metadata lack"),
    header(
        "a tensor renamed",
        lambda entries: entries.update({"x": entries.pop("embeddings.LayerNorm.bias")}),
        "a checksum for each tensor",
    ),
    header(
        "a vector made a matrix",
        lambda entries: entries["embeddings.LayerNorm.bias"].update(shape=[2, 4]),
        "the header is not the one",
    ),
    # The configuration beside it.
    configured("more layers", "1.attention.self.query.bias", MissingTensorError, num_hidden_layers=2),
    configured("fewer heads change no size", "", ConfigError, num_attention_heads=3),
    configured("a wider state", "has the shape", WeightMismatchError, hidden_size=16),
    configured("a wider inside", "has the shape", WeightMismatchError, intermediate_size=16),
    # What it is asked for.
    Raises("dtype", lambda w: packed(w).load(dtype="float32"), InputError, "packed in int8 and no others"),
    Raises(
        "packed twice", lambda w: quantize(packed(w).folder, w.folder.with_name("b")), UnsupportedFormatError, "made of"
    ),
    Raises("no such dtype", lambda w: packed(w, dtype="float16"), InputError, "float32, bfloat16 or int8"),
    Raises("out is in", lambda w: quantize(w.folder, w.folder), CheckpointExistsError, "lie in each other"),
    Raises(
        "out is taken", lambda w: quantize(w.folder, w.folder / "1_Pooling"), CheckpointExistsError, "lie in each other"
    ),
    Raises(
        "one matrix is gone",
        lambda w: packed(w.tensors(lambda t: t.pop("encoder.layer.0.output.dense.weight"))),
        MissingTensorError,
        "output.dense.weight",
    ),
    Works(
        "a sentence's vector",
        lambda w: packed(w, dtype="float32").encoder().encode("a cat sat"),
        lambda w: bertcpp.SentenceTransformer(str(w.folder.with_name("original"))).encode("a cat sat"),
    ),
]
