"""Checkpoints for every task whose answers to a few texts are made up: random encoders under heads that are solved for.

The documents show what the commands print with them, so that it looks as it would with trained ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import task_checkpoints as checkpoints
from safetensors.numpy import load_file, save_file

import bertcpp

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

SIZES = {"hidden_size": 128, "num_attention_heads": 4, "intermediate_size": 128}
MOODS = {0: "NEGATIVE", 1: "POSITIVE"}
KINDS = {0: "O", 1: "B-PER", 2: "I-PER", 3: "B-LOC", 4: "I-LOC", 5: "B-ORG", 6: "I-ORG"}
MOOD_OF = {
    "A film to see twice.": [-2.8, 3.1],
    "Two hours of my life.": [2.2, -1.6],
    "It works, but the box was broken.": [0.4, 0.1],
    "Exactly what I was looking for.": [-3.0, 2.7],
}
ENTAILED = {
    ("The film moved me.", "This example is cinema."): [-1.9, 0.1, 2.8],
    ("The film moved me.", "This example is cooking."): [2.2, 0.3, -2.1],
}
ENTITIES_OF = {
    "Ada Lovelace lived in London.": {"Ada": 1, "Lovelace": 2, "London": 3},
    "Grace Hopper worked for the Navy in New York.": {"Grace": 1, "Hopper": 2, "Navy": 5, "New": 3, "York": 4},
}
LETTER = "Dear Charles, I write from London, where it has rained since Monday. Yours, Ada"
ANSWER_OF = {
    ("Where did she live?", "Ada lived in London."): "London",
    ("Who wrote this?", LETTER): "Ada",
    ("Since when has it rained?", LETTER): "Monday",
}
WORDS = {"paris": 7.2, "lyon": 5.1, "london": 4.0, "rome": 3.6, "home": 2.9}
RELEVANCE = {
    ("Where do cats sleep?", "Cats sleep on sofas and in boxes."): 3.4,
    ("Where do cats sleep?", "Dogs sleep in the garden."): -1.2,
    ("Where do cats sleep?", "Rome is in Italy."): -4.1,
}


def save_all(folder: Path, minilm: Path) -> Path:
    """All of them, under the names that the commands' examples use; returns the folder."""
    _classifier(folder / "my-classifier", minilm, MOOD_OF, checkpoints.named(MOODS))
    _classifier(folder / "my-nli-model", minilm, ENTAILED, checkpoints.named(checkpoints.INFERENCE), "zero-shot")
    scores = {pair: [score] for pair, score in RELEVANCE.items()}
    _classifier(folder / "my-cross-encoder", minilm, scores, {"num_labels": 1})
    _entities(folder / "my-ner-model", minilm)
    _answers(folder / "my-squad-model", minilm)
    _words(folder / "bert-base-uncased", minilm)
    return folder


def _solved(states: Any, targets: Any) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The weight `[n, H]` and bias `[n]` that give `targets` `[m, n]` of `states` `[m, H]`, of which m <= H."""
    wide = np.concatenate((np.asarray(states, np.float64), np.ones((len(states), 1))), axis=1)
    solution = np.linalg.lstsq(wide, np.asarray(targets, np.float64), rcond=None)[0]
    assert np.abs(wide @ solution - targets).max() < 1e-6, "the states cannot tell these texts apart"
    return solution[:-1].T.astype(np.float32), solution[-1].astype(np.float32)


def _replace(folder: Path, tensors: Mapping[str, np.ndarray[Any, Any]]) -> None:
    held = load_file(folder / "model.safetensors")
    assert {name: held[name].shape for name in tensors} == {name: value.shape for name, value in tensors.items()}
    contiguous = {name: np.ascontiguousarray(value) for name, value in (held | dict(tensors)).items()}
    save_file(contiguous, folder / "model.safetensors", metadata={"format": "pt"})


def _encoded(folder: Path, texts: Sequence[Any], **options: Any) -> tuple[Any, Any]:
    """Outputs of the encoder, and the tokens, of texts or of pairs of them."""
    tokenizer = bertcpp.AutoTokenizer.from_pretrained(folder)
    tokens = tokenizer(list(texts), padding=True, return_tensors="np", **options)
    inputs = {name: tokens[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
    return bertcpp.BertModel.from_pretrained(folder)(**inputs), tokens


def _classifier(
    folder: Path, minilm: Path, logits: Mapping[Any, Sequence[float]], labels: Mapping[str, Any], task: str = "text"
) -> None:
    checkpoints.save(folder, f"{task}-classification", minilm, **SIZES, **labels)
    outputs, _ = _encoded(folder, list(logits))
    weight, bias = _solved(outputs.pooler_output, list(logits.values()))
    _replace(folder, {"classifier.weight": weight, "classifier.bias": bias})


def _entities(folder: Path, minilm: Path) -> None:
    checkpoints.save(folder, "token-classification", minilm, **SIZES, **checkpoints.named(KINDS))
    tokenizer = bertcpp.AutoTokenizer.from_pretrained(folder)
    model = bertcpp.AutoModel.from_pretrained(folder, add_pooling_layer=False)
    states, targets = [], []
    for text, words in ENTITIES_OF.items():
        tokens = tokenizer(text, return_tensors="np", return_offsets_mapping=True)
        states.append(model(input_ids=tokens["input_ids"]).last_hidden_state[0])
        for start, end in tokens["offset_mapping"][0].tolist():
            inside = [kind for word, kind in words.items() if text.index(word) <= start < text.index(word) + len(word)]
            kind = inside[0] if inside and end > start else 0
            first = not inside or text.startswith(tuple(words), start)
            kind = kind if first or kind % 2 == 0 else kind + 1  # what goes on with a word is I-, not B-
            targets.append([4.5 - 0.1 * len(text[start:end]) if place == kind else -1.0 for place in KINDS])
    weight, bias = _solved(np.concatenate(states), targets)
    _replace(folder, {"classifier.weight": weight, "classifier.bias": bias})


def _answers(folder: Path, minilm: Path) -> None:
    checkpoints.save(folder, "question-answering", minilm, **SIZES)
    tokenizer = bertcpp.AutoTokenizer.from_pretrained(folder)
    model = bertcpp.BertModel.from_pretrained(folder, add_pooling_layer=False)
    states, targets = [], []
    for (question, context), answer in ANSWER_OF.items():
        tokens = tokenizer(question, context, return_tensors="np", return_offsets_mapping=True)
        outputs = model(input_ids=tokens["input_ids"], token_type_ids=tokens["token_type_ids"])
        states.append(outputs.last_hidden_state[0])
        start, end = context.index(answer), context.index(answer) + len(answer)
        for place, (first, last) in enumerate(tokens["offset_mapping"][0].tolist()):
            inside = tokens["token_type_ids"][0][place] == 1
            targets.append([5.0 * (inside and first == start) - 1, 5.0 * (inside and last == end) - 1])
    weight, bias = _solved(np.concatenate(states), targets)
    _replace(folder, {"qa_outputs.weight": weight, "qa_outputs.bias": bias})


def _words(folder: Path, minilm: Path) -> None:
    """The same words whatever the text."""
    checkpoints.save(folder, "fill-mask", minilm, **SIZES)
    tokenizer = bertcpp.AutoTokenizer.from_pretrained(folder)
    held = load_file(folder / "model.safetensors")
    bias = np.full_like(held["cls.predictions.bias"], -6.0)
    bias[tokenizer.convert_tokens_to_ids(list(WORDS))] = list(WORDS.values())
    norm = "cls.predictions.transform.LayerNorm"
    silent = {f"{norm}.{part}": np.zeros_like(held[f"{norm}.{part}"]) for part in ("weight", "bias")}
    _replace(folder, {"cls.predictions.bias": bias, **silent})
