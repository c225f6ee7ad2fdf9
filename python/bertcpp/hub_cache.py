"""Checkpoints of the Hugging Face hub: found in the local cache without a network, downloaded when they are not there.

The cache's layout is huggingface_hub's own: ``models--ORG--NAME/refs/REVISION`` holds a commit, and
``models--ORG--NAME/snapshots/COMMIT`` its files, as links into ``blobs``.
"""

from __future__ import annotations

import contextlib
import os
import re
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import CheckpointError, CheckpointNotFoundError, MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["cache_folder", "cached_snapshot", "download_snapshot", "is_offline", "is_repository_name"]

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)?")
_TRUE = frozenset({"1", "ON", "YES", "TRUE"})
# What is read of a repository, apart from weights: every module's and tokenizer's settings and vocabularies.
_SETTINGS = ("*.json", "*.txt", "*.model")
_NOT_SETTINGS = (
    "onnx/*",
    "openvino/*",
    "*/onnx/*",
    "*/openvino/*",
    "train_script*",
    "data_config.json",
    "*.index.json",
)


def is_repository_name(name: str) -> bool:
    """Whether a name can be one of the hub's: ``NAME`` or ``ORG/NAME``."""
    return (
        _NAME.fullmatch(name) is not None
        and len(name) <= 96
        and ".." not in name
        and "--" not in name
        and not name.endswith((".git", ".", "-"))
    )


def is_offline() -> bool:
    """Whether the environment forbids the network: HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE."""
    return any(os.environ.get(name, "").upper() in _TRUE for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"))


def cache_folder(cache_dir: str | os.PathLike[str] | None = None) -> Path:
    """The cache's folder: the argument, else HF_HUB_CACHE, HF_HOME/hub, or ~/.cache/huggingface/hub."""
    if cache_dir is not None:
        return Path(cache_dir).expanduser()
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if os.environ.get(name):
            return Path(os.path.expandvars(os.environ[name])).expanduser()
    if os.environ.get("HF_HOME"):
        return Path(os.path.expandvars(os.environ["HF_HOME"])).expanduser() / "hub"
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(caches).expanduser() / "huggingface" / "hub"


def cached_snapshot(name: str, revision: str | None, cache: Path) -> Path | None:
    """The folder of a repository's revision in the cache, or None; it may lack files."""
    repository = cache / f"models--{name.replace('/', '--')}"
    revision = revision or "main"
    if ".." in Path(revision).parts or os.path.isabs(revision):
        return None
    commit = revision
    with contextlib.suppress(OSError, UnicodeDecodeError):  # neither a branch nor a tag: perhaps a commit
        commit = (repository / "refs" / revision).read_text(encoding="ascii").strip()
    if re.fullmatch(r"[0-9a-f]{40}", commit) is None:
        return None
    snapshot = repository / "snapshots" / commit
    return snapshot if snapshot.is_dir() else None


def download_snapshot(
    name: str,
    *,
    revision: str | None,
    cache: Path,
    token: str | bool | None,
    force_download: bool,
    subfolder: str,
) -> Path:
    """Download what bertcpp reads of a repository, safetensors rather than pickles, and return the snapshot's folder.

    Raises:
        CheckpointNotFoundError: there is no such repository or revision, or it is closed to this token.
        CheckpointError: the hub cannot be reached, or the download failed.
        MissingDependencyError: huggingface_hub is not installed.
    """
    try:
        import huggingface_hub
        from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, RepositoryNotFoundError
    except ImportError as error:
        raise MissingDependencyError(
            f"downloading {name!r} needs huggingface_hub: pip install huggingface_hub, or pass a folder"
        ) from error
    try:
        present = huggingface_hub.HfApi(token=token).list_repo_files(name, revision=revision)
        return Path(
            huggingface_hub.snapshot_download(
                name,
                revision=revision,
                cache_dir=cache,
                token=token,
                force_download=force_download,
                allow_patterns=needed_files(present, subfolder),
            )
        )
    except GatedRepoError as error:
        raise CheckpointNotFoundError(f"{name} asks for its terms to be accepted on the hub, and for token=") from error
    except (RepositoryNotFoundError, EntryNotFoundError) as error:
        raise CheckpointNotFoundError(
            f"the hub has no model {name!r} (revision {revision or 'main'}) that this token may read: {error}"
        ) from error
    except Exception as error:  # connections, proxies ...: of whichever HTTP library this huggingface_hub is built on
        raise CheckpointError(f"{name!r} cannot be downloaded: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """What the system said, of an error that tells every layer that passed it on; else all of it."""
    said = re.search(r"\[Errno [^\]]+\] [^'\")]+", str(error))
    return f"the hub cannot be reached ({said[0].strip()})" if said else str(error) or type(error).__name__


def needed_files(present: Iterable[str], subfolder: str = "") -> list[str]:
    """Choose what to download of a repository's files."""
    inside = [path for path in present if not subfolder or path.startswith(subfolder.strip("/") + "/")]
    chosen = [
        path
        for path in inside
        if any(fnmatch(path, pattern) for pattern in _SETTINGS)
        and not any(fnmatch(path, pattern) for pattern in _NOT_SETTINGS)
    ]
    folders = {path.rpartition("/")[0] for path in chosen if path.endswith("config.json")}
    for folder in sorted(folders):
        weights = [path for path in inside if path.rpartition("/")[0] == folder]
        for pattern in ("model*.safetensors", "pytorch_model*.bin"):
            files = [path for path in weights if fnmatch(path.rpartition("/")[2], pattern)]
            if files:
                index = [path for path in weights if fnmatch(path.rpartition("/")[2], pattern + ".index.json")]
                chosen += files + index
                break
    return sorted(set(chosen))
