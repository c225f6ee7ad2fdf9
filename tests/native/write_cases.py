"""Write what `encoder_check` reads: small encoders of every family with a batch, and what transformers makes of it.

    python tests/native/write_cases.py FOLDER [--seed N]

A file holds the bytes ``BERTCASE``, then entries until its end, all little-endian: the length of the name (uint32), the
name, the kind (one byte), the number of sizes (uint32), the sizes (int64 each), the data. Kinds: ``q`` int64, ``d``
float64, ``s`` text, ``i`` int32, ``f`` float32, ``e`` float16, ``b`` the bits of bfloat16. Names: ``config.*``,
``weights.*``, ``batch.*``, ``expected.*``.
"""

from __future__ import annotations

import argparse
import struct
import sys
import tempfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "python")]

import reference_models as reference  # noqa: E402
from bertcpp import architectures  # noqa: E402
from bertcpp.checkpoints import open_weights  # noqa: E402
from bertcpp.configuration import AutoConfig  # noqa: E402

_LENGTHS = (1, 9, 40, 2, 17)
_KINDS = {"int64": b"q", "float64": b"d", "int32": b"i", "float32": b"f", "float16": b"e", "uint16": b"b"}


def write_entry(file: BinaryIO, name: str, value: Any) -> None:
    """Write one entry: a number, a text or an array."""
    if isinstance(value, str):
        kind, sizes, data = b"s", (len(value.encode()),), value.encode()
    else:
        array = np.asarray(int(value) if isinstance(value, bool) else value)
        kind, sizes, data = _KINDS[array.dtype.name], array.shape, np.ascontiguousarray(array).tobytes()
    file.write(struct.pack("<I", len(name.encode())) + name.encode() + kind)
    file.write(struct.pack(f"<I{len(sizes)}q", len(sizes), *sizes) + data)


def pooled(states: np.ndarray) -> np.ndarray:
    """What sentence-transformers' six modes make of the hidden states [length, H] of a sequence: [6 * H]."""
    x = states.astype(np.float64)
    n = len(x)
    weights = np.arange(1, n + 1)[:, None]
    modes = [x[0], x.mean(0), x.max(0), x.sum(0) / np.sqrt(n), (x * weights).sum(0) / weights.sum(), x[-1]]
    return np.concatenate(modes).astype(np.float32)


def round_weights(model: Any, dtype: str) -> None:
    """Round every parameter to what `dtype` holds, so that float32 arithmetic on it is the truth."""
    for parameter in model.parameters():
        parameter.data = parameter.data.to(getattr(reference.torch, dtype)).float()


def stored(array: np.ndarray, dtype: str) -> np.ndarray:
    """A weight as a checkpoint of this dtype has it."""
    if dtype == "bfloat16":
        return (array.view(np.uint32) >> 16).astype(np.uint16)
    return array.astype(dtype)


class Case:
    """One encoder with one batch.

    Args:
        family: as in `reference_models`.
        seed: of the weights and the batch.
        dtype: what the weights are stored in.
        embeds: give vectors in place of token ids.
        masked: let the last token of each longer sequence ask, but not be attended to.
        pruned: heads that layers have lost.
        changes: what differs from the tiny configuration.
    """

    def __init__(
        self,
        family: str,
        seed: int,
        *,
        dtype: str = "float32",
        embeds: bool = False,
        masked: bool = False,
        pruned: dict[int, list[int]] | None = None,
        **changes: Any,
    ) -> None:
        self.dtype, self.embeds, self.masked = dtype, embeds, masked
        self.rng = np.random.default_rng(seed)
        self.model = reference.random_model(family, seed, **changes)
        if pruned:
            self.model.prune_heads(pruned)
        if dtype != "float32":
            round_weights(self.model, dtype)
        with tempfile.TemporaryDirectory() as folder:
            path = reference.save(self.model, Path(folder))
            config = AutoConfig.from_pretrained(path)
            weights, _ = architectures.engine_weights(config, open_weights(path))
            self.config: dict[str, Any] = dict(architectures.engine_config(config))
            self.config["has_pooler"] = "pooler.weight" in weights
            self.weights = {name: stored(np.array(weight), dtype) for name, weight in weights.items()}
            padding = architectures.input_limits(config).padding_idx
            self.first_position = 0 if padding is None else padding + 1

    def sequence(self, length: int) -> tuple[dict[str, np.ndarray], dict[str, Any], int]:
        """A random sequence: its inputs [length, ...], transformers' answer for it alone, and its number of keys."""
        keys = length - 1 if self.masked and length > 2 else length
        own: dict[str, np.ndarray] = {"position_ids": np.arange(length, dtype=np.int32) + self.first_position}
        asked: dict[str, Any] = {"attention_mask": (np.arange(length) < keys).astype(np.int64)[None]}
        if self.embeds:
            own["inputs_embeds"] = self.rng.standard_normal((length, self.config["embedding_size"]), dtype=np.float32)
        else:
            own["input_ids"] = self.rng.integers(5, self.config["vocab_size"], length, dtype=np.int32)
        if self.config["type_vocab_size"] > 0:
            own["token_type_ids"] = self.rng.integers(0, self.config["type_vocab_size"], length, dtype=np.int32)
        asked |= {name: value[None] for name, value in own.items()}
        if self.config["type_vocab_size"] == 0:
            asked.pop("position_ids")  # DistilBERT and MPNet number positions themselves
        return own, reference.answer(self.model, **asked, output_hidden_states=True, output_attentions=True), keys

    def pooler_output(self, states: np.ndarray, keys: int) -> np.ndarray:
        """The pooler on the token after those attended to, or on the first where there is none: [H]."""
        token = states[keys if keys < len(states) else 0]
        with reference.torch.no_grad():
            return np.asarray(self.model.pooler(reference.torch.from_numpy(token.copy())[None, None])[0])

    def write(self, path: Path) -> None:
        """Write the case's file."""
        parts: dict[str, list[np.ndarray]] = {}

        def add(name: str, values: np.ndarray) -> None:
            parts.setdefault(name, []).append(values)

        for length in _LENGTHS:
            own, answer, keys = self.sequence(length)
            for name, values in own.items():
                add(f"batch.{name}", values)
            add("batch.key_lens", np.array([keys], np.int32))
            for layer, states in enumerate(answer["hidden_states"]):
                add(f"expected.hidden_states.{layer}", states[0])
            for layer, probabilities in enumerate(answer["attentions"]):
                add(f"expected.attentions.{layer}", probabilities[0].ravel())
            last = answer["last_hidden_state"][0]
            if self.config["has_pooler"]:
                add("expected.pooler_output", self.pooler_output(last, keys)[None])
            if not self.masked:
                add("expected.pooled", pooled(last)[None])
        if not self.masked:
            parts.pop("batch.key_lens")
        with path.open("wb") as file:
            file.write(b"BERTCASE")
            for name, value in self.config.items():
                write_entry(file, f"config.{name}", value)
            for name, value in self.weights.items():
                write_entry(file, f"weights.{name}", value)
            write_entry(file, "batch.cu_seqlens", np.cumsum((0, *_LENGTHS)).astype(np.int32))
            for name, pieces in parts.items():
                write_entry(file, name, np.concatenate(pieces))


def cases(seed: int) -> dict[str, Case]:
    """Every case by its file's name."""
    made = {family: Case(family, seed + i) for i, family in enumerate(reference.FAMILIES)}
    narrow: dict[str, Any] = {"hidden_size": 39, "num_attention_heads": 3, "intermediate_size": 71}
    acts = ("gelu_new", "relu", "silu", "quick_gelu", "mish")
    made |= {f"bert-{act}": Case("bert", seed + 20 + i, hidden_act=act, **narrow) for i, act in enumerate(acts)}
    wide: dict[str, Any] = {
        "hidden_size": 384,
        "num_attention_heads": 12,
        "intermediate_size": 1536,
        "num_hidden_layers": 1,
    }
    return made | {
        "bert-wide": Case("bert", seed + 40, **wide),
        "mpnet-narrow": Case("mpnet", seed + 41, **narrow),
        "bert-float16": Case("bert", seed + 42, dtype="float16"),
        "electra-bfloat16": Case("electra", seed + 43, dtype="bfloat16"),
        "bert-embeds": Case("bert", seed + 44, embeds=True),
        "bert-masked": Case("bert", seed + 45, masked=True),
        "bert-pruned": Case("bert", seed + 47, pruned={0: [0, 2], 2: [1, 2, 3]}),
        "mpnet-masked": Case("mpnet", seed + 46, masked=True),
    }


def main() -> None:
    """Write all cases into a folder."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name, case in cases(arguments.seed).items():
        case.write(arguments.folder / f"{name}.case")


if __name__ == "__main__":
    main()
