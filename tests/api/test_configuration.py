"""Configurations have transformers' fields, defaults and manners."""

from __future__ import annotations

import json
import pickle
from typing import TYPE_CHECKING, Any

import pytest
import transformers

import bertcpp
from bertcpp.configuration import CONFIGS
from bertcpp.errors import ConfigError, InputError, UnknownArchitectureError

if TYPE_CHECKING:
    from pathlib import Path

# What transformers' configurations have beside the model's own fields: how to compute, or to generate text.
OF_GENERATION = set(transformers.PretrainedConfig._get_global_generation_defaults())
NOT_OURS = OF_GENERATION | {"pruned_heads", "tf_legacy_loss", "use_bfloat16", "_attn_implementation_autoset"}

CLASSES = sorted(CONFIGS.values(), key=lambda config: config.__name__)


@pytest.mark.parametrize("config", CLASSES, ids=lambda config: config.__name__)
def test_fields_and_defaults_are_those_of_transformers(config: type[bertcpp.PretrainedConfig]) -> None:
    theirs = getattr(transformers, config.__name__)().to_dict()
    expected = {name: value for name, value in theirs.items() if name not in NOT_OURS and not name.startswith("_")}
    ours = config().to_dict()
    expected["transformers_version"] = None
    assert {name: ours[name] for name in expected} == expected
    # to_dict leaves out what is only seen as an attribute.
    reference = getattr(transformers, config.__name__)()
    for name in ("num_labels", "use_return_dict", "output_attentions", "model_type", "name_or_path"):
        assert getattr(config(), name) == getattr(reference, name)
    assert set(ours) <= set(expected) | {"torchscript"} | set(vars(reference))


def test_distilbert_answers_to_both_names() -> None:
    config = bertcpp.DistilBertConfig(hidden_size=64, n_heads=4)
    assert (config.dim, config.hidden_size, config.num_attention_heads, config.num_hidden_layers) == (64, 64, 4, 6)
    config.num_hidden_layers = 3
    assert config.n_layers == 3
    assert "hidden_size" in config
    assert "hidden_size" not in config.to_dict()


def test_unknown_fields_are_kept() -> None:
    config = bertcpp.BertConfig(matryoshka_dimensions=[64, 128], nested={"a": [1]})
    assert config.matryoshka_dimensions == [64, 128]
    fields = config.to_dict()
    assert fields["nested"] == {"a": [1]}
    fields["nested"]["a"].append(2)
    assert config.nested == {"a": [1]}


def test_labels() -> None:
    assert bertcpp.BertConfig().id2label == {0: "LABEL_0", 1: "LABEL_1"}
    config = bertcpp.BertConfig(
        id2label={"0": "no", "1": "yes", "2": "maybe"}, label2id={"no": 0, "yes": 1, "maybe": 2}
    )
    assert config.id2label == {0: "no", 1: "yes", 2: "maybe"}
    assert config.num_labels == 3
    config.num_labels = 3  # the same number keeps the names
    assert config.id2label[2] == "maybe"
    config.num_labels = 1
    assert config.id2label == {0: "LABEL_0"}
    assert config.label2id == {"LABEL_0": 0}
    assert bertcpp.BertConfig(num_labels=5).num_labels == 5


def test_both_names_of_dtype() -> None:
    assert bertcpp.BertConfig(torch_dtype="float16").dtype == "float16"
    assert bertcpp.BertConfig(torch_dtype="float16", dtype="bfloat16").dtype == "bfloat16"


def test_use_return_dict() -> None:
    assert bertcpp.BertConfig().use_return_dict
    assert not bertcpp.BertConfig(return_dict=False).use_return_dict
    assert not bertcpp.BertConfig(torchscript=True).use_return_dict


@pytest.mark.parametrize("config", CLASSES, ids=lambda config: config.__name__)
def test_saved_configurations_are_read_here_and_by_transformers(
    config: type[bertcpp.PretrainedConfig], tmp_path: Path
) -> None:
    saved = config(vocab_size=123, id2label={0: "a"}, custom="kept")
    saved.save_pretrained(tmp_path)
    for reader in (config, bertcpp.AutoConfig):
        again = reader.from_pretrained(tmp_path)
        assert type(again) is config
        assert again == saved
        assert again.name_or_path == str(tmp_path)
    theirs = transformers.AutoConfig.from_pretrained(tmp_path)
    assert (type(theirs).__name__, theirs.vocab_size, theirs.custom) == (config.__name__, 123, "kept")


def test_what_transformers_saves_is_read(tmp_path: Path) -> None:
    theirs = transformers.DistilBertConfig(dim=32, n_heads=2, id2label={0: "x"}, label2id={"x": 0})
    theirs.save_pretrained(tmp_path)
    ours = bertcpp.AutoConfig.from_pretrained(tmp_path)
    assert (ours.dim, ours.n_heads, ours.id2label) == (32, 2, {0: "x"})
    assert ours.transformers_version == transformers.__version__


def test_overrides(tmp_path: Path) -> None:
    bertcpp.BertConfig(hidden_size=32).save_pretrained(tmp_path)
    config = bertcpp.AutoConfig.from_pretrained(tmp_path, output_attentions=True, num_labels=4, torch_dtype="float16")
    assert (config.output_attentions, config.num_labels, config.dtype, config.hidden_size) == (True, 4, "float16", 32)
    config, unused = bertcpp.BertConfig.from_pretrained(tmp_path, foo=1, hidden_size=64, return_unused_kwargs=True)
    assert (config.hidden_size, unused) == (64, {"foo": 1})
    with pytest.raises(InputError, match=r"hiden_size: no field of BertConfig"):
        bertcpp.BertConfig.from_pretrained(tmp_path, hiden_size=64)
    # How transformers shall compute or download says nothing about the model.
    bertcpp.BertConfig.from_pretrained(tmp_path, attn_implementation="eager", proxies=None)


def test_a_path_of_the_file_itself(tmp_path: Path) -> None:
    path = tmp_path / "my.json"
    path.write_text('{"model_type": "electra", "embedding_size": 7}')
    assert bertcpp.AutoConfig.from_pretrained(path).embedding_size == 7
    assert bertcpp.ElectraConfig.from_pretrained(str(path)).hidden_size == 256


def test_a_subfolder(tmp_path: Path) -> None:
    bertcpp.MPNetConfig(vocab_size=9).save_pretrained(tmp_path / "0_Transformer")
    assert bertcpp.AutoConfig.from_pretrained(tmp_path, subfolder="0_Transformer").vocab_size == 9


@pytest.mark.parametrize(
    ("architectures", "expected"),
    [(["BertModel"], "bert"), (["DistilBertForMaskedLM"], "distilbert"), (["XLMRobertaForMaskedLM"], "xlm-roberta")],
)
def test_without_a_model_type_the_models_class_tells(tmp_path: Path, architectures: Any, expected: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"architectures": architectures}))
    assert bertcpp.AutoConfig.from_pretrained(tmp_path).model_type == expected


def test_families_that_share_code_read_each_other(tmp_path: Path) -> None:
    bertcpp.CamembertConfig(vocab_size=9).save_pretrained(tmp_path)
    assert bertcpp.RobertaConfig.from_pretrained(tmp_path).vocab_size == 9
    with pytest.raises(UnknownArchitectureError, match=r"model_type is 'camembert'.*use CamembertConfig or AutoConfig"):
        bertcpp.BertConfig.from_pretrained(tmp_path)


def test_for_model() -> None:
    assert type(bertcpp.AutoConfig.for_model("mpnet", vocab_size=9)) is bertcpp.MPNetConfig
    with pytest.raises(UnknownArchitectureError, match=r"'t5' is not known; bertcpp computes bert, "):
        bertcpp.AutoConfig.for_model("t5")


def test_equality_copies_and_pickles() -> None:
    config = bertcpp.BertConfig(hidden_size=64)
    assert config == bertcpp.BertConfig(hidden_size=64)
    assert config != bertcpp.BertConfig()
    assert config != "BertConfig"
    assert pickle.loads(pickle.dumps(config)) == config
    assert bertcpp.BertConfig.from_dict(config.to_dict()) == config
    assert json.loads(config.to_json_string())["hidden_size"] == 64
    assert repr(config).startswith("BertConfig {")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"to_dict": 1}, "'to_dict' cannot be the name of a configuration's field"),
        ({"attribute_map": {}}, "'attribute_map' cannot be"),
        ({"__class__": "x"}, "'__class__' cannot be"),
        ({"use_return_dict": True}, "'use_return_dict' cannot be"),
        ({"id2label": ["a"]}, r"id2label is \['a'\], but must be an object"),
        ({"id2label": {"one": "a"}}, "id2label has a key that is no integer"),
        ({"label2id": 3}, "label2id is 3, but must be an object"),
        ({"num_labels": -1}, "num_labels is -1"),
        ({"num_labels": 2.0}, r"num_labels is 2\.0"),
        ({"num_labels": 10**12}, "num_labels is 1000000000000"),
        ({"problem_type": "guessing"}, "problem_type is 'guessing', but must be one of regression"),
    ],
)
def test_impossible_fields(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        bertcpp.BertConfig(**fields)


def test_missing_fields_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="BertConfig has no field 'hiden_size'"):
        _ = bertcpp.BertConfig().hiden_size
    with pytest.raises(InputError, match=r"AutoConfig\.from_pretrained"):
        bertcpp.AutoConfig()
    with pytest.raises(ConfigError, match="names of fields are strings, not 3"):
        bertcpp.BertConfig.from_dict({3: 4})  # type: ignore[dict-item]
