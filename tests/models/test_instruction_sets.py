"""Every instruction set that this machine runs, each forced in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import bertcpp
import reference_models as reference

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PROGRAM = """
import sys
import numpy as np
import bertcpp

assert bertcpp.instruction_set() == sys.argv[1]
inputs = np.load(sys.argv[2])
outputs = {}
for path in sys.argv[4:]:
    answer = bertcpp.AutoModel.from_pretrained(path)(
        inputs["input_ids"], attention_mask=inputs["attention_mask"], output_hidden_states=True, output_attentions=True
    )
    outputs |= {f"{path}:{name}": np.stack(v) if isinstance(v, tuple) else v for name, v in answer.items()}
np.savez(sys.argv[3], **outputs)
"""


def run(instruction_set: str, *arguments: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PROGRAM, instruction_set, *map(str, arguments)]
    environment = os.environ | {"BERTCPP_ISA": instruction_set}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)


@pytest.fixture(scope="module")
def wide_checkpoint(seed: int, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """Two layers as wide as BERT-base's, where blocking over the depth matters, and a vocabulary of the tiny size."""
    model = reference.random_model("bert", seed, **(reference.BASE | {"num_hidden_layers": 2, "vocab_size": 97}))
    return reference.save(model, tmp_path_factory.mktemp("wide")), model


@pytest.mark.parametrize("instruction_set", bertcpp.instruction_sets())
def test_instruction_set(
    instruction_set: str,
    tiny_checkpoint: Callable[[str], Any],
    wide_checkpoint: tuple[Path, Any],
    tmp_path: Path,
    rng: np.random.Generator,
) -> None:
    mask = reference.random_mask(rng, "left", 4, 50)
    inputs = {"input_ids": rng.integers(5, 97, mask.shape), "attention_mask": mask}
    np.savez(tmp_path / "inputs.npz", **inputs)
    models = {path: model for _, path, model in map(tiny_checkpoint, reference.FAMILIES)}
    models[wide_checkpoint[0]] = wide_checkpoint[1]
    finished = run(instruction_set, tmp_path / "inputs.npz", tmp_path / "outputs.npz", *models)
    assert finished.returncode == 0, finished.stderr
    outputs = np.load(tmp_path / "outputs.npz")
    for path, model in models.items():
        expected = reference.answer(model, **inputs, output_hidden_states=True, output_attentions=True)
        prefix = f"{path}:"
        ours = {name.removeprefix(prefix): outputs[name] for name in outputs.files if name.startswith(prefix)}
        reference.assert_agrees(ours, expected, mask == 1)


def test_an_unknown_instruction_set_is_named(tmp_path: Path, tiny_checkpoint: Callable[[str], Any]) -> None:
    np.savez(tmp_path / "inputs.npz", input_ids=np.full((1, 2), 5), attention_mask=np.ones((1, 2)))
    finished = run("mmx", tmp_path / "inputs.npz", tmp_path / "outputs.npz", tiny_checkpoint("bert").path)
    assert finished.returncode == 1
    assert "InstructionSetError" in finished.stderr
    assert "mmx" in finished.stderr
