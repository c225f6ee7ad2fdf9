"""Turns a checkpoint into the formats that other engines read, once, in a process of its own.

python -m bertcpp.benchmark.exports KIND MODEL_FOLDER CACHE NAME
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import models
from .processes import import_path

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ensure", "onnx_kinds"]

OUTPUT = "last_hidden_state"
OPSET = 17


def onnx_kinds(model: models.Model, dtype: str) -> dict[str, str]:
    """Return what ONNX Runtime may be given: kinds of exports, and what tables call them."""
    if dtype != "float32":
        return {"onnx_int8": "int8"}
    # Its optimizer is made for BERT's graph; of others only the session's own fusions are sure.
    return ({"onnx_optimized": "optimizer"} if model.family == "bert" else {}) | {"onnx": "session"}


def ensure(kind: str, model: models.Model, cache: Path) -> Path:
    """Return the folder with this export of the model; made by a new process where it is missing.

    Raises:
        RuntimeError: if it cannot be made.
    """
    folder = _folder(kind, model, cache)
    if not folder.is_dir():
        command = [sys.executable, "-m", "bertcpp.benchmark.exports", kind, str(model.folder), str(cache), model.name]
        done = subprocess.run(command, env=os.environ | import_path(), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{model.name} could not be exported as {kind}:\n{done.stderr[-2000:]}")
    return folder


def _folder(kind: str, model: models.Model, cache: Path) -> Path:
    """Named after the versions that made it, so that an upgrade exports again."""
    packages = EXPORTERS[kind][1]
    made_by = "-".join(importlib.metadata.version(package).split("+")[0] for package in packages)
    return cache / "exports" / model.key / f"{kind}-{made_by}"


def _onnx(model: models.Model, folder: Path, cache: Path) -> None:
    """By PyTorch's TorchScript exporter from the plain attention, which is what ONNX Runtime's optimizer recognizes."""
    del cache
    import torch
    import transformers

    class Exported(torch.nn.Module):  # type: ignore[misc, unused-ignore]
        def __init__(self, encoder: Any) -> None:
            super().__init__()
            self.encoder = encoder

        def forward(self, *inputs: Any) -> Any:
            return self.encoder(**dict(zip(model.inputs, inputs, strict=True))).last_hidden_state

    encoder = transformers.AutoModel.from_pretrained(model.folder, attn_implementation="eager").eval()
    torch.onnx.export(
        Exported(encoder),
        tuple(_example(model).values()),
        str(folder / "model.onnx"),
        dynamo=False,
        input_names=list(model.inputs),
        output_names=[OUTPUT],
        dynamic_axes={name: {0: "batch", 1: "sequence"} for name in (*model.inputs, OUTPUT)},
        opset_version=OPSET,
    )


def _example(model: models.Model) -> dict[str, Any]:
    import torch

    ids = torch.full((2, 8), 5, dtype=torch.int64)
    return dict(zip(model.inputs, (ids, torch.ones_like(ids), torch.zeros_like(ids)), strict=False))


def _optimized(model: models.Model, cache: Path) -> Any:
    from onnxruntime.transformers import optimizer
    from onnxruntime.transformers.fusion_options import FusionOptions

    fused = optimizer.optimize_model(
        str(ensure("onnx", model, cache) / "model.onnx"), model_type="bert", num_heads=model.heads,
        hidden_size=model.hidden, optimization_options=FusionOptions("bert"), opt_level=0, use_gpu=False,
    )  # fmt: skip
    statistics = fused.get_fused_operator_statistics()
    if statistics["Attention"] != model.layers or statistics["BiasGelu"] != model.layers:
        raise RuntimeError(f"the optimizer did not fuse every layer, so it would be measured unfairly: {statistics}")
    return fused


def _onnx_optimized(model: models.Model, folder: Path, cache: Path) -> None:
    """Attention, bias with GELU, and residuals with norms fused by onnxruntime.transformers.optimizer."""
    _optimized(model, cache).save_model_to_file(str(folder / "model.onnx"))


def _onnx_int8(model: models.Model, folder: Path, cache: Path) -> None:
    """Dynamic quantization of the optimized graph, weights per column."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    source = ensure(next(iter(onnx_kinds(model, "float32"))), model, cache) / "model.onnx"
    # Fused nodes are of a domain that shape inference does not know; everything in the graph is float32.
    types = {"DefaultTensorType": 1}  # onnx.TensorProto.FLOAT
    target = folder / "model.onnx"
    quantize_dynamic(source, target, per_channel=True, weight_type=QuantType.QInt8, extra_options=types)


def _openvino(model: models.Model, folder: Path, cache: Path) -> None:
    """By openvino.convert_model from PyTorch's scaled dot product attention."""
    del cache
    import openvino
    import transformers

    encoder = transformers.AutoModel.from_pretrained(model.folder, attn_implementation="sdpa").eval()
    converted = openvino.convert_model(encoder, example_input=_example(model))
    openvino.save_model(converted, folder / "model.xml", compress_to_fp16=False)


def _ctranslate2(model: models.Model, folder: Path, cache: Path) -> None:
    del cache
    import ctranslate2

    ctranslate2.converters.TransformersConverter(str(model.folder)).convert(str(folder), force=True)


# Each with the packages whose versions its result depends on.
EXPORTERS: dict[str, tuple[Callable[[models.Model, Path, Path], None], tuple[str, ...]]] = {
    "onnx": (_onnx, ("torch", "transformers")),
    "onnx_optimized": (_onnx_optimized, ("torch", "onnxruntime")),
    "onnx_int8": (_onnx_int8, ("torch", "onnxruntime")),
    "openvino": (_openvino, ("torch", "openvino")),
    "ctranslate2": (_ctranslate2, ("transformers", "ctranslate2")),
}


def main() -> None:
    """Make one export."""
    kind, source, cache_folder, name = sys.argv[1:5]
    cache = Path(cache_folder)
    model = models.from_folder(name, Path(source))
    folder = _folder(kind, model, cache)
    made = folder.with_name(folder.name + ".making")
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        EXPORTERS[kind][0](model, made, cache)
    made.rename(folder)


if __name__ == "__main__":
    main()
