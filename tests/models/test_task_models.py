"""Every task model of every family against transformers on random weights, padded and packed."""

from __future__ import annotations

import inspect
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

import bertcpp
import reference_models as reference
from bertcpp.batching import Tokens

if TYPE_CHECKING:
    from pathlib import Path

PREFIXES = reference.FAMILIES | reference.RELATIVES
TASKS = (
    "SequenceClassification",
    "TokenClassification",
    "QuestionAnswering",
    "MaskedLM",
    "MultipleChoice",
    "NextSentencePrediction",
    "PreTraining",
)
CLASSES = [
    (family, task) for family, prefix in PREFIXES.items() for task in TASKS if hasattr(bertcpp, f"{prefix}For{task}")
]
OF_SEQUENCES = ("SequenceClassification", "MultipleChoice", "NextSentencePrediction")
LABELS = {0: "none", 1: "some", 2: "all"}


class Checkpoint:
    """A random model of transformers with a head, saved, and ours."""

    def __init__(self, family: str, task: str, folder: Path, **changes: Any) -> None:
        if task in ("SequenceClassification", "TokenClassification"):
            changes = {"id2label": LABELS, "label2id": {name: index for index, name in LABELS.items()}} | changes
        self.family, self.task = family, task
        self.reference = reference.random_model(family, 11, kind=f"For{task}", num_hidden_layers=2, **changes)
        self.path = reference.save(self.reference, folder)
        self.ours = getattr(bertcpp, f"AutoModelFor{task}").from_pretrained(self.path)


@pytest.fixture(params=CLASSES, ids=["-".join(pair) for pair in CLASSES], scope="module")
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    family, task = request.param
    return Checkpoint(family, task, tmp_path_factory.mktemp(f"{family}-{task}"))


def inputs_of(rng: np.random.Generator, config: Any, shape: tuple[int, ...], padding: str) -> dict[str, np.ndarray]:
    ids = rng.integers(5, config.vocab_size, shape)
    mask = reference.random_mask(rng, padding, int(np.prod(shape[:-1])), shape[-1]).reshape(shape)
    if padding != "holes":
        ids[mask == 0] = config.pad_token_id
    inputs = {"input_ids": ids, "attention_mask": mask}
    if getattr(config, "type_vocab_size", 1) > 1:
        inputs["token_type_ids"] = rng.integers(0, config.type_vocab_size, shape)
    return inputs


def assert_agrees(ours: Any, expected: Any, mask: np.ndarray) -> None:
    """All fields agree: those that are per token where the mask keeps it."""
    assert list(ours.keys()) == list(expected.keys())
    for name, wanted in expected.items():
        pairs = zip(ours[name], wanted, strict=True) if isinstance(wanted, tuple) else [(ours[name], wanted)]
        for actual, right in pairs:
            actual = np.asarray(actual)
            assert actual.dtype == np.float32
            assert actual.shape == right.shape, name
            kept = mask.reshape(-1, mask.shape[-1]) == 1
            if name == "attentions":
                kept = np.broadcast_to(kept[:, None, :, None], right.shape)
            elif right.shape[: kept.ndim] != kept.shape:
                kept = np.ones(right.shape, bool)
            error = np.abs(actual - right)[kept].max() / np.abs(right[kept]).max()
            assert error <= reference.TOLERANCE, f"{name} is off by {error:.2e} of the largest magnitude"


def shape_for(task: str, batch: int, length: int) -> tuple[int, ...]:
    return (batch, 3, length) if task == "MultipleChoice" else (batch, length)


def packed(inputs: dict[str, np.ndarray]) -> Tokens:
    kept = inputs["attention_mask"].reshape(-1, inputs["attention_mask"].shape[-1]) == 1
    cu_seqlens = np.concatenate(([0], np.cumsum(kept.sum(axis=1)))).astype(np.int32)
    flat = {name: value.reshape(kept.shape)[kept].astype(np.int32) for name, value in inputs.items()}
    return Tokens(flat["input_ids"], cu_seqlens, flat.get("token_type_ids"))


@pytest.mark.parametrize("padding", ["right", "left", "holes"])
def test_ragged_batches(checkpoint: Checkpoint, padding: str, rng: np.random.Generator) -> None:
    model = checkpoint.reference
    inputs = inputs_of(rng, model.config, shape_for(checkpoint.task, 4, 19), padding)
    options = {"output_hidden_states": padding == "left", "output_attentions": padding == "right"}
    expected = reference.answer(model, **inputs, **options)
    assert_agrees(checkpoint.ours(**inputs, **options), expected, inputs["attention_mask"])


def test_packed_logits_are_those_of_padded_rows(checkpoint: Checkpoint, rng: np.random.Generator) -> None:
    inputs = inputs_of(rng, checkpoint.reference.config, shape_for(checkpoint.task, 5, 23), "right")
    padded = checkpoint.ours(**inputs).to_tuple()
    answers = checkpoint.ours.packed_logits(packed(inputs), num_threads=2)
    kept = inputs["attention_mask"] == 1
    if checkpoint.task in OF_SEQUENCES:
        assert np.array_equal(answers, padded[0].reshape(answers.shape))
    elif checkpoint.task == "QuestionAnswering":
        assert np.array_equal(answers, np.stack([logits[kept] for logits in padded], axis=1))
        assert (padded[0][~kept] == -10000).all()
    elif checkpoint.task == "PreTraining" and checkpoint.family != "electra":
        assert np.array_equal(answers[0], padded[0][kept])
        assert np.array_equal(answers[1], padded[1])
    else:
        assert np.array_equal(answers, padded[0][kept].reshape(answers.shape))


def test_the_class_is_that_of_transformers(checkpoint: Checkpoint) -> None:
    ours, theirs = type(checkpoint.ours), type(checkpoint.reference)
    assert ours.__name__ == theirs.__name__
    if not (checkpoint.family == "ernie" and checkpoint.task == "PreTraining"):
        assert ours._output_class.__name__ in str(inspect.signature(theirs.forward).return_annotation)
    order = [
        name for name, value in inspect.signature(theirs.forward).parameters.items() if value.kind != value.VAR_KEYWORD
    ]
    named = inspect.signature(ours.forward).parameters
    assert [name for name, value in named.items() if value.kind != value.KEYWORD_ONLY] == order


def test_parameters_are_counted_as_transformers_counts_them(checkpoint: Checkpoint) -> None:
    assert checkpoint.ours.num_parameters() == checkpoint.reference.num_parameters()


def test_torch_tensors_in_and_out(checkpoint: Checkpoint, rng: np.random.Generator) -> None:
    inputs = inputs_of(rng, checkpoint.reference.config, shape_for(checkpoint.task, 2, 9), "right")
    expected = checkpoint.ours(**inputs)
    tensors = checkpoint.ours(**{name: torch.from_numpy(value) for name, value in inputs.items()})
    for name, value in tensors.items():
        assert isinstance(value, torch.Tensor)
        assert np.array_equal(value.numpy(), expected[name])


def test_tuples_and_pickles(checkpoint: Checkpoint, rng: np.random.Generator) -> None:
    inputs = inputs_of(rng, checkpoint.reference.config, shape_for(checkpoint.task, 2, 9), "right")
    again = pickle.loads(pickle.dumps(checkpoint.ours))
    options = {"return_dict": False, "output_hidden_states": True, "output_attentions": True}
    expected = checkpoint.reference(**{name: torch.from_numpy(value) for name, value in inputs.items()}, **options)
    answers = again(**inputs, **options)
    assert isinstance(answers, tuple)
    assert [np.shape(value) for value in answers if not isinstance(value, tuple)] == [
        tuple(value.shape) for value in expected if not isinstance(value, tuple)
    ]
    assert len(answers) == len(expected)
    assert np.array_equal(answers[0], checkpoint.ours(**inputs)[0])


def bert(task: str, folder: Path, family: str = "bert", **changes: Any) -> Checkpoint:
    return Checkpoint(family, task, folder, **changes)


WORDS = ("bert", "roberta", "electra", "distilbert", "mpnet")


@pytest.mark.parametrize("family", WORDS)
@pytest.mark.parametrize("padding", ["right", "left", "holes"])
def test_words_at_positions(family: str, padding: str, tmp_path: Path, rng: np.random.Generator) -> None:
    model = bert("MaskedLM", tmp_path, family).ours
    inputs = inputs_of(rng, model.config, (4, 17), padding)
    whole = model(**inputs).logits
    chosen = (inputs["attention_mask"] == 1) & (rng.random((4, 17)) < 0.3)
    some = model(**inputs, positions=chosen).logits
    assert np.array_equal(some, whole[chosen])
    places = np.nonzero(chosen)
    order = rng.permutation(len(places[0]))
    pair = (places[0][order], torch.from_numpy(places[1][order]))
    assert np.array_equal(model(**inputs, positions=pair).logits, whole[chosen][order])
    assert model(**inputs, positions=np.zeros((4, 17), bool)).logits.shape == (0, model.config.vocab_size)
    if padding == "right":  # elsewhere columns, and so BERT's positions, are not those of packed tokens
        flat = rng.integers(0, len(inputs["input_ids"][inputs["attention_mask"] == 1]), 7)
        tokens = packed(inputs)
        assert np.array_equal(model.packed_logits(tokens, positions=flat), model.packed_logits(tokens)[flat])


def test_pretraining_takes_positions(tmp_path: Path, rng: np.random.Generator) -> None:
    model = bert("PreTraining", tmp_path).ours
    inputs = inputs_of(rng, model.config, (3, 11), "left")  # first tokens that travel along for the pooler
    whole = model(**inputs)
    chosen = inputs["attention_mask"] == 1
    some = model(**inputs, positions=chosen)
    assert np.array_equal(some.prediction_logits, whole.prediction_logits[chosen])
    assert np.array_equal(some.seq_relationship_logits, whole.seq_relationship_logits)


@pytest.mark.parametrize("family", WORDS)
def test_words_of_a_matrix_of_their_own(family: str, tmp_path: Path, rng: np.random.Generator) -> None:
    ours = bert("MaskedLM", tmp_path, family, tie_word_embeddings=False)
    inputs = inputs_of(rng, ours.reference.config, (2, 9), "right")
    assert_agrees(ours.ours(**inputs), reference.answer(ours.reference, **inputs), inputs["attention_mask"])
    assert ours.ours.num_parameters() == ours.reference.num_parameters()


@pytest.mark.parametrize("family", WORDS)
def test_a_tied_matrix_need_not_be_in_the_file(family: str, tmp_path: Path, rng: np.random.Generator) -> None:
    """Tensors that repeat the embeddings or the bias are left out, or come in instead of the other's name."""
    from safetensors.torch import save_file

    ours = bert("MaskedLM", tmp_path, family)
    inputs = inputs_of(rng, ours.reference.config, (2, 9), "right")
    expected = ours.ours(**inputs).logits
    state = {name: value.clone() for name, value in ours.reference.state_dict().items()}
    repeated = ("decoder.weight", "decoder.bias", "lm_head.weight", "vocab_projector.weight")
    save_file(
        {name: value for name, value in state.items() if not name.endswith(repeated)}, tmp_path / "model.safetensors"
    )
    model = type(ours.ours).from_pretrained(tmp_path)
    assert np.array_equal(model(**inputs).logits, expected)
    other = {"cls.predictions.bias", "lm_head.bias"}  # earlier checkpoints have the decoder's name alone
    save_file({name: value for name, value in state.items() if name not in other}, tmp_path / "model.safetensors")
    assert np.array_equal(type(ours.ours).from_pretrained(tmp_path)(**inputs).logits, expected)


def test_a_head_from_a_state_dict(tmp_path: Path, rng: np.random.Generator) -> None:
    """That of a model which ties its decoder has the matrix once more."""
    ours = bert("MaskedLM", tmp_path)
    state = {name: value for name, value in ours.reference.state_dict().items() if name.startswith("cls.")}
    assert "cls.predictions.decoder.weight" in state
    reference.save(ours.reference.bert, tmp_path / "encoder")
    model = bertcpp.BertForMaskedLM.from_pretrained(tmp_path / "encoder", head=state)
    ids = rng.integers(5, 97, (2, 9))
    assert np.array_equal(model(ids).logits, ours.ours(ids).logits)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_in_half_precision(dtype: Any, tmp_path: Path, rng: np.random.Generator) -> None:
    model = reference.random_model("bert", 3, kind="ForMaskedLM").to(dtype)
    reference.save(model, tmp_path)
    inputs = inputs_of(rng, model.config, (2, 9), "right")
    ours = bertcpp.BertForMaskedLM.from_pretrained(tmp_path)
    assert_agrees(ours(**inputs), reference.answer(model.float(), **inputs), inputs["attention_mask"])


def test_choices_from_embeddings(tmp_path: Path, rng: np.random.Generator) -> None:
    ours = bert("MultipleChoice", tmp_path, "electra", summary_activation=None)
    embeds = rng.standard_normal((2, 3, 7, 20)).astype(np.float32)
    expected = reference.answer(ours.reference, inputs_embeds=torch.from_numpy(embeds))["logits"]
    logits = ours.ours(inputs_embeds=embeds).logits
    assert np.abs(logits - expected).max() <= reference.TOLERANCE * np.abs(expected).max()


@pytest.mark.parametrize("saved_as", ["xlm-roberta", "camembert", "data2vec-text"])
def test_relatives_read_each_other(saved_as: str, tmp_path: Path, rng: np.random.Generator) -> None:
    ours = bert("SequenceClassification", tmp_path, saved_as)
    ids = rng.integers(5, 97, (2, 9))
    model = bertcpp.RobertaForSequenceClassification.from_pretrained(tmp_path)
    assert np.array_equal(model(ids).logits, ours.ours(ids).logits)


def test_a_class_of_the_users_own(tmp_path: Path, rng: np.random.Generator) -> None:
    class Scores(bertcpp.BertForSequenceClassification):
        def forward(self, *args: Any, **named: Any) -> Any:
            return super().forward(*args, **named).logits.max(axis=1)

    ours = bert("SequenceClassification", tmp_path)
    ids = rng.integers(5, 97, (2, 9))
    model = Scores.from_pretrained(tmp_path)
    assert type(model) is Scores
    assert np.array_equal(model(ids), ours.ours(ids).logits.max(axis=1))
    automatic = bertcpp.AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert type(automatic) is bertcpp.BertForSequenceClassification


def test_one_model_in_many_threads(tmp_path: Path, rng: np.random.Generator) -> None:
    from concurrent.futures import ThreadPoolExecutor

    model = bert("MaskedLM", tmp_path).ours
    batches = [rng.integers(5, 97, (3, length)) for length in range(2, 42)]
    expected = [model(ids).logits.tobytes() for ids in batches]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda ids: model(ids).logits.tobytes(), batches)) == expected


def test_automatic_classes_choose_as_transformers_do() -> None:
    from transformers.models.auto import modeling_auto

    for task in TASKS:
        names = {
            "SequenceClassification": "SEQUENCE_CLASSIFICATION",
            "TokenClassification": "TOKEN_CLASSIFICATION",
            "QuestionAnswering": "QUESTION_ANSWERING",
            "MaskedLM": "MASKED_LM",
            "MultipleChoice": "MULTIPLE_CHOICE",
            "NextSentencePrediction": "NEXT_SENTENCE_PREDICTION",
            "PreTraining": "PRETRAINING",
        }
        theirs = getattr(modeling_auto, f"MODEL_FOR_{names[task]}_MAPPING_NAMES")
        auto = getattr(bertcpp, f"AutoModelFor{task}")
        for family in PREFIXES:
            config = bertcpp.AutoConfig.for_model(family)
            if family in theirs:
                assert auto._class_for(config).__name__ == theirs[family]
            else:
                with pytest.raises(bertcpp.errors.UnknownArchitectureError, match="does not compute"):
                    auto._class_for(config)


def test_labels_are_those_of_the_configuration(tmp_path: Path) -> None:
    ours = bert("SequenceClassification", tmp_path, problem_type="multi_label_classification").ours
    assert ours.config.id2label == LABELS
    assert ours.config.label2id == {"none": 0, "some": 1, "all": 2}
    assert (ours.config.num_labels, ours.config.problem_type) == (3, "multi_label_classification")
    with pytest.raises(
        bertcpp.errors.WeightMismatchError, match=r"classifier.weight.*\[3, 32\].*\[2, 32\].*num_labels"
    ):
        bertcpp.BertForSequenceClassification.from_pretrained(tmp_path, num_labels=2)
    renamed = bertcpp.BertForSequenceClassification.from_pretrained(tmp_path, id2label={0: "a", 1: "b", 2: "c"})
    assert renamed.config.id2label[2] == "c"


def test_one_answer_whatever_the_batch(tmp_path: Path, rng: np.random.Generator) -> None:
    model = bert("MaskedLM", tmp_path).ours
    inputs = inputs_of(rng, model.config, (9, 31), "right")
    tokens = packed(inputs)
    together = model.packed_logits(tokens, num_threads=1)
    for row in range(9):
        alone = model.packed_logits(tokens.rows(row, row + 1), num_threads=3)
        assert alone.tobytes() == together[tokens.cu_seqlens[row] : tokens.cu_seqlens[row + 1]].tobytes()
