"""What bfloat16 and int8 lose: embeddings of real texts against float32's, beside ONNX Runtime's dynamic int8.

python -m bench.precision [--texts 2000] [--queries 200] [--cache FOLDER] [--output docs/precision.md]

The texts are what people wrote on the web: tweets, reviews and editorials that Hutto and Gilbert (ICWSM 2014) had
rated, from the source package vaderSentiment 0.5, which pip fetches once.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import tarfile
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

import bertcpp
from bertcpp.benchmark import machine
from bertcpp.commands.options import positive

from . import models

MODEL = "all-MiniLM-L6-v2"
PACKAGE = "vaderSentiment==0.5"
NEAREST = 10  # neighbours that are compared
BEGIN, END = "<!-- losses -->", "<!-- /losses -->"


def real_texts(count: int, cache: Path) -> list[str]:
    """The same number of texts from each of the collections, in an order drawn once."""
    folder = cache / "texts"
    archives = sorted(folder.glob("vaderSentiment-0.5*"))
    if not archives:
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:", PACKAGE]
        subprocess.run([*command, "-d", str(folder)], check=True)
        archives = sorted(folder.glob("vaderSentiment-0.5*"))
    collections = list(_collections(archives[0]))
    rng = np.random.default_rng(20)
    chosen: list[str] = []
    for texts in collections:
        part = -(-count // len(collections))
        chosen += [texts[i] for i in rng.permutation(len(texts))[:part]]
    return chosen[:count]


def _collections(archive: Path) -> Any:
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as package:
            name = next(n for n in package.namelist() if n.endswith("hutto_ICWSM_2014.tar.gz"))
            data = package.read(name)
    else:
        with tarfile.open(archive) as package:
            member = next(m for m in package.getmembers() if m.name.endswith("hutto_ICWSM_2014.tar.gz"))
            source = package.extractfile(member)
            assert source is not None
            data = source.read()
    with tarfile.open(fileobj=io.BytesIO(data)) as inner:
        for member in sorted(inner.getmembers(), key=lambda m: m.name):
            if member.name.endswith("_GroundTruth.txt"):
                source = inner.extractfile(member)
                assert source is not None
                lines = source.read().decode("utf-8", errors="replace").splitlines()
                yield [line.split("\t")[-1].strip() for line in lines if len(line.split("\t")[-1].strip()) > 10]


def neighbours(embeddings: np.ndarray[Any, Any], queries: int, count: int = NEAREST) -> list[set[int]]:
    """The nearest others of each of the first texts."""
    similarities = embeddings[:queries] @ embeddings.T
    similarities[np.arange(queries), np.arange(queries)] = -np.inf
    return [set(row) for row in np.argsort(-similarities, axis=1)[:, :count].tolist()]


def compare(low: np.ndarray[Any, Any], full: np.ndarray[Any, Any], queries: int) -> dict[str, float]:
    """Cosines to float32's embeddings, and how many of the ten nearest neighbours stay."""
    cosines = np.sum(low * full, axis=1)
    kept = [len(a & b) / NEAREST for a, b in zip(neighbours(low, queries), neighbours(full, queries), strict=True)]
    return {"mean": float(cosines.mean()), "worst": float(cosines.min()), "neighbours": 100 * float(np.mean(kept))}


def onnx_int8(texts: list[str], cache: Path) -> np.ndarray[Any, Any] | None:
    """Embeddings by ONNX Runtime's dynamic quantization of the same checkpoint; None where it is not installed."""
    from bertcpp.benchmark.engines import OnnxRuntime

    if OnnxRuntime.missing():
        return None
    model = models.load("minilm", cache)
    engine = OnnxRuntime(model, cache, 2, "int8")
    engine.load()
    tokenizer = bertcpp.AutoTokenizer.from_pretrained(MODEL)
    rows = []
    for text in texts:
        batch = tokenizer(text, truncation=True, max_length=256, return_tensors="np")
        _, run = next(iter(engine.ways(_Batch(batch))))
        vector = np.asarray(run())[0].mean(axis=0)
        rows.append(vector / np.linalg.norm(vector))
    return np.stack(rows)


class _Batch:
    """One text as the engines of the comparison take it."""

    def __init__(self, encoded: Any) -> None:
        self.input_ids = np.asarray(encoded["input_ids"], np.int64)
        self.attention_mask = np.ones_like(self.input_ids)
        self.token_type_ids = np.zeros_like(self.input_ids)


def table(results: dict[str, dict[str, float]], texts: int, queries: int) -> str:
    """The results as Markdown."""
    lines = [
        f"{MODEL}, {texts:,} texts, {queries} of them as queries; {bertcpp.instruction_set()} kernels on "
        f"{machine.describe(2)['cpu']}.",
        "",
        "| embeddings | mean cosine to float32 | worst | ten nearest neighbours kept |",
        "| --- | --- | --- | --- |",
    ]
    for name, line in results.items():
        lines.append(f"| {name} | {line['mean']:.6f} | {line['worst']:.5f} | {line['neighbours']:.1f}% |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print, and write the table between its marks."""
    arguments = argparse.ArgumentParser(prog="python -m bench.precision", description=__doc__.splitlines()[0])
    arguments.add_argument("--texts", type=positive, default=2000, help=f"more than {NEAREST} (default: 2000)")
    arguments.add_argument("--queries", type=positive, default=200, help="as many as texts at most (default: 200)")
    arguments.add_argument("--cache", type=Path, default=models.DEFAULT_CACHE)
    arguments.add_argument("--output", type=Path, help="a page with the marks of the table")
    args = arguments.parse_args()
    if args.texts <= NEAREST or args.queries > args.texts:
        arguments.error(f"--texts must be more than {NEAREST}, and --queries not more than --texts")
    texts = real_texts(args.texts, args.cache)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        embed = {
            dtype: bertcpp.SentenceTransformer(MODEL, model_kwargs={"dtype": dtype}).encode(texts)
            for dtype in ("float32", "bfloat16", "int8")
        }
    results = {name: compare(embed[name], embed["float32"], args.queries) for name in ("bfloat16", "int8")}
    if (onnx := onnx_int8(texts, args.cache)) is not None:
        results["ONNX Runtime, dynamic int8"] = compare(onnx, embed["float32"], args.queries)
    written = table(results, len(texts), args.queries)
    print(written)
    if args.output is not None:
        page = args.output.read_text()
        before, after = page.split(BEGIN)[0], page.split(END)[1]
        args.output.write_text(f"{before}{BEGIN}\n{written}\n{END}{after}")


if __name__ == "__main__":
    main()
