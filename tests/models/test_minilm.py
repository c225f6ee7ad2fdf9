"""all-MiniLM-L6-v2 on real text against transformers and sentence-transformers."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import torch

import bertcpp
import reference_models as reference

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = 1000
COSINE = 0.999999


def test_hidden_states_of_real_text(minilm: Path, sentences: list[str]) -> None:
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(minilm)
    truth = transformers.AutoModel.from_pretrained(minilm, attn_implementation="eager").eval()
    model = bertcpp.AutoModel.from_pretrained(minilm)
    for start in range(0, 64, 16):
        inputs = tokenizer(sentences[start : start + 16], padding=True, truncation=True, return_tensors="np")
        ours = model(**inputs, output_hidden_states=True, output_attentions=True)
        expected = reference.answer(truth, **inputs, output_hidden_states=True, output_attentions=True)
        reference.assert_agrees(ours, expected, inputs["attention_mask"] == 1)


def test_embeddings_of_a_thousand_real_texts(minilm: Path, sentences: list[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import sentence_transformers

        texts = sentences[:TEXTS]
        truth = sentence_transformers.SentenceTransformer(str(minilm), device="cpu")
        expected = truth.encode(texts, batch_size=64, show_progress_bar=False, normalize_embeddings=True)
        tokens = truth.tokenizer(texts, padding=True, truncation=True, max_length=256, return_tensors="pt")
    ours = np.empty_like(expected)
    model = bertcpp.AutoModel.from_pretrained(minilm)
    for start in range(0, TEXTS, 50):
        mask = tokens["attention_mask"][start : start + 50]
        hidden = model(input_ids=tokens["input_ids"][start : start + 50], attention_mask=mask).last_hidden_state
        mean = (hidden.sum(1) / mask.sum(1, keepdim=True)).numpy()  # masked tokens are zeros
        ours[start : start + 50] = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    cosines = (ours.astype(np.float64) * expected).sum(1)
    assert cosines.min() >= COSINE

    whole = bertcpp.SentenceTransformer(str(minilm)).encode(texts, show_progress_bar=False, normalize_embeddings=True)
    assert (whole.astype(np.float64) * expected).sum(1).min() >= COSINE
    assert np.abs(whole - ours).max() < 1e-6


def test_torch_in_torch_out(minilm: Path) -> None:
    model = bertcpp.BertModel.from_pretrained(minilm)
    outputs = model(torch.tensor([[101, 2023, 102]]))
    assert isinstance(outputs.last_hidden_state, torch.Tensor)
    assert outputs.last_hidden_state.dtype is torch.float32
    assert outputs.last_hidden_state.shape == (1, 3, 384)
    assert isinstance(outputs.pooler_output, torch.Tensor)
