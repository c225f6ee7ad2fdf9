"""BERT on a GPU beside torch.compile with scaled-dot-product attention, in one process, results compared first.

    python bench/cuda.py [--dtype float16] [--repeats 20]

Prints tokens per second, and the share of the rate that a large matrix product of PyTorch reaches on the same card.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[1]
SIZES = {"bert-base": (768, 12, 12, 3072), "bert-large": (1024, 24, 16, 4096)}  # hidden, layers, heads, intermediate
VOCABULARY = 30522
PRODUCT = 8192  # rows, columns and depth of the product that shares are taken of


def lengths_of(shape: str, rng: np.random.Generator) -> list[int]:
    """The sequences' lengths of a shape: `64x128`, or `ragged256` for so many of up to 512 tokens."""
    if shape.startswith("ragged"):
        return [int(n) for n in rng.integers(8, 513, int(shape.removeprefix("ragged")))]
    count, length = map(int, shape.split("x"))
    return [length] * count


def seconds_of(run: Callable[[], Any], wait: Callable[[], Any], repeats: int) -> float:
    """The median time of a call, after three to warm up."""
    taken = []
    for i in range(repeats + 3):
        start = time.perf_counter()
        run()
        wait()
        if i >= 3:
            taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def operations(size: tuple[int, int, int, int], lengths: list[int]) -> float:
    """Floating-point operations of the products and of attention, without padding."""
    hidden, layers, _, inner = size
    tokens = sum(lengths)
    dense = 2 * tokens * (4 * hidden * hidden + 2 * hidden * inner)
    return float(layers * (dense + 4 * hidden * sum(n * n for n in lengths)))


def measure(name: str, dtype: str, repeats: int) -> None:
    """Print a table of one model."""
    import torch
    import transformers

    import bertcpp

    hidden, layers, heads, inner = SIZES[name]
    config = transformers.BertConfig(
        hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads, intermediate_size=inner
    )
    config._attn_implementation = "sdpa"
    torch.manual_seed(0)
    theirs = transformers.BertModel(config, add_pooling_layer=False).eval()
    with tempfile.TemporaryDirectory() as folder:
        theirs.save_pretrained(folder)
        ours = bertcpp.BertModel.from_pretrained(folder, device="cuda", dtype=dtype, add_pooling_layer=False)
    theirs = theirs.to("cuda", getattr(torch, dtype))
    compiled = torch.compile(theirs)
    square = torch.randn(PRODUCT, PRODUCT, device="cuda", dtype=torch.bfloat16)
    peak = 2 * PRODUCT**3 / seconds_of(lambda: square @ square, torch.cuda.synchronize, repeats)
    print(f"{name} in {dtype}; a product of {PRODUCT}: {peak / 1e12:.0f} TFLOP/s")
    rng = np.random.default_rng(0)
    for shape in ("1x128", "8x128", "64x128", "64x512", "ragged256"):
        lengths = lengths_of(shape, rng)
        mask = (np.arange(max(lengths)) < np.array(lengths)[:, None]).astype(np.int64)
        ids = rng.integers(1000, VOCABULARY, mask.shape) * mask
        on_gpu = {"input_ids": torch.tensor(ids).cuda(), "attention_mask": torch.tensor(mask).cuda()}
        with torch.inference_mode():
            truth = theirs(**on_gpu).last_hidden_state.float().cpu().numpy()
            states = ours(ids, mask).last_hidden_state
            error = np.abs((states - truth)[mask == 1]).max() / np.abs(truth[mask == 1]).max()
            own = seconds_of(lambda ids=ids, mask=mask: ours(ids, mask), torch.cuda.synchronize, repeats)  # type: ignore[misc]
            other = seconds_of(lambda given=on_gpu: compiled(**given), torch.cuda.synchronize, repeats)  # type: ignore[misc]
        share = operations(SIZES[name], lengths) / own / peak
        print(
            f"  {shape:10} bertcpp {sum(lengths) / own:12,.0f} tokens/s ({own * 1e3:.2f} ms, {share:.0%} of the peak)"
            f"  torch.compile {sum(lengths) / other:12,.0f}  ({other / own:.2f}x)  off by {error:.1e}"
        )


def main() -> int:
    """Measure, or say what is missing."""
    sys.path.insert(0, str(ROOT / "python"))
    from bertcpp import devices
    from bertcpp.commands.options import positive

    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--dtype", choices=("float16", "bfloat16", "float32"), default="float16")
    parser.add_argument("--repeats", type=positive, default=20, help="of what is timed (default: 20)")
    arguments = parser.parse_args()
    if reason := devices.why_no_gpu():
        print(f"nothing is measured: {reason}", file=sys.stderr)
        return 1
    for name in SIZES:
        measure(name, arguments.dtype, arguments.repeats)
    return 0


if __name__ == "__main__":
    sys.exit(main())
