"""The engines that turn padded token ids into hidden states, each with the best settings known for it.

An engine offers every sensible way that it has to run a batch; the fastest on that batch is the one that is measured.
"""

from __future__ import annotations

import functools
import importlib.util
import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from . import exports
from .workloads import Batch, batch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .models import Model

    Array = Any
    Run = Callable[[], Array]


__all__ = ["ENGINES", "OPTIONAL", "Engine", "first_output"]

DTYPES = ("float32", "bfloat16", "int8")


class Engine(ABC):
    """One engine with one model in one process.

    Args:
        model: the checkpoint.
        cache: where its exports are kept.
        threads: of each call.
        dtype: what it computes in, one of `dtypes`.

    Attributes:
        name: in tables and on the command line.
        packages: what it imports.
        dtypes: what it can compute in.
    """

    name: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]
    dtypes: ClassVar[tuple[str, ...]] = ("float32",)

    def __init__(self, model: Model, cache: Path, threads: int, dtype: str) -> None:
        if dtype not in self.dtypes:
            raise ValueError(f"{self.name} has no {dtype}")
        self.model, self.cache, self.threads, self.dtype = model, cache, threads, dtype
        self.load()

    @abstractmethod
    def load(self) -> None:
        """Read the model; everything that one process needs to do once."""

    def inputs(self, workload: Any) -> Any:
        """Return what `ways` takes: of the lengths of a batch's sequences, a Batch."""
        return batch(workload, self.model.vocab, self.model.padding)

    @abstractmethod
    def ways(self, batch: Any) -> Iterator[tuple[str, Run]]:
        """Yield every way to run these inputs, each a function without arguments that returns a float32 array."""

    def check(self, inputs: Any, result: Array) -> None:
        """Look at a result before it is timed.

        Raises:
            RuntimeError: if it is none.
        """
        if not np.isfinite(result).all():
            raise RuntimeError("the result has numbers that are not finite")

    @classmethod
    def missing(cls) -> list[str]:
        """Return the packages that this engine needs and that are not installed."""
        return [package for package in cls.packages if importlib.util.find_spec(package) is None]


class Bertcpp(Engine):
    """Through the public class, from padded arrays to padded arrays."""

    name = "bertcpp"
    packages = ("bertcpp",)
    dtypes: ClassVar[tuple[str, ...]] = DTYPES

    def load(self) -> None:
        """Read the model; everything that one process needs to do once."""
        import bertcpp

        bertcpp.set_num_threads(self.threads)
        self.bert = bertcpp.AutoModel.from_pretrained(str(self.model.folder), dtype=self.dtype, add_pooling_layer=False)

    def _states(self, ids: Array, mask: Array) -> Array:
        return self.bert(input_ids=ids, attention_mask=mask).last_hidden_state

    def ways(self, batch: Batch) -> Iterator[tuple[str, Run]]:
        """Yield the one way there is."""
        yield "default", lambda: self._states(batch.input_ids, batch.attention_mask)

    def check(self, inputs: Batch, result: Array) -> None:
        """Compare the last sequence with what it gives alone: the same bits."""
        super().check(inputs, result)
        length = int(inputs.attention_mask[-1].sum())
        alone = self._states(inputs.input_ids[-1:, :length], inputs.attention_mask[-1:, :length])[0]
        if not np.array_equal(alone, result[-1, :length]):
            raise RuntimeError("a sequence gives another result alone than in its batch")


class Torch(Engine):
    """transformers' BertModel, eager, with scaled dot product attention."""

    name = "torch"
    packages = ("torch", "transformers")
    dtypes: ClassVar[tuple[str, ...]] = DTYPES

    def load(self) -> None:
        """Read the model; everything that one process needs to do once."""
        import torch
        import transformers

        torch.set_num_threads(self.threads)
        torch.set_num_interop_threads(1)
        self.bert = transformers.AutoModel.from_pretrained(self.model.folder, attn_implementation="sdpa").eval()
        if self.dtype == "bfloat16":
            self.bert = self.bert.to(torch.bfloat16)
        elif self.dtype == "int8":
            self.bert = torch.ao.quantization.quantize_dynamic(self.bert, {torch.nn.Linear}, dtype=torch.qint8)

    def ways(self, batch: Batch) -> Iterator[tuple[str, Run]]:
        """Yield every way to run a batch."""
        import torch

        tensors = {name: torch.from_numpy(getattr(batch, name)) for name in self.model.inputs}

        def run() -> Array:
            with torch.inference_mode():
                return self.bert(**tensors).last_hidden_state.float().numpy()

        yield "eager, sdpa", run


class TorchCompile(Torch):
    """torch.compile, specialized for the shape, weights frozen. Needs a C++ compiler and half a minute a shape."""

    name = "torch.compile"
    dtypes: ClassVar[tuple[str, ...]] = ("float32", "bfloat16")

    def ways(self, batch: Batch) -> Iterator[tuple[str, Run]]:
        """Yield every way to run a batch."""
        import torch
        import torch._inductor.config

        torch._inductor.config.freezing = True
        torch._dynamo.reset()
        compiled = torch.compile(self.bert, dynamic=False)
        tensors = {name: torch.from_numpy(getattr(batch, name)) for name in self.model.inputs}

        def run() -> Array:
            with torch.no_grad():
                return compiled(**tensors).last_hidden_state.float().numpy()

        yield "frozen, this shape", run


class OnnxRuntime(Engine):
    """The graph fused by onnxruntime.transformers.optimizer, or by the session's own optimizations."""

    name = "onnxruntime"
    packages = ("onnxruntime", "onnx", "torch", "transformers")  # the last three to export
    dtypes: ClassVar[tuple[str, ...]] = ("float32", "int8")

    def load(self) -> None:
        """Read the model; everything that one process needs to do once."""
        import onnxruntime

        kinds = exports.onnx_kinds(self.model, self.dtype)
        self.sessions = {}
        for kind, way in kinds.items():
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = self.threads
            options.inter_op_num_threads = 1
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
            path = exports.ensure(kind, self.model, self.cache) / "model.onnx"
            self.sessions[way] = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def ways(self, batch: Batch) -> Iterator[tuple[str, Run]]:
        """Yield every way to run a batch."""
        feed = {name: getattr(batch, name) for name in self.model.inputs}
        for way, session in self.sessions.items():
            yield way, functools.partial(first_output, session, feed)


def first_output(session: Any, feed: dict[str, Array]) -> Array:
    """Return the hidden states of an ONNX Runtime session."""
    return session.run(["last_hidden_state"], feed)[0]


def _infer(request: Any, inputs: list[Array]) -> Array:
    return request.infer(inputs, share_outputs=True)[0]


class OpenVino(Engine):
    """Latency hint; from PyTorch or from ONNX, with dynamic shapes or compiled for this shape alone."""

    name = "openvino"
    packages = ("openvino", "torch", "transformers")  # the last two to export
    dtypes: ClassVar[tuple[str, ...]] = ("float32", "bfloat16")

    def load(self) -> None:
        """Read the model; everything that one process needs to do once."""
        import openvino

        self.core = openvino.Core()
        self.settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": self.threads,
            "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[self.dtype],
        }
        self.paths = {
            "from PyTorch": exports.ensure("openvino", self.model, self.cache) / "model.xml",
            "from ONNX": exports.ensure("onnx", self.model, self.cache) / "model.onnx",
        }

    def ways(self, batch: Batch) -> Iterator[tuple[str, Run]]:
        """Yield every way to run a batch."""
        # In the graph's order of inputs: conversion from PyTorch keeps the order, but not every name.
        inputs = [getattr(batch, name) for name in self.model.inputs]
        for source, path in self.paths.items():
            for shapes in ("dynamic", "static"):
                graph = self.core.read_model(path)
                if shapes == "static":
                    graph.reshape({port: list(batch.input_ids.shape) for port in graph.inputs})
                request = self.core.compile_model(graph, "CPU", self.settings).create_infer_request()
                yield f"{source}, {shapes}", functools.partial(_infer, request, inputs)


class CTranslate2(Engine):
    """Ids as a dense array with lengths, or as lists."""

    name = "ctranslate2"
    packages = ("ctranslate2", "transformers", "torch")  # the last two to convert
    dtypes: ClassVar[tuple[str, ...]] = DTYPES

    def load(self) -> None:
        """Read the model; everything that one process needs to do once."""
        if "avx512f" in Path("/proc/cpuinfo").read_text():  # it would settle for AVX2; this is a few percent faster
            os.environ.setdefault("CT2_FORCE_CPU_ISA", "AVX512")
        import ctranslate2

        path = exports.ensure("ctranslate2", self.model, self.cache)
        self.encoder = ctranslate2.Encoder(
            str(path), device="cpu", compute_type=self.dtype, inter_threads=1, intra_threads=self.threads
        )

    def ways(self, batch: Batch) -> Iterator[tuple[str, Run]]:
        """Yield every way to run a batch."""
        import ctranslate2

        lengths = batch.attention_mask.sum(axis=1).astype(np.int32)
        ids = batch.input_ids.astype(np.int32)
        lists = [row[:length].tolist() for row, length in zip(batch.input_ids, lengths, strict=True)]

        def array(output: Any) -> Array:
            state = output.last_hidden_state
            return np.array(state if self.dtype != "bfloat16" else state.to(ctranslate2.DataType.float32))

        def dense() -> Array:
            view = ctranslate2.StorageView.from_array
            return array(self.encoder.forward_batch(view(ids), view(lengths)))

        yield "dense", dense
        yield "lists", lambda: array(self.encoder.forward_batch(lists))


ENGINES: dict[str, type[Engine]] = {
    engine.name: engine for engine in (Bertcpp, Torch, OnnxRuntime, OpenVino, CTranslate2, TorchCompile)
}
OPTIONAL = ("torch.compile",)  # only when asked for by name
