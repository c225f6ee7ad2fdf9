"""The tests of tests/cuda on the emulated GPU that `make core` builds: the same sources, and what Python does."""

from __future__ import annotations

import ctypes
import importlib.machinery
import importlib.util
import os
import re
import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import embedding_checkpoints
import numpy as np
import pytest
import torch

import bertcpp
from bertcpp import devices
from bertcpp.arrays import as_array

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "cuda"))

import lending  # noqa: E402
import test_cuda_arrays  # noqa: E402
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


def test_vectors_as_tensors_lie_there(
    gpu: devices.Device, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where PyTorch computes on the GPU, which another library stands for here; else on the host."""
    path = embedding_checkpoints.save_encoder(tmp_path, seed)
    embedding_checkpoints.save_modules(path, "new", ["mean"])
    model = bertcpp.SentenceTransformer(path, device="cuda")
    texts = ["a text", "and another one"]
    expected = model.encode(texts)
    on_host = model.encode(texts, convert_to_tensor=True)
    assert isinstance(on_host, torch.Tensor)
    assert np.array_equal(on_host.numpy(), expected)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "from_dlpack", lending.Emulated.from_dlpack)
    assert np.array_equal(lending.Emulated.on_host(model.encode(texts, convert_to_tensor=True)), expected)
    tokens = model.encode(texts, output_value="token_embeddings", convert_to_tensor=True)
    assert all(isinstance(states, lending.EmulatedArray) for states in tokens)
    chunks = model.encode_chunks(texts, chunk_tokens=2, convert_to_tensor=True)
    assert all(isinstance(chunked.embeddings, lending.EmulatedArray) for chunked in chunks)
    assert lending.Emulated.on_host(model.encode([], convert_to_tensor=True)).shape == (0,)
    # What is no float32 is made on the host.
    assert isinstance(model.encode(texts, convert_to_tensor=True, precision="ubinary"), torch.Tensor)


@pytest.mark.parametrize("mask", test_cuda_arrays.MASKS)
def test_arrays_that_lie_there(gpu: devices.Device, mask: str, seed: int, tmp_path: Path) -> None:
    for family in ("bert", "mpnet"):
        test_cuda_arrays.test_the_same_as_on_the_host(lending.Emulated, family, mask, seed, tmp_path / family)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "bfloat16"])
def test_embeddings_that_lie_there(
    gpu: devices.Device, dtype: str, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    test_cuda_arrays.test_embeddings_stay_there(lending.Emulated, dtype, seed, tmp_path, monkeypatch)


ARRAY_TESTS: list[Callable[..., None]] = [
    test_cuda_arrays.test_arrays_of_any_layout,
    test_cuda_arrays.test_results_outlive_the_model,
    test_cuda_arrays.test_task_models,
    test_cuda_arrays.test_what_does_not_fit_is_named,
    test_cuda_arrays.test_where_no_token_is_there_are_zeros,
    test_cuda_arrays.test_the_engines_arrays,
]


@pytest.mark.parametrize("test", ARRAY_TESTS, ids=lambda test: test.__name__)
def test_arrays_of_another_library(test: Callable[..., None], gpu: devices.Device, seed: int, tmp_path: Path) -> None:
    test(lending.Emulated, seed, tmp_path)


def test_the_protocol_is_kept(gpu: devices.Device, seed: int, tmp_path: Path) -> None:
    """The lender is told the engine's stream; what is no array of this GPU is refused, and given back."""
    model = test_cuda_arrays.load("bert", seed, tmp_path)
    ids = lending.Emulated.lend([[7, 8, 9]])
    states = model(ids).last_hidden_state
    assert ids.streams == [model._core.stream]
    assert isinstance(states, lending.EmulatedArray)
    with pytest.raises(devices.InputError, match="input_ids lies on cuda:3, but the model computes on cuda:0"):
        model(lending.EmulatedArray(np.array([[7]]), index=3))
    with pytest.raises(devices.InputError, match=r"attention_mask must be an array of integers.*code 5 of 64 bits"):
        model(ids, lending.EmulatedArray(np.ones((1, 3)), code=5))
    with pytest.raises(devices.InputError, match="is not on cuda:0"):
        model._core.borrow(np.ones(3).__dlpack__(), "input_ids")
    capsule = ids.__dlpack__()
    assert model._core.fetch(model._core.borrow(capsule, "input_ids")).tolist() == [[7, 8, 9]]
    with pytest.raises(devices.InputError, match="taken before"):
        model._core.borrow(capsule, "input_ids")
    with pytest.raises(devices.InputError, match=r"input_ids.__dlpack__\(\) gave a NoneType, not a capsule"):
        model._core.borrow(None, "input_ids")
    empty = lending.EmulatedArray(np.ones((0, 3)))
    assert model._core.fetch(model._core.borrow(empty.__dlpack__(), "input_ids")).shape == (0, 3)
    backwards = lending.EmulatedArray(np.arange(6).reshape(2, 3)[::-1, ::-2])
    assert model._core.fetch(model._core.borrow(backwards.__dlpack__(), "input_ids")).tolist() == [[5, 3], [2, 0]]


CRAFTED: dict[str, tuple[dict[str, Any], str]] = {
    "bfloat16 of 8 bits": ({"code": 4, "bits": 8}, "code 4 of 8 bits"),
    "booleans of 32 bits": ({"code": 6, "bits": 32}, "code 6 of 32 bits"),
    "floats of 8 bits": ({"bits": 8}, "code 2 of 8 bits"),
    "integers of 24 bits": ({"code": 0, "bits": 24}, "code 0 of 24 bits"),
    "vectors": ({"lanes": 2}, "code 2 of 32 bits in 2 lanes"),
    "no memory": ({"data": None}, "given has elements, but no memory"),
    "fewer axes than none": ({"ndim": -1}, "0 to 32 axes; by DLPack it has -1"),
    "too many axes": ({"ndim": 33}, "0 to 32 axes; by DLPack it has 33"),
    "axes without sizes": ({"shape": None}, "by DLPack it has 2, and no shape"),
    "a negative size": ({"shape": (-1, 3)}, "negative size by DLPack: -1"),
    "sizes beyond any memory": ({"shape": (1 << 40, 1 << 40)}, "larger than any memory"),
    "the same without strides": ({"shape": (1 << 40, 1 << 40), "strides": None}, "larger than any memory"),
    "a stride beyond any memory": ({"strides": (1 << 61, 1)}, "lies beyond any memory"),
    "a step back beyond any memory": ({"strides": (-(1 << 60), 1)}, "lies beyond any memory"),
    "an offset beyond any memory": ({"byte_offset": (1 << 64) - 4}, "lies beyond any memory"),
    "an offset within an element": ({"byte_offset": 2}, "not aligned to its elements of 4 bytes"),
}


@pytest.mark.parametrize("name", CRAFTED)
def test_what_no_array_says_of_itself(name: str, gpu: devices.Device, seed: int, tmp_path: Path) -> None:
    fields, message = CRAFTED[name]
    core = test_cuda_arrays.load("bert", seed, tmp_path)._core
    capsule = lending.EmulatedArray(np.ones((2, 3), np.float32)).__dlpack__()
    tensor = lending.described(capsule)
    for field, value in fields.items():
        setattr(tensor, field, (ctypes.c_int64 * 2)(*value) if isinstance(value, tuple) else value)
    with pytest.raises(devices.InputError, match=re.escape(message)):
        core.borrow(capsule, "given")
    assert lending.described(capsule).device_type == 2  # it is still the lender's to give back


def test_views_come_without_what_lies_between(gpu: devices.Device, seed: int, tmp_path: Path) -> None:
    core = test_cuda_arrays.load("bert", seed, tmp_path)._core

    def fetch(view: np.ndarray) -> np.ndarray:
        fetched = core.fetch(core.borrow(lending.EmulatedArray(view).__dlpack__(), "view"))
        assert np.array_equal(fetched, view)
        assert fetched.dtype == view.dtype
        return fetched

    table = np.arange(4 * 6 * 10, dtype=np.int32).reshape(4, 6, 10)
    narrow = [
        table[:, :, :2],
        table[:, 2:3],
        table[:, 4:2:-1, :],
        table[::-1, ::-1, 7:4:-1],
        table[..., 3],
        table[::3, 5, 9],
        table.transpose(2, 0, 1)[:2],
    ]
    for view in narrow:
        assert fetch(view).base.nbytes == view.nbytes
    for view in (table, table[2], table[:, :, ::2], table[::2, :, ::-3], table.T, table[1, 1, 1, ...], table[:, 1:1]):
        fetch(view)
    assert fetch(np.lib.stride_tricks.as_strided(table, (3, 4, 2), (0, 4, 0))).base.nbytes == 16
    # Rows of 32 MiB at once, and longer ones.
    for rows, width in ((3, 1 << 24), (2, 1 << 25)):
        large = np.zeros((rows, 3 * width), np.uint8)
        large[:, width] = large[:, 2 * width] = np.arange(1, rows + 1)
        assert fetch(large[:, : width + 1]).base.nbytes == rows * (width + 1)


def test_what_only_the_host_reads_may_not_lie_there() -> None:
    with pytest.raises(devices.InputError, match="positions lies on cuda:1; copy it to the CPU first"):
        as_array(lending.EmulatedArray(np.ones(3), index=1), "positions")


def test_a_library_without_a_function_for_it(gpu: devices.Device, seed: int, tmp_path: Path) -> None:
    """It gets the engine's arrays, which any library takes."""

    class Bare:
        def __init__(self, array: lending.EmulatedArray) -> None:
            self.__dlpack_device__, self.__dlpack__ = array.__dlpack_device__, array.__dlpack__

    states = test_cuda_arrays.load("bert", seed, tmp_path)(Bare(lending.Emulated.lend([[7, 8, 9]]))).last_hidden_state
    assert states.shape == (1, 3, 32)
    assert lending.Emulated.from_dlpack(states).shape == (1, 3, 32)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_is_refused(gpu: devices.Device, seed: int, tmp_path: Path) -> None:
    case = test_cuda_engine.Case("bert", seed, tmp_path, hidden_size=64, num_hidden_layers=1)
    encoder = case.encoder(gpu, "float32")
    batch = case.batch(case.sequences[:1])
    large = np.zeros(1 << 26, np.float32)
    calls = [
        lambda: encoder.forward(*batch),
        lambda: encoder.upload(large),
        lambda: encoder.forward_padded(*batch, width=(1 << 31) - 1),
    ]
    child = os.fork()
    if child == 0:
        try:
            # Too little for what the calls would bring there: memory is not asked for first.
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + large.nbytes // 2,) * 2)
            for call in calls:
                with pytest.raises(devices.DeviceError, match="does not survive a fork"):
                    call()
        except BaseException:
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    encoder.forward(*batch)


def test_auto_takes_the_gpu(gpu: devices.Device) -> None:
    assert devices.resolve("auto") == gpu
