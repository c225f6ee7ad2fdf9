"""Finds a checkpoint's folder, reads its JSON files, and opens its weights.

A name is looked for in this order; the first place that has it wins:

1. a folder of the file system;
2. the Hugging Face cache, which is used as it is when complete, without asking the hub for a newer version;
3. an installed Python package that carries the checkpoint (`bertcpp.installed_models`);
4. the Hugging Face hub.

A revision, or ``force_download=True``, skips installed packages; ``local_files_only=True``, HF_HUB_OFFLINE=1 or
TRANSFORMERS_OFFLINE=1 stop before the hub.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import CheckpointError, CheckpointNotFoundError, ConfigError, CorruptCheckpointError, InputError
from .hub_cache import cache_folder, cached_snapshot, download_snapshot, is_offline, is_repository_name
from .installed_models import find_installed_model

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .weights import Weights

__all__ = ["inside", "locate", "open_weights", "read_json", "read_tensors"]

StrPath = str | os.PathLike[str]

_LARGEST_JSON = 1 << 28  # bytes; a tokenizer's vocabulary may have some tens of millions


def locate(
    name: StrPath,
    *,
    revision: str | None = None,
    cache_dir: StrPath | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
    force_download: bool = False,
    subfolder: str = "",
) -> Path:
    """Find the folder of a checkpoint, downloading it where it is nowhere on this machine.

    Args:
        name: a folder; a name on the Hugging Face hub, ``ORG/NAME`` (or a NAME of sentence-transformers); or the name
            of an installed Python package that carries a model, or of that model.
        revision: a branch, tag or commit of the hub.
        cache_dir: the folder of the Hugging Face cache; None takes the environment's.
        token: for the hub; True or None takes the one of `hf auth login`.
        local_files_only: never ask the hub.
        force_download: ask the hub even if the cache has the checkpoint.
        subfolder: the folder inside the checkpoint that is wanted.

    Raises:
        CheckpointNotFoundError: no place has it; the message lists them.
        CheckpointError: ``subfolder`` leads out of the checkpoint.
        InputError: ``name`` is no path.

    Example:
        >>> from bertcpp.checkpoints import locate
        >>> (locate("all-MiniLM-L6-v2") / "config.json").is_file()
        True
    """
    if not isinstance(name, (str, os.PathLike)) or not os.fspath(name) or "\0" in os.fsdecode(name):
        raise InputError(f"a checkpoint is named by a folder or a hub name, not by {name!r}")
    for what, value in (("revision", revision), ("subfolder", subfolder), ("the folder of the cache", cache_dir)):
        if not isinstance(value, (str, os.PathLike, type(None))):
            raise InputError(f"{what} must be a string, not {value!r}")
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _subfolder(folder, subfolder)
    text = os.fspath(name)
    if not isinstance(name, str) or not is_repository_name(text):
        kind = "is a file, not a folder" if folder.exists() else "there is no such folder, and it is no hub name"
        raise CheckpointNotFoundError(f"{text}: {kind}; pass the folder of a checkpoint, or ORG/NAME")
    cache = cache_folder(cache_dir)
    offline = local_files_only or is_offline()
    snapshots = [found for other in _hub_names(text) if (found := cached_snapshot(other, revision, cache)) is not None]
    if snapshots and not (force_download and not offline):
        whole = next(
            (found for found in snapshots if _is_complete(found / subfolder)), snapshots[0] if offline else None
        )
        if whole is not None:
            return _subfolder(whole, subfolder)
    if revision is None and not force_download:
        installed = find_installed_model(text)
        if installed is not None:
            return _subfolder(installed.folder, subfolder)
    named = "a file, not a folder, of" if folder.is_file() else "no folder of"
    looked = f"{named} that name, not in the cache {cache}, and no installed package carries it"
    if offline:
        why = "local_files_only=True" if local_files_only else "HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE"
        raise CheckpointNotFoundError(
            f"{text!r} is not on this machine: {looked}; the hub was not asked because of {why}. Pass the path of a "
            "folder, install a package that carries the model, or allow the download"
        )
    return _subfolder(_download(text, looked, snapshots, revision, cache, token, force_download, subfolder), subfolder)


def _download(
    name: str,
    looked: str,
    snapshots: list[Path],
    revision: str | None,
    cache: Path,
    token: str | bool | None,
    force_download: bool,
    subfolder: str,
) -> Path:
    """Ask the hub; if it cannot be had, fall back on a cached snapshot that lacks files, which may not be needed."""
    failures = []
    for other in _hub_names(name):
        try:
            return download_snapshot(
                other,
                revision=revision,
                cache=cache,
                token=token,
                force_download=force_download,
                subfolder=subfolder,
            )
        except CheckpointError as error:
            failures.append(error)
            if not isinstance(error, CheckpointNotFoundError):
                break  # what cannot be reached once is not asked again
    if snapshots:
        return snapshots[0]
    raise CheckpointNotFoundError(
        f"{name!r} was not found: {looked}; and {failures[0]}. Check the name, or pass the path of a folder"
    ) from failures[0]


def _hub_names(name: str) -> list[str]:
    """The repositories that a name may mean: those without an organization may be sentence-transformers'."""
    return [name] if "/" in name else [name, f"sentence-transformers/{name}"]


def _subfolder(folder: Path, subfolder: str) -> Path:
    if not subfolder:
        return folder
    path = inside(folder, subfolder)
    if not path.is_dir():
        raise CheckpointNotFoundError(f"{folder} has no folder {subfolder!r}; correct subfolder=")
    return path


def _is_complete(folder: Path) -> bool:
    """Whether a cached folder has a configuration and all weights that it speaks of."""
    if (folder / "modules.json").is_file():
        try:
            modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
            parts = [folder / module["path"] for module in modules]
        except (OSError, ValueError, TypeError, KeyError):
            return True  # not incomplete but damaged: whoever reads it says so
        return bool(parts) and _has_weights(parts[0]) and all(part.is_dir() for part in parts[1:2])
    return (folder / "config.json").is_file() and _has_weights(folder)


def _has_weights(folder: Path) -> bool:
    for name in ("model.safetensors", "model.packed.safetensors", "pytorch_model.bin"):
        if (folder / name).is_file():
            return True
        if (folder / f"{name}.index.json").is_file():
            try:
                index = json.loads((folder / f"{name}.index.json").read_text(encoding="utf-8"))
                return all((folder / shard).is_file() for shard in set(index["weight_map"].values()))
            except (OSError, ValueError, TypeError, KeyError, AttributeError):
                return True
    return False


def inside(folder: Path, relative: object) -> Path:
    """The path of a file or folder that a checkpoint's file names, which must not lead out of the checkpoint.

    Links of the Hugging Face cache, into the ``blobs`` of the same repository, stay allowed: names are checked, not
    where links lead.

    Raises:
        CorruptCheckpointError: the name is absolute, has ``..``, or is no file name at all.
    """
    if (
        not isinstance(relative, str)
        or "\0" in relative
        or "\\" in relative
        or os.path.isabs(relative)
        or ".." in relative.split("/")
        or (os.name == "nt" and ":" in relative)
    ):
        raise CorruptCheckpointError(
            f"{folder}: the path {relative!r} leads out of the checkpoint's folder; do not trust it"
        )
    return folder / relative


def read_json(path: Path) -> dict[str, Any]:
    """Read a file that holds one JSON object.

    Raises:
        CheckpointNotFoundError: there is no such file.
        CheckpointError: it cannot be read.
        ConfigError: it is not JSON, or something else than an object.
    """
    try:
        if path.stat().st_size > _LARGEST_JSON:
            raise ConfigError(
                f"{path} has {path.stat().st_size} bytes, too many for a configuration; get the file again"
            )
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointNotFoundError(f"{path} is missing; copy the checkpoint whole") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}; check its permissions") from error
    except (ValueError, RecursionError) as error:  # not JSON, not UTF-8, a number too long, nested too deep
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{path} is not valid JSON ({error}); get the file again") from None
    if not isinstance(value, dict):
        raise ConfigError(f"{path} holds a JSON {type(value).__name__} where an object is needed; get the file again")
    return value


def open_weights(folder: Path, *, use_safetensors: bool | None = None, packed: bool = False) -> Weights:
    """Open a checkpoint's weights: ``model.safetensors``, shards with an index, or ``pytorch_model.bin``.

    Weights that `bertcpp quantize` packed come before these.

    Args:
        folder: the checkpoint's.
        use_safetensors: True takes only safetensors, False only PyTorch's files, None the former where they exist.
        packed: whether packed weights are of use; else they are refused.

    Raises:
        CheckpointNotFoundError: there are no weights, or a shard is missing.
        CorruptCheckpointError: a file is damaged.
        UnsupportedFormatError, MissingDependencyError: they are only in a format that cannot be read here.
    """
    from .weights import open_folder

    return open_folder(folder, use_safetensors, packed)


def read_tensors(folder: Path) -> dict[str, NDArray[np.generic]]:
    """Read all tensors of a folder, such as a Dense module's; for exceptions see `open_weights`.

    Returns:
        The arrays by name; bfloat16 as its bits in uint16. They are read-only views of the mapped file.
    """
    weights = open_weights(folder)
    return {name: weights[name] for name in weights}
