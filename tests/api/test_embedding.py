"""SentenceTransformer beside sentence-transformers: pooling, modules, families, prompts, outputs."""

from __future__ import annotations

import shutil
import warnings
from typing import TYPE_CHECKING, Any

import embedding_checkpoints as checkpoints
import numpy as np
import pytest
import torch
from embedding_checkpoints import HIDDEN, MODES, PAIRS, TEXTS, assert_close, encode, truth
from safetensors.torch import load_file, save_file

from bertcpp import SentenceTransformer
from bertcpp.quantization import quantize_embeddings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory, seed: int) -> Path:
    return checkpoints.save_encoder(tmp_path_factory.mktemp("encoder"), seed)


@pytest.fixture
def folder(encoder: Path, tmp_path: Path) -> Path:
    """A tiny encoder without modules."""
    return shutil.copytree(encoder, tmp_path / "model")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, seed: int) -> tuple[SentenceTransformer, Any]:
    """One checkpoint with mean pooling and prompts, loaded by both libraries."""
    path = checkpoints.save_encoder(tmp_path_factory.mktemp("whole"), seed)
    prompts = {"query": "Find: ", "passage": "Text: "}
    checkpoints.save_modules(path, "new", ["mean"], prompts=prompts)
    return SentenceTransformer(path), truth(path)


def agree(path: Path, inputs: Any = TEXTS, **options: Any) -> tuple[SentenceTransformer, Any]:
    ours, theirs = SentenceTransformer(path), truth(path)
    assert_close(ours.encode(inputs, **options), encode(theirs, inputs, **options))
    return ours, theirs


@pytest.mark.parametrize("layout", checkpoints.LAYOUTS)
@pytest.mark.parametrize("modes", [*([mode] for mode in MODES), ["cls", "mean"], list(MODES)], ids="+".join)
def test_pooling(folder: Path, layout: str, modes: list[str]) -> None:
    checkpoints.save_modules(folder, layout, modes)
    ours, _ = agree(folder)
    assert ours.get_embedding_dimension() == HIDDEN * len(modes)


def test_modes_are_concatenated_in_the_order_named(folder: Path) -> None:
    checkpoints.save_modules(folder, "new", ["lasttoken", "weightedmean", "cls"])
    agree(folder)


@pytest.mark.parametrize("layout", checkpoints.LAYOUTS)
def test_modules_after_pooling(folder: Path, layout: str, rng: np.random.Generator) -> None:
    heads = [
        checkpoints.dense(rng, 2 * HIDDEN, 24),
        ("Dropout", {"dropout": 0.5}, {}),
        checkpoints.layer_norm(rng, 24),
        checkpoints.dense(rng, 24, 10, "Identity", bias=False),
        ("Normalize", {}, {}),
    ]
    checkpoints.save_modules(folder, layout, ["mean", "max"], heads)
    ours, _ = agree(folder)
    assert ours.get_sentence_embedding_dimension() == 10
    assert np.allclose(np.linalg.norm(ours.encode(TEXTS), axis=1), 1)


@pytest.mark.parametrize("name", ["Identity", "Tanh", "ReLU", "GELU", "SiLU", "Sigmoid", "Mish", "LeakyReLU"])
def test_activations_of_dense(folder: Path, rng: np.random.Generator, name: str) -> None:
    checkpoints.save_modules(folder, "old", ["mean"], [checkpoints.dense(rng, HIDDEN, 24, name)])
    agree(folder)


@pytest.mark.parametrize("out", [HIDDEN, 20])
def test_residual_of_dense(folder: Path, rng: np.random.Generator, out: int) -> None:
    kind, config, tensors = checkpoints.dense(rng, HIDDEN, out)
    checkpoints.save_modules(folder, "new", ["mean"])
    pooled = SentenceTransformer(folder).encode(TEXTS)
    config["use_residual"] = True
    if out != HIDDEN:
        tensors["residual.weight"] = rng.standard_normal((out, HIDDEN)).astype(np.float32)
    checkpoints.save_modules(folder, "new", ["mean"], [(kind, config, tensors)])
    expected = np.tanh(pooled @ tensors["linear.weight"].T + tensors["linear.bias"])
    expected += pooled @ tensors["residual.weight"].T if out != HIDDEN else pooled
    assert_close(SentenceTransformer(folder).encode(TEXTS), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_modules_in_half_precision(folder: Path, rng: np.random.Generator, dtype: torch.dtype) -> None:
    heads = [checkpoints.dense(rng, HIDDEN, 24), checkpoints.layer_norm(rng, 24)]
    checkpoints.save_modules(folder, "new", ["mean"], heads)
    for name in ("2_Dense", "3_LayerNorm"):
        tensors = load_file(folder / name / "model.safetensors")
        save_file({key: tensor.to(dtype) for key, tensor in tensors.items()}, folder / name / "model.safetensors")
    agree(folder)


def test_parts_in_folders_and_formats_of_their_own(folder: Path, rng: np.random.Generator) -> None:
    files = [path for path in folder.iterdir() if path.is_file()]
    checkpoints.save_modules(folder, "old", ["mean"], [checkpoints.dense(rng, HIDDEN, 24)])
    (folder / "0_Transformer").mkdir()
    for path in files:
        path.rename(folder / "0_Transformer" / path.name)
    modules = (folder / "modules.json").read_text().replace('"path": ""', '"path": "0_Transformer"')
    (folder / "modules.json").write_text(modules)
    torch.save(load_file(folder / "2_Dense/model.safetensors"), folder / "2_Dense/pytorch_model.bin")
    (folder / "2_Dense/model.safetensors").unlink()
    agree(folder)


@pytest.mark.parametrize("family", checkpoints.TOKENIZERS)
def test_families(tmp_path: Path, seed: int, family: str) -> None:
    path = checkpoints.save_encoder(tmp_path / family, seed, family)
    checkpoints.save_modules(path, "old", ["mean"])
    ours, theirs = agree(path)
    assert_close(ours.encode(PAIRS), encode(theirs, PAIRS))


def test_pairs_and_texts_mix(folder: Path) -> None:
    checkpoints.save_modules(folder, "new", ["mean"])
    ours, theirs = agree(folder, PAIRS)
    mixed = [TEXTS[0], PAIRS[0], list(PAIRS[1]), TEXTS[2], {"text": TEXTS[3]}]
    expected = [encode(theirs, [item])[0] for item in mixed]
    assert_close(ours.encode(mixed), expected)


def test_a_folder_without_modules_gets_mean_pooling_and_a_warning(folder: Path) -> None:
    with pytest.warns(UserWarning, match="has no modules.json.*mean pooling"):
        ours = SentenceTransformer(folder)
    assert_close(ours.encode(TEXTS), encode(truth(folder), TEXTS))


def test_lower_casing_and_length_of_the_old_layout(tmp_path: Path, seed: int) -> None:
    path = checkpoints.save_encoder(tmp_path / "cased", seed, "roberta")
    settings = {"max_seq_length": 16, "do_lower_case": True}
    checkpoints.save_modules(path, "old", ["mean"], encoder_settings=settings)
    ours, theirs = SentenceTransformer(path, on_overflow="truncate"), truth(path)
    assert ours.max_seq_length == theirs.max_seq_length == 16
    assert_close(ours.encode(TEXTS), encode(theirs, TEXTS))
    assert np.array_equal(ours.encode("SHOUTED Words"), ours.encode("shouted words"))


def test_a_length_over_the_encoders_limit_is_cut_to_it(folder: Path) -> None:
    checkpoints.save_modules(folder, "old", ["mean"], encoder_settings={"max_seq_length": 10_000})
    model = SentenceTransformer(folder)
    assert model.max_seq_length == 64
    assert SentenceTransformer(folder, tokenizer_kwargs={"model_max_length": 20}).max_seq_length == 20
    model.max_seq_length = 32
    assert model.get_max_seq_length() == 32
    for wrong in (0, 65, -1, 3.0, True):
        with pytest.raises(ValueError, match="from 1 to 64"):
            model.max_seq_length = wrong  # type: ignore[assignment]
    model.max_seq_length = None  # type: ignore[assignment]
    assert model.max_seq_length == 64


def test_prompts(whole: tuple[SentenceTransformer, Any]) -> None:
    ours, theirs = whole
    assert ours.prompts == theirs.prompts == {"query": "Find: ", "document": "", "passage": "Text: "}
    for options in ({"prompt_name": "query"}, {"prompt": "Say: "}, {"prompt_name": "passage"}, {"prompt": ""}):
        assert_close(ours.encode(TEXTS, **options), encode(theirs, TEXTS, **options))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert_close(ours.encode_query(TEXTS), theirs.encode_query(TEXTS, show_progress_bar=False))
        assert_close(ours.encode_document(TEXTS), theirs.encode_document(TEXTS, show_progress_bar=False))
    assert np.array_equal(ours.encode_query(sentences=TEXTS, prompt_name="passage"), ours.encode(TEXTS, "passage"))
    assert_close(ours.encode(PAIRS, prompt="Say: "), encode(theirs, PAIRS, prompt="Say: "))
    with pytest.raises(ValueError, match=r"prompt_name 'nope' is none of the prompts \['query', 'document', 'passage'"):
        ours.encode(TEXTS, prompt_name="nope")


def test_default_prompts(folder: Path) -> None:
    checkpoints.save_modules(folder, "new", ["mean"], prompts={"task": "Task: "}, default_prompt_name="task")
    ours, theirs = agree(folder)
    assert_close(ours.encode(TEXTS, prompt_name="query"), encode(theirs, TEXTS, prompt_name="query"))
    mine = SentenceTransformer(folder, prompts={"task": "Else: "})
    assert np.array_equal(mine.encode(TEXTS), ours.encode(TEXTS, prompt="Else: "))
    with pytest.raises(ValueError, match="default_prompt_name 'nope'"):
        SentenceTransformer(folder, default_prompt_name="nope")


@pytest.mark.parametrize("modes", [*([mode] for mode in MODES), list(MODES)], ids="+".join)
def test_prompts_left_out_of_the_pool(folder: Path, modes: list[str]) -> None:
    checkpoints.save_modules(folder, "new", modes, include_prompt=False, prompts={"query": "Find this: "})
    texts = [text for text in TEXTS if text]
    ours, theirs = agree(folder, texts, prompt_name="query")
    same = np.array_equal(ours.encode(texts, "query"), ours.encode(["Find this: " + text for text in texts]))
    assert same == (modes == ["lasttoken"])
    ours.set_pooling_include_prompt(True)
    theirs.set_pooling_include_prompt(True)
    assert_close(ours.encode(texts, "query"), encode(theirs, texts, prompt_name="query"))


def test_what_comes_out(whole: tuple[SentenceTransformer, Any]) -> None:
    ours, theirs = whole
    one, many = ours.encode(TEXTS[0]), ours.encode(TEXTS)
    assert (one.shape, one.dtype, many.shape, many.dtype) == ((HIDDEN,), np.float32, (len(TEXTS), HIDDEN), np.float32)
    for nothing in ([], (), iter([]), np.array([], dtype=str)):
        assert ours.encode(nothing).shape == (0,)
    for several in (
        tuple(TEXTS),
        iter(TEXTS),
        np.array(TEXTS),
        np.array(TEXTS, dtype=object),
        dict.fromkeys(TEXTS).keys(),
    ):
        assert np.array_equal(ours.encode(several), many)
    assert np.array_equal(ours.encode(sentences=TEXTS), many)
    assert np.array_equal(ours.encode(inputs=TEXTS, batch_size=1), many)
    tensor = ours.encode(TEXTS, convert_to_tensor=True)
    assert isinstance(tensor, torch.Tensor)
    assert np.array_equal(tensor.numpy(), many)
    assert ours.encode([], convert_to_tensor=True).shape == encode(theirs, [], convert_to_tensor=True).shape
    rows = ours.encode(TEXTS, convert_to_numpy=False)
    assert [type(row) for row in rows] == [torch.Tensor] * len(TEXTS)
    assert ours.encode(TEXTS[0], convert_to_numpy=False).shape == (HIDDEN,)
    assert ours.encode([], convert_to_numpy=False) == []


def test_dimensions_and_lengths_of_vectors(whole: tuple[SentenceTransformer, Any]) -> None:
    ours, theirs = whole
    options = {"truncate_dim": 7, "normalize_embeddings": True}
    assert_close(ours.encode(TEXTS, **options), encode(theirs, TEXTS, **options))
    assert np.allclose(np.linalg.norm(ours.encode(TEXTS, **options), axis=1), 1)
    with ours.truncate_embeddings(5):
        assert ours.encode(TEXTS).shape == (len(TEXTS), 5)
        assert ours.get_embedding_dimension() == 5
    with ours.truncate_sentence_embeddings(None):
        assert ours.encode(TEXTS[0]).shape == (HIDDEN,)


@pytest.mark.parametrize("precision", ["float32", "int8", "uint8", "binary", "ubinary"])
def test_precisions(whole: tuple[SentenceTransformer, Any], precision: Any) -> None:
    ours, theirs = whole
    actual, expected = ours.encode(TEXTS, precision=precision), encode(theirs, TEXTS, precision=precision)
    assert (actual.shape, actual.dtype) == (expected.shape, expected.dtype)
    # A value on the border of two codes, as each dimension's greatest is, may fall to either side.
    far = (
        np.unpackbits((actual ^ expected).view(np.uint8)) if "binary" in precision else abs(actual - 1.0 * expected) > 1
    )
    assert np.count_nonzero(far) <= 0.01 * far.size
    assert ours.encode(TEXTS[0], precision=precision).shape == expected[0].shape


@pytest.mark.parametrize("precision", ["float32", "int8", "uint8", "binary", "ubinary"])
def test_codes_of_the_same_vectors(precision: Any, rng: np.random.Generator) -> None:
    from sentence_transformers.util.quantization import quantize_embeddings as reference

    vectors, more = rng.standard_normal((150, 20)).astype(np.float32), rng.standard_normal((200, 20)).astype(np.float32)
    ranges = np.stack((more.min(0), more.max(0)))
    for options in ({}, {"ranges": ranges}, {"calibration_embeddings": more}):
        actual, expected = quantize_embeddings(vectors, precision, **options), reference(vectors, precision, **options)
        assert actual.dtype == expected.dtype
        assert np.array_equal(actual, expected)
    with pytest.raises(ValueError, match="must be floats"):
        quantize_embeddings(vectors.astype(np.int8), precision)


def test_token_embeddings(whole: tuple[SentenceTransformer, Any]) -> None:
    ours, theirs = whole
    for mine, other in zip(
        ours.encode(TEXTS, output_value="token_embeddings"),
        encode(theirs, TEXTS, output_value="token_embeddings"),
        strict=True,
    ):
        assert_close(mine, other)
    everything = ours.encode(TEXTS, output_value=None)
    expected = encode(theirs, TEXTS[:4], output_value=None)
    for mine, other, vector in zip(everything, expected, ours.encode(TEXTS), strict=False):
        length = int(other["attention_mask"].sum())
        for name in ("input_ids", "token_type_ids", "attention_mask", "token_embeddings"):
            if name in mine:
                assert_close(mine[name], other[name][:length])
        assert np.array_equal(mine["sentence_embedding"], vector)
    single = ours.encode(TEXTS[0], output_value=None, convert_to_tensor=True)
    assert all(isinstance(value, torch.Tensor) for value in single.values())


def test_similarities(whole: tuple[SentenceTransformer, Any]) -> None:
    ours, theirs = whole
    a, b = ours.encode(TEXTS), ours.encode(TEXTS[::-1])
    assert ours.similarity_fn_name == theirs.similarity_fn_name == "cosine"
    for name in ("cosine", "dot", "euclidean", "manhattan"):
        ours.similarity_fn_name = theirs.similarity_fn_name = name
        assert_close(ours.similarity(a, b[:3]), theirs.similarity(a, b[:3]), 1e-5)
        assert_close(ours.similarity_pairwise(a, b), theirs.similarity_pairwise(a, b), 1e-5)
        assert_close(ours.similarity(a[0], b), theirs.similarity(a[0], b), 1e-5)
        assert isinstance(ours.similarity(a, b), np.ndarray)
        assert isinstance(ours.similarity(torch.from_numpy(a), b), torch.Tensor)
    ours.similarity_fn_name = theirs.similarity_fn_name = None  # type: ignore[assignment]
    assert ours.similarity_fn_name == "cosine"
    with pytest.raises(ValueError, match="no similarity function 'near'"):
        ours.similarity_fn_name = "near"
    with pytest.raises(ValueError, match="32 and of 5 dimensions"):
        ours.similarity(a, b[:, :5])


def test_settings_of_a_checkpoint(folder: Path) -> None:
    checkpoints.save_modules(folder, "new", ["mean"], similarity_fn_name="dot", truncate_dim=6)
    model = SentenceTransformer(folder)
    assert (model.similarity_fn_name, model.truncate_dim, model.encode("A").shape) == ("dot", 6, (6,))
    model = SentenceTransformer(folder, similarity_fn_name="euclidean", truncate_dim=3)
    assert (model.similarity_fn_name, model.encode("A").shape) == ("euclidean", (3,))


def test_what_integrations_touch(whole: tuple[SentenceTransformer, Any]) -> None:
    model, theirs = whole
    assert (str(model.device), model.device.type) == ("cpu", "cpu")
    assert model.to("cpu").eval() is model
    assert model.to(torch.device("cpu")) is model
    tokens = model.tokenize(TEXTS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = theirs.tokenize(TEXTS)
    for name in ("input_ids", "attention_mask"):
        assert np.array_equal(tokens[name], expected[name].numpy())
    assert model.preprocess(TEXTS, prompt="Say: ", return_tensors="pt")["input_ids"].shape[0] == len(TEXTS)
    assert model.tokenizer.mask_token == "[MASK]"
    for word in ("sentence_transformers", "pipeline"):
        assert word not in str(type(model))
    assert "mean" in repr(model)
