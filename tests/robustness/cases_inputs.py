"""What a model is called with: ids, masks, positions, types, embeddings and options that are wrong or unusual."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from case import Case, Raises, Works

import bertcpp
import reference_models as reference
from bertcpp.errors import InputError, InputTypeError, MaskError, SequenceTooLongError, TokenIdError

if TYPE_CHECKING:
    from workshop import Workshop

IDS = np.array([[2, 5, 6, 7, 3], [2, 8, 3, 0, 0]])
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])


def call(name: str, error: type, message: str, *args: Any, **inputs: Any) -> Raises:
    return Raises(name, lambda w: w.load()(*args, **inputs), error, message)


class Foreign:
    """An array of a library that knows DLPack, and makes no NumPy arrays."""

    def __init__(self, place: Any) -> None:
        self.place = place

    def __dlpack_device__(self) -> Any:
        return self.place

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("no implicit conversion")


def flat(outputs: Any, mask: np.ndarray | None = None) -> np.ndarray:
    """The hidden states as one array; zeros where the mask leaves a token out."""
    hidden = np.array(outputs["last_hidden_state"])
    if mask is not None:
        hidden[np.asarray(mask) == 0] = 0
    return hidden


def same(name: str, mask: np.ndarray | None = None, like: dict[str, Any] | None = None, **inputs: Any) -> Works:
    """Called with `inputs` it gives what transformers gives for them, or for `like`."""
    if mask is not None:
        inputs["attention_mask"] = mask
    theirs = inputs if like is None else like

    def act(w: Workshop) -> Any:
        return flat(w.load()(**inputs))

    return Works(name, act, lambda w: flat(reference.answer(w.reference(), **theirs), theirs.get("attention_mask")))


def mutated(w: Workshop) -> tuple[bool, bool]:
    """Whether a call leaves its inputs as they were, and its answer is not theirs."""
    ids, mask = IDS.copy(), MASK.copy()
    model = w.load()
    first = model(ids, attention_mask=mask).last_hidden_state
    kept = first.copy()
    first[:] = 0
    again = model(ids, attention_mask=mask).last_hidden_state
    return bool((ids == IDS).all() and (mask == MASK).all()), bool((again == kept).all())


def in_family(family: str, **inputs: Any) -> Any:
    """Call a random model of another family, with a limit of 64 tokens."""

    def act(w: Workshop) -> Any:
        reference.save(reference.random_model(family, 1, num_hidden_layers=1), w.folder / family)
        return bertcpp.AutoModel.from_pretrained(w.folder / family)(**inputs)

    return act


CASES: list[Case] = [
    # Nothing.
    call("no input", InputError, "neither input_ids nor inputs_embeds was given"),
    call("None", InputError, "neither input_ids nor inputs_embeds", None),
    call("an empty list", InputError, "input_ids", []),
    call("a batch of no tokens", InputError, "nothing to compute", [[]]),
    call("no rows", InputError, r"input_ids has the shape \[0, 5\], so there is nothing", np.zeros((0, 5), int)),
    call("no columns", InputError, r"input_ids has the shape \[2, 0\], so there is nothing", np.zeros((2, 0), int)),
    call("both ids and embeddings", InputError, "were both given", IDS, inputs_embeds=np.ones((2, 5, 8), np.float32)),
    # Types and shapes of ids.
    call("a string", InputError, "input_ids must be an array of numbers, not a str", "the cat sat"),
    call("a list of strings", InputError, "input_ids must be an array of numbers", ["the cat", "sat"]),
    call("a dictionary", InputError, "input_ids must be an array of numbers, not a dict", {"input_ids": IDS}),
    call("a set", InputError, "input_ids must be an array of numbers", {1, 2}),
    call("an object", InputError, "input_ids must be an array of numbers", object()),
    call("one dimension", InputError, r"add the batch dimension: input_ids\[None\]", [2, 5, 3]),
    call("no dimension", InputError, r"must have the shape \[batch, sequence\], not \[\]", 5),
    call("three dimensions", InputError, r"must have the shape \[batch, sequence\], not \[1, 2, 5\]", IDS[None]),
    call("ragged lists", InputError, "no rectangular array.*pad its rows", [[2, 5, 3], [2, 3]]),
    call("floats", InputError, "input_ids must be integers, not float64", IDS.astype(float)),
    call("float32", InputError, "input_ids must be integers, not float32", IDS.astype(np.float32)),
    call("booleans", InputError, "input_ids must be integers, not bool", IDS > 3),
    call("complex numbers", InputError, "input_ids", IDS.astype(complex)),
    call("objects", InputError, "input_ids", IDS.astype(object)),
    call("dates", InputError, "input_ids", IDS.astype("datetime64[s]")),
    call("None among the ids", InputError, "input_ids", [[2, None, 3]]),
    call("float tensors", InputError, "input_ids must be integers, not float32", torch.ones(1, 3)),
    call("bfloat16 tensors", InputError, "input_ids", torch.ones(1, 3, dtype=torch.bfloat16)),
    call("sparse tensors", InputError, r"input_ids has the layout .*to_dense", torch.ones(1, 3).long().to_sparse()),
    call("meta tensors", InputError, "input_ids lies on meta", torch.ones(1, 3, dtype=torch.long, device="meta")),
    # Values of ids.
    call(
        "an id past the vocabulary",
        TokenIdError,
        r"input_ids\[0, 1\] is 15, outside the vocabulary of 15",
        [[2, 15, 3]],
    ),
    call("a negative id", TokenIdError, r"input_ids\[0, 1\] is -1, outside the vocabulary", [[2, -1, 3]]),
    call("an id of the second row", TokenIdError, r"input_ids\[1, 2\] is 99, outside", [[2, 5, 3], [2, 5, 99]]),
    call("an id of 2**31", TokenIdError, "is 2147483648, outside", [[2, 2**31, 3]]),
    call("an id of 2**32, which is 0 in 32 bits", TokenIdError, "is 4294967296, outside", [[2, 2**32, 3]]),
    call("an id of 2**63 - 1", TokenIdError, "is 9223372036854775807, outside", np.array([[2, 2**63 - 1]])),
    call("an id of 2**64 - 1", TokenIdError, "outside the vocabulary", np.array([[2, 2**64 - 1]], np.uint64)),
    call("an id of 2**64", InputError, "input_ids", [[2, 2**64]]),
    call("an id of -128 as int8", TokenIdError, "is -128, outside", np.array([[2, -128]], np.int8)),
    call("an id under the mask", TokenIdError, r"input_ids\[1, 4\] is -100", [[2] * 5, [2, 5, 3, 0, -100]], MASK),
    # Length.
    call(
        "a token too many",
        SequenceTooLongError,
        "row 0 has 17 tokens and goes past the model's limit of 16",
        [[2] * 17],
    ),
    call(
        "many tokens too many",
        SequenceTooLongError,
        "row 1 has 40 tokens",
        [[2] * 40, [2] * 40],
        [[1] * 9 + [0] * 31, [1] * 40],
    ),
    call("embeddings too many", SequenceTooLongError, "limit of 16", inputs_embeds=np.ones((1, 17, 8), np.float32)),
    Raises("RoBERTa's limit", in_family("roberta", input_ids=[[5] * 65]), SequenceTooLongError, "limit of 64"),
    Raises("MPNet's limit", in_family("mpnet", input_ids=[[5] * 65]), SequenceTooLongError, "limit of 64"),
    # The mask.
    call("mask of one dimension", MaskError, r"attention_mask must have the shape \[2, 5\], not \[5\]", IDS, MASK[0]),
    call("mask too short", MaskError, r"must have the shape \[2, 5\], not \[2, 4\]", IDS, MASK[:, :4]),
    call("mask of one row too few", MaskError, r"must have the shape \[2, 5\], not \[1, 5\]", IDS, MASK[:1]),
    call("mask transposed", MaskError, r"must have the shape \[2, 5\], not \[5, 2\]", IDS, MASK.T),
    call("mask for each pair of tokens", MaskError, "mask for each pair of tokens", IDS, np.ones((2, 5, 5), int)),
    call("mask of four dimensions", MaskError, "mask for each pair of tokens", IDS, np.ones((2, 1, 1, 5), int)),
    call("mask all zero", MaskError, "leaves nothing of row 0", IDS, np.zeros((2, 5), int)),
    call("mask of a row all zero", MaskError, "leaves nothing of row 1", IDS, [[1, 1, 1, 1, 1], [0, 0, 0, 0, 0]]),
    call("mask with 2", MaskError, r"attention_mask\[0, 2\] is 2; use 1 to keep", IDS[:1], [[1, 1, 2, 1, 1]]),
    call("mask with -1", MaskError, r"attention_mask\[0, 4\] is -1", IDS[:1], [[1, 1, 1, 1, -1]]),
    call("mask with a half", MaskError, r"attention_mask\[0, 1\] is 0\.5", IDS[:1], [[1, 0.5, 1, 1, 1]]),
    call("mask with NaN", MaskError, r"attention_mask\[0, 1\] is nan", IDS[:1], [[1, np.nan, 1, 1, 1]]),
    call("mask with -inf", MaskError, r"attention_mask\[0, 4\] is -inf", IDS[:1], [[0, 0, 0, 0, -np.inf]]),
    call("mask is a string", InputError, "attention_mask must be an array of numbers", IDS, "11111"),
    call("mask is ragged", InputError, "attention_mask is no rectangular array", IDS, [[1, 1], [1]]),
    # Token types.
    call(
        "type past the table",
        TokenIdError,
        r"token_type_ids\[0, 0\] is 2; this model knows.* 0 to 1",
        IDS[:1],
        None,
        [[2] * 5],
    ),
    call("negative type", TokenIdError, r"token_type_ids\[0, 0\] is -1", IDS[:1], token_type_ids=[[-1] * 5]),
    call(
        "types of another shape",
        InputError,
        r"token_type_ids has the shape \[2, 3\]",
        IDS,
        token_type_ids=IDS[:, :3] * 0,
    ),
    call("types are floats", InputError, "token_type_ids must be integers", IDS, token_type_ids=np.zeros((2, 5))),
    Raises(
        "types where there are none",
        in_family("mpnet", input_ids=[[5, 6]], token_type_ids=[[0, 1]]),
        TokenIdError,
        r"token_type_ids\[0, 1\] is 1; this model has no token types",
    ),
    # Positions.
    call(
        "position past the table",
        TokenIdError,
        r"position_ids\[0, 4\] is 16; .* 0 to 15",
        IDS,
        position_ids=[[0, 1, 2, 3, 16]],
    ),
    call("negative position", TokenIdError, r"position_ids\[0, 0\] is -1", IDS, position_ids=[[-1, 1, 2, 3, 4]]),
    call(
        "positions of another shape",
        InputError,
        r"position_ids has the shape \[1, 4\]",
        IDS,
        position_ids=[[0, 1, 2, 3]],
    ),
    call("positions are floats", InputError, "position_ids must be integers", IDS, position_ids=[[0.0, 1, 2, 3, 4]]),
    # Embeddings.
    call(
        "embeddings of another width",
        InputError,
        r"must have the shape \[batch, sequence, 8\], not \[1, 5, 7\]",
        inputs_embeds=np.ones((1, 5, 7), np.float32),
    ),
    call("embeddings of two dimensions", InputError, r"not \[5, 8\]", inputs_embeds=np.ones((5, 8), np.float32)),
    call("embeddings of integers", InputError, "inputs_embeds must be floats", inputs_embeds=np.ones((1, 5, 8), int)),
    call("no embeddings", InputError, "nothing to compute", inputs_embeds=np.ones((1, 0, 8), np.float32)),
    call(
        "embeddings that ask for gradients",
        InputError,
        r"pass inputs_embeds\.detach\(\)",
        inputs_embeds=torch.ones(1, 5, 8, requires_grad=True),
    ),
    # Options.
    call("a head mask", InputError, "head_mask is not supported", IDS, head_mask=np.ones((1, 2))),
    call("a decoder's states", InputError, "encoder_hidden_states is not supported", IDS, encoder_hidden_states=IDS),
    call("past keys", InputError, "past_key_values is not supported", IDS, past_key_values=()),
    call("an unknown argument", TypeError, "unexpected keyword argument 'labels'", IDS, labels=[0, 1]),
    call("an argument too many", TypeError, "positional argument", *[IDS] * 20),
    Raises("half precision", lambda w: w.load(dtype="float16"), InputError, "float16"),
    Raises("torch's half precision", lambda w: w.load(torch_dtype=torch.float16), InputError, "dtype is torch.float16"),
    Raises("a dtype that is none", lambda w: w.load(dtype="float33"), InputError, "float33"),
    Raises(
        "another device",
        lambda w: w.load(device="mps"),
        InputError,
        "device is 'mps', but bertcpp computes on 'cpu'",
    ),
    Raises("to another device", lambda w: w.load().to("cuda:x"), InputError, "computes on 'cpu'"),
    Raises(
        "to half precision",
        lambda w: w.load().to(torch.float16),
        InputError,
        "computes in float32, bfloat16 or int8",
    ),
    Raises("training", lambda w: w.load().train(), NotImplementedError, "computes no gradients"),
    Raises("no threads", lambda w: w.load(num_threads=0), InputError, "num_threads must be an integer from 1 to 1024"),
    Raises("2**63 threads", lambda w: w.load(num_threads=2**63), InputError, "not 9223372036854775808"),
    Raises("too many threads", lambda w: setattr(w.load(), "num_threads", 1025), InputError, "to 1024.* not 1025"),
    Raises("half a thread", lambda w: w.load(num_threads=0.5), InputError, "num_threads must be"),
    Raises("threads in a word", lambda w: w.load(num_threads="two"), InputError, "num_threads must be"),
    Raises(
        "a model out of nothing", lambda w: bertcpp.BertModel(bertcpp.BertConfig()), TypeError, "makes no random ones"
    ),
    Raises("AutoModel out of nothing", lambda w: bertcpp.AutoModel(), TypeError, "config|from_pretrained"),
    # Unusual but sound.
    same("lists", input_ids=IDS.tolist(), like={"input_ids": IDS}),
    same("one token", input_ids=np.array([[2]])),
    same("as many tokens as there are positions", input_ids=np.arange(16)[None] % 15),
    *(
        same(f"ids as {dtype}", input_ids=IDS.astype(dtype), like={"input_ids": IDS})
        for dtype in ("int8", "uint8", "int16", "uint16", "int32", "uint32", "uint64", ">i8", ">i4")
    ),
    same("ids in Fortran's order", input_ids=np.asfortranarray(IDS)),
    same("ids with a stride", input_ids=np.repeat(IDS, 2, axis=1)[:, ::2], like={"input_ids": IDS}),
    same("ids in reverse", input_ids=IDS[:, ::-1]),
    same("ids broadcast", input_ids=np.broadcast_to(IDS[0], (3, 5))),
    same("a tuple of rows", input_ids=tuple(map(tuple, IDS.tolist())), like={"input_ids": IDS}),
    same("a mask of booleans", mask=MASK.astype(bool), input_ids=IDS),
    same("a mask of floats", mask=MASK.astype(np.float32), input_ids=IDS),
    same("a mask of bytes", mask=MASK.astype(np.uint8), input_ids=IDS, like={"input_ids": IDS, "attention_mask": MASK}),
    call("a place of None", InputTypeError, r"input_ids\.__dlpack_device__\(\) gave None", Foreign(None)),
    call("a place of words", InputTypeError, r"gave \('a', 'b'\), not DLPack's numbers", Foreign(("a", "b"))),
    call("a place of one number", InputTypeError, r"gave \(2,\), not DLPack's numbers", Foreign((2,))),
    call("an array on ROCm", InputTypeError, r"input_ids lies in an AMD GPU.*pass a NumPy array", Foreign((10, 0))),
    call("managed memory", InputTypeError, "attention_mask lies in CUDA managed memory", IDS, Foreign((13, 0))),
    call("another place", InputTypeError, "input_ids cannot be read as an array: no implicit", Foreign((99, 0))),
    call("an array on a GPU", InputError, r"computes on the processor; copy input_ids there, or", Foreign((2, 1))),
    same("padding on the left", mask=MASK[:, ::-1].copy(), input_ids=IDS),
    same("a mask with holes", mask=np.array([[1, 0, 1, 0, 1], [1, 0, 0, 0, 1]]), input_ids=IDS),
    same("the first token masked", mask=np.array([[0, 1, 1, 1, 1], [0, 0, 0, 0, 1]]), input_ids=IDS),
    same("padding past the limit", mask=np.array([[1] * 5 + [0] * 9]), input_ids=np.array([[5] * 14])),
    same(
        "types as bytes",
        input_ids=IDS,
        token_type_ids=(IDS > 5).astype(np.uint8),
        like={"input_ids": IDS, "token_type_ids": (IDS > 5).astype(int)},
    ),
    same("positions of one row for all", input_ids=IDS, position_ids=np.array([[4, 3, 2, 1, 0]])),
    same("the same position twice", input_ids=IDS, position_ids=np.array([[15, 15, 0, 0, 0]] * 2)),
    same(
        "embeddings in float64",
        inputs_embeds=np.linspace(-1, 1, 40).reshape(1, 5, 8),
        like={"inputs_embeds": np.linspace(-1, 1, 40, dtype=np.float32).reshape(1, 5, 8)},
    ),
    same(
        "embeddings in float16",
        inputs_embeds=np.ones((1, 5, 8), np.float16),
        like={"inputs_embeds": np.ones((1, 5, 8), np.float32)},
    ),
    same("embeddings with NaN", inputs_embeds=np.full((1, 5, 8), np.nan, np.float32)),
    Works("inputs stay as they were", mutated, lambda w: (True, True)),
    Works(
        "padding past the limit does not count",
        lambda w: w.load()([[5] * 40], attention_mask=[[1] * 3 + [0] * 37]).last_hidden_state[:, :3],
        lambda w: flat(reference.answer(w.reference(), input_ids=np.array([[5] * 3]))),
    ),
]
