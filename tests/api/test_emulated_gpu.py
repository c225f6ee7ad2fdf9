"""The tests of tests/cuda on the emulated GPU that `make core` builds: the same sources, and what Python does."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bertcpp import devices

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "cuda"))

import test_cuda_engine  # noqa: E402
import test_cuda_models  # noqa: E402


@pytest.fixture(scope="module")
def emulated() -> Any:
    folder = Path(os.environ.get("BERTCPP_NATIVE_BUILD", ROOT / "build")) / "emulated"
    built = sorted(folder.glob("_cuda*.so"))
    if not built:
        pytest.fail(f"{folder} has no emulated GPU: build it with `make core`", pytrace=False)
    loader = importlib.machinery.ExtensionFileLoader("_cuda", str(built[0]))
    spec = importlib.util.spec_from_loader("_cuda", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    assert module.device_text(0).startswith("emulated GPU, 1024 MiB, compute capability 8.0")
    return module


@pytest.fixture
def gpu(emulated: Any, monkeypatch: pytest.MonkeyPatch) -> devices.Device:
    monkeypatch.setattr(devices, "_module", lambda: emulated)
    monkeypatch.setattr(devices, "why_no_gpu", lambda: None)
    return devices.resolve("cuda")


def test_agreement(gpu: devices.Device, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_cuda_engine, "LENGTHS", (1, 66, 7))
    sizes = {"hidden_size": 64, "num_hidden_layers": 1}
    monkeypatch.setattr(test_cuda_engine, "SIZES", {**test_cuda_engine.SIZES, **sizes})
    for family, dtype in (("bert", "float16"), ("mpnet", "float32"), ("electra", "bfloat16")):
        test_cuda_engine.test_agrees_with_transformers(gpu, family, dtype, seed, tmp_path / family)
    test_cuda_engine.test_agrees_for_every_width_of_heads(gpu, 3, "float16", seed, tmp_path / "narrow")
    test_cuda_engine.test_same_bits_twice_and_in_any_batch(gpu, "float16", seed, tmp_path / "bits")
    test_cuda_engine.test_pools_as_the_processor_does(gpu, "float32", seed, tmp_path / "pool")
    test_cuda_engine.test_refuses_what_the_processor_refuses(gpu, seed, tmp_path / "refuses")


MODEL_TESTS: list[Callable[..., None]] = [
    test_cuda_models.test_a_model_moves_there_and_back,
    test_cuda_models.test_a_model_is_loaded_there,
    test_cuda_models.test_a_task_model_with_its_encoder_there,
]


@pytest.mark.parametrize("test", MODEL_TESTS, ids=lambda test: test.__name__)
def test_classes_for_users(test: Callable[..., None], gpu: devices.Device, seed: int, tmp_path: Path) -> None:
    test(gpu, test_cuda_models.reference.save(test_cuda_models.reference.random_model("bert", seed), tmp_path))


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_is_refused(gpu: devices.Device, seed: int, tmp_path: Path) -> None:
    case = test_cuda_engine.Case("bert", seed, tmp_path, hidden_size=64, num_hidden_layers=1)
    encoder = case.encoder(gpu, "float32")
    batch = case.batch(case.sequences[:1])
    child = os.fork()
    if child == 0:
        try:
            encoder.forward(*batch)
        except devices.DeviceError as error:
            os._exit(0 if "does not survive a fork" in str(error) else 2)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    encoder.forward(*batch)


def test_auto_takes_the_gpu(gpu: devices.Device) -> None:
    assert devices.resolve("auto") == gpu
