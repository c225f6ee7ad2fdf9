"""What the adapters share: the error for a library that is not installed, and models that are loaded once."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from ..errors import InputTypeError, MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..embedding import SentenceTransformer
    from ..reranking import CrossEncoder

__all__ = ["cross_encoder", "embedding_model", "library", "named"]

_loaded: WeakValueDictionary[str, Any] = WeakValueDictionary()


@contextmanager
def library(package: str) -> Iterator[None]:
    """Within the context a failing import says which package an adapter is for.

    Raises:
        MissingDependencyError: if an import within fails.
    """
    try:
        yield
    except ImportError as error:
        raise MissingDependencyError(
            f"this adapter is for {package}, which is not installed or cannot be imported ({error}): "
            f"pip install {package}"
        ) from error


def named(owner: str, model: Any) -> str:
    """Return `model`, which is a name or a folder.

    Raises:
        InputTypeError: if it is anything else; the message tells users of `owner` what to pass.
    """
    if isinstance(model, (str, os.PathLike)):
        return str(model)
    raise InputTypeError(
        f"{owner} takes a model's name or folder, not {type(model).__name__}: the name is written down with the "
        "settings, to load the model again by it. Adapters with the same name and settings share one model"
    )


def embedding_model(name: str, arguments: dict[str, Any]) -> SentenceTransformer:
    """Return `SentenceTransformer(name, **arguments)`: the one of an earlier call, if that is still in use.

    Raises:
        BertcppError: as `SentenceTransformer`.
        ValueError: likewise.
    """
    from ..embedding import SentenceTransformer

    model: SentenceTransformer = _shared(SentenceTransformer, name, arguments)
    return model


def cross_encoder(name: str, arguments: dict[str, Any]) -> CrossEncoder:
    """Return `CrossEncoder(name, **arguments)`: the one of an earlier call, if that is still in use.

    Raises:
        BertcppError: as `CrossEncoder`.
        ValueError: likewise.
    """
    from ..reranking import CrossEncoder

    model: CrossEncoder = _shared(CrossEncoder, name, arguments)
    return model


def _shared(kind: type, name: str, arguments: dict[str, Any]) -> Any:
    try:
        key = json.dumps([kind.__name__, *_files_of(name), arguments], sort_keys=True)
    except TypeError:  # an argument that has no name of its own, such as a path: not worth sharing
        return kind(name, **arguments)
    model = _loaded.get(key)
    if model is None:
        model = _loaded[key] = kind(name, **arguments)
    return model


def _files_of(name: str) -> tuple[str, int]:
    """Return what tells a folder from others, and from itself with other files; a name is the same everywhere."""
    if not os.path.isdir(name):
        return name, 0
    return os.path.abspath(name), max((entry.stat().st_mtime_ns for entry in os.scandir(name)), default=0)
