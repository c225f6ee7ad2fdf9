"""Checkpoints of other origins to the ordinary layout: config.json, model.safetensors and the tokenizer's files."""

from __future__ import annotations

import os
import shutil
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import architectures, checkpoints
from .checkpoint_writing import copy_beside_weights, new_folder, write_json, write_safetensors
from .configuration import AutoConfig, BertConfig
from .errors import BertcppError, CheckpointNotFoundError, ConfigError, InputError, UnsupportedFormatError
from .tensorflow_names import google_name, is_optimizer_state, keras_names, turned

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .tensor_bundle import TensorBundle

__all__ = ["check_written", "convert"]

StrPath = str | os.PathLike[str]
Tensors = dict[str, "NDArray[Any]"]

_FLOATS = ("F32", "F16", "BF16", "F64")


def convert(
    source: StrPath,
    out: StrPath,
    *,
    config_file: StrPath | None = None,
    vocab_file: StrPath | None = None,
    lower_case: bool | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a checkpoint in the ordinary layout, which bertcpp, transformers and sentence-transformers load.

    Args:
        source: a folder with Google's TensorFlow files (``bert_config.json``, ``vocab.txt``, ``NAME.ckpt.index`` and
            its data), or the path of these up to ``.ckpt``; a folder with transformers' ``tf_model.h5``, or that file
            (both need h5py); or a checkpoint whose weights are ``pytorch_model.bin`` (torch) or safetensors.
        out: the new folder; it appears when it is whole.
        config_file: the configuration, where it does not lie beside the weights.
        vocab_file: the vocabulary of Google's files, where it does not.
        lower_case: whether the tokenizer of Google's files lowers case; None decides by whether the vocabulary has
            words with capitals.
        overwrite: replace a checkpoint that is there already.

    Returns:
        The path of the new folder.

    Raises:
        CheckpointError: files are missing, damaged, of an unknown kind, or in the way.
        ConfigError: the configuration is not one that bertcpp computes.
        WeightMismatchError: tensors are missing or do not fit the configuration.
        MissingDependencyError: h5py or torch is needed and not installed.
    """
    place = Path(source).expanduser() if isinstance(source, (str, os.PathLike)) else None
    if place is None:
        raise InputError(f"a checkpoint is named by a path or a hub name, not by {source!r}")
    prefix = _google_prefix(place)
    if prefix is None and not place.exists():
        place = checkpoints.locate(source)
        prefix = _google_prefix(place)
    keras = None if prefix else _keras_path(place)
    folder = prefix.parent if prefix else keras.parent if keras else place
    with new_folder(out, source=folder, overwrite=overwrite) as made:
        if prefix is not None:
            _convert_google(prefix, made, config_file, vocab_file, lower_case)
        else:
            if vocab_file is not None or lower_case is not None:
                raise InputError("vocab_file and lower_case are for Google's files; other checkpoints have a tokenizer")
            copy_beside_weights(folder, made, folder)
            if config_file is not None:
                shutil.copyfile(config_file, made / "config.json")
            _convert_keras(keras, made) if keras is not None else _convert_plain(folder, made)
        check_written(made, folder)
    return Path(out)


def _google_prefix(place: Path) -> Path | None:
    """The path of Google's files up to ``.index``, if these are meant."""
    if place.name.endswith(".index") and place.is_file():
        return place.with_name(place.name.removesuffix(".index"))
    if place.with_name(place.name + ".index").is_file():
        return place
    if not place.is_dir():
        return None
    found = sorted(place.glob("*.ckpt*.index"))
    if len(found) > 1:
        names = ", ".join(path.name.removesuffix(".index") for path in found)
        raise InputError(f"{place} holds several checkpoints ({names}); name one, as {found[-1].with_suffix('')}")
    return found[0].with_name(found[0].name.removesuffix(".index")) if found else None


def _keras_path(place: Path) -> Path | None:
    if place.is_file():
        if place.suffix not in (".h5", ".hdf5"):
            raise UnsupportedFormatError(
                f"{place} is neither a checkpoint of TensorFlow nor an .h5 file; name a folder"
            )
        return place
    if not place.is_dir() or any((place / name).is_file() for name in ("model.safetensors", "pytorch_model.bin")):
        return None
    if (place / "tf_model.h5.index.json").is_file():
        raise UnsupportedFormatError(f"{place} has tf_model.h5 in several files, which are not joined; save it as one")
    return place / "tf_model.h5" if (place / "tf_model.h5").is_file() else None


def _convert_google(
    prefix: Path, out: Path, config_file: StrPath | None, vocab_file: StrPath | None, lower_case: bool | None
) -> None:
    from .tensor_bundle import TensorBundle

    tensors, dtypes = _google_tensors(TensorBundle(prefix))
    config = _google_config(_beside(prefix, config_file, "bert_config.json", "config.json", "config_file"))
    heads = {name.partition(".")[0] for name in tensors} - {"bert"}
    if "cls" in heads:
        both = {"cls.seq_relationship.weight", "cls.predictions.bias"} <= tensors.keys()
        config["architectures"] = ["BertForPreTraining" if both else "BertForMaskedLM"]
    elif "qa_outputs" in heads:
        config["architectures"] = ["BertForQuestionAnswering"]
    elif "classifier" in heads:
        config["architectures"] = ["BertForSequenceClassification"]
        labels = range(len(tensors["classifier.bias"]))
        config["id2label"] = {str(index): f"LABEL_{index}" for index in labels}
        config["label2id"] = {f"LABEL_{index}": index for index in labels}
    else:
        config["architectures"] = ["BertModel"]
    write_json(out / "config.json", config)
    _write_tensors(out, tensors, dtypes, "bert")
    vocabulary = _beside(prefix, vocab_file, "vocab.txt", None, "vocab_file")
    _write_wordpiece(vocabulary, out, config, lower_case)


def _google_tensors(bundle: TensorBundle) -> tuple[Tensors, dict[str, str]]:
    names = [name for name in bundle if not is_optimizer_state(name)]
    if any("/.ATTRIBUTES/" in name or name == "_CHECKPOINTABLE_OBJECT_GRAPH" for name in names):
        raise UnsupportedFormatError(
            f"{bundle.path} is a checkpoint of objects, as TensorFlow 2 writes them; Google's BERT files hold "
            "variables by name, such as bert/pooler/dense/kernel: convert those"
        )
    left_out = [name for name in names if bundle.dtype_of(name) not in _FLOATS]
    kept = [name for name in names if name not in left_out]
    if left_out:
        warnings.warn(f"{bundle.path}: {', '.join(left_out[:10])} hold no weights and are left out", stacklevel=5)
    tensors = {google_name(name): turned(name, bundle[name]) for name in kept}
    dtypes = {google_name(name): bundle.dtype_of(name) for name in kept}
    return tensors, dtypes


def _google_config(path: Path) -> dict[str, Any]:
    """Google's configuration with what transformers asks for beside it."""
    fields = checkpoints.read_json(path)
    needed = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    missing = [name for name in needed if name not in fields]
    if missing:
        raise ConfigError(f"{path} has no {', '.join(missing)}; it is no configuration of BERT")
    if fields.get("model_type", "bert") != "bert":
        raise UnsupportedFormatError(f"{path} is of a {fields['model_type']!r}, but Google's files are BERT's")
    return {**fields, "model_type": "bert", "layer_norm_eps": 1e-12, "pad_token_id": 0}


def _beside(prefix: Path, given: StrPath | None, usual: str, other: str | None, argument: str) -> Path:
    if given is not None:
        if not Path(given).is_file():
            raise CheckpointNotFoundError(f"{given} is no file; correct {argument}")
        return Path(given)
    for name in (usual, other):
        if name is not None and prefix.with_name(name).is_file():
            return prefix.with_name(name)
    raise CheckpointNotFoundError(f"{prefix.parent} has no {usual}; copy it there, or pass {argument}")


def _write_wordpiece(vocabulary: Path, out: Path, config: dict[str, Any], lower_case: bool | None) -> None:
    """The tokenizer's files beside vocab.txt."""
    from .tokenization import BertTokenizer

    shutil.copyfile(vocabulary, out / "vocab.txt")
    try:
        words = vocabulary.read_text(encoding="utf-8").splitlines()
    except ValueError as error:
        raise ConfigError(f"{vocabulary} is not UTF-8 ({error}); get the file again") from None
    if len(words) > config["vocab_size"]:
        raise ConfigError(
            f"{vocabulary} has {len(words)} words, but the configuration speaks of {config['vocab_size']}; they are "
            "not of one checkpoint"
        )
    if lower_case is None:
        lower_case = not any(word != word.lower() for word in words if not word.startswith("["))
    limit = BertConfig(**config).max_position_embeddings
    tokenizer = BertTokenizer(vocab_file=str(out / "vocab.txt"), do_lower_case=lower_case, model_max_length=limit)
    tokenizer.save_pretrained(out)


def _convert_keras(path: Path, out: Path) -> None:
    from .keras_file import read_keras_file

    prefix = architectures.of(AutoConfig.from_pretrained(out)).prefix
    arrays = read_keras_file(path)
    names = keras_names(arrays, prefix)
    tensors = {own: turned(name, arrays[name]) for name, own in names.items()}
    _write_tensors(out, tensors, {}, prefix)


def _convert_plain(folder: Path, out: Path) -> None:
    with checkpoints.open_weights(folder) as weights:
        write_safetensors(
            out / "model.safetensors",
            {name: weights[name] for name in weights},
            {name: weights.dtype_of(name) for name in weights},
        )


def _write_tensors(out: Path, tensors: Tensors, dtypes: dict[str, str], prefix: str) -> None:
    """Write weights; an encoder that stands alone has no prefix."""
    if all(name.startswith(f"{prefix}.") for name in tensors):
        tensors = {name.removeprefix(f"{prefix}."): array for name, array in tensors.items()}
        dtypes = {name.removeprefix(f"{prefix}."): dtype for name, dtype in dtypes.items()}
    wide = [name for name, array in tensors.items() if array.dtype == np.float64]
    tensors = tensors | {name: tensors[name].astype(np.float32) for name in wide}
    dtypes = {name: dtype for name, dtype in dtypes.items() if dtype != "F64"}
    write_safetensors(out / "model.safetensors", tensors, dtypes)


def check_written(folder: Path, source: Path) -> None:
    """Refuse what an engine could not be built from, in words about the source: the new folder has no name yet.

    Raises:
        BertcppError: as loading would.
    """
    try:
        config = AutoConfig.from_pretrained(folder)
        with checkpoints.open_weights(folder) as weights:
            architectures.engine_weights(config, weights)
    except BertcppError as error:
        raise type(error)(str(error).replace(str(folder), str(source))) from None
