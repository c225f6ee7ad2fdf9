"""Loading models and calling them: what transformers accepts, and what is said about the rest."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

import bertcpp
import reference_models as reference
from bertcpp import errors, modeling, outputs

if TYPE_CHECKING:
    from pathlib import Path

IDS = [[5, 6, 7, 8], [9, 10, 11, 0]]
MASK = [[1, 1, 1, 1], [1, 1, 1, 0]]


@pytest.fixture(scope="module")
def checkpoints(seed: int, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("checkpoints")
    small = {"num_hidden_layers": 1, "hidden_size": 12, "intermediate_size": 20}
    return {
        family: reference.save(reference.random_model(family, seed, **small), root / family)
        for family in reference.FAMILIES
    }


@pytest.fixture(scope="module")
def bert(checkpoints: dict[str, Path]) -> bertcpp.BertModel:
    model = bertcpp.BertModel.from_pretrained(checkpoints["bert"])
    assert isinstance(model, bertcpp.BertModel)
    return model


def changed(source: Path, target: Path, **fields: Any) -> Path:
    """A copy of a checkpoint with fields of config.json changed; None removes one."""
    shutil.copytree(source, target)
    config = json.loads((target / "config.json").read_text()) | fields
    (target / "config.json").write_text(
        json.dumps({name: value for name, value in config.items() if value is not None})
    )
    return target


CLASSES = {
    "bert": "BertModel",
    "roberta": "RobertaModel",
    "xlm-roberta": "XLMRobertaModel",
    "camembert": "CamembertModel",
    "distilbert": "DistilBertModel",
    "electra": "ElectraModel",
    "mpnet": "MPNetModel",
}


@pytest.mark.parametrize("name", [*CLASSES.values(), "ErnieModel", "Data2VecTextModel"])
def test_signatures_are_those_of_transformers(name: str) -> None:
    import transformers

    ours = list(inspect.signature(getattr(modeling, name).forward).parameters)
    theirs = list(inspect.signature(getattr(transformers, name).forward).parameters)
    if name == "MPNetModel":
        assert (ours.pop(), theirs.pop()) == ("token_type_ids", "kwargs")  # named, so that nothing unknown is swallowed
    if name == "ElectraModel":
        assert ours.pop() == "cache_position"
    if name == "ErnieModel":
        ours, theirs = ours[:6], theirs[:6]
    assert ours == theirs


@pytest.mark.parametrize("family", list(CLASSES))
def test_auto_model_picks_the_class(family: str, checkpoints: dict[str, Path]) -> None:
    model = bertcpp.AutoModel.from_pretrained(checkpoints[family])
    assert type(model) is getattr(bertcpp, CLASSES[family])
    theirs = {"bert", "roberta", "xlm-roberta", "camembert"}
    expected = (
        "BaseModelOutputWithPoolingAndCrossAttentions"
        if family in theirs
        else {
            "distilbert": "BaseModelOutput",
            "electra": "BaseModelOutputWithPastAndCrossAttentions",
            "mpnet": "BaseModelOutputWithPooling",
        }[family]
    )
    assert type(model(IDS)) is getattr(outputs, expected)


@pytest.mark.parametrize("family", list(CLASSES))
def test_num_parameters(family: str, checkpoints: dict[str, Path]) -> None:
    import transformers

    ours = bertcpp.AutoModel.from_pretrained(checkpoints[family])
    theirs = transformers.AutoModel.from_pretrained(checkpoints[family])
    assert ours.num_parameters() == theirs.num_parameters()


@pytest.mark.parametrize("family", list(CLASSES))
def test_tuples(family: str, checkpoints: dict[str, Path]) -> None:
    import transformers

    ours = bertcpp.AutoModel.from_pretrained(checkpoints[family])
    theirs = transformers.AutoModel.from_pretrained(checkpoints[family], attn_implementation="eager").eval()
    options = {"return_dict": False, "output_hidden_states": True, "output_attentions": True}
    answer, expected = ours(IDS, **options), theirs(torch.tensor(IDS), **options)
    assert type(answer) is tuple
    assert len(answer) == len(expected)
    for one, other in zip(answer, expected, strict=True):
        assert type(one) is (tuple if isinstance(other, tuple) else np.ndarray)
        assert np.shape(one) == (np.shape(one) if isinstance(other, tuple) else tuple(other.shape))


def test_without_a_pooler_its_place_in_the_tuple_is_none(checkpoints: dict[str, Path]) -> None:
    model = bertcpp.BertModel.from_pretrained(checkpoints["bert"], add_pooling_layer=False)
    hidden, pooled, states = model(IDS, return_dict=False, output_hidden_states=True)
    assert (hidden.shape, pooled, len(states)) == ((2, 4, 12), None, 2)
    assert model(IDS).pooler_output is None
    assert list(model(IDS)) == ["last_hidden_state"]


def test_a_missing_pooler_is_said(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    import transformers

    whole = transformers.BertForMaskedLM(reference.config_of("bert"))  # has no pooler
    path = reference.save(whole, tmp_path / "masked")
    with pytest.warns(
        UserWarning, match=r"has no pooler, so pooler_output will be None; pass add_pooling_layer=False"
    ) as caught:
        model = bertcpp.BertModel.from_pretrained(path)
    assert caught[0].filename == __file__
    assert model(IDS).pooler_output is None
    assert bertcpp.BertModel.from_pretrained(path, add_pooling_layer=False)(IDS).pooler_output is None


def test_positional_arguments(checkpoints: dict[str, Path], bert: bertcpp.BertModel) -> None:
    types, positions = [[0, 0, 1, 1]] * 2, [[3, 2, 1, 0]] * 2
    named = bert(input_ids=IDS, attention_mask=MASK, token_type_ids=types, position_ids=positions)
    assert np.array_equal(bert(IDS, MASK, types, positions)[0], named[0])
    assert np.array_equal(bert.forward(IDS, MASK, types, positions)[0], named[0])
    mpnet = bertcpp.AutoModel.from_pretrained(checkpoints["mpnet"])
    assert np.array_equal(mpnet(IDS, MASK, positions)[0], mpnet(IDS, attention_mask=MASK, position_ids=positions)[0])


def test_what_comes_in_decides_what_goes_out(bert: bertcpp.BertModel) -> None:
    options = {"output_hidden_states": True, "output_attentions": True}
    expected = bert(IDS, MASK, **options)
    arrays = bert(np.array(IDS), np.array(MASK), **options)
    tensors = bert(torch.tensor(IDS), torch.tensor(MASK), **options)
    mixed = bert(IDS, torch.tensor(MASK, dtype=torch.bool), **options)
    for output, kind in ((expected, np.ndarray), (arrays, np.ndarray), (tensors, torch.Tensor), (mixed, torch.Tensor)):
        for name in ("last_hidden_state", "pooler_output"):
            assert type(output[name]) is kind
            assert np.array_equal(output[name], expected[name])
        for name in ("hidden_states", "attentions"):
            assert type(output[name]) is tuple
            assert all(type(layer) is kind for layer in output[name])
            assert all(np.array_equal(one, other) for one, other in zip(output[name], expected[name], strict=True))


def test_results_are_the_callers_own(bert: bertcpp.BertModel) -> None:
    first = bert(IDS).last_hidden_state
    copied = first.copy()
    first[:] = 0
    assert np.array_equal(bert(IDS).last_hidden_state, copied)
    tensor = bert(torch.tensor(IDS)).last_hidden_state
    tensor.zero_()  # writable
    assert np.array_equal(bert(IDS).last_hidden_state, copied)


def test_the_last_hidden_state_is_the_last_of_all(bert: bertcpp.BertModel) -> None:
    output = bert(IDS, MASK, output_hidden_states=True)
    assert output.hidden_states[-1] is output.last_hidden_state
    assert len(output.hidden_states) == 2


def test_the_configuration_sets_the_defaults(checkpoints: dict[str, Path]) -> None:
    model = bertcpp.BertModel.from_pretrained(
        checkpoints["bert"], output_hidden_states=True, output_attentions=True, return_dict=False
    )
    assert model.config.output_attentions is True
    assert len(model(IDS)) == 4
    output = model(IDS, output_attentions=False, return_dict=True)
    assert list(output) == ["last_hidden_state", "pooler_output", "hidden_states"]


def test_a_configuration_may_be_given(checkpoints: dict[str, Path], bert: bertcpp.BertModel) -> None:
    config = bertcpp.BertConfig.from_pretrained(checkpoints["bert"], hidden_act="relu")
    model = bertcpp.BertModel.from_pretrained(checkpoints["bert"], config=config)
    assert model.config is config
    assert not np.array_equal(model(IDS)[0], bert(IDS)[0])
    path = checkpoints["bert"] / "config.json"
    assert np.array_equal(bertcpp.AutoModel.from_pretrained(checkpoints["bert"], config=path)(IDS)[0], bert(IDS)[0])
    assert bert.config.name_or_path == str(checkpoints["bert"])


@pytest.mark.parametrize("dtype", [None, "float32", "torch.float32", torch.float32, np.float32, np.dtype("float32")])
def test_dtypes_that_mean_float32(dtype: Any, checkpoints: dict[str, Path]) -> None:
    for name in ("dtype", "torch_dtype"):
        model = bertcpp.BertModel.from_pretrained(checkpoints["bert"], **{name: dtype})
        assert model.dtype == np.float32


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"dtype": "float16"}, errors.InputError, "computes in float32"),
        ({"torch_dtype": torch.float64}, errors.InputError, "dtype is torch.float64"),
        (
            {"device": "mps"},
            errors.InputError,
            "device is 'mps', but bertcpp computes on 'cpu', the processor, and 'cuda'",
        ),
        ({"num_threads": 0}, errors.InputError, "num_threads must be an integer from 1 to 1024"),
        ({"num_threads": True}, errors.InputError, "not True"),
        ({"num_threads": 1.5}, errors.InputError, "not 1.5"),
        ({"no_such_field": 1}, TypeError, "'no_such_field', no argument of it and no field of BertConfig$"),
        ({"config": {"hidden_size": 12}}, errors.InputError, "config must be a configuration of bertcpp or a path"),
        ({"config": bertcpp.BertConfig(), "hidden_act": "relu"}, TypeError, "may be changed beside config="),
        ({"config": bertcpp.RobertaConfig()}, errors.UnknownArchitectureError, "use RobertaModel or AutoModel"),
        ({"subfolder": "absent"}, errors.CheckpointNotFoundError, "absent"),
        ({"use_safetensors": False}, errors.CheckpointNotFoundError, "use_safetensors=False"),
    ],
)
def test_options_that_do_not_work_are_named(
    options: dict[str, Any], error: type[Exception], message: str, checkpoints: dict[str, Path]
) -> None:
    with pytest.raises(error, match=message):
        bertcpp.BertModel.from_pretrained(checkpoints["bert"], **options)


def test_options_of_pytorch_change_nothing(checkpoints: dict[str, Path], bert: bertcpp.BertModel) -> None:
    model = bertcpp.BertModel.from_pretrained(
        checkpoints["bert"],
        attn_implementation="sdpa",
        low_cpu_mem_usage=True,
        trust_remote_code=False,
        device="cpu",
        revision=None,
    )
    assert np.array_equal(model(IDS)[0], bert(IDS)[0])


@pytest.mark.parametrize(
    ("name", "family", "remedy"),
    [
        ("BertModel", "roberta", "use RobertaModel or AutoModel"),
        ("BertModel", "distilbert", "use DistilBertModel or AutoModel"),
        ("RobertaModel", "bert", "use BertModel or AutoModel"),
        ("RobertaModel", "mpnet", "use MPNetModel or AutoModel"),
        ("ElectraModel", "bert", "use BertModel or AutoModel"),
        ("MPNetModel", "xlm-roberta", "use XLMRobertaModel or AutoModel"),
    ],
)
def test_another_family_is_named(name: str, family: str, remedy: str, checkpoints: dict[str, Path]) -> None:
    with pytest.raises(errors.UnknownArchitectureError, match=f"model_type is '{family}', which {name} .*{remedy}"):
        getattr(bertcpp, name).from_pretrained(checkpoints[family])


@pytest.mark.parametrize("name", ["RobertaModel", "XLMRobertaModel", "CamembertModel"])
def test_robertas_children_read_each_others_checkpoints(name: str, checkpoints: dict[str, Path]) -> None:
    for family in ("roberta", "xlm-roberta", "camembert"):
        model = getattr(bertcpp, name).from_pretrained(checkpoints[family])
        assert type(model).__name__ == name
        assert np.array_equal(model(IDS)[0], bertcpp.AutoModel.from_pretrained(checkpoints[family])(IDS)[0])


def test_unknown_families_are_named(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    path = changed(checkpoints["bert"], tmp_path / "gpt", model_type="gpt2")
    for model in (bertcpp.AutoModel, bertcpp.BertModel):
        with pytest.raises(errors.UnknownArchitectureError, match=r"'gpt2'.*bert"):
            model.from_pretrained(path)


def test_a_configuration_without_model_type_is_read_by_its_class(
    checkpoints: dict[str, Path], bert: bertcpp.BertModel, tmp_path: Path
) -> None:
    path = changed(checkpoints["bert"], tmp_path / "old", model_type=None, architectures=None)
    assert np.array_equal(bertcpp.BertModel.from_pretrained(path)(IDS)[0], bert(IDS)[0])
    with pytest.raises(errors.UnknownArchitectureError, match="there is no model_type"):
        bertcpp.AutoModel.from_pretrained(path)


@pytest.mark.parametrize("name", [*CLASSES.values(), "AutoModel"])
def test_models_are_not_made_of_configurations(name: str) -> None:
    with pytest.raises(TypeError, match=rf"{name}\.from_pretrained\(name\)"):
        getattr(bertcpp, name)(bertcpp.BertConfig())


@pytest.mark.parametrize(
    "argument", ["head_mask", "encoder_hidden_states", "encoder_attention_mask", "past_key_values", "cache_position"]
)
def test_arguments_of_decoders_are_refused(argument: str, bert: bertcpp.BertModel) -> None:
    with pytest.raises(errors.InputError, match=f"{argument} is not supported"):
        bert(IDS, **{argument: np.ones(4)})
    assert np.array_equal(bert(IDS, **{argument: None}, use_cache=True)[0], bert(IDS)[0])


def test_unknown_arguments_are_type_errors(bert: bertcpp.BertModel, checkpoints: dict[str, Path]) -> None:
    with pytest.raises(TypeError, match="bogus"):
        bert(IDS, bogus=1)
    with pytest.raises(TypeError, match="token_type_ids"):
        bertcpp.DistilBertModel.from_pretrained(checkpoints["distilbert"])(IDS, token_type_ids=[[0] * 4] * 2)


def test_mpnet_takes_token_types_that_say_nothing(checkpoints: dict[str, Path]) -> None:
    model = bertcpp.MPNetModel.from_pretrained(checkpoints["mpnet"])
    assert np.array_equal(model(IDS, token_type_ids=np.zeros((2, 4), int))[0], model(IDS)[0])
    with pytest.raises(errors.TokenIdError, match="this model has no token types"):
        model(IDS, token_type_ids=np.ones((2, 4), int))


def test_devices_and_modes(bert: bertcpp.BertModel) -> None:
    assert bert.device == "cpu"
    assert bert.eval() is bert.to("cpu") is bert.to(torch.device("cpu")) is bert.cpu() is bert.float() is bert
    assert bert.to(torch.float32) is bert.to(device="cpu", dtype=torch.float32, non_blocking=True) is bert
    assert bert.train(False) is bert
    with pytest.raises(NotImplementedError, match="no gradients"):
        bert.train()
    for value, message in (("mps", "computes on 'cpu'"), (torch.float16, "in float32"), (torch.device("meta"), "meta")):
        with pytest.raises(errors.InputError, match=message):
            bert.to(value)
    assert torch.zeros(1, device=bert.device).device.type == "cpu"


def test_num_threads(checkpoints: dict[str, Path], bert: bertcpp.BertModel) -> None:
    model = bertcpp.AutoModel.from_pretrained(checkpoints["bert"], num_threads=2)
    assert model.num_threads == 2
    for value in (1, np.int64(3), None):
        model.num_threads = value
        assert model.num_threads == value
        assert np.array_equal(model(IDS)[0], bert(IDS)[0])
    with pytest.raises(errors.InputError, match="not 0"):
        model.num_threads = 0


@pytest.mark.parametrize("again", [lambda model: pickle.loads(pickle.dumps(model)), copy.deepcopy])
def test_pickling_loads_the_checkpoint_again(again: Any, checkpoints: dict[str, Path]) -> None:
    for family in ("bert", "distilbert"):
        model = bertcpp.AutoModel.from_pretrained(checkpoints[family], num_threads=1)
        other = again(model)
        assert type(other) is type(model)
        assert other.num_threads == 1
        assert other.config == model.config
        assert np.array_equal(other(IDS)[0], model(IDS)[0])
    assert len(pickle.dumps(model)) < 10_000


def test_the_engine_sees_what_the_tokenizer_gives(minilm: Path) -> None:
    tokenizer, model = bertcpp.BertTokenizer.from_pretrained(minilm), bertcpp.BertModel.from_pretrained(minilm)
    for kind, name in ((np.ndarray, "np"), (torch.Tensor, "pt")):
        outputs = model(**tokenizer(["This is an example sentence.", "Another"], padding=True, return_tensors=name))
        assert isinstance(outputs.last_hidden_state, kind)
        assert outputs.last_hidden_state.shape == (2, 8, 384)
    listed = model(**tokenizer(["This is an example sentence."]))
    assert np.array_equal(listed.last_hidden_state[0], outputs.last_hidden_state[0].numpy())
