"""Outputs answer as transformers' do."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from bertcpp import outputs

HIDDEN = np.ones((1, 2, 3), np.float32)
POOLED = np.ones((1, 3), np.float32)


def full() -> outputs.BaseModelOutputWithPoolingAndCrossAttentions:
    return outputs.BaseModelOutputWithPoolingAndCrossAttentions(
        last_hidden_state=HIDDEN, pooler_output=POOLED, attentions=(HIDDEN,)
    )


@pytest.mark.parametrize("name", sorted(set(outputs.__all__) - {"ModelOutput"}))
def test_names_and_order_are_those_of_transformers(name: str) -> None:
    import dataclasses

    from transformers import modeling_outputs
    from transformers.models.bert import modeling_bert
    from transformers.models.electra import modeling_electra
    from transformers.models.ernie import modeling_ernie

    modules = (modeling_outputs, modeling_bert, modeling_electra, modeling_ernie)
    theirs = next(getattr(module, name) for module in modules if hasattr(module, name))
    ours = getattr(outputs, name)
    assert [field.name for field in dataclasses.fields(ours)] == [field.name for field in dataclasses.fields(theirs)]


def test_attribute_key_index_and_slice() -> None:
    output = full()
    assert output.last_hidden_state is output["last_hidden_state"] is output[0] is HIDDEN
    assert output.pooler_output is output["pooler_output"] is output[1] is output[:2][1] is POOLED
    assert output[-1] is output[2] is output.attentions
    with pytest.raises(IndexError):
        output[3]
    with pytest.raises(KeyError):
        output["hidden_states"]


def test_fields_that_are_none_are_left_out() -> None:
    output = full()
    assert output.hidden_states is None
    assert output.past_key_values is None
    assert list(output) == list(output.keys()) == ["last_hidden_state", "pooler_output", "attentions"]
    assert len(output) == len(output.to_tuple()) == 3
    assert "hidden_states" not in output
    assert "attentions" in output
    assert output.get("hidden_states", "absent") == "absent"
    assert list(outputs.BaseModelOutput()) == []


def test_it_is_a_dictionary_that_spreads() -> None:
    output = full()
    assert isinstance(output, dict)
    assert {**output}.keys() == dict(output).keys() == output.keys()
    names = [name for name, value in output.items() if value is POOLED]
    assert names == ["pooler_output"]


def test_setting_a_field_sets_its_key() -> None:
    output = full()
    output.pooler_output = HIDDEN
    assert output["pooler_output"] is output[1] is HIDDEN
    output["last_hidden_state"] = POOLED
    assert output.last_hidden_state is POOLED
    output.attentions = None
    assert list(output) == ["last_hidden_state", "pooler_output"]


def test_fields_stay_together() -> None:
    output = full()
    for call in (output.pop, output.setdefault, output.update):
        with pytest.raises(TypeError, match=r"dict\(output\)"):
            call("pooler_output")
    with pytest.raises(TypeError, match="popitem"):
        output.popitem()
    with pytest.raises(TypeError, match="__delitem__"):
        del output["pooler_output"]
    assert len(output) == 3


@pytest.mark.parametrize("again", [lambda x: pickle.loads(pickle.dumps(x)), copy.copy, copy.deepcopy])
def test_copies_keep_class_and_fields(again: object) -> None:
    output = again(full())  # type: ignore[operator]
    assert type(output) is outputs.BaseModelOutputWithPoolingAndCrossAttentions
    assert list(output) == ["last_hidden_state", "pooler_output", "attentions"]
    assert np.array_equal(output.last_hidden_state, HIDDEN)
    assert output.hidden_states is None
