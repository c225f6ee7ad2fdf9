"""The ways from texts to normalized vectors, tokenization included, with all-MiniLM-L6-v2."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bertcpp.benchmark import exports
from bertcpp.benchmark.engines import Engine, first_output

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bertcpp.benchmark.engines import Run

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
BATCH_SIZES = (1, 8, 32, 128)


class TextEngine(Engine):
    """`ways` takes a list of texts; each run returns float32 `[texts, hidden]`, rows of length 1."""

    packages: ClassVar[tuple[str, ...]] = ()

    def inputs(self, workload: Any) -> Any:
        return workload


class BertcppTexts(TextEngine):
    """SentenceTransformer.encode with its defaults."""

    name = "bertcpp"
    packages = ("bertcpp",)
    dtypes: ClassVar[tuple[str, ...]] = ("float32", "int8")

    def load(self) -> None:
        import bertcpp

        bertcpp.set_num_threads(self.threads)
        self.encoder = bertcpp.SentenceTransformer(str(self.model.folder), model_kwargs={"dtype": self.dtype})

    def ways(self, batch: list[str]) -> Iterator[tuple[str, Run]]:
        yield "default", lambda: self.encoder.encode(batch, normalize_embeddings=True, show_progress_bar=False)


class SentenceTransformersTexts(TextEngine):
    """The PyTorch backend, at its best batch size."""

    name = "sentence-transformers"
    packages = ("sentence_transformers", "torch")

    def load(self) -> None:
        import sentence_transformers
        import torch

        torch.set_num_threads(self.threads)
        self.encoder = sentence_transformers.SentenceTransformer(str(self.model.folder), device="cpu")

    def ways(self, batch: list[str]) -> Iterator[tuple[str, Run]]:
        for size in BATCH_SIZES:
            yield (
                f"batches of {size}",
                lambda size=size: self.encoder.encode(
                    batch, batch_size=size, normalize_embeddings=True, show_progress_bar=False
                ),
            )


class LeanOnnx:
    """The leanest script: tokenizers, ONNX Runtime and NumPy's mean over the tokens; nothing else is imported.

    Texts are taken in the order given, or gathered by length.
    """

    def __init__(self, folder: Path, graph: Path, threads: int) -> None:
        import onnxruntime
        import tokenizers

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
        self.tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        limit = json.loads((folder / "sentence_bert_config.json").read_text())["max_seq_length"]
        self.tokenizer.enable_truncation(max_length=limit)
        self.tokenizer.no_padding()

    def encode(self, texts: list[str], batch_size: int, by_length: bool) -> np.ndarray[Any, Any]:
        """Vectors `[texts, hidden]` of length 1, by batches padded to their longest."""
        encodings = self.tokenizer.encode_batch(texts)
        order = list(range(len(texts)))
        if by_length:
            order.sort(key=lambda i: len(encodings[i].ids))
        vectors = None
        for start in range(0, len(texts), batch_size):
            rows = order[start : start + batch_size]
            ids = np.zeros((len(rows), max(len(encodings[i].ids) for i in rows)), np.int64)
            mask = np.zeros_like(ids)
            for row, i in enumerate(rows):
                own = encodings[i].ids
                ids[row, : len(own)] = own
                mask[row, : len(own)] = 1
            feed = dict(zip(INPUTS, (ids, mask, np.zeros_like(ids)), strict=True))
            hidden = first_output(self.session, feed)
            weights = mask[..., None].astype(np.float32)
            pooled = (hidden * weights).sum(axis=1) / weights.sum(axis=1)
            pooled /= np.linalg.norm(pooled, axis=1, keepdims=True)
            if vectors is None:
                vectors = np.empty((len(texts), pooled.shape[1]), np.float32)
            vectors[rows] = pooled
        assert vectors is not None
        return vectors


class OnnxRuntimeTexts(TextEngine):
    """LeanOnnx with the better of two graphs, at its best batch size, in the order given."""

    name = "onnxruntime script"
    by_length = False
    packages = ("onnxruntime", "tokenizers", "onnx", "torch", "transformers")  # the last three to export
    dtypes: ClassVar[tuple[str, ...]] = ("float32", "int8")

    def load(self) -> None:
        kinds = exports.onnx_kinds(self.model, self.dtype)
        self.scripts = {
            way: LeanOnnx(
                self.model.folder, exports.ensure(kind, self.model, self.cache) / "model.onnx", self.threads
            )
            for kind, way in kinds.items()
        }  # fmt: skip

    def ways(self, batch: list[str]) -> Iterator[tuple[str, Run]]:
        for way, script in self.scripts.items():
            for size in BATCH_SIZES:
                yield f"{way}, batches of {size}", functools.partial(script.encode, batch, size, self.by_length)


class SortedOnnxRuntimeTexts(OnnxRuntimeTexts):
    """The same of texts gathered by length, which pad less."""

    name = "onnxruntime script, sorted"
    by_length = True


TEXT_ENGINES: dict[str, type[TextEngine]] = {
    engine.name: engine
    for engine in (BertcppTexts, OnnxRuntimeTexts, SortedOnnxRuntimeTexts, SentenceTransformersTexts)
}
