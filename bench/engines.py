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

from . import exports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .models import Model
    from .workloads import Batch

    Array = Any
    Run = Callable[[], Array]


class Engine(ABC):
    """One engine with one model in one process. `ways` yields (name, function without arguments -> hidden states)."""

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

    @abstractmethod
    def ways(self, batch: Any) -> Iterator[tuple[str, Run]]:
        """Every way to run this Batch (of text_engines: list of texts); each run returns a float32 array."""

    @classmethod
    def missing(cls) -> list[str]:
        """The packages that this engine needs and that are not installed."""
        return [package for package in cls.packages if importlib.util.find_spec(package) is None]


class Bertcpp(Engine):
    """Through the public class, from padded arrays to padded arrays."""

    name = "bertcpp"
    packages = ("bertcpp",)

    def load(self) -> None:
        import bertcpp

        bertcpp.set_num_threads(self.threads)
        self.bert = bertcpp.BertModel.from_pretrained(str(self.model.folder))

    def ways(self, batch: Batch) -> Iterator[tuple[str, Run]]:
        yield (
            "default",
            lambda: (
                self.bert(
                    input_ids=batch.input_ids, attention_mask=batch.attention_mask, token_type_ids=batch.token_type_ids
                ).last_hidden_state
            ),
        )


class Torch(Engine):
    """transformers' BertModel, eager, with scaled dot product attention."""

    name = "torch"
    packages = ("torch", "transformers")
    dtypes: ClassVar[tuple[str, ...]] = ("float32", "bfloat16", "int8")

    def load(self) -> None:
        import torch
        import transformers

        torch.set_num_threads(self.threads)
        torch.set_num_interop_threads(1)
        self.bert = transformers.BertModel.from_pretrained(self.model.folder, attn_implementation="sdpa").eval()
        if self.dtype == "bfloat16":
            self.bert = self.bert.to(torch.bfloat16)
        elif self.dtype == "int8":
            self.bert = torch.ao.quantization.quantize_dynamic(self.bert, {torch.nn.Linear}, dtype=torch.qint8)

    def ways(self, batch: Batch) -> Iterator[tuple[str, Run]]:
        import torch

        tensors = {name: torch.from_numpy(getattr(batch, name)) for name in exports.INPUTS}

        def run() -> Array:
            with torch.inference_mode():
                return self.bert(**tensors).last_hidden_state.float().numpy()

        yield "eager, sdpa", run


class TorchCompile(Torch):
    """torch.compile, specialized for the shape, weights frozen. Needs a C++ compiler and half a minute a shape."""

    name = "torch.compile"
    dtypes: ClassVar[tuple[str, ...]] = ("float32", "bfloat16")

    def ways(self, batch: Batch) -> Iterator[tuple[str, Run]]:
        import torch
        import torch._inductor.config

        torch._inductor.config.freezing = True
        torch._dynamo.reset()
        compiled = torch.compile(self.bert, dynamic=False)
        tensors = {name: torch.from_numpy(getattr(batch, name)) for name in exports.INPUTS}

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
        import onnxruntime

        kinds = {"onnx_optimized": "optimizer", "onnx": "session"} if self.dtype == "float32" else {"onnx_int8": "int8"}
        self.sessions = {}
        for kind, way in kinds.items():
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = self.threads
            options.inter_op_num_threads = 1
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
            path = exports.ensure(kind, self.model, self.cache) / "model.onnx"
            self.sessions[way] = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def ways(self, batch: Batch) -> Iterator[tuple[str, Run]]:
        feed = {name: getattr(batch, name) for name in exports.INPUTS}
        for way, session in self.sessions.items():
            yield way, functools.partial(first_output, session, feed)


def first_output(session: Any, feed: dict[str, Array]) -> Array:
    """The hidden states of an ONNX Runtime session; the pooler is not asked for."""
    return session.run(["last_hidden_state"], feed)[0]


def _infer(request: Any, inputs: list[Array]) -> Array:
    return request.infer(inputs, share_outputs=True)[0]


class OpenVino(Engine):
    """Latency hint; from PyTorch or from ONNX, with dynamic shapes or compiled for this shape alone."""

    name = "openvino"
    packages = ("openvino", "torch", "transformers")  # the last two to export
    dtypes: ClassVar[tuple[str, ...]] = ("float32", "bfloat16")

    def load(self) -> None:
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
        # In the graph's order of inputs: conversion from PyTorch keeps the order, but not every name.
        inputs = [getattr(batch, name) for name in exports.INPUTS]
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
    dtypes: ClassVar[tuple[str, ...]] = ("float32", "bfloat16", "int8")

    def load(self) -> None:
        if "avx512f" in Path("/proc/cpuinfo").read_text():  # it would settle for AVX2; this is a few percent faster
            os.environ.setdefault("CT2_FORCE_CPU_ISA", "AVX512")
        import ctranslate2

        path = exports.ensure("ctranslate2", self.model, self.cache)
        self.encoder = ctranslate2.Encoder(
            str(path), device="cpu", compute_type=self.dtype, inter_threads=1, intra_threads=self.threads
        )

    def ways(self, batch: Batch) -> Iterator[tuple[str, Run]]:
        import ctranslate2
        import numpy as np

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
