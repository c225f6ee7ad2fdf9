"""JSON that is nested as deep as the parser takes must not overflow whatever comes after the parser."""

from __future__ import annotations

import contextlib
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
from workshop import MODULES, POOLING, TOKENIZER, Workshop

from bertcpp.errors import BertcppError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NESTED = "nested"
DEPTHS = [*range(20, sys.getrecursionlimit() + 100, 60)]


def put(name: str, value: Any) -> Callable[[Workshop, str], None]:
    """Write `value` as JSON to a file, with the deep structure where the word "nested" stands."""

    def act(workshop: Workshop, deep: str) -> None:
        workshop.write(name, json.dumps(value).replace(f'"{NESTED}"', deep).encode())

    return act


def put_in_header(change: Callable[[dict[str, Any]], Any]) -> Callable[[Workshop, str], None]:
    def act(workshop: Workshop, deep: str) -> None:
        def header(fields: dict[str, Any]) -> bytes:
            change(fields)
            return json.dumps(fields).replace(f'"{NESTED}"', deep).encode()

        workshop.header(header)

    return act


BIAS = "pooler.dense.bias"
CONFIG_FIELDS = ("model_type", "hidden_size", "hidden_act", "layer_norm_eps", "id2label", "num_labels", "architectures")
WRITERS = {
    **{
        f"config.json: {name}": put("config.json", {"model_type": "bert", name: NESTED})
        for name in (*CONFIG_FIELDS, "label2id", "problem_type", "is_decoder", "position_embedding_type", "unknown")
    },
    "safetensors: entry": put_in_header(lambda fields: fields.update({BIAS: NESTED})),
    **{
        f"safetensors: {name}": put_in_header(lambda fields, name=name: fields[BIAS].update({name: NESTED}))  # type: ignore[misc]
        for name in ("dtype", "shape", "data_offsets", "unknown")
    },
    "safetensors: metadata": put_in_header(lambda fields: fields.update(__metadata__=NESTED)),
    "modules.json": put("modules.json", NESTED),
    "modules.json: a module": put("modules.json", [MODULES[0], NESTED]),
    "modules.json: type": put("modules.json", [MODULES[0], {"type": NESTED, "path": ""}]),
    "pooling": put("1_Pooling/config.json", POOLING | {"pooling_mode": NESTED}),
    "pooling: width": put("1_Pooling/config.json", POOLING | {"word_embedding_dimension": NESTED}),
    "tokenizer_config.json: class": put("tokenizer_config.json", {"tokenizer_class": NESTED}),
    **{
        f"tokenizer_config.json: {name}": put("tokenizer_config.json", TOKENIZER | {name: NESTED})
        for name in ("model_max_length", "do_lower_case", "unk_token", "added_tokens_decoder", "unknown")
    },
    "special_tokens_map.json": put("special_tokens_map.json", {"cls_token": NESTED}),
    "added_tokens.json": put("added_tokens.json", {"x": NESTED}),
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
@pytest.mark.parametrize("brackets", ["[]", "{}"])
def test_deep_json(write: Callable[[Workshop, str], None], brackets: str, tmp_path: Path) -> None:
    workshop = Workshop(tmp_path)
    opening = '{"a":' if brackets == "{}" else "["
    for depth in DEPTHS:
        write(workshop, opening * depth + "1" + brackets[1] * depth)
        for load in (workshop.load, workshop.encoder):
            with contextlib.suppress(BertcppError):
                load()
        Workshop(tmp_path)
