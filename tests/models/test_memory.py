"""Weights are not held twice: peak memory of a process that loads a model and computes."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

import reference_models as reference

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
import sys
import numpy as np
import bertcpp

bertcpp.AutoModel.from_pretrained(sys.argv[1])(np.full((2, 64), 7))
# Not getrusage's ru_maxrss, which a process inherits from the one that started it.
with open("/proc/self/status") as status:
    print(next(line.split()[1] for line in status if line.startswith("VmHWM:")))
"""


def peak(path: Path) -> int:
    finished = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(path)], capture_output=True, text=True, timeout=240, check=True
    )
    return int(finished.stdout) * 1024


@pytest.mark.parametrize("layout", ["safetensors", "shards"])
def test_peak_memory_of_a_base_sized_model(layout: str, seed: int, tmp_path: Path) -> None:
    changes: dict[str, Any] = reference.BASE | {"vocab_size": 30522}
    truth = reference.random_model("bert", seed, **changes)
    path = reference.save(truth, tmp_path, max_shard_size="5GB" if layout == "safetensors" else "100MB")
    files = list(path.glob("*.safetensors"))
    weights = sum(file.stat().st_size for file in files)
    assert weights > 430e6
    used = peak(path)
    for file in files:
        file.unlink()
    assert used <= 1.3 * weights + 100e6, f"{used / 1e6:.0f} MB for {weights / 1e6:.0f} MB of weights"


MAPPED = r"""
import re
import sys
import numpy as np
import bertcpp

model = bertcpp.AutoModelForMaskedLM.from_pretrained(sys.argv[1])
size = model.config.vocab_size
model(np.arange(size).reshape(-1, 64), positions=(np.array([0]), np.array([1])))
with open("/proc/self/smaps") as maps:
    of_file = re.findall(r"model[.]safetensors\n(?:.*\n)*?Rss: +(\d+) kB", maps.read())
print(sum(map(int, of_file)), model._heads[0].decoder.nbytes)
"""


@pytest.mark.parametrize("family", ["bert", "roberta", "electra", "distilbert", "mpnet"])
def test_a_decoder_tied_to_the_embeddings_is_held_once(family: str, seed: int, tmp_path: Path) -> None:
    """Every word of the vocabulary is read, and none of them from the checkpoint's table."""
    model = reference.random_model(family, seed, kind="ForMaskedLM", vocab_size=32768, num_hidden_layers=1)
    path = reference.save(model, tmp_path)
    finished = subprocess.run(
        [sys.executable, "-c", MAPPED, str(path)], capture_output=True, text=True, timeout=240, check=True
    )
    mapped, held = map(int, finished.stdout.split())
    table = sum(value.nbytes for name, value in state_of(model) if name.endswith("word_embeddings.weight"))
    assert held >= table
    assert mapped * 1024 < table / 2, f"{mapped} kB of the file, {held / 1024:.0f} kB in the decoder"


def state_of(model: Any) -> list[tuple[str, Any]]:
    return [(name, value.numpy()) for name, value in model.state_dict().items()]


def test_importing_loads_nothing_heavy() -> None:
    program = (
        "import sys, bertcpp; "
        "heavy = {'torch', 'tokenizers', 'huggingface_hub', 'transformers', 'safetensors'} & set(sys.modules); "
        "sys.exit(f'loaded {sorted(heavy)}' if heavy else 0)"
    )
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert finished.returncode == 0, finished.stderr


def test_loading_and_computing_needs_no_torch(minilm: Path) -> None:
    program = (
        "import sys, numpy, bertcpp; "
        "bertcpp.AutoModel.from_pretrained(sys.argv[1])(numpy.full((1, 3), 5)); "
        "assert 'torch' not in sys.modules"
    )
    finished = subprocess.run(
        [sys.executable, "-c", program, str(minilm)], capture_output=True, text=True, timeout=60, check=False
    )
    assert finished.returncode == 0, finished.stderr
