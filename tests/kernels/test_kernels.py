"""The native test programs: every kernel on every instruction set, whole encoders without Python, and the runtime."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from bertcpp import _core

ROOT = Path(__file__).resolve().parents[2]
OPERATIONS = (
    "pack_weight",
    "matmul",
    "matmul_depth",
    "attention",
    "gru_cell",
    "layer_norm",
    "add",
    "activate",
    "accumulate",
    "maximum",
    "scale",
    "sum_squares",
    "from_float16",
    "from_bfloat16",
    "to_bfloat16",
    "quantize_row",
    "quantize_weight",
    "matmul_bfloat16",
    "matmul_int8",
    "fma_peak",
    "bfloat16_peak",
    "int8_peak",
)
# amx_emulated: the row amx with functions for its tile instructions; the rest of it needs AVX512_BF16.
EMULATED = ["amx_emulated"] if "avx512_bf16" in _core.instruction_sets() else []
TESTED = [*_core.instruction_sets(), *EMULATED]


def program(name: str) -> Path:
    """A native test program: where BERTCPP_<NAME> says, or in build/."""
    path = Path(os.environ.get(f"BERTCPP_{name.upper()}", ROOT / "build" / name))
    if not path.is_file():
        pytest.fail(f"{path} is missing: build it with `make core`", pytrace=False)
    return path


def run(name: str, *arguments: str | Path, timeout: float = 900) -> str:
    """What a native test program prints; it must succeed."""
    done = subprocess.run([program(name), *arguments], capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, f"status {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="session")
def cases(tmp_path_factory: pytest.TempPathFactory, seed: int) -> list[Path]:
    """Encoders of every family with what transformers computes for them."""
    folder = tmp_path_factory.mktemp("cases")
    script = ROOT / "tests" / "native" / "write_cases.py"
    subprocess.run([sys.executable, script, folder, f"--seed={seed}"], check=True, timeout=900)
    return sorted(folder.glob("*.case"))


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("isa", TESTED)
def test_kernel(isa: str, operation: str, seed: int) -> None:
    assert f"{isa} {operation}: ok" in run("kernel_tests", "--isa", isa, "--op", operation, "--seed", str(seed))


def test_every_kernel_of_every_instruction_set_is_tested() -> None:
    listed = run("kernel_tests", "--list").splitlines()
    assert sorted(listed) == sorted(f"{isa} {name}" for isa in TESTED for name in OPERATIONS)


@pytest.mark.parametrize("isa", TESTED)
def test_encoders_without_python(isa: str, cases: list[Path]) -> None:
    assert f"{isa} encoders: ok ({len(cases)} cases)" in run("encoder_check", "--isa", isa, *cases)


def test_a_broken_case_is_refused(cases: list[Path], tmp_path: Path) -> None:
    for name, damage in {"magic": b"CASEBERT", "short": cases[0].read_bytes()[:-1]}.items():
        path = tmp_path / name
        path.write_bytes(damage)
        done = subprocess.run([program("encoder_check"), path], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 1
        assert "it does not begin with" in done.stderr or "it ends too early" in done.stderr


def test_a_wrong_expectation_is_noticed(cases: list[Path], tmp_path: Path) -> None:
    """The last entry of a case is an expected result: its last value is changed by a little."""
    data = bytearray(next(path for path in cases if path.stem == "bert").read_bytes())
    data[-2] ^= 0x40
    path = tmp_path / "wrong.case"
    path.write_bytes(data)
    done = subprocess.run([program("encoder_check"), path], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "of the largest magnitude" in done.stderr


def test_cuda_on_an_emulated_gpu(cases: list[Path], seed: int) -> None:
    """The sources of csrc/cuda, run by the host; what a GPU makes of them is for tests/cuda."""
    # An emulated GPU takes its time; what is left out differs in names and activations alone.
    alike = {"camembert", "xlm-roberta", "bert-mish", "bert-quick_gelu", "bert-relu", "bert-silu"}
    chosen = [case for case in cases if case.stem not in alike]
    assert len(chosen) == len(cases) - len(alike)
    printed = run("cuda_check", "--seed", str(seed), *chosen)
    for what in ("map", "norms", "attention", "encoders"):
        for dtype in ("float32", "float16", "bfloat16"):
            assert f"cuda {dtype} {what}: ok" in printed
    for what in ("conversions", "float32 pool", "alone", "padded", "memory"):
        assert f"cuda {what}: ok" in printed


def test_emulated_tile_instructions() -> None:
    printed = run("amx_tests")
    assert ("amx instructions: ok" if platform.machine() == "x86_64" else "amx: skipped") in printed


def test_runtime() -> None:
    printed = run("runtime_tests")
    assert "fork: ok" in printed
    assert "FAILED" not in printed
