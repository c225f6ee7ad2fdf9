"""Any number of texts: same bits in any batch, bounded memory, overflow, interruption, threads and processes."""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
import textwrap
import time
import tracemalloc
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import embedding_checkpoints as checkpoints
import numpy as np
import pytest
from embedding_checkpoints import HIDDEN

from bertcpp import SentenceTransformer, batching
from bertcpp.batching import Rows, chunks, splits, token_budget
from bertcpp.errors import InputError, SequenceTooLongError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WORDS = ["the", "weather", "is", "lovely", "today", "and", "sentences", "of", "many", "lengths", "are", "needed"]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory, seed: int) -> Path:
    folder = checkpoints.save_encoder(tmp_path_factory.mktemp("model"), seed)
    heads = [checkpoints.dense(np.random.default_rng(seed), 2 * HIDDEN, 24), ("Normalize", {}, {})]
    return checkpoints.save_modules(folder, "new", ["mean", "max"], heads)


@pytest.fixture(scope="module")
def model(path: Path) -> SentenceTransformer:
    return SentenceTransformer(path)


def ragged(rng: np.random.Generator, count: int, longest: int = 30) -> list[str]:
    return [" ".join(rng.choice(WORDS, rng.integers(0, longest))) for _ in range(count)]


def test_a_text_has_the_same_bits_in_any_batch(model: SentenceTransformer, rng: np.random.Generator) -> None:
    texts = ragged(rng, 300)
    whole = model.encode(texts)
    for place in rng.choice(len(texts), 40, replace=False).tolist():
        assert np.array_equal(model.encode(texts[place], num_threads=1 + place % 4), whole[place])
    for batch_size in (1, 3, 1000):
        order = rng.permutation(len(texts))
        again = model.encode([texts[place] for place in order], batch_size=batch_size, normalize_embeddings=True)
        assert np.array_equal(again, model.encode(texts, normalize_embeddings=True)[order])


def test_minilm_has_the_same_bits_in_any_batch(minilm: Path, sentences: list[str], rng: np.random.Generator) -> None:
    model = SentenceTransformer(minilm)
    texts = [sentences[place] for place in rng.choice(len(sentences), 60, replace=False)]
    whole = model.encode(texts)
    for place in range(0, 60, 7):
        assert np.array_equal(model.encode([texts[place]], num_threads=1)[0], whole[place])
    assert np.array_equal(model.encode(texts[::-1], batch_size=2)[::-1], whole)


def test_ten_thousand_texts_from_a_generator(model: SentenceTransformer, rng: np.random.Generator) -> None:
    pool = ragged(rng, 50, 12)
    alive, most = 0, 0

    class Text(str):
        """A text that counts those of its kind that are held."""

        def __new__(cls, value: str) -> Text:
            nonlocal alive, most
            alive += 1
            most = max(most, alive)
            return super().__new__(cls, value)

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    tracemalloc.start()
    try:
        result = model.encode(Text(pool[number % 50]) for number in range(10_000))
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert result.shape == (10_000, 24)
    assert most < 2_000, "texts are let go of while others are computed"
    assert peak < 4 * result.nbytes + (4 << 20)
    assert held < 2 * result.nbytes + (2 << 20)
    assert np.array_equal(result[:50], model.encode(pool))
    assert np.array_equal(result[:50], result[-50:])


def test_streams_of_any_length(model: SentenceTransformer, rng: np.random.Generator) -> None:
    def endless() -> Iterator[str]:
        while True:
            yield "the weather"

    stream = model.stream(endless())
    first = [next(stream) for _ in range(3)]
    stream.close()  # type: ignore[attr-defined]
    assert {block.dtype for block in first} == {np.dtype(np.float32)}
    texts = ragged(rng, 700)
    assert np.array_equal(
        np.concatenate(list(model.stream(texts, truncate_dim=5))), model.encode(texts, truncate_dim=5)
    )
    assert list(model.stream([])) == []


def test_a_generator_that_raises_is_heard(model: SentenceTransformer) -> None:
    def broken() -> Iterator[str]:
        yield "one"
        raise ZeroDivisionError("in the caller's generator")

    with pytest.raises(ZeroDivisionError):
        model.encode(broken())


def test_places_in_messages_count_from_the_start_of_the_input(model: SentenceTransformer) -> None:
    with pytest.raises(InputError, match=r"inputs\[1500\] is None"):
        model.encode([*["a"] * 1500, None, "b"])


def test_texts_over_the_limit(path: Path) -> None:
    model = SentenceTransformer(path)
    model.max_seq_length = 8
    long, texts = "weather " * 30, ["today", "weather " * 30, "is", "weather " * 20]
    with pytest.warns(
        UserWarning, match=r"2 of 4 texts, the first of them inputs\[1\], were longer than 8 tokens"
    ) as seen:
        warned = model.encode(texts)
    assert len(seen) == 1
    assert seen[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(model.encode(texts, on_overflow="truncate"), warned)
        assert np.array_equal(SentenceTransformer(path, on_overflow="truncate").encode("today"), warned[0])
    with pytest.raises(SequenceTooLongError, match=r"inputs\[1\] has \d+ tokens, more than max_seq_length 8"):
        model.encode(texts, on_overflow="error")
    with pytest.warns(UserWarning, match="1 of 1 texts"):
        model.encode_query(long)
    with pytest.warns(UserWarning, match="1200 of 1200 texts"):
        model.encode([long] * 1200)
    with pytest.warns(UserWarning, match="1 of 1 texts"):
        assert model.encode([("today", long)]).shape == (1, 24)
    strict = SentenceTransformer(path, on_overflow="error")
    with pytest.raises(SequenceTooLongError):
        strict.encode(long * 10)
    shorter = strict.encode(long, processing_kwargs={"text": {"max_length": 8}}, on_overflow="truncate")
    assert np.array_equal(shorter, warned[1])


def test_eight_threads_share_a_model(model: SentenceTransformer, rng: np.random.Generator) -> None:
    texts = ragged(rng, 120)
    expected = model.encode(texts)

    def work(number: int) -> bool:
        order = np.random.default_rng(number).permutation(len(texts))
        return np.array_equal(model.encode([texts[place] for place in order]), expected[order])

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(16)))


def test_a_model_can_be_pickled(path: Path, rng: np.random.Generator) -> None:
    model = SentenceTransformer(path, prompts={"query": "Find: "}, truncate_dim=7, on_overflow="truncate")
    model.max_seq_length = 40
    twin = pickle.loads(pickle.dumps(model))
    texts = ragged(rng, 5)
    assert np.array_equal(twin.encode(texts, prompt_name="query"), model.encode(texts, prompt_name="query"))
    assert (twin.max_seq_length, twin.truncate_dim, twin.device) == (40, 7, "cpu")
    model.set_pooling_include_prompt(False)
    without, twin = model.encode(texts, prompt_name="query"), pickle.loads(pickle.dumps(model))
    assert np.array_equal(twin.encode(texts, prompt_name="query"), without)
    assert not np.array_equal(without, model.encode(["Find: " + text for text in texts]))


def test_worker_processes(path: Path, rng: np.random.Generator) -> None:
    model = SentenceTransformer(path, prompts={"query": "Find: "})
    model.set_pooling_include_prompt(False)
    texts = ragged(rng, 90)
    pool = model.start_multi_process_pool(["cpu", "cpu"])
    try:
        expected = model.encode(texts)
        assert np.array_equal(model.encode(texts, pool=pool), expected)
        assert np.array_equal(model.encode(iter(texts), pool=pool, chunk_size=7), expected)
        assert np.array_equal(model.encode_multi_process(sentences=texts, pool=pool, chunk_size=50), expected)
        assert np.array_equal(model.encode(texts[0], pool=pool), expected[0])
        assert model.encode([], pool=pool).shape == (0,)
        prompted = model.encode(texts, prompt_name="query")
        assert np.array_equal(model.encode(texts, prompt_name="query", pool=pool), prompted)
        for precision in ("int8", "binary"):
            alone = model.encode(texts, precision=precision)  # type: ignore[arg-type]
            assert np.array_equal(model.encode(texts, pool=pool, precision=precision), alone)  # type: ignore[arg-type]
        states = model.encode(texts[:9], pool=pool, chunk_size=2, output_value="token_embeddings")
        assert [len(state) for state in states] == [
            len(s) for s in model.encode(texts[:9], output_value="token_embeddings")
        ]
        with pytest.raises(InputError, match=r"inputs\[3\]"):
            model.encode(["a", "b", "c", None], pool=pool, chunk_size=2)
        with pytest.warns(UserWarning, match=r"1 of 3 texts, the first of them inputs\[2\]"):
            model.encode(["a", "b", "weather " * 100], pool=pool, chunk_size=1)
        pool["processes"][0].kill()
        pool["processes"][0].join()
        pool["processes"][1].kill()
        with pytest.raises(RuntimeError, match="ended with exit code"):
            model.encode(texts, pool=pool)
    finally:
        model.stop_multi_process_pool(pool)
    with pytest.raises(RuntimeError, match="the pool was stopped"):
        model.encode(texts, pool=pool)
    with pytest.raises(ValueError, match="computes on 'cpu'"):
        model.start_multi_process_pool(["mps"])


def test_ctrl_c_stops_between_batches(minilm: Path) -> None:
    script = f"""
        import itertools, sys, time
        from bertcpp import SentenceTransformer
        model = SentenceTransformer({str(minilm)!r})
        texts = itertools.repeat("The weather is lovely today. " * 8)
        since = time.monotonic()
        for _ in itertools.islice(model.stream(texts), 4):
            pass
        print((time.monotonic() - since) / 4, flush=True)
        try:
            model.encode(texts)
        except KeyboardInterrupt:
            model.encode("the model is as good as before")
            print("stopped", flush=True)
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        one_batch = float(process.stdout.readline())
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        since = time.monotonic()
        assert process.stdout.readline() == "stopped\n"
        # A batch takes a tenth of a second, unless the machine is busy with other things.
        assert time.monotonic() - since < 0.5 + 5 * one_batch
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.communicate()


def test_chunks_are_bounded_in_texts_and_characters() -> None:
    assert [len(chunk) for chunk in chunks(["a"] * 1100)] == [512, 512, 76]
    assert [len(chunk) for chunk in chunks(["a" * 60] * 5, characters=100)] == [2, 2, 1]
    assert [len(chunk) for chunk in chunks([("a" * 60, "b" * 60)] * 3, characters=100)] == [1, 1, 1]
    assert list(chunks([])) == []


def test_splits_share_the_tokens(rng: np.random.Generator) -> None:
    for _ in range(200):
        lengths = rng.integers(1, 60, rng.integers(1, 80))
        cu_seqlens = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
        budget = int(rng.integers(1, 700))
        ranges = list(splits(cu_seqlens, budget))
        assert [start for start, _ in ranges] == [0, *(end for _, end in ranges[:-1])]
        assert ranges[-1][1] == len(lengths)
        assert all(end > start for start, end in ranges)
        assert max(int(cu_seqlens[end] - cu_seqlens[start]) for start, end in ranges) < max(budget, lengths.mean()) + 60


def test_batches_shrink_as_models_grow() -> None:
    def budget(layers: int, hidden: int) -> int:
        return token_budget(
            {"num_hidden_layers": layers, "hidden_size": hidden, "intermediate_size": 4 * hidden}, threads=2
        )

    assert budget(2, 128) == 1024
    assert budget(6, 384) > budget(12, 768) > budget(24, 1024) == 256
    assert token_budget({"num_hidden_layers": 1, "hidden_size": 1, "intermediate_size": 1}, 64) == 64 * 512


def test_rows_grow_in_place(rng: np.random.Generator) -> None:
    blocks = [rng.standard_normal((int(count), 3)) for count in rng.integers(1, 9, 30)]
    for expected in (None, sum(map(len, blocks)), len(blocks[0]), 1000):
        rows = Rows(expected)
        for block in blocks:
            rows.append(block)
        gathered: Any = rows.array()
        assert np.array_equal(gathered, np.concatenate(blocks))
    assert Rows(None).array() is None


def test_a_progress_bar_on_request(model: SentenceTransformer, capfd: pytest.CaptureFixture[str]) -> None:
    model.encode(["a", "b"])
    assert capfd.readouterr().err == ""
    model.encode(["a", "b"], show_progress_bar=True)
    assert "2/2" in capfd.readouterr().err
    model.encode(iter(["a", "b"]), show_progress_bar=True)
    assert "2 texts" in capfd.readouterr().err


def test_a_progress_bar_on_a_terminal_for_long_work(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    for delay, shown in ((3600.0, False), (0.0, True)):
        monkeypatch.setattr(batching, "_PROGRESS_DELAY_S", delay)
        progress = batching.Progress(None, 9)
        progress.update(4)
        progress.update(5)
        progress.close()
        assert ("9/9" in capfd.readouterr().err) == shown
