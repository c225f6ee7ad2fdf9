"""Small files that were wrong in a way that mattered, and small files that look wrong and are not.

`corpus/fail/ERROR/NAME` must raise the exception ERROR of `bertcpp.errors`, `corpus/pass/NAME` must be read. What a
file is shows in its name: `*.safetensors`, `*.config.json`, `*.tokenizer.json`, `*.vocab.txt`, `*.modules.json`,
`*.pooling.json`, `*.index.json`. Every bug that is found adds a file.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from workshop import Workshop

from bertcpp import AutoConfig, checkpoints, errors
from bertcpp.architectures import engine_config, input_limits

if TYPE_CHECKING:
    from collections.abc import Callable

CORPUS = Path(__file__).parent / "corpus"


def read_tensors(path: Path, workshop: Workshop) -> Any:
    shutil.copy(path, workshop.weights)
    return {name: array.tobytes() for name, array in checkpoints.read_tensors(workshop.folder).items()}


def read_config(path: Path, workshop: Workshop) -> Any:
    config = AutoConfig.from_pretrained(path)
    return engine_config(config), input_limits(config)


def put(name: str, load: Callable[[Workshop], Any]) -> Callable[[Path, Workshop], Any]:
    def act(path: Path, workshop: Workshop) -> Any:
        shutil.copy(path, workshop.folder / name)
        return load(workshop)

    return act


def tokenize(workshop: Workshop) -> Any:
    return workshop.tokenizer()("a cat sat", truncation=True)


READERS: dict[str, Callable[[Path, Workshop], Any]] = {
    ".safetensors": read_tensors,
    ".config.json": read_config,
    ".tokenizer.json": put("tokenizer.json", tokenize),
    ".vocab.txt": put("vocab.txt", tokenize),
    ".modules.json": put("modules.json", lambda workshop: workshop.encoder()),
    ".pooling.json": put("1_Pooling/config.json", lambda workshop: workshop.encoder()),
    ".index.json": put("model.safetensors.index.json", lambda workshop: workshop.remove("model.safetensors").load()),
}


def read(path: Path, workshop: Workshop) -> Any:
    reader = next(reader for ending, reader in READERS.items() if path.name.endswith(ending))
    return reader(path, workshop)


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path / "checkpoint")


def files(folder: str) -> list[Any]:
    paths = sorted(path for path in (CORPUS / folder).rglob("*") if path.is_file())
    assert paths
    return [pytest.param(path, id=path.relative_to(CORPUS).as_posix()) for path in paths]


@pytest.mark.parametrize("path", files("pass"))
def test_is_read(path: Path, workshop: Workshop) -> None:
    read(path, workshop)


@pytest.mark.parametrize("path", files("fail"))
def test_is_refused(path: Path, workshop: Workshop) -> None:
    with pytest.raises(errors.BertcppError) as caught:
        read(path, workshop)
    assert type(caught.value).__name__ == path.parent.name
