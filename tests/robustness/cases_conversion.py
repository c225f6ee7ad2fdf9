"""`convert` given what it cannot read, or a place where it must not write."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from case import Case, Raises, Works

from bertcpp.conversion import convert
from bertcpp.errors import (
    CheckpointError,
    CheckpointExistsError,
    CheckpointNotFoundError,
    ConfigError,
    CorruptCheckpointError,
    InputError,
    MissingDependencyError,
    MissingTensorError,
    UnknownArchitectureError,
    UnsupportedFormatError,
    WeightMismatchError,
)
from bertcpp.tensor_bundle import TensorBundle

if TYPE_CHECKING:
    from collections.abc import Callable

    from workshop import Workshop

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"


def conversion(
    name: str,
    change: Callable[[Path], Any],
    error: type,
    message: str,
    source: str = "google_bert",
    **options: Any,
) -> Raises:
    """Convert a changed copy of a fixture, beside the checkpoint that the workshop has."""

    def act(w: Workshop) -> None:
        folder = w.folder.parent / "source"
        shutil.copytree(FIXTURES / source, folder)
        change(folder)
        convert(folder, w.folder.parent / "out", **options)

    return Raises(name, act, error, message)


def configured(name: str, file: str, fields: dict[str, Any], error: type, message: str, **options: Any) -> Raises:
    def change(folder: Path) -> None:
        known = json.loads((folder / file).read_text()) | fields
        (folder / file).write_text(json.dumps({key: value for key, value in known.items() if value is not ...}))

    return conversion(name, change, error, message, **options)


def hdf5(name: str, change: Callable[[Any], Any], error: type, message: str) -> Raises:
    def changed(folder: Path) -> None:
        import h5py

        with h5py.File(folder / "tf_model.h5", "a") as file:
            change(file)

    return conversion(name, changed, error, message, source="keras_bert")


def replaced(file: Any, value: Any) -> None:
    """Put something else in place of a bias."""
    group = file["classifier"]
    bias = group.attrs["weight_names"][1]
    del group[bias]
    group[bias] = value


def linked(name: str, *place: str) -> Any:
    import h5py

    return getattr(h5py, name)(*place)


def elsewhere(file: Any) -> Any:
    bias = file["classifier"].attrs["weight_names"][1]
    return linked("ExternalLink", str(FIXTURES / "keras_bert/tf_model.h5"), f"/classifier/{bias}")


def no_h5py(w: Workshop) -> None:
    kept = sys.modules.pop("h5py", None)
    sys.modules["h5py"] = None  # type: ignore[assignment]
    try:
        convert(FIXTURES / "keras_bert", w.folder.parent / "out")
    finally:
        del sys.modules["h5py"]
        if kept is not None:
            sys.modules["h5py"] = kept


def same(folder: Path) -> None:
    """Change nothing."""


def twice(folder: Path) -> None:
    shutil.copy(folder / "bert_model.ckpt.index", folder / "other.ckpt.index")


CASES: list[Case] = [
    # Where to write.
    Raises(
        "a checkpoint over another",
        lambda w: convert(FIXTURES / "google_bert", w.folder),
        CheckpointExistsError,
        "is there already; name another folder, or ask to overwrite it",
    ),
    Raises(
        "a checkpoint over itself",
        lambda w: convert(w.folder, w.folder, overwrite=True),
        CheckpointExistsError,
        "lie in each other",
    ),
    Raises(
        "a checkpoint into itself", lambda w: convert(w.folder, w.folder / "x"), CheckpointExistsError, "in each other"
    ),
    Raises(
        "a checkpoint over a folder of something else",
        lambda w: (
            convert(FIXTURES / "google_bert", w.folder / "1_Pooling/..", overwrite=True)
            if w.remove("config.json", "modules.json")
            else None
        ),
        CheckpointExistsError,
        "holds 1_Pooling and no checkpoint",
    ),
    Raises(
        "a checkpoint over a file",
        lambda w: convert(FIXTURES / "google_bert", w.folder / "vocab.txt", overwrite=True),
        CheckpointExistsError,
        "is there and no folder",
    ),
    Raises(
        "a checkpoint into a folder that is not there",
        lambda w: convert(FIXTURES / "google_bert", w.folder / "gone/out"),
        CheckpointError,
        "gone/out cannot be written",
    ),
    Works(
        "a checkpoint over another, as asked",
        lambda w: sorted(p.name for p in convert(FIXTURES / "keras_bert", w.folder, overwrite=True).iterdir()),
        lambda w: ["config.json", "model.safetensors", "names.json", "vocab.txt"],
    ),
    # What to read.
    Raises("no path", lambda w: convert(3, w.folder), InputError, "not by 3"),  # type: ignore[arg-type]
    Raises(
        "a file of something else",
        lambda w: convert(w.folder / "vocab.txt", w.folder.parent / "out"),
        UnsupportedFormatError,
        "vocab.txt is neither a checkpoint of TensorFlow nor an .h5 file",
    ),
    Raises(
        "a folder without a checkpoint",
        lambda w: convert(w.folder / "1_Pooling", w.folder.parent / "out"),
        CheckpointNotFoundError,
        "has no weights",
    ),
    conversion("several checkpoints", twice, InputError, "several checkpoints .bert_model.ckpt, other.ckpt"),
    conversion("no vocabulary", lambda f: (f / "vocab.txt").unlink(), CheckpointNotFoundError, "pass vocab_file"),
    conversion(
        "no configuration", lambda f: (f / "bert_config.json").unlink(), CheckpointNotFoundError, "pass config_file"
    ),
    conversion("a configuration elsewhere", same, CheckpointNotFoundError, "correct config_file", config_file="gone"),
    conversion(
        "a data file missing",
        lambda f: (f / "bert_model.ckpt.data-00002-of-00003").unlink(),
        CheckpointNotFoundError,
        "data-00002-of-00003 is missing",
    ),
    conversion(
        "an index of something else",
        lambda f: (f / "bert_model.ckpt.index").write_bytes(b"x" * 100),
        CorruptCheckpointError,
        "does not end as the index",
    ),
    conversion(
        "a vocabulary of another encoding",
        lambda f: (f / "vocab.txt").write_bytes(b"\xff\xfe"),
        ConfigError,
        "vocab.txt is not UTF-8",
    ),
    conversion(
        "a vocabulary longer than its table",
        lambda f: (f / "vocab.txt").write_text("\n".join(map(str, range(30)))),
        ConfigError,
        "has 30 words, but the configuration speaks of 15",
    ),
    configured("no sizes", "bert_config.json", {"hidden_size": ...}, ConfigError, "has no hidden_size"),
    configured("another family", "bert_config.json", {"model_type": "albert"}, UnsupportedFormatError, "'albert'"),
    configured("other sizes", "bert_config.json", {"intermediate_size": 13}, WeightMismatchError, r"source.*\[12, 8\]"),
    configured(
        "another family of Keras'",
        "config.json",
        {"model_type": "t5"},
        UnknownArchitectureError,
        "model_type 't5' is not known",
        source="keras_bert",
    ),
    configured(
        "layers that Keras did not write",
        "config.json",
        {"num_hidden_layers": 2},
        MissingTensorError,
        r"/source: 16 of the encoder's tensors are missing",
        source="keras_bert",
    ),
    Raises(
        "a variable in parts",
        lambda w: TensorBundle(FIXTURES / "odd.ckpt")["part"],
        UnsupportedFormatError,
        "was saved in parts",
    ),
    Raises(
        "a variable of strings",
        lambda w: TensorBundle(FIXTURES / "odd.ckpt")["string"],
        UnsupportedFormatError,
        "'string' has TensorFlow's dtype 7",
    ),
    # HDF5.
    Raises("no h5py", no_h5py, MissingDependencyError, "pip install h5py"),
    conversion(
        "an .h5 file of something else",
        lambda f: (f / "tf_model.h5").write_bytes(b"x" * 100),
        CorruptCheckpointError,
        "tf_model.h5 is damaged, or no HDF5 file",
        source="keras_bert",
    ),
    conversion(
        "Keras' weights in several files",
        lambda f: (f / "tf_model.h5.index.json").write_text("{}"),
        UnsupportedFormatError,
        "in several files",
        source="keras_bert",
    ),
    conversion("Google's options for Keras'", same, InputError, "for Google's files", "keras_bert", lower_case=True),
    hdf5("no weights", lambda f: [f.pop(name) for name in list(f)], CorruptCheckpointError, "holds no weights"),
    hdf5("weights that are integers", lambda f: replaced(f, np.ones(3, np.int8)), UnsupportedFormatError, "int8"),
    hdf5(
        "weights that are a group",
        lambda f: replaced(f, linked("SoftLink", "/bert")),
        CorruptCheckpointError,
        "damaged",
    ),
    hdf5(
        "weights in another file", lambda f: replaced(f, elsewhere(f)), UnsupportedFormatError, "lies in another file"
    ),
]
