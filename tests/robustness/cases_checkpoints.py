"""Names that lead nowhere, indexes and pickles that are damaged or hostile, paths that lead out of a checkpoint."""

from __future__ import annotations

import os
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from case import Case, Raises, Works
from workshop import CONFIG, Workshop, safetensors_bytes, tensors_of

import bertcpp
from bertcpp import checkpoints
from bertcpp.errors import (
    CheckpointNotFoundError,
    ConfigError,
    CorruptCheckpointError,
    InputError,
    MissingTensorError,
    UnsupportedFormatError,
    WeightMismatchError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

INDEX = "model.safetensors.index.json"
PICKLE = "pytorch_model.bin"


def shards(w: Workshop, change: Callable[[dict[str, Any]], Any] = lambda index: None) -> Workshop:
    """Split the weights over two files, and change their index in place."""
    tensors = tensors_of(CONFIG)
    names = sorted(tensors)
    parts = {"model-1.safetensors": names[:9], "model-2.safetensors": names[9:]}
    for file, part in parts.items():
        w.write(file, safetensors_bytes({name: tensors[name] for name in part}))
    index = {"metadata": {}, "weight_map": {name: file for file, part in parts.items() for name in part}}
    change(index)
    return w.remove("model.safetensors").write(INDEX, index)


def index(
    name: str, change: Callable[[dict[str, Any]], Any], message: str, error: type = CorruptCheckpointError
) -> Raises:
    return Raises(name, lambda w: shards(w, change).load(), error, message)


def moved(w: Workshop, path: str) -> Callable[[dict[str, Any]], Any]:
    """An index that places everything at `path`, which exists."""
    return lambda index: index.update(weight_map=dict.fromkeys(index["weight_map"], path.format(w.folder)))


def outside(name: str, path: str) -> Raises:
    """An index that names a sound file outside the folder; `{}` is the folder's path."""

    def act(w: Workshop) -> Any:
        (w.folder.parent / "outside.safetensors").write_bytes(w.weights.read_bytes())
        return shards(w, moved(w, path)).load()

    return Raises(name, act, CorruptCheckpointError, "leads out of the checkpoint's folder")


def pickled(value: Any, **options: Any) -> Callable[[Workshop], Any]:
    def act(w: Workshop) -> Any:
        torch.save(value, w.remove("model.safetensors").folder / PICKLE, **options)
        return w.load()

    return act


def pickle_bytes(name: str, content: bytes, message: str, error: type = CorruptCheckpointError) -> Raises:
    return Raises(name, lambda w: w.remove("model.safetensors").write(PICKLE, content).load(), error, message)


class Command:
    """What runs a command when it is unpickled by a loader that allows it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch /nowhere/at/all",)


def as_torch(**changes: Any) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(tensor) for name, tensor in tensors_of(CONFIG).items()} | changes


def cut_pickle(w: Workshop) -> Any:
    torch.save(as_torch(), w.remove("model.safetensors").folder / PICKLE)
    data = (w.folder / PICKLE).read_bytes()
    return w.write(PICKLE, data[: len(data) // 2]).load()


def name(text: Any, message: str, error: type = CheckpointNotFoundError) -> Raises:
    return Raises(f"the name {text!r:.40}", lambda w: checkpoints.locate(text, local_files_only=True), error, message)


def in_subfolder(w: Workshop) -> np.ndarray:
    hidden = bertcpp.AutoModel.from_pretrained(w.folder.parent, subfolder=w.folder.name)([[2, 5, 6, 7, 3]])
    return np.asarray(hidden.last_hidden_state)


CASES: list[Case] = [
    # Names.
    name(
        "no-such-model-anywhere", "is not on this machine: no folder of that name, not in the cache .*local_files_only"
    ),
    name("someone/no-such-model", "Pass the path of a folder, install a package"),
    name("/no/such/folder", "there is no such folder, and it is no hub name"),
    name("a/b/c", "there is no such folder, and it is no hub name"),
    name("../x", "it is no hub name"),
    name("http://example.com/model", "it is no hub name"),
    name("", "not by ''", InputError),
    name("a\0b", "a checkpoint is named by a folder or a hub name", InputError),
    name(None, "not by None", InputError),
    name(3, "not by 3", InputError),
    name(["a"], r"not by \['a'\]", InputError),
    name(b"bytes", "not by b'bytes'", InputError),
    Raises(
        "a file, not a folder",
        lambda w: bertcpp.AutoModel.from_pretrained(w.weights),
        CheckpointNotFoundError,
        "is a file, not a folder",
    ),
    Raises("a subfolder that is not there", lambda w: w.load(subfolder="x"), CheckpointNotFoundError, "no folder 'x'"),
    Raises("a subfolder outside", lambda w: w.load(subfolder="../x"), CorruptCheckpointError, r"'\.\./x' leads out"),
    Raises("a subfolder from the root", lambda w: w.load(subfolder="/etc"), CorruptCheckpointError, "'/etc' leads out"),
    Raises("a subfolder that is no string", lambda w: w.load(subfolder=3), InputError, "subfolder must be a string"),
    Works("a subfolder", in_subfolder, lambda w: w.reference_hidden()),
    # Formats.
    Raises(
        "TensorFlow's weights alone",
        lambda w: (w.weights.rename(w.folder / "tf_model.h5"), w.load()),
        UnsupportedFormatError,
        r"only TensorFlow weights \(tf_model\.h5\); make safetensors of them: bertcpp convert",
    ),
    Raises(
        "Flax's weights alone",
        lambda w: (w.weights.rename(w.folder / "flax_model.msgpack"), w.load()),
        UnsupportedFormatError,
        "only Flax weights",
    ),
    Raises(
        "ONNX alone",
        lambda w: (w.write("onnx/model.onnx", b"").remove("model.safetensors"), w.load()),
        UnsupportedFormatError,
        "only ONNX weights",
    ),
    Raises(
        "safetensors wanted, a pickle there",
        lambda w: w.remove("model.safetensors").write(PICKLE, b"").load(use_safetensors=True),
        CheckpointNotFoundError,
        "not with use_safetensors=True",
    ),
    Raises(
        "a pickle wanted, safetensors there",
        lambda w: w.load(use_safetensors=False),
        CheckpointNotFoundError,
        "not with use_safetensors=False",
    ),
    # The index of shards.
    index("no weight_map", lambda i: i.pop("weight_map"), "weight_map must map tensors to file names"),
    index("an empty weight_map", lambda i: i.update(weight_map={}), "weight_map must map tensors"),
    index("weight_map is a list", lambda i: i.update(weight_map=["a"]), "weight_map must map tensors"),
    index("weight_map to numbers", lambda i: i["weight_map"].update(a=3), "weight_map must map tensors"),
    index("weight_map to null", lambda i: i["weight_map"].update(a=None), "weight_map must map tensors"),
    index(
        "a shard that is missing",
        lambda i: i["weight_map"].update(a="model-3.safetensors"),
        r"speaks of model-3\.safetensors, not there",
        CheckpointNotFoundError,
    ),
    index(
        "a tensor that its shard lacks",
        lambda i: i["weight_map"].update(a="model-2.safetensors"),
        r"places a in model-2\.safetensors, which has no such tensor",
        MissingTensorError,
    ),
    index(
        "a shard that is a config", lambda i: i["weight_map"].update(a="config.json"), "it is cut off or no safetensors"
    ),
    index("a shard that is the folder", lambda i: i["weight_map"].update(a="."), "not there", CheckpointNotFoundError),
    index("a shard without a name", lambda i: i["weight_map"].update(a=""), "not there", CheckpointNotFoundError),
    index(
        "a shard with a zero byte", lambda i: i["weight_map"].update(a="a\0b"), "leads out of the checkpoint's folder"
    ),
    outside("a shard in the folder above", "../outside.safetensors"),
    outside("a shard by a detour", "1_Pooling/../../outside.safetensors"),
    outside("a shard by its whole path", "{}/model.safetensors"),
    outside("a shard with backslashes", "..\\outside.safetensors"),
    Raises(
        "an index that is no JSON",
        lambda w: shards(w).write(INDEX, b"{").load(),
        ConfigError,
        r"index\.json is not valid JSON",
    ),
    Raises(
        "a shard cut off",
        lambda w: shards(w).write("model-2.safetensors", b"12345").load(),
        CorruptCheckpointError,
        r"model-2\.safetensors has 5 bytes, too few",
    ),
    Works("shards", lambda w: shards(w).hidden(), lambda w: w.reference_hidden()),
    Works(
        "shards by links into another folder, as in the hub's cache",
        lambda w: (
            shards(w),
            (w.folder / "model-1.safetensors").rename(w.folder.parent / "blob"),
            (w.folder / "model-1.safetensors").symlink_to("../blob"),
            w.hidden(),
        )[-1],
        lambda w: w.reference_hidden(),
    ),
    # Pickles.
    pickle_bytes("an empty pickle", b"", "is damaged"),
    pickle_bytes("a pickle of garbage", bytes(range(256)), "is damaged"),
    pickle_bytes("a pickle of text", b"<!DOCTYPE html>", "is damaged"),
    pickle_bytes("a plain pickle", pickle.dumps({"a": 1}, protocol=2), "is damaged|holds"),
    Raises("a pickle cut off", cut_pickle, CorruptCheckpointError, "is damaged"),
    Raises(
        "a pickle that runs a command",
        pickled({"a": Command()}),
        UnsupportedFormatError,
        "holds something else than tensors, which torch's safe loader does not make",
    ),
    Raises(
        "a pickle of a whole model",
        pickled(torch.nn.Linear(2, 2)),
        UnsupportedFormatError,
        "holds something else than tensors",
    ),
    Raises(
        "a pickle of a list", pickled([torch.ones(1)]), CorruptCheckpointError, "holds a list where tensors by name"
    ),
    Raises("a pickle of a tensor", pickled(torch.ones(1)), CorruptCheckpointError, "holds a Tensor where"),
    Raises("a pickle without tensors", pickled({"epoch": 3}), CorruptCheckpointError, "holds no tensors by name"),
    Raises(
        "a sparse tensor",
        pickled({"a": torch.eye(3).to_sparse()}),
        UnsupportedFormatError,
        "tensor 'a' is sparse or quantized",
    ),
    Raises(
        "a pickle of integers",
        pickled(as_torch(**{"pooler.dense.bias": torch.ones(8, dtype=torch.uint16)})),
        WeightMismatchError,
        "'pooler.dense.bias' has the dtype I32, but weights are",
    ),
    Raises(
        "a pickle of float8",
        pickled(as_torch(**{"pooler.dense.bias": torch.ones(8).to(torch.float8_e4m3fn)})),
        UnsupportedFormatError,
        "has the dtype torch.float8_e4m3fn; save it as float32",
    ),
    Raises(
        "a pickle that lacks a tensor",
        lambda w: pickled({"embeddings.LayerNorm.bias": torch.ones(8)})(w),
        MissingTensorError,
        "20 of the encoder's tensors are missing",
    ),
    Works(
        "a pickle",
        lambda w: (pickled(as_torch())(w), w.hidden())[-1],
        lambda w: w.reference_hidden(),
    ),
    Works(
        "a pickle with other things beside tensors",
        lambda w: (pickled(as_torch(epoch=3))(w), w.hidden())[-1],
        lambda w: (w.remove(PICKLE).weights.write_bytes(safetensors_bytes(tensors_of(CONFIG))), w.reference_hidden())[
            -1
        ],
    ),
]
