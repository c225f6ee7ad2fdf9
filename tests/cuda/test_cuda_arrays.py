"""Arrays that lie on the GPU, in and out by DLPack. Not one of these has run on a GPU yet."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import lending
import numpy as np
import pytest

import bertcpp
import reference_models as reference
from bertcpp.errors import InputError, TokenIdError
from bertcpp.gpu_arrays import GpuCaller

if TYPE_CHECKING:
    from pathlib import Path

    from bertcpp.devices import Device

SHAPE = (4, 9)
MASKS = {
    "none": None,
    "right": np.arange(9) < np.array([[9], [4], [1], [6]]),
    "left": np.arange(9) >= np.array([[0], [4], [1], [6]]),
    "holes": np.array([[1, 0, 1] * 3, [0, 1, 1] * 3, [1] * 9, [0] * 8 + [1]]),
}
WANTED = {"output_hidden_states": True, "output_attentions": True}


@pytest.fixture
def library(gpu: Device) -> Any:
    """The library that the caller's arrays are of."""
    return lending.Torch


def load(family: str, seed: int, folder: Path, **options: Any) -> Any:
    reference.save(reference.random_model(family, seed), folder)
    return bertcpp.AutoModel.from_pretrained(folder, device="cuda", **options)


def assert_same(library: Any, ours: Any, truth: Any) -> None:
    """The bits that the same call gave for arrays on the host."""
    assert list(ours) == list(truth)
    for name, value in truth.items():
        pairs = zip(ours[name], value, strict=True) if isinstance(value, tuple) else [(ours[name], value)]
        for array, wanted in pairs:
            assert np.array_equal(library.on_host(array), wanted), name


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("family", ["bert", "mpnet", "electra"])
def test_the_same_as_on_the_host(library: Any, family: str, mask: str, seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    model = load(family, seed, tmp_path, dtype="float16")
    given: dict[str, Any] = {"input_ids": rng.integers(5, 97, SHAPE), "position_ids": rng.integers(2, 60, SHAPE)}
    if MASKS[mask] is not None:
        given["attention_mask"] = MASKS[mask].astype(np.int64)
    if family == "bert":
        given["token_type_ids"] = rng.integers(0, 2, SHAPE).astype(np.int32)
    lent = {name: library.lend(array) for name, array in given.items()}
    assert_same(library, model(**lent, **WANTED), model(**given, **WANTED))
    assert_same(library, model(**lent), model(**given))
    as_tuple = model(**lent, return_dict=False)
    assert np.array_equal(library.on_host(as_tuple[0]), model(**given)[0])


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "bfloat16"])
def test_embeddings_stay_there(
    library: Any, dtype: str, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load("electra", seed, tmp_path)
    floats = np.random.default_rng(seed).standard_normal((*SHAPE, 20)).astype(np.float16)
    given = (floats.astype(np.float32).view(np.uint32) & 0xFFFF0000).view(np.float32)
    lent = library.lend_bfloat16(given) if dtype == "bfloat16" else library.lend(given.astype(dtype))
    read: list[str] = []
    on_host = GpuCaller.on_host
    monkeypatch.setattr(GpuCaller, "on_host", lambda self, value, name: read.append(name) or on_host(self, value, name))
    mask = MASKS["holes"]
    for masked in (None, mask):
        ours = model(inputs_embeds=lent, attention_mask=None if masked is None else library.lend(masked), **WANTED)
        same = given.astype(dtype).astype(np.float32) if dtype != "bfloat16" else given
        assert_same(library, ours, model(inputs_embeds=same, attention_mask=masked, **WANTED))
    assert "inputs_embeds" not in read
    # Where only the mask lies there, what is on the host goes there packed.
    ours = model(inputs_embeds=given, attention_mask=library.lend(mask))
    assert_same(library, ours, model(inputs_embeds=given, attention_mask=mask))


def test_arrays_of_any_layout(library: Any, seed: int, tmp_path: Path) -> None:
    model = load("bert", seed, tmp_path)
    rng = np.random.default_rng(seed)
    ids, embeds = rng.integers(5, 97, SHAPE), rng.standard_normal((*SHAPE, 32)).astype(np.float32)
    mask = MASKS["right"].astype(np.float32)
    strided = {"input_ids": library.strided(ids), "attention_mask": library.strided(mask)}
    assert_same(library, model(**strided), model(ids, mask))
    half = library.lend_bfloat16(mask)
    assert_same(library, model(library.lend(ids), half), model(ids, mask))
    assert_same(library, model(inputs_embeds=library.strided(embeds)), model(inputs_embeds=embeds))


def test_results_outlive_the_model(library: Any, seed: int, tmp_path: Path) -> None:
    model = load("bert", seed, tmp_path)
    ids = np.random.default_rng(seed).integers(5, 97, SHAPE)
    before = model(library.lend(ids)).last_hidden_state
    truth = model(ids).last_hidden_state
    for _ in range(20):
        model(library.lend(ids + 1 - ids % 2), **WANTED)
    del model
    assert np.array_equal(library.on_host(before), truth)


def test_task_models(library: Any, seed: int, tmp_path: Path) -> None:
    """Heads compute on the processor; the answers lie where the questions did."""
    reference.save(reference.random_model("bert", seed, kind="ForPreTraining"), tmp_path)
    ids = np.random.default_rng(seed).integers(5, 97, SHAPE)
    mask = MASKS["holes"]
    classes = {
        "MaskedLM": {},
        "SequenceClassification": WANTED,
        "QuestionAnswering": {},
        "PreTraining": {},
    }
    for name, wanted in classes.items():
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*drawn at random")
            load_task = getattr(bertcpp, f"BertFor{name}").from_pretrained
            model = load_task(tmp_path, device="cuda", allow_missing_head=True)
        assert_same(library, model(library.lend(ids), library.lend(mask), **wanted), model(ids, mask, **wanted))
        if name == "MaskedLM":
            positions = (ids % 3 == 0) & (mask == 1)
            ours = model(library.lend(ids), library.lend(mask), positions=library.lend(positions))
            assert_same(library, ours, model(ids, mask, positions=positions))
    with pytest.warns(UserWarning, match="drawn at random"):
        model = bertcpp.BertForMultipleChoice.from_pretrained(tmp_path, device="cuda", allow_missing_head=True)
    choices = ids.reshape(2, 2, 9)
    assert_same(library, model(library.lend(choices)), model(choices))


def test_what_does_not_fit_is_named(library: Any, seed: int, tmp_path: Path) -> None:
    model = load("bert", seed, tmp_path)
    ids = np.full(SHAPE, 7)
    lent = library.lend(ids)
    embeds = np.zeros((*SHAPE, 32), np.float32)
    with pytest.raises(TokenIdError, match="outside the vocabulary"):
        model(library.lend(ids + 97))
    with pytest.raises(InputError, match="inputs_embeds must be floats, not int64"):
        model(inputs_embeds=library.lend(embeds.astype(np.int64)))
    with pytest.raises(InputError, match=r"inputs_embeds must have the shape \[batch, sequence, 32\]"):
        model(inputs_embeds=library.lend(embeds[:, :, 1:]))
    model.to("cpu", "float32")
    remedy = r"pass input_ids\.to\('cpu'\)" if library is lending.Torch else "copy input_ids there"
    message = rf"lies on cuda:0, but the model computes on the processor; {remedy}, or .*model\.to\('cuda:0'\)"
    with pytest.raises(InputError, match=message):
        model(lent)
    model.to("cuda")
    assert_same(library, model(lent), model(ids))


def test_the_engines_arrays(gpu: Device, seed: int, tmp_path: Path) -> None:
    """What consumers may ask `__dlpack__` for."""
    core = load("bert", seed, tmp_path)._core
    assert core.device == 0
    array = core.upload(np.arange(6, dtype=np.float32).reshape(2, 3))
    assert (array.shape, array.__dlpack_device__()) == ((2, 3), (2, 0))
    for stream in (None, -1, 1, 2, core.stream):
        capsule = array.__dlpack__(stream=stream, dl_device=(2, 0), copy=False)
        tensor = lending.described(capsule)
        assert (tensor.ndim, tensor.code, tensor.bits, tensor.lanes) == (2, 2, 32, 1)
        assert (tensor.shape[:2], tensor.strides[:2], tensor.byte_offset) == ([2, 3], [3, 1], 0)
    with pytest.raises(InputError, match="stream must be None or the number of a CUDA stream, not a str"):
        array.__dlpack__(stream="x")
    for refused in ({"stream": 0}, {"dl_device": (1, 0)}, {"copy": True}, {"copy": "yes"}):
        with pytest.raises(BufferError):
            array.__dlpack__(**refused)
    ids = np.zeros((2, 3), np.int32)
    packed = (ids.ravel() + 7, np.array([0, 3, 6]), np.array([0, 1, 2] * 2))
    for cells in ([0, 1, 2, 3, 4, 8], [0, 1, 2, 2, 4, 5], [0, 1, 2, 3, 4, -1]):
        with pytest.raises(InputError, match=r"cells\[\d\] is -?\d, which is not in row 1 of 3 columns"):
            core.forward_padded(*packed, cells=np.array(cells), width=3)
    with pytest.raises(InputError, match=r"cells\[2\] is 1, where another token lies"):
        core.forward_padded(*packed, cells=np.array([0, 1, 1, 3, 4, 5]), width=3)
    with pytest.raises(InputError, match="columns are none"):
        core.forward_padded(*packed, width=0)
    with pytest.raises(InputError, match="too many for offsets of 32 bits"):
        core.forward_padded(*packed, width=1 << 31)
    # No memory holds the results of so many columns: what is wrong is found before any is asked for.
    with pytest.raises(TokenIdError, match=r"input_ids\[0\] is 999"):
        core.forward_padded(np.array([999]), np.array([0, 1]), np.array([0]), width=(1 << 31) - 1)


def test_where_no_token_is_there_are_zeros(library: Any, seed: int, tmp_path: Path) -> None:
    """Also where `cells` are left out, and memory was used before."""
    core = load("bert", seed, tmp_path)._core
    wanted = {"width": 3, "output_hidden_states": True, "output_attentions": True}
    calls = {
        "fewer tokens than cells": ((np.array([7, 8]), np.array([0, 2]), np.arange(2)), {}),
        "a token that is masked": ((np.array([7, 8, 9]), np.array([0, 3]), np.arange(3)), {"key_lens": np.array([2])}),
    }
    for name, (packed, options) in calls.items():
        states = core.forward_padded(np.array([7, 8, 9]), np.array([0, 3]), np.arange(3), **wanted)
        shapes = [states["last_hidden_state"].shape] * 8 + [states["attentions"][0].shape] * 8
        used = [core.upload(np.full(shape, np.nan, np.float32)) for shape in shapes]
        del states, used
        results = core.forward_padded(*packed, **options, **wanted)
        for array in results["hidden_states"]:
            assert not np.any(library.on_host(library.from_dlpack(array))[:, 2]), name
        for array in results["attentions"]:
            values = library.on_host(library.from_dlpack(array))
            assert not np.any(values[:, :, 2]), name
            assert not np.any(values[..., 2]), name


def test_tensors_with_gradients_are_refused(gpu: Device, seed: int, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    model = load("bert", seed, tmp_path)
    embeds = torch.zeros((1, 3, 32), device="cuda", requires_grad=True)
    with pytest.raises(InputError, match=r"asks for gradients.*detach\(\)"):
        model(inputs_embeds=embeds)
    with torch.no_grad():
        assert model(inputs_embeds=embeds).last_hidden_state.is_cuda
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):  # what another stream still computes is waited for
        ids = (torch.rand((4000, 4000), device="cuda") @ torch.rand((4000, 4000), device="cuda"))[:2, :5].long() % 90
        states = model(ids).last_hidden_state
    assert np.array_equal(states.cpu().numpy(), model(ids.cpu().numpy()).last_hidden_state)
