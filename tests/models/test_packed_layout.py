"""The bytes that are packed: files of an earlier bertcpp must be read as they were meant, or be refused."""

from __future__ import annotations

import os
import subprocess
import sys

import bertcpp
from bertcpp import _core

# Values whose sums are exact, so that every compiler packs the same.
PROGRAM = """
import zlib
import numpy as np
from bertcpp import _core

HIDDEN, INNER = 192, 1600
settings = dict(vocab_size=4, hidden_size=HIDDEN, num_hidden_layers=1, num_attention_heads=2, intermediate_size=INNER)
settings |= dict(max_position_embeddings=4, hidden_act="gelu")
square = (HIDDEN, HIDDEN)
matrices = {f"attention.{name}": square for name in ("query", "key", "value", "output")}
matrices |= {"ffn.up": (INNER, HIDDEN), "ffn.down": (HIDDEN, INNER)}
shapes = {f"embeddings.{name}.weight": (4, HIDDEN) for name in ("word", "position")}
for name, shape in matrices.items():
    shapes |= {f"layers.0.{name}.weight": shape, f"layers.0.{name}.bias": shape[:1]}
for name in ("embeddings.norm", "layers.0.attention.norm", "layers.0.ffn.norm"):
    shapes |= {f"{name}.weight": (HIDDEN,), f"{name}.bias": (HIDDEN,)}

def values(name, shape):
    counts = np.arange(np.prod(shape)) * 7919 + zlib.crc32(name.encode())
    return ((counts % 509 - 254) / 64).astype(np.float32).reshape(shape)

weights = {name: values(name, shape) for name, shape in shapes.items()}
for dtype in ("float32", "bfloat16", "int8"):
    parts = _core.Encoder({**settings, "dtype": dtype}, weights).packed()
    digest = 0
    for name in sorted(parts):
        digest = zlib.crc32(parts[name].data, zlib.crc32(name.encode(), digest))
    print(dtype, len(parts), digest)
"""
DIGESTS = {
    1: ["float32 8 1284096097", "bfloat16 8 3108301452", "int8 17 1870909162"],
    2: ["float32 8 1284096097", "bfloat16 8 3108301452", "int8 17 2197081843"],
    3: ["float32 8 1284096097", "bfloat16 8 3108301452", "int8 17 2197081843"],
}
# Of instruction sets, whether this build has them or not.
PANEL_COLUMNS = {
    "scalar": 8,
    "avx2": 24,
    "avx2_vnni": 24,
    "avx512": 48,
    "avx512_vnni": 48,
    "avx512_bf16": 32,
    "amx": 32,
    "neon": 16,
    "neon_dotprod": 16,
}


def test_the_layout_is_the_one_that_its_version_names() -> None:
    """If this fails, other bytes are packed than before: raise kPackedLayout, and note the digests under its number."""
    for name, columns in PANEL_COLUMNS.items():
        found = _core.panel_columns(name)
        assert found == columns or (found == 0 and name not in bertcpp.instruction_sets()), name
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | {"BERTCPP_ISA": "scalar"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == DIGESTS[_core.packed_layout()]
