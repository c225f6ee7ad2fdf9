"""MTEB on tasks that are made here: the model as it is, and the scores of sentence-transformers."""

from __future__ import annotations

import itertools
import logging
from typing import TYPE_CHECKING, Any

import mteb
import numpy as np
import pytest
from datasets import Dataset
from example_texts import DOCUMENTS
from mteb.abstasks import AbsTaskClassification, AbsTaskRetrieval, AbsTaskSTS
from mteb.abstasks.retrieval_dataset_loaders import RetrievalSplitData
from mteb.abstasks.task_metadata import TaskMetadata
from mteb.cache import ResultCache
from mteb.models.models_protocols import EncoderProtocol
from mteb.types import PromptType
from torch.utils.data import DataLoader

from bertcpp import SentenceTransformer, errors

if TYPE_CHECKING:
    from pathlib import Path

QUERIES = ["Where does it sleep?", "What did the bank do?", "How do I bake?", "Who won?", "What is broken?"]


def metadata(kind: str, score: str, **more: Any) -> TaskMetadata:
    return TaskMetadata(
        name=f"Bertcpp{kind}",
        type=kind,
        main_score=score,
        description="A task of five documents.",
        dataset={"path": "none", "revision": "1"},
        eval_splits=["test"],
        eval_langs=["eng-Latn"],
        category="t2t",
        **more,
    )


class Similarity(AbsTaskSTS):
    metadata = metadata("STS", "cosine_spearman")

    def load_data(self, *args: Any, **kwargs: Any) -> None:
        pairs = list(itertools.product(range(5), range(5)))
        rows = {
            "sentence1": [QUERIES[i] for i, _ in pairs],
            "sentence2": [DOCUMENTS[j] for _, j in pairs],
            "score": [5.0 * (i == j) + 0.1 * i for i, j in pairs],
        }
        self.dataset = {"test": Dataset.from_dict(rows)}
        self.data_loaded = True


class Search(AbsTaskRetrieval):
    metadata = metadata("Retrieval", "ndcg_at_10")

    def load_data(self, *args: Any, **kwargs: Any) -> None:
        split = RetrievalSplitData(
            queries=Dataset.from_list([{"id": f"q{i}", "text": text} for i, text in enumerate(QUERIES)]),
            corpus=Dataset.from_list([{"id": f"d{i}", "text": text} for i, text in enumerate(DOCUMENTS)]),
            relevant_docs={f"q{i}": {f"d{i}": 1, f"d{(i + 1) % 5}": 2} for i in range(5)},
            top_ranked=None,
        )
        self.dataset = {"default": {"test": split}}
        self.data_loaded = True


class Kinds(AbsTaskClassification):
    metadata = metadata("Classification", "accuracy")
    samples_per_label = 8
    n_experiments = 2

    def load_data(self, *args: Any, **kwargs: Any) -> None:
        rows = {"text": (QUERIES + DOCUMENTS) * 8, "label": ([0] * 5 + [1] * 5) * 8}
        self.dataset = {"train": Dataset.from_dict(rows), "test": Dataset.from_dict(rows)}
        self.data_loaded = True


TASKS = [Similarity, Search, Kinds]


def scores(model: Any, task: Any, **arguments: Any) -> dict[str, float]:
    arguments = {"cache": None, "show_progress_bar": False, "co2_tracker": False, **arguments}
    result = mteb.evaluate(model, task, **arguments)
    (only,) = result.task_results
    return {
        name: value
        for name, value in only.scores["test"][0].items()
        if isinstance(value, float) and not np.isnan(value)
    }


@pytest.mark.parametrize("task", TASKS)
def test_scores_are_those_of_sentence_transformers(task: Any, model: SentenceTransformer, reference: Any) -> None:
    ours, theirs = scores(model, task()), scores(reference, task())
    assert len(ours) >= 4
    assert ours == pytest.approx(theirs, abs=1e-4)


@pytest.mark.parametrize("task", TASKS)
def test_prompts_are_those_of_sentence_transformers(task: Any, prompted: Path, prompted_reference: Any) -> None:
    prompts = {
        "query": "query: ",
        "document": "passage: ",
        "STS": "Find what means the same: ",
        "Retrieval-query": "? ",
    }
    prompted_reference.prompts = prompts
    ours, theirs = scores(SentenceTransformer(prompted, prompts=prompts), task()), scores(prompted_reference, task())
    assert ours == pytest.approx(theirs, abs=1e-4)


def test_the_prompt_is_the_most_special_one(prompted: Path) -> None:
    batches = DataLoader(Dataset.from_dict({"text": DOCUMENTS}), batch_size=2)
    prompts = {
        "BertcppRetrieval-query": "1: ",
        "BertcppSTS": "2: ",
        "Retrieval-document": "3: ",
        "Classification": "4: ",
        "query": "5: ",
    }
    model = SentenceTransformer(prompted, prompts=prompts)
    cases = [
        (Search, PromptType.query, "1: "),
        (Similarity, None, "2: "),
        (Similarity, PromptType.query, "2: "),
        (Search, PromptType.document, "3: "),
        (Kinds, None, "4: "),
        (Kinds, PromptType.document, "4: "),
        (Search, None, ""),
    ]
    for task, kind, prompt in cases:
        vectors = model.encode(
            batches, task_metadata=task.metadata, hf_split="test", hf_subset="default", prompt_type=kind, batch_size=3
        )
        np.testing.assert_array_equal(vectors, model.encode(DOCUMENTS, prompt=prompt))


def test_options_of_an_evaluation_reach_the_model(model: SentenceTransformer, reference: Any) -> None:
    options = {"encode_kwargs": {"batch_size": 2, "truncate_dim": 8}}
    ours = scores(model, Similarity(), **options)
    assert ours == pytest.approx(scores(reference, Similarity(), **options), abs=1e-4)
    assert ours != pytest.approx(scores(model, Similarity()), abs=1e-4)


def test_results_are_filed_under_the_engine(model: SentenceTransformer, reference: Any, tmp_path: Path) -> None:
    cache = ResultCache(tmp_path)
    scores(reference, Search(), cache=cache)
    scores(model, Search(), cache=cache)
    written = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("BertcppRetrieval.json")]
    assert len(written) == 2
    assert sum("engine_bertcpp" in path for path in written) == 1


def test_what_is_said_of_the_model(model: SentenceTransformer, prompted: Path, minilm: Path) -> None:
    assert isinstance(model, EncoderProtocol)
    meta = model.mteb_model_meta
    assert meta.experiment_kwargs == {"engine": "bertcpp", "max_seq_length": 256}
    assert meta.name == f"local/{minilm.parent.name}"
    assert (meta.embed_dim, meta.max_tokens, meta.similarity_fn_name.value) == (384, 256, "cosine")
    assert not meta.use_instructions
    other = SentenceTransformer(prompted, truncate_dim=64).mteb_model_meta
    assert other.name == "local/prompted-minilm"
    assert (other.embed_dim, other.use_instructions) == (64, True)
    assert other.revision != meta.revision


def test_a_checkpoint_from_the_hub_keeps_its_name(minilm: Path, tmp_path: Path) -> None:
    import shutil

    snapshot = tmp_path / "models--some--model-name" / "snapshots" / "0123abc"
    shutil.copytree(minilm, snapshot)
    meta = SentenceTransformer(snapshot).mteb_model_meta
    assert (meta.name, meta.revision) == ("some/model-name", "0123abc")


def test_the_description_may_be_replaced(prompted: Path) -> None:
    model = SentenceTransformer(prompted)
    model.mteb_model_meta = model.mteb_model_meta.model_copy(update={"name": "mine/model"})
    assert mteb.evaluate(model, Search(), cache=None, show_progress_bar=False).model_name == "mine/model"


def test_mteb_can_load_the_model(prompted: Path) -> None:
    model = SentenceTransformer(prompted, truncate_dim=64, on_overflow="window")
    model.max_seq_length = 32
    meta = model.mteb_model_meta.model_copy(update={"name": str(prompted), "revision": None})
    loaded = meta.load_model(device="cpu")
    assert isinstance(loaded, SentenceTransformer)
    assert (loaded.truncate_dim, loaded.max_seq_length, loaded.on_overflow) == (64, 32, "window")
    assert loaded.mteb_model_meta.name == str(prompted)
    shorter = meta.model_copy(update={"embed_dim": [16, 64]}).load_model(embed_dim=16)
    assert shorter.get_embedding_dimension() == 16


def test_results_of_other_settings_are_others(model: SentenceTransformer, prompted: Path, tmp_path: Path) -> None:
    cache = ResultCache(tmp_path)
    full = scores(SentenceTransformer(prompted), Similarity(), cache=cache)
    short = SentenceTransformer(prompted, truncate_dim=4)
    assert scores(short, Similarity(), cache=cache) != full
    short.truncate_dim = 5
    scores(short, Similarity(), cache=cache)
    assert len(list(tmp_path.rglob("BertcppSTS.json"))) == 3


def test_results_of_another_dtype_are_others(prompted: Path, tmp_path: Path) -> None:
    cache = ResultCache(tmp_path)
    for dtype in ("float32", "bfloat16", "int8"):
        scores(SentenceTransformer(prompted, model_kwargs={"dtype": dtype}), Similarity(), cache=cache)
    written = [path.as_posix() for path in tmp_path.rglob("BertcppSTS.json")]
    assert [sum(f"dtype_{dtype}" in path for path in written) for dtype in ("float32", "bfloat16", "int8")] == [0, 1, 1]
    assert len(written) == 3


def test_mteb_loads_the_dtype_that_results_are_filed_under(prompted: Path) -> None:
    meta = SentenceTransformer(prompted, model_kwargs={"dtype": "int8"}).mteb_model_meta
    loaded = meta.model_copy(update={"name": str(prompted), "revision": None}).load_model(device="cpu")
    assert loaded.mteb_model_meta.experiment_kwargs["dtype"] == "int8"


def test_tasks_without_text(model: SentenceTransformer) -> None:
    with pytest.raises(errors.InputError, match="has image and no text; bertcpp reads text"):
        model.encode(
            [{"image": [1, 2]}], task_metadata=Search.metadata, hf_split="test", hf_subset="default", prompt_type=None
        )


def test_mteb_has_nothing_to_complain_of(model: SentenceTransformer, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="mteb"):
        scores(model, Search())
    assert [record.message for record in caplog.records] == []
