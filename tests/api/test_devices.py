"""What is said where a GPU is asked for and something is missing. No GPU is needed, nor looked at."""

from __future__ import annotations

import ctypes
import importlib.util
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bertcpp import devices
from bertcpp.errors import BertcppError, DeviceError, DeviceMemoryError, InputError


class Machine:
    """A stand-in for what a machine has: the CUDA part, the driver's library, and GPUs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.built, self.driver = True, True
        self.load_error: Exception | None = None
        self.count: int | Exception = 0
        find_spec = importlib.util.find_spec

        def find(name: str, *rest: Any) -> Any:
            return (object() if self.built else None) if name == "bertcpp._cuda" else find_spec(name, *rest)

        open_library = ctypes.CDLL

        def load(name: Any, *rest: Any, **options: Any) -> Any:
            if name != "libcuda.so.1":
                return open_library(name, *rest, **options)
            if not self.driver:
                raise OSError(f"{name}: cannot open shared object file")
            return object()

        def module() -> Any:
            if self.load_error is not None:
                raise self.load_error
            return types.SimpleNamespace(device_count=self.devices)

        monkeypatch.setattr(importlib.util, "find_spec", find)
        monkeypatch.setattr(ctypes, "CDLL", load)
        monkeypatch.setattr(devices, "_module", module)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def devices(self) -> int:
        if isinstance(self.count, Exception):
            raise self.count
        return self.count


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


MISSING: dict[str, tuple[dict[str, Any], str]] = {
    "the CUDA part": ({"built": False}, "this build of bertcpp has no CUDA part; build it"),
    "the driver": ({"driver": False}, r"there is no NVIDIA driver on this machine \(libcuda.so.1 is not found\)"),
    "cuBLASLt": (
        {"load_error": ImportError("libcublasLt.so.13: cannot open shared object file")},
        "cuBLASLt is not found .* pip install nvidia-cublas",
    ),
    "a symbol": ({"load_error": ImportError("undefined symbol: x")}, "cannot be loaded: undefined symbol"),
    "a driver that works": ({"count": DeviceError("driver is insufficient")}, "does not work: driver is insufficient"),
    "a GPU": ({"count": 0}, "the NVIDIA driver offers no GPU"),
}


@pytest.mark.parametrize("missing", MISSING)
def test_what_is_missing_is_named(missing: str, machine: Machine) -> None:
    having, message = MISSING[missing]
    vars(machine).update(having)
    for name in ("cuda", "cuda:0", "cuda:3"):
        with pytest.raises(DeviceError, match=f"device is '{name}', but .*{message}"):
            devices.resolve(name)
    assert devices.resolve("auto") == devices.resolve("cpu") == devices.resolve(None) == "cpu"


def test_hidden_gpus_are_hinted_at(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    with pytest.raises(DeviceError, match="no GPU \\(CUDA_VISIBLE_DEVICES is '-1'\\)"):
        devices.resolve("cuda")


def test_gpus_are_numbered(machine: Machine) -> None:
    machine.count = 2
    assert devices.resolve("auto") == devices.resolve("cuda") == "cuda:0"
    second = devices.resolve("cuda:1")
    assert (second, second.type, second.index) == ("cuda:1", "cuda", 1)
    assert (devices.resolve("cpu").type, devices.resolve("cpu").index) == ("cpu", None)
    with pytest.raises(DeviceError, match="the driver offers 2 GPUs"):
        devices.resolve("cuda:2")


@pytest.mark.parametrize("name", ["mps", "gpu", "cuda:", "cuda:x", "cuda:-1", "CUDA", "", 0, "cpu:1"])
def test_other_devices_are_refused(name: Any) -> None:
    with pytest.raises(InputError, match="bertcpp computes on 'cpu'"):
        devices.resolve(name)


def test_pytorchs_devices_are_read(machine: Machine) -> None:
    torch = pytest.importorskip("torch")
    machine.count = 2
    assert devices.resolve(torch.device("cpu")) == "cpu"
    assert devices.resolve(torch.device("cuda", 1)) == "cuda:1"


def test_dtypes_by_device(machine: Machine) -> None:
    torch = pytest.importorskip("torch")
    machine.count = 1
    on_gpu = devices.target("cuda")
    assert on_gpu == (devices.Device("cuda:0"), "float32")
    for dtype, name in (("half", "float16"), (torch.bfloat16, "bfloat16"), (np.float16, "float16"), ("tf32", "tf32")):
        assert devices.target("cuda:0", dtype).dtype == name
        assert devices.target(None, dtype, on_gpu) == (on_gpu.device, name)
    for dtype in (None, "float32", torch.float32, np.float32, "float"):
        assert devices.target(None, dtype) == devices.target("cpu", dtype) == devices.Target()
    for dtype in ("bfloat16", torch.bfloat16, "int8", torch.int8, np.int8, torch.qint8):
        assert devices.target("cpu", dtype).dtype in ("bfloat16", "int8")
    assert devices.target(None, "auto").dtype in ("float32", "int8")
    assert devices.target("cuda", "auto", on_gpu) == on_gpu
    assert devices.target("cuda", None, devices.Target()) == on_gpu
    with pytest.raises(InputError, match="GPUs compute in float32, tf32, float16, bfloat16"):
        devices.target("cuda", "int4")
    with pytest.raises(InputError, match="computes in float32, bfloat16 or int8 on the processor"):
        devices.target("cpu", None, devices.Target(on_gpu.device, "float16"))


def test_the_benchmark_says_what_is_missing() -> None:
    if devices.why_no_gpu() is None:
        pytest.skip("there is a GPU, so nothing is missing")
    script = Path(__file__).resolve().parents[2] / "bench" / "cuda.py"
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("nothing is measured: ")


def test_running_out_of_memory_is_a_memory_error() -> None:
    assert issubclass(DeviceMemoryError, MemoryError)
    assert issubclass(DeviceMemoryError, BertcppError)
