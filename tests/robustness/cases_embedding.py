"""Sentence-embedding checkpoints that are damaged, and calls of a model that are wrong or unusual."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from case import Case, Raises, Works
from workshop import MODULES, POOLING, Workshop, safetensors_bytes

import bertcpp
from bertcpp.errors import (
    CheckpointNotFoundError,
    ConfigError,
    CorruptCheckpointError,
    InputError,
    MissingTensorError,
    SequenceTooLongError,
    UnsupportedFormatError,
    WeightMismatchError,
)
from bertcpp.quantization import quantize_embeddings

if TYPE_CHECKING:
    from collections.abc import Callable

KIND = "sentence_transformers.models."
TEXTS = ["the cat sat on the mat.", "a dog ran", ""]
LONG = "the cat sat on the mat. " * 5


def modules(name: str, value: Any, message: str, error: type = ConfigError) -> Raises:
    return Raises(name, lambda w: w.write("modules.json", value).encoder(), error, message)


def pooling(name: str, message: str, error: type = ConfigError, **fields: Any) -> Raises:
    return Raises(name, lambda w: w.write("1_Pooling/config.json", POOLING | fields).encoder(), error, message)


def third(w: Workshop, kind: str, config: dict[str, Any], tensors: dict[str, np.ndarray]) -> Workshop:
    """Append a module of that kind."""
    w.write("modules.json", [*MODULES, {"idx": 2, "name": "2", "path": "2_X", "type": KIND + kind}])
    w.write("2_X/config.json", config)
    return w.write("2_X/model.safetensors", safetensors_bytes(tensors)) if tensors else w


DENSE: dict[str, Any] = {
    "in_features": 8,
    "out_features": 4,
    "bias": True,
    "activation_function": "torch.nn.modules.activation.Tanh",
}
LINEAR = {
    "linear.weight": np.linspace(-1, 1, 32, dtype=np.float32).reshape(4, 8),
    "linear.bias": np.ones(4, np.float32),
}


def dense(
    name: str,
    message: str,
    error: type = ConfigError,
    change: Callable[[dict[str, np.ndarray]], Any] = lambda tensors: None,
    **fields: Any,
) -> Raises:
    def act(w: Workshop) -> Any:
        tensors = dict(LINEAR)
        change(tensors)
        config = {key: value for key, value in (DENSE | fields).items() if value is not ...}
        return third(w, "Dense", config, tensors).encoder()

    return Raises(name, act, error, message)


def encode(name: str, error: type, message: str, *args: Any, **options: Any) -> Raises:
    return Raises(name, lambda w: w.encoder().encode(*args, **options), error, message)


def without_modules(w: Workshop) -> Any:
    """Encode with a folder that has no modules.json, of which there is a warning."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        model = w.encoder()
    assert ["mean pooling" in str(warning.message) for warning in said] == [True]
    return model.encode(TEXTS)


def same(name: str, inputs: Any, build: Callable[[Workshop], Any] = lambda w: w, **options: Any) -> Works:
    return Works(
        name,
        lambda w: np.asarray(build(w).encoder(on_overflow="truncate").encode(inputs, **options)),
        lambda w: np.asarray(build(w).reference_encoder().encode(inputs, **options)),
    )


CASES: list[Case] = [
    # modules.json.
    modules("modules.json is an object", {}, "holds a JSON (dict|object).* where a list"),
    modules("modules.json is cut off", b"[", "modules.json.* not valid JSON"),
    modules("no modules", [], "lists no Transformer module", UnsupportedFormatError),
    modules("a module that is a number", [7], "needs a 'type' and a 'path'.* got 7"),
    modules("a module without a type", [{"path": ""}], "needs a 'type' and a 'path'"),
    modules("a module whose path is a number", [{"type": "x.Transformer", "path": 3}], "needs a 'type' and a 'path'"),
    modules("no pooling", MODULES[:1], "lists no Pooling module", UnsupportedFormatError),
    modules("pooling first", MODULES[::-1], "a module 'Pooling' that cannot stand there", UnsupportedFormatError),
    modules("two encoders", [MODULES[0], *MODULES], "'Transformer' that cannot stand there", UnsupportedFormatError),
    modules(
        "a module of an unknown kind",
        [*MODULES, {"type": KIND + "Magic", "path": "2_Magic"}],
        "a module 'Magic' that cannot stand there",
        UnsupportedFormatError,
    ),
    *(
        modules(
            f"a module at {path!r}",
            [MODULES[0], {"type": KIND + "Pooling", "path": path}],
            "leads out of the checkpoint's folder",
            CorruptCheckpointError,
        )
        for path in ("..", "../x", "/etc", "a/../../x", "..\\x")
    ),
    modules(
        "a module whose folder is missing",
        [MODULES[0], {"type": KIND + "Pooling", "path": "gone"}],
        r"gone/config\.json is missing",
        CheckpointNotFoundError,
    ),
    # Pooling.
    pooling("no pooling mode", "names no pooling mode", pooling_mode_mean_tokens=False),
    pooling(
        "an unknown pooling mode", "pooling mode 'median' is none of", UnsupportedFormatError, pooling_mode="median"
    ),
    pooling("a pooling mode that is a number", "names no pooling mode; add 'pooling_mode'", pooling_mode=3),
    pooling(
        "a pooling of another width",
        "states 7 dimensions but the encoder's hidden_size is 8",
        word_embedding_dimension=7,
    ),
    pooling("a pooling of negative width", "states -8 dimensions but the encoder", word_embedding_dimension=-8),
    Raises(
        "pooling without its file",
        lambda w: w.remove("1_Pooling/config.json").encoder(),
        CheckpointNotFoundError,
        r"1_Pooling/config\.json is missing",
    ),
    Raises(
        "pooling cut off", lambda w: w.write("1_Pooling/config.json", b"{").encoder(), ConfigError, "is not valid JSON"
    ),
    # Dense.
    dense(
        "Dense of another width",
        "takes 9 features but is given 8",
        in_features=9,
        change=lambda t: t.update({"linear.weight": np.ones((4, 9), np.float32)}),
    ),
    dense("Dense without in_features", "in_features must be a positive integer, got None", in_features=...),
    dense("Dense of no width", "out_features must be a positive integer, got 0", out_features=0),
    dense("Dense with an unknown activation", "Magic", UnsupportedFormatError, activation_function="torch.nn.Magic"),
    dense("Dense with code for an activation", "system", UnsupportedFormatError, activation_function="os.system"),
    dense(
        "Dense without its weight",
        r"the tensor 'linear\.weight' is missing",
        MissingTensorError,
        change=lambda t: t.pop("linear.weight"),
    ),
    dense(
        "Dense with a weight of another shape",
        r"'linear\.weight' has shape \[8, 4\] where config.json says \[4, 8\]",
        WeightMismatchError,
        change=lambda t: t.update({"linear.weight": t["linear.weight"].T.copy()}),
    ),
    dense(
        "Dense with integers",
        "linear|dtype|int64",
        WeightMismatchError,
        change=lambda t: t.update({"linear.weight": np.ones((4, 8), np.int64)}),
    ),
    dense("Dense without weights", "has no weights", CheckpointNotFoundError, change=lambda t: t.clear()),
    # Arguments of the model.
    Raises(
        "a name that is a number",
        lambda w: bertcpp.SentenceTransformer(7),
        InputError,
        "folder or a hub name, not by 7",
    ),
    Raises("another device", lambda w: w.encoder(device="mps"), InputError, "device is 'mps', but bertcpp"),
    Raises("another backend", lambda w: w.encoder(backend="onnx"), ValueError, "backend 'onnx' is not known"),
    Raises(
        "an unknown overflow", lambda w: w.encoder(on_overflow="cry"), InputError, "on_overflow 'cry' is not one of"
    ),
    Raises("half precision", lambda w: w.encoder(model_kwargs={"dtype": "float16"}), InputError, "computes in float32"),
    Raises(
        "a revision that is a number", lambda w: w.encoder(revision=3), InputError, "revision must be a string, not 3"
    ),
    Raises(
        "a cache that is a number", lambda w: w.encoder(cache_folder=3), InputError, "cache must be a string, not 3"
    ),
    Raises(
        "similarity of complex numbers",
        lambda w: w.encoder().similarity(np.ones((1, 3), complex), np.ones((1, 3))),
        ValueError,
        "real numbers",
    ),
    Works("no embeddings to quantize", lambda w: quantize_embeddings(np.zeros((0, 3)), "int8").shape, lambda w: (0, 3)),
    Raises("an unknown similarity", lambda w: w.encoder(similarity_fn_name="likeness"), ValueError, "'likeness'"),
    Raises(
        "an unknown default prompt",
        lambda w: w.encoder(default_prompt_name="x"),
        ValueError,
        "'x' is none of the prompts",
    ),
    Raises(
        "an unknown field", lambda w: w.encoder(config_kwargs={"hiden": 1}), InputError, "hiden: no field of BertConfig"
    ),
    Raises("a limit over the positions", lambda w: setattr(w.encoder(), "max_seq_length", 17), ValueError, "17"),
    Raises("a limit of 0", lambda w: setattr(w.encoder(), "max_seq_length", 0), ValueError, "0"),
    Raises("a limit in a word", lambda w: setattr(w.encoder(), "max_seq_length", "long"), ValueError, "long"),
    # Inputs.
    Raises("embedding a number for BERTopic", lambda w: w.encoder().embed(3), InputError, "inputs is of type int"),
    Raises("no word for BERTopic", lambda w: w.encoder().embed_words(["a", None]), InputError, r"inputs\[1\] is None"),
    encode("None", InputError, "inputs is of type NoneType", None),
    encode("a number", InputError, "inputs is of type int", 7),
    encode("bytes", InputError, "", b"the cat"),
    encode("a list of numbers", InputError, "", [1, 2]),
    encode("a list with None", InputError, "", ["a", None]),
    encode("a list of bytes", InputError, "", [b"a"]),
    encode("a dictionary", InputError, "", {"a": 1}),
    encode("a triple", InputError, "", [("a", "b", "c")]),
    encode("a text over the limit", SequenceTooLongError, "max_seq_length", LONG, on_overflow="error"),
    encode(
        "windows that share all", InputError, "stride, .* from 0 to 15.* not 16", LONG, on_overflow="window", stride=16
    ),
    encode(
        "windows that share less than nothing", InputError, "stride, .* not -1", LONG, on_overflow="window", stride=-1
    ),
    encode("windows that share a half", InputError, r"stride, .* not 0\.5", LONG, on_overflow="window", stride=0.5),
    encode(
        "a prompt as long as a window", InputError, "no room for the text", "a cat", on_overflow="window", prompt=LONG
    ),
    encode(
        "windows without room",
        InputError,
        "no room for the text in windows of 2 tokens; raise max_length$",
        LONG,
        on_overflow="window",
        processing_kwargs={"text": {"max_length": 2}},
    ),
    # Options.
    encode("a batch of 0", ValueError, "batch_size must be a positive integer, got 0", TEXTS, batch_size=0),
    encode("a batch of -1", ValueError, "batch_size must be a positive integer, got -1", TEXTS, batch_size=-1),
    encode("half a batch", ValueError, r"batch_size must be a positive integer, got 0\.5", TEXTS, batch_size=0.5),
    encode("chunks of 0", InputError, "chunk_size must be an integer of at least 1", TEXTS, chunk_size=0),
    encode("chunks of a word", InputError, "chunk_size must be .* not 'many'", TEXTS, chunk_size="many"),
    encode("an unknown precision", ValueError, "precision 'int4' is not one of", TEXTS, precision="int4"),
    encode("an unknown output", InputError, "output_value 'sentence' is not one of", TEXTS, output_value="sentence"),
    encode(
        "tokens in int8",
        ValueError,
        "is for sentence embeddings",
        TEXTS,
        precision="int8",
        output_value="token_embeddings",
    ),
    encode("an unknown prompt", InputError, "prompt_name 'x' is none of the prompts", TEXTS, prompt_name="x"),
    encode("an unknown argument", ValueError, r"does not know the arguments \['normalise'\]", TEXTS, normalise=True),
    encode("no threads", InputError, "num_threads must be an integer from 1 to 1024.* not 0", TEXTS, num_threads=0),
    encode("2**63 threads", InputError, "from 1 to 1024.* not 9223372036854775808", TEXTS, num_threads=2**63),
    encode("a number for a pool", InputError, "pool must be what start_multi.* not 3", TEXTS, pool=3),
    encode("an empty pool", InputError, "pool must be what start_multi.* not {}", TEXTS, pool={}),
    Raises("a number for arguments", lambda w: w.encoder(model_kwargs=3), InputError, "model_kwargs must be a dict"),
    Raises("a list for options", lambda w: w.encoder(processor_kwargs=[3]), InputError, "processor_kwargs must be a d"),
    Raises("a word for fields", lambda w: w.encoder(config_kwargs="x"), InputError, "config_kwargs must be a dict"),
    encode(
        "windows of too many tokens",
        ValueError,
        "max_length must be an integer from 1 to 16, this encoder's limit, got 17",
        TEXTS,
        processing_kwargs={"text": {"max_length": 17}},
    ),
    encode("both names of the inputs", TypeError, "inputs", TEXTS, sentences=TEXTS),
    encode("another device for a call", InputError, "device is 'mps', but bertcpp", TEXTS, device="mps"),
    Raises(
        "similarity of other widths",
        lambda w: w.encoder().similarity(np.ones((1, 3)), np.ones((1, 4))),
        ValueError,
        "3 .* 4",
    ),
    # Unusual but sound.
    same("an empty list", []),
    same("an empty string", ""),
    same("one text", TEXTS[0]),
    same("texts", TEXTS),
    same("a tuple of texts", tuple(TEXTS)),
    same("pairs", [("a cat", "sat"), ("a dog", "ran")]),
    same("texts in an array", np.array(TEXTS)),
    same("a text that is cut", LONG),
    same("normalized", TEXTS, normalize_embeddings=True),
    same("three dimensions", TEXTS, truncate_dim=3),
    same("more dimensions than there are", TEXTS, truncate_dim=99),
    Works(
        "without modules.json",
        lambda w: without_modules(w.remove("modules.json")),
        lambda w: w.reference_encoder().encode(TEXTS),
    ),
    same("a Dense module", TEXTS, lambda w: third(w, "Dense", DENSE, LINEAR)),
    same("a Normalize module", TEXTS, lambda w: third(w, "Normalize", {}, {})),
    same(
        "max and mean", TEXTS, lambda w: w.write("1_Pooling/config.json", POOLING | {"pooling_mode_max_tokens": True})
    ),
    Works("a generator", lambda w: w.encoder().encode(t for t in TEXTS), lambda w: w.encoder().encode(TEXTS)),
    Works("no texts from a generator", lambda w: w.encoder().encode(iter([])).size, lambda w: 0),
]
