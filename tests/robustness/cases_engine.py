"""The engine called by itself, and what the environment asks of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from case import Case, Raises, Works

import bertcpp
from bertcpp import _core
from bertcpp.architectures import engine_config, engine_weights, load_encoder
from bertcpp.checkpoints import open_weights
from bertcpp.errors import ConfigError, InputError, TokenIdError, WeightMismatchError

if TYPE_CHECKING:
    from collections.abc import Callable

    from workshop import Workshop

IDS = np.array([2, 5, 6, 3], np.int32)
ENDS = np.array([0, 4], np.int32)
PLACES = np.arange(4, dtype=np.int32)


def forward(name: str, error: type, message: str, *args: Any, **options: Any) -> Raises:
    return Raises(name, lambda w: load_encoder(w.folder)[0].forward(*args, **options), error, message)


def built(name: str, change: Callable[[dict[str, Any], dict[str, Any]], Any], error: type, message: str) -> Raises:
    """An engine of changed settings and weights."""

    def act(w: Workshop) -> Any:
        config = bertcpp.AutoConfig.from_pretrained(w.folder)
        settings: dict[str, Any] = {**engine_config(config), "has_pooler": True}
        weights: dict[str, Any] = engine_weights(config, open_weights(w.folder))[0]
        change(settings, weights)
        return _core.Encoder(settings, weights)

    return Raises(name, act, error, message)


def decoded_by(more_rows: int, more_width: int) -> Callable[[Workshop], Any]:
    """An engine whose words are to be read out of a decoder that is larger than their table."""

    def act(w: Workshop) -> Any:
        config = bertcpp.AutoConfig.from_pretrained(w.folder)
        shape = (config.vocab_size + more_rows, config.hidden_size + more_width)
        return load_encoder(w.folder, decoder=_core.Linear(np.ones(shape, np.float32)))

    return act


def recurrent(
    name: str,
    error: type,
    message: str,
    x: tuple[int, int] = (4, 2),
    ends: Any = (0, 4),
    num_layers: int = 1,
    bidirectional: bool = False,
    num_threads: int = 0,
    **shapes: tuple[int, ...],
) -> Raises:
    """A GRU from 2 inputs to 1 state whose weights have changed shapes, called."""

    def act(w: Workshop) -> Any:
        whole = {"weight_ih_l0": (3, 2), "weight_hh_l0": (3, 1)} | shapes
        weights = {name: np.ones(shape, np.float32) for name, shape in whole.items()}
        gru = _core.GRU(weights, num_layers=num_layers, bidirectional=bidirectional)
        return gru(np.ones(x, np.float32), np.array(ends, np.int32), num_threads=num_threads)

    return Raises(name, act, error, message)


def deep(dtype: str, error: type, message: str, **sizes: int) -> Raises:
    """An encoder of sizes whose sums 32 bits may not hold; where they are allowed, its weights do not fit them."""
    name = " ".join(f"{size} {value} in {dtype}" for size, value in sizes.items())
    return built(name, lambda settings, weights: settings.update(sizes, dtype=dtype), error, message)


class ChildError(Exception):
    """What another process raised."""


def in_child(code: str, **environment: str) -> Callable[[Workshop], str]:
    """Run code in a process of that environment; its exception comes back as a `ChildError`."""

    def act(w: Workshop) -> str:
        variables = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "FOLDER": str(w.folder), **environment}
        done = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=False)
        assert done.returncode in (0, 1), f"the process ended with {done.returncode}: {done.stderr}"
        if done.returncode:
            raise ChildError(done.stderr.strip().splitlines()[-1])
        return done.stdout.strip()

    return act


LOAD = "import os, bertcpp; bertcpp.AutoModel.from_pretrained(os.environ['FOLDER'])"
SHOW = "import bertcpp; print(bertcpp.instruction_set())"
CPUINFO = Path("/proc/cpuinfo")
# AMX has run on no processor, and Intel's cores multiply floats faster than bfloat16.
BY_NAME_ALONE = {"amx", *(["avx512_bf16"] if CPUINFO.exists() and "GenuineIntel" in CPUINFO.read_text() else [])}
BEST = next(name for name in _core.instruction_sets() if name not in BY_NAME_ALONE)
LACKING = (
    "avx512"
    if "avx512" not in _core.instruction_sets()
    else "neon"
    if "neon" not in _core.instruction_sets()
    else "avx2"
)

CASES: list[Case] = [
    # The instruction set.
    Raises(
        "an instruction set that is not there",
        in_child(SHOW, BERTCPP_ISA=LACKING),
        ChildError,
        rf"bertcpp\.errors\.InstructionSetError: .*{LACKING}",
    ),
    Raises(
        "an instruction set that is not there, at a model's loading",
        in_child(LOAD, BERTCPP_ISA=LACKING),
        ChildError,
        rf"InstructionSetError: .*{LACKING}.*scalar",
    ),
    Raises(
        "an instruction set that nobody knows",
        in_child(LOAD, BERTCPP_ISA="mmx"),
        ChildError,
        "InstructionSetError: .*mmx.*scalar",
    ),
    Works("AMX", in_child(SHOW, BERTCPP_ISA="amx"), lambda w: "amx")
    if "amx" in _core.instruction_sets()
    else Raises(
        "AMX, where it is not",
        in_child(LOAD, BERTCPP_ISA="amx"),
        ChildError,
        r"bertcpp\.errors\.InstructionSetError: .*amx.*scalar",
    ),
    Works("scalar code", in_child(SHOW, BERTCPP_ISA="scalar"), lambda w: "scalar"),
    Works("no wish", in_child(SHOW, BERTCPP_ISA=""), lambda w: BEST),
    # Threads.
    Raises("no threads", lambda w: bertcpp.set_num_threads(0), InputError, "0"),
    Raises("fewer than no threads", lambda w: bertcpp.set_num_threads(-3), InputError, "must be between 1 and 1024"),
    Raises(
        "a truth for a number of threads", lambda w: bertcpp.set_num_threads(True), TypeError, "an integer, not True"
    ),
    Raises("too many threads", lambda w: bertcpp.set_num_threads(10**6), InputError, "1000000"),
    Raises("2**31 threads", lambda w: bertcpp.set_num_threads(2**31), InputError, "not 2147483648"),
    Raises("2**63 threads", lambda w: bertcpp.set_num_threads(2**63), InputError, "must be between 1 and 1024"),
    Raises("-2**99 threads", lambda w: bertcpp.set_num_threads(-(2**99)), InputError, "must be between 1 and 1024"),
    Raises("half a thread", lambda w: bertcpp.set_num_threads(0.5), TypeError, "set_num_threads"),  # type: ignore[arg-type]
    # What int8 sums exactly.
    deep("int8", ConfigError, "hidden_size is 65536, but dtype int8", hidden_size=65536),
    deep("int8", ConfigError, "is 65536.* at most 65535 .* in float32 or bfloat16", intermediate_size=65536),
    deep("int8", ConfigError, "embedding_size is 99999, but dtype int8", embedding_size=99999),
    deep("int8", WeightMismatchError, "65535", intermediate_size=65535),
    deep("bfloat16", WeightMismatchError, "65536", intermediate_size=65536),
    # Packed batches.
    forward("ids of two dimensions", InputError, "input_ids must have the shape", IDS[None], ENDS, PLACES),
    forward("ids of floats", InputError, "input_ids must be an array of int32", IDS.astype(float), ENDS, PLACES),
    forward("ids in a list", InputError, "input_ids must be a NumPy array, not list", IDS.tolist(), ENDS, PLACES),
    forward(
        "an id past the vocabulary",
        TokenIdError,
        r"input_ids\[1\] is 15, but the vocabulary has 15",
        np.array([2, 15, 6, 3], np.int32),
        ENDS,
        PLACES,
    ),
    forward("a negative id", TokenIdError, r"input_ids\[0\] is -1", np.array([-1, 5, 6, 3], np.int32), ENDS, PLACES),
    forward("an id of 2**40", InputError, "does not fit in int32", np.array([2**40, 5, 6, 3]), ENDS, PLACES),
    forward("too few positions", InputError, "input_ids must have the shape", IDS, ENDS, PLACES[:3]),
    forward("a position past the table", TokenIdError, r"position_ids\[3\] is 16", IDS, ENDS, PLACES + 13),
    forward("offsets that begin late", InputError, "cu_seqlens must start with 0", IDS, ENDS + 1, PLACES),
    forward("offsets that end early", InputError, "cu_seqlens ends with 3", IDS, np.array([0, 3], np.int32), PLACES),
    forward("offsets past the end", InputError, "cu_seqlens must rise", IDS, np.array([0, 5], np.int32), PLACES),
    forward("offsets that stand still", InputError, "rise strictly", IDS, np.array([0, 2, 2, 4], np.int32), PLACES),
    forward("offsets that fall", InputError, "rise strictly", IDS, np.array([0, 3, 2, 4], np.int32), PLACES),
    forward("no offsets", InputError, "cu_seqlens is empty", IDS, ENDS[:0], PLACES),
    forward("one offset", InputError, "at least one sequence", IDS, ENDS[:1], PLACES),
    forward("no tokens", InputError, "", IDS[:0], np.array([0, 0], np.int32), PLACES[:0]),
    forward("types past the table", TokenIdError, r"token_type_ids\[0\] is 2", IDS, ENDS, PLACES, PLACES + 2),
    forward("no keys", InputError, r"key_lens\[0\] is 0", IDS, ENDS, PLACES, key_lens=np.array([0], np.int32)),
    forward(
        "more keys than tokens", InputError, r"key_lens\[0\] is 5", IDS, ENDS, PLACES, key_lens=np.array([5], np.int32)
    ),
    forward("negative threads", InputError, "num_threads must lie between 0", IDS, ENDS, PLACES, num_threads=-1),
    forward("neither ids nor embeddings", InputError, "give either input_ids or inputs_embeds", None, ENDS, PLACES),
    Raises(
        "an unknown pooling",
        lambda w: load_encoder(w.folder)[0].embed(IDS, ENDS, PLACES, pooling=["median"]),
        InputError,
        'no pooling mode "median"',
    ),
    Raises(
        "no pooling",
        lambda w: load_encoder(w.folder)[0].embed(IDS, ENDS, PLACES, pooling=[]),
        InputError,
        "pooling names no mode",
    ),
    # Settings and weights.
    built("a setting missing", lambda c, t: c.pop("vocab_size"), ConfigError, "vocab_size"),
    built("a setting of 0", lambda c, t: c.update(hidden_size=0), ConfigError, "hidden_size"),
    built("a setting in a word", lambda c, t: c.update(hidden_size="8"), ConfigError, "hidden_size"),
    built("heads that do not divide", lambda c, t: c.update(num_attention_heads=3), ConfigError, "not a multiple"),
    built("an unknown activation", lambda c, t: c.update(hidden_act="x"), ConfigError, "unknown activation 'x'"),
    built("more layers", lambda c, t: c.update(num_hidden_layers=2), WeightMismatchError, r"layers\.1\."),
    built("layers without end", lambda c, t: c.update(num_hidden_layers=2**28), WeightMismatchError, r"layers\.1\."),
    built(
        "a weight missing", lambda c, t: t.pop("layers.0.ffn.up.bias"), WeightMismatchError, r"layers\.0\.ffn\.up\.bias"
    ),
    built(
        "a weight of another shape",
        lambda c, t: t.update({"pooler.bias": np.ones(9, np.float32)}),
        WeightMismatchError,
        r"pooler\.bias",
    ),
    built(
        "queries of half a head",
        lambda c, t: t.update({"layers.0.attention.query.weight": np.ones((2, 8), np.float32)}),
        WeightMismatchError,
        r"query\.weight' has shape \[2, 8\], but the configuration asks for \[8, 8\]",
    ),
    built(
        "queries of fewer heads than keys",
        lambda c, t: t.update({"layers.0.attention.query.weight": np.ones((4, 8), np.float32)}),
        WeightMismatchError,
        r"query\.weight' has shape \[4, 8\], but the configuration asks for \[8, 8\]",
    ),
    built(
        "a weight of another dtype", lambda c, t: t.update({"pooler.bias": np.ones(8)}), WeightMismatchError, "float64"
    ),
    built(
        "a weight in a list",
        lambda c, t: t.update({"pooler.bias": [1.0] * 8}),
        WeightMismatchError,
        "NumPy array, not list",
    ),
    Raises(
        "a norm of two dimensions",
        lambda w: _core.LayerNorm(np.ones((2, 2), np.float32), np.ones(2, np.float32), 1e-12),
        WeightMismatchError,
        r"shape \(2, 2\); a norm needs \(n,\)",
    ),
    Raises(
        "a norm's bias of another length",
        lambda w: _core.LayerNorm(np.ones(2, np.float32), np.ones(3, np.float32), 1e-12),
        WeightMismatchError,
        "bias",
    ),
    Raises(
        "an epsilon below 0",
        lambda w: _core.LayerNorm(np.ones(2, np.float32), np.ones(2, np.float32), -1.0),
        ConfigError,
        "eps is -1",
    ),
    Raises("a GRU of nothing", lambda w: _core.GRU({}), WeightMismatchError, "'weight_ih_l0' is missing"),
    recurrent("a GRU of a shape that is none", WeightMismatchError, r"\(4, 2\); a GRU needs", weight_ih_l0=(4, 2)),
    recurrent(
        "a GRU that is not square", WeightMismatchError, r"weight_hh_l0' has shape \[3, 2\]", weight_hh_l0=(3, 2)
    ),
    recurrent("a GRU of half its biases", WeightMismatchError, "'bias_hh_l0' of shape", bias_ih_l0=(3,)),
    recurrent("a GRU of no layers", ConfigError, "num_layers is 0", num_layers=0),
    recurrent("a GRU of layers that are missing", WeightMismatchError, "'weight_ih_l1'", num_layers=2),
    recurrent("a GRU of one direction for two", WeightMismatchError, "'weight_ih_l0_reverse'", bidirectional=True),
    recurrent("a GRU's input of another width", InputError, r"x must have the shape \(any, 2\)", x=(4, 3)),
    recurrent("a GRU's offsets that fall", InputError, "cu_seqlens must rise, but 3 follows 3", ends=[0, 3, 3, 4]),
    recurrent("a GRU's offsets from 1", InputError, "must begin with 0", ends=[1, 4]),
    recurrent("a GRU's offsets that end early", InputError, "must end with 4", ends=[0, 3]),
    recurrent("a GRU's offsets of nothing", InputError, "there is no sequence", x=(0, 2), ends=[0]),
    recurrent("a GRU's threads below 0", InputError, "num_threads", num_threads=-1),
    Raises(
        "a head of three dimensions", lambda w: _core.Linear(np.ones((2, 2, 2), np.float32)), WeightMismatchError, ""
    ),
    Raises("a decoder of another vocabulary", decoded_by(1, 0), WeightMismatchError, "but the word embeddings need"),
    Raises("a decoder of another width", decoded_by(0, 1), WeightMismatchError, "but the word embeddings need"),
    Raises(
        "a head with an unknown activation",
        lambda w: _core.Linear(np.ones((2, 2), np.float32), None, "x"),
        ConfigError,
        "'x'",
    ),
    Raises(
        "a head given another width",
        lambda w: _core.Linear(np.ones((2, 3), np.float32))(np.ones((1, 4), np.float32)),
        InputError,
        "shape",
    ),
]
