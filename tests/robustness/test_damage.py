"""Every truncation of a tiny checkpoint, and every single byte of it changed, loads or raises a documented exception.

Loading runs in this process, so a crash would end the tests.
"""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
from workshop import CONFIG, TOKENIZER, Workshop, safetensors_bytes, tensors_of

import bertcpp
from bertcpp.errors import BertcppError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# As small as a BERT can be: each byte costs a load.
SMALLEST = CONFIG | {
    "vocab_size": 5,
    "hidden_size": 2,
    "num_attention_heads": 1,
    "intermediate_size": 1,
    "max_position_embeddings": 4,
    "type_vocab_size": 1,
}
IDS = np.array([[2, 1, 3]])


@pytest.fixture(scope="module")
def smallest(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    workshop = Workshop(tmp_path_factory.mktemp("smallest"))
    workshop.write("config.json", SMALLEST).weights.write_bytes(safetensors_bytes(tensors_of(SMALLEST)))
    return workshop


def load_and_run(folder: Path) -> None:
    """Load, and compute if that worked: what was accepted must not crash later."""
    model = bertcpp.AutoModel.from_pretrained(folder, add_pooling_layer=False, num_threads=1)
    model(IDS % model.config.vocab_size)


def try_all(path: Path, contents: Iterator[bytes], act: Callable[[], object]) -> tuple[int, int]:
    """Put each content in the file's place; how many loaded, and how many raised a documented exception."""
    whole = path.read_bytes()
    loaded = raised = 0
    try:
        for content in contents:
            path.unlink()  # never rewrite a mapped file in place
            path.write_bytes(content)
            try:
                act()
                loaded += 1
            except BertcppError:
                raised += 1
    finally:
        path.unlink()
        path.write_bytes(whole)
    return loaded, raised


def changed(data: bytes, places: Iterator[int] | range, masks: tuple[int, ...]) -> Iterator[bytes]:
    for place in places:
        for mask in masks:
            yield data[:place] + bytes([data[place] ^ mask]) + data[place + 1 :]


def test_every_truncation_of_the_weights(smallest: Workshop) -> None:
    data = smallest.weights.read_bytes()
    contents = (data[:length] for length in range(len(data)))
    loaded, raised = try_all(smallest.weights, contents, lambda: load_and_run(smallest.folder))
    assert (loaded, raised) == (0, len(data))


def test_every_byte_of_the_weights_header(smallest: Workshop) -> None:
    data = smallest.weights.read_bytes()
    header = 8 + int.from_bytes(data[:8], "little")
    # All bits at once; the lowest one, which makes other digits and letters; case, and quotes to commas.
    contents = changed(data, range(header), (0xFF, 0x01, 0x20, 0x0E))
    loaded, raised = try_all(smallest.weights, contents, lambda: load_and_run(smallest.folder))
    assert loaded + raised == 4 * header
    assert loaded < raised


def test_every_byte_of_the_weights_data(smallest: Workshop) -> None:
    """Any bits are some number, NaN and infinities among them, so that these all load."""
    data = smallest.weights.read_bytes()
    header = 8 + int.from_bytes(data[:8], "little")
    contents = changed(data, range(header, len(data)), (0xFF,))
    loaded, raised = try_all(smallest.weights, contents, lambda: load_and_run(smallest.folder))
    assert (loaded, raised) == (len(data) - header, 0)


def test_every_truncation_and_byte_of_the_configuration(smallest: Workshop) -> None:
    path = smallest.folder / "config.json"
    data = path.read_bytes()
    loaded, raised = try_all(
        path, (data[:length] for length in range(len(data))), lambda: load_and_run(smallest.folder)
    )
    assert (loaded, raised) == (0, len(data))
    masks = (0xFF, 0x01, 0x02, 0x04, 0x10, 0x20)
    loaded, raised = try_all(path, changed(data, range(len(data)), masks), lambda: load_and_run(smallest.folder))
    assert loaded + raised == len(masks) * len(data)
    assert loaded > 0  # a default that is spelled wrong is an unknown field


def test_every_truncation_and_byte_of_the_tokenizers_files(smallest: Workshop, tmp_path: Path) -> None:
    folder = tmp_path / "tokenizer"
    shutil.copytree(smallest.folder, folder)
    workshop = Workshop.at(folder)
    workshop.tokenizer().save_pretrained(folder)
    workshop.write("tokenizer_config.json", TOKENIZER).remove("special_tokens_map.json")

    def act() -> None:
        workshop.tokenizer()("a cat", truncation=True)

    def damage(name: str, step: int, masks: tuple[int, ...]) -> None:
        path = folder / name
        data = path.read_bytes()
        places = range(0, len(data), step)
        loaded, raised = try_all(path, (data[:length] for length in places), act)
        assert loaded + raised == len(places)
        loaded, raised = try_all(path, changed(data, places, masks), act)
        assert loaded + raised == len(masks) * len(places)

    damage("tokenizer_config.json", 1, (0xFF, 0x01, 0x20))
    damage("tokenizer.json", 3, (0x01,))
    (folder / "tokenizer.json").unlink()
    damage("vocab.txt", 1, (0xFF, 0x01))


def test_every_truncation_and_byte_of_an_index(smallest: Workshop, tmp_path: Path) -> None:
    folder = tmp_path / "sharded"
    shutil.copytree(smallest.folder, folder)
    (folder / "model.safetensors").rename(folder / "all.safetensors")
    names = list(tensors_of(SMALLEST))[:6]
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": dict.fromkeys(names, "all.safetensors")}))
    data = index.read_bytes()
    loaded, raised = try_all(index, (data[:length] for length in range(len(data))), lambda: load_and_run(folder))
    assert (loaded, raised) == (0, len(data))
    loaded, raised = try_all(index, changed(data, range(len(data)), (0xFF, 0x01, 0x20)), lambda: load_and_run(folder))
    assert loaded + raised == 3 * len(data)
