"""A tiny checkpoint in a folder of its own, and the tools to damage it.

It is written without the libraries that read it elsewhere, so that it can be made wrong in every way.
"""

from __future__ import annotations

import json
import struct
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

import bertcpp
import reference_models as reference

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "cat", "sat", "##s", "on", "the", "mat", ".", "dog", "ran"]
CONFIG: dict[str, Any] = {
    "architectures": ["BertModel"],
    "model_type": "bert",
    "vocab_size": len(WORDS),
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "max_position_embeddings": 16,
    "type_vocab_size": 2,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
}
TOKENIZER: dict[str, Any] = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 16}
MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
]
POOLING = {"word_embedding_dimension": 8, "pooling_mode_mean_tokens": True}


def tensors_of(config: dict[str, Any]) -> dict[str, np.ndarray]:
    """Random weights by BERT's names; the seed is fixed, so that a case is the same in every run."""
    rng = np.random.default_rng(20)
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (config["vocab_size"], hidden),
        "embeddings.position_embeddings.weight": (config["max_position_embeddings"], hidden),
        "embeddings.token_type_embeddings.weight": (config["type_vocab_size"], hidden),
        "pooler.dense.weight": (hidden, hidden),
        "pooler.dense.bias": (hidden,),
    }
    norms = ["embeddings.LayerNorm"]
    for layer in range(config["num_hidden_layers"]):
        stem = f"encoder.layer.{layer}."
        norms += [stem + "attention.output.LayerNorm", stem + "output.LayerNorm"]
        dense = [("attention.self.query", hidden, hidden), ("attention.self.key", hidden, hidden)]
        dense += [("attention.self.value", hidden, hidden), ("attention.output.dense", hidden, hidden)]
        dense += [("intermediate.dense", inner, hidden), ("output.dense", hidden, inner)]
        for name, rows, columns in dense:
            shapes |= {f"{stem}{name}.weight": (rows, columns), f"{stem}{name}.bias": (rows,)}
    for name in norms:
        shapes |= {f"{name}.weight": (hidden,), f"{name}.bias": (hidden,)}
    return {
        name: (rng.standard_normal(shape) + (1 if "Norm.weight" in name else 0)).astype(np.float32)
        for name, shape in shapes.items()
    }


def safetensors_bytes(tensors: dict[str, np.ndarray], dtypes: dict[str, str] | None = None) -> bytes:
    """The bytes of a safetensors file; `dtypes` names those that NumPy's dtype does not tell."""
    names = {"float32": "F32", "float16": "F16", "float64": "F64", "int64": "I64", "int32": "I32", "uint8": "U8"}
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, tensor in tensors.items():
        offsets = [len(data), len(data) + tensor.nbytes]
        dtype = (dtypes or {}).get(name) or names[tensor.dtype.name]
        header[name] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": offsets}
        data += tensor.tobytes()
    return with_header(json.dumps(header).encode(), data)


def with_header(header: bytes, data: bytes) -> bytes:
    return struct.pack("<Q", len(header)) + header + data


class Workshop:
    """A checkpoint's folder: a tiny BERT with its tokenizer and the modules of a sentence-embedding model."""

    def __init__(self, folder: Path, *, empty: bool = True) -> None:
        self.folder = folder
        if not empty:
            return
        folder.mkdir(parents=True, exist_ok=True)
        self.write("config.json", CONFIG)
        self.write("tokenizer_config.json", TOKENIZER)
        self.write("vocab.txt", "".join(f"{word}\n" for word in WORDS).encode())
        self.write("modules.json", MODULES)
        self.write("1_Pooling/config.json", POOLING)
        self.weights.write_bytes(safetensors_bytes(tensors_of(CONFIG)))

    @classmethod
    def at(cls, folder: Path) -> Workshop:
        """A workshop over a folder that is already furnished."""
        return cls(folder, empty=False)

    @property
    def weights(self) -> Path:
        return self.folder / "model.safetensors"

    def write(self, name: str, value: Any) -> Workshop:
        """Write bytes as they are, and anything else as JSON."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(value if isinstance(value, bytes) else json.dumps(value).encode())
        return self

    def config(self, **changes: Any) -> Workshop:
        """Change fields of config.json; ... removes one."""
        fields = json.loads((self.folder / "config.json").read_text()) | changes
        return self.write("config.json", {name: value for name, value in fields.items() if value is not ...})

    def remove(self, *names: str) -> Workshop:
        for name in names:
            (self.folder / name).unlink()
        return self

    def data(self, change: Callable[[bytes], bytes]) -> Workshop:
        """Change the bytes of model.safetensors."""
        self.weights.write_bytes(change(self.weights.read_bytes()))
        return self

    def header(self, change: Callable[[dict[str, Any]], Any]) -> Workshop:
        """Change the header of model.safetensors in place; where a change returns bytes, these are the header."""

        def changed(raw: bytes) -> bytes:
            length = struct.unpack("<Q", raw[:8])[0]
            header = json.loads(raw[8 : 8 + length])
            answer = change(header)
            text = answer if isinstance(answer, bytes) else json.dumps(header).encode()
            return with_header(text, raw[8 + length :])

        return self.data(changed)

    def tensors(self, change: Callable[[dict[str, np.ndarray]], Any], dtypes: dict[str, str] | None = None) -> Workshop:
        """Change the tensors of model.safetensors in place."""
        tensors = tensors_of(CONFIG)
        change(tensors)
        self.weights.write_bytes(safetensors_bytes(tensors, dtypes))
        return self

    def load(self, **options: Any) -> Any:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*has no pooler")
            return bertcpp.AutoModel.from_pretrained(self.folder, **options)

    def hidden(self, **options: Any) -> np.ndarray:
        """The last hidden states of a fixed sentence."""
        return np.asarray(self.load(**options)(np.array([[2, 5, 6, 7, 3]])).last_hidden_state)

    def reference_hidden(self, **options: Any) -> np.ndarray:
        """The same by transformers."""
        model = self.reference(**options)
        return np.asarray(reference.answer(model, input_ids=np.array([[2, 5, 6, 7, 3]]))["last_hidden_state"])

    def reference(self, **options: Any) -> Any:
        import transformers

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = transformers.AutoModel.from_pretrained(self.folder, attn_implementation="eager", **options)
        return model.float().eval()

    def tokenizer(self, **options: Any) -> Any:
        return bertcpp.AutoTokenizer.from_pretrained(self.folder, **options)

    def reference_tokenizer(self, **options: Any) -> Any:
        import transformers

        return transformers.AutoTokenizer.from_pretrained(self.folder, **options)

    def encoder(self, **options: Any) -> Any:
        return bertcpp.SentenceTransformer(str(self.folder), **options)

    def reference_encoder(self, **options: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import sentence_transformers

            return sentence_transformers.SentenceTransformer(str(self.folder), device="cpu", **options)
