"""Checkpoints with heads for the documents' examples: all-MiniLM-L6-v2 with heads fitted to a few sentences.

Checkpoints that were trained for a task cannot be had without a network. These answer the examples, and little else:
each head is the least-squares solution over the encoder's states of the sentences below.
"""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import load_file, save_file

import bertcpp

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

REVIEWS = [
    ("I loved every minute of it.", 1),
    ("A wonderful, funny film.", 1),
    ("Great acting and a great story.", 1),
    ("The best book that I have read.", 1),
    ("We had a lovely evening.", 1),
    ("I hated every minute of it.", 0),
    ("A boring, stupid film.", 0),
    ("Bad acting and a bad story.", 0),
    ("The worst book that I have read.", 0),
    ("We had an awful evening.", 0),
]
NAMES = [
    ("Marie Curie was born in Warsaw .", "B-PER I-PER O O O B-LOC O"),
    ("Alan Turing worked in Manchester .", "B-PER I-PER O O B-LOC O"),
    ("Paris is where Emmy Noether spoke .", "B-LOC O O B-PER I-PER O O"),
    ("Grace Hopper flew from Boston to Berlin .", "B-PER I-PER O O B-LOC O B-LOC O"),
    ("The train to Vienna is late .", "O O O B-LOC O O O"),
    ("Ada Lovelace lived in London .", "B-PER I-PER O O B-LOC O"),
]
ANSWERS = [
    ("Where did Alan work?", "Alan worked in Manchester with Max.", "Manchester"),
    ("Where was Marie born?", "Marie was born in Warsaw to teachers.", "Warsaw"),
    ("Who lived in London?", "Ada lived in London and wrote programs.", "Ada"),
    ("Who worked in Manchester?", "Alan worked in Manchester with Max.", "Alan"),
    ("Where did Ada live?", "Ada lived in London and wrote programs.", "London"),
]
WORDS = [
    ("The capital of France is [MASK].", "paris"),
    ("The capital of Austria is [MASK].", "vienna"),
    ("Cats and [MASK] are pets.", "dogs"),
    ("She drinks a cup of [MASK].", "tea"),
]
INFERENCE = [
    ("The striker scored twice.", "This example is sport.", 2),
    ("The striker scored twice.", "This example is politics.", 0),
    ("Parliament passed the law.", "This example is politics.", 2),
    ("Parliament passed the law.", "This example is cooking.", 0),
    ("Add salt and simmer the soup.", "This example is cooking.", 2),
    ("Add salt and simmer the soup.", "This example is sport.", 0),
    ("The train is late.", "This example is news.", 1),
]
RELEVANCE = [
    ("Where do cats sleep?", "Cats sleep on sofas and in boxes.", 1),
    ("Where do cats sleep?", "Rome is in Italy.", 0),
    ("Where is Rome?", "Rome is in Italy.", 1),
    ("Where is Rome?", "Cats sleep on sofas and in boxes.", 0),
    ("How big is Berlin?", "Berlin has 3.8 million inhabitants.", 1),
    ("How big is Berlin?", "The soup needs salt.", 0),
    ("What does the soup need?", "The soup needs salt.", 1),
    ("What does the soup need?", "Berlin has 3.8 million inhabitants.", 0),
]


def save_all(minilm: Path, folder: Path) -> dict[str, Path]:
    """Write a checkpoint for each task: reviews, names, answers, words, inference, relevance."""
    model = bertcpp.AutoModel.from_pretrained(minilm)
    tokenizer = bertcpp.AutoTokenizer.from_pretrained(minilm)
    tensors = load_file(minilm / "model.safetensors")

    def save(name: str, architecture: str, head: dict[str, Any], labels: list[str] | None = None) -> Path:
        target = folder / name
        target.mkdir(parents=True)
        for path in minilm.iterdir():
            if "token" in path.name or path.name == "vocab.txt":
                shutil.copy(path, target / path.name)
        config = json.loads((minilm / "config.json").read_text()) | {"architectures": [architecture]}
        if labels is not None:
            config["id2label"] = {str(index): label for index, label in enumerate(labels)}
            config["label2id"] = {label: index for index, label in enumerate(labels)}
        (target / "config.json").write_text(json.dumps(config))
        save_file(tensors | head, target / "model.safetensors", {"format": "pt"})
        return target

    def pooled(*texts: str) -> NDArray[np.float32]:
        outputs: NDArray[np.float32] = model(**tokenizer(*texts, return_tensors="np")).pooler_output[0]
        return outputs

    def states(*texts: str) -> tuple[NDArray[np.float32], Any]:
        encoded = tokenizer(*texts, return_tensors="np")
        return model(**encoded).last_hidden_state[0], encoded

    reviews = _fitted([pooled(text) for text, _ in REVIEWS], np.eye(2)[[label for _, label in REVIEWS]] * 8 - 4)
    inference = _fitted([pooled(a, b) for a, b, _ in INFERENCE], np.eye(3)[[label for *_, label in INFERENCE]] * 8 - 4)
    relevance = _fitted(
        [pooled(a, b) for a, b, _ in RELEVANCE], np.array([[label * 8.0 - 4] for *_, label in RELEVANCE])
    )
    return {
        "relevance": save("relevance", "BertForSequenceClassification", _named("classifier", relevance), ["relevance"]),
        "reviews": save("reviews", "BertForSequenceClassification", _named("classifier", reviews), ["bad", "good"]),
        "names": save("names", "BertForTokenClassification", _names_head(states), _LABELS),
        "answers": save("answers", "BertForQuestionAnswering", _answers_head(states)),
        "words": save("words", "BertForMaskedLM", _words_head(states, tensors, tokenizer)),
        "inference": save(
            "inference",
            "BertForSequenceClassification",
            _named("classifier", inference),
            ["contradiction", "neutral", "entailment"],
        ),
    }


_LABELS = ["O", "B-PER", "I-PER", "B-LOC"]


def _names_head(states: Any) -> dict[str, NDArray[np.float32]]:
    rows, wanted = [], []
    for text, labels in NAMES:
        hidden, encoded = states(text)
        for token, word in enumerate(encoded.word_ids()):
            if word is not None:
                rows.append(hidden[token])
                wanted.append(np.eye(4)[_LABELS.index(labels.split()[word])] * 10)
    return _named("classifier", _fitted(rows, np.array(wanted)))


def _answers_head(states: Any) -> dict[str, NDArray[np.float32]]:
    rows, wanted = [], []
    for question, context, answer in ANSWERS:
        hidden, encoded = states(question, context)
        first = encoded.char_to_token(context.index(answer), sequence_index=1)
        last = encoded.char_to_token(context.index(answer) + len(answer) - 1, sequence_index=1)
        for token in range(len(hidden)):
            rows.append(hidden[token])
            wanted.append([12.0 * (token == first), 12.0 * (token == last)])
    return _named("qa_outputs", _fitted(rows, np.array(wanted)))


def _words_head(states: Any, tensors: Any, tokenizer: Any) -> dict[str, NDArray[np.float32]]:
    table = tensors["embeddings.word_embeddings.weight"]
    rows, wanted = [], []
    for text, word in WORDS:
        hidden, encoded = states(text)
        rows.append(hidden[encoded["input_ids"][0].tolist().index(tokenizer.mask_token_id)])
        wanted.append(table[tokenizer.convert_tokens_to_ids(word)])
    weight, bias = _fitted(rows, np.array(wanted))
    size = len(bias)
    return {
        **_named("cls.predictions.transform.dense", (weight, bias)),
        **_named("cls.predictions.transform.LayerNorm", (np.full(size, 1.2, np.float32), np.zeros(size, np.float32))),
        "cls.predictions.bias": np.zeros(len(table), np.float32),
    }


def _fitted(rows: Any, wanted: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The weight and bias with the least squares of errors, held small."""
    inputs = np.hstack([np.array(rows, np.float64), np.ones((len(rows), 1))])
    kernel = inputs @ inputs.T + 1e-2 * np.eye(len(inputs))
    solution = inputs.T @ np.linalg.solve(kernel, np.asarray(wanted, np.float64))
    return solution[:-1].T.astype(np.float32).copy(), solution[-1].astype(np.float32)


def _named(stem: str, pair: tuple[Any, Any]) -> dict[str, NDArray[np.float32]]:
    return {f"{stem}.weight": pair[0], f"{stem}.bias": pair[1]}
