"""The `bertcpp` command, run as people run it: a process of its own, with files, pipes, terminals and signals."""

from __future__ import annotations

import gzip
import io
import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from command_line import COMMAND, ENVIRONMENT, save_model

from bertcpp import SentenceTransformer, cli, devices
from bertcpp.cli import main
from bertcpp.commands.wording import in_options

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = ["The weather is lovely today.", "", "It's so sunny outside"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, seed: int) -> Path:
    return save_model(tmp_path_factory.mktemp("model"), seed)


@pytest.fixture(scope="module")
def expected(model: Path) -> np.ndarray:
    return SentenceTransformer(model).encode(TEXTS)  # type: ignore[no-any-return]


def run(*arguments: Any, stdin: str | bytes = b"", **options: Any) -> subprocess.CompletedProcess[bytes]:
    given = stdin.encode() if isinstance(stdin, str) else stdin
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(
        command, input=given, capture_output=True, timeout=120, check=False, env=ENVIRONMENT, **options
    )


def succeed(*arguments: Any, **options: Any) -> bytes:
    done = run(*arguments, **options)
    assert (done.returncode, done.stderr.decode()) == (0, "")
    return done.stdout


def fail(code: int, *arguments: Any, **options: Any) -> str:
    """The one line on standard error."""
    done = run(*arguments, **options)
    message = done.stderr.decode()
    assert (done.returncode, done.stdout) == (code, b""), message
    assert message.count("\n") == 1
    return message


def vectors(lines: bytes) -> np.ndarray:
    return np.array([json.loads(line)["embedding"] for line in lines.splitlines()], dtype=np.float32)


def test_texts_as_arguments(model: Path, expected: np.ndarray) -> None:
    out = succeed("embed", "--model", model, *TEXTS)
    assert [json.loads(line)["text"] for line in out.splitlines()] == TEXTS
    assert np.array_equal(vectors(out), expected), "nine digits bring every bit back"
    plain = succeed("embed", "-m", model, "--format", "plain", *TEXTS)
    assert np.array_equal(np.loadtxt(io.BytesIO(plain), dtype=np.float32), expected)
    preview = succeed("embed", "-m", model, "--format", "preview", *TEXTS).decode()
    assert "The weather is lovely today.\n  24 numbers of length 1.000:  " in preview


def test_texts_from_files_and_standard_input(model: Path, expected: np.ndarray, tmp_path: Path) -> None:
    file = tmp_path / "texts.txt"
    file.write_bytes("\ufeff".encode() + "\r\n".join(TEXTS).encode())
    lines = "\n".join(TEXTS)
    assert np.array_equal(vectors(succeed("embed", "-m", model, "-f", file)), expected)
    assert np.array_equal(vectors(succeed("embed", "-m", model, stdin=lines + "\n")), expected)
    assert np.array_equal(vectors(succeed("embed", "-m", model, "--file", "-", stdin=lines)), expected)
    assert succeed("embed", "-m", model) == b""


def test_json_lines_in(model: Path, expected: np.ndarray, tmp_path: Path) -> None:
    file = tmp_path / "texts.jsonl"
    file.write_text("\n".join(json.dumps({"id": number, "text": text}) for number, text in enumerate(TEXTS)))
    out = succeed("embed", "-m", model, "--file", file)
    assert [json.loads(line)["id"] for line in out.splitlines()] == [0, 1, 2]
    assert np.array_equal(vectors(out), expected)
    lines = "\n".join([json.dumps({"body": TEXTS[0]}), json.dumps(TEXTS[2])])
    assert np.array_equal(vectors(succeed("embed", "-m", model, "--field", "body", stdin=lines)), expected[[0, 2]])


@pytest.mark.parametrize("name", ["out.npy", "out.jsonl", "out.txt"])
def test_files_out(model: Path, expected: np.ndarray, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("what was there before")
    assert succeed("embed", "-m", model, "--output", path, *TEXTS) == b""
    read = {".npy": np.load, ".jsonl": lambda p: vectors(p.read_bytes()), ".txt": lambda p: np.loadtxt(p, np.float32)}
    assert np.array_equal(read[path.suffix](path), expected)
    assert os.listdir(tmp_path) == [name]
    mask = os.umask(0)
    os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~mask


def test_numpy_to_a_pipe_and_of_nothing(model: Path, expected: np.ndarray, tmp_path: Path) -> None:
    assert np.array_equal(np.load(io.BytesIO(succeed("embed", "-m", model, "--format", "npy", *TEXTS))), expected)
    succeed("embed", "-m", model, "-o", tmp_path / "none.npy")
    assert np.load(tmp_path / "none.npy").shape == (0, 0)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    process = subprocess.Popen([*COMMAND, "embed", "-m", str(model), "-o", str(fifo), *TEXTS])
    assert len(fifo.read_bytes().splitlines()) == len(TEXTS)
    assert process.wait(60) == 0


def test_options_reach_the_model(model: Path) -> None:
    loaded = SentenceTransformer(model)
    cases: list[tuple[list[str], dict[str, Any]]] = [
        (["--prompt", "Say: "], {"prompt": "Say: "}),
        (["--prompt-name", "query"], {"prompt_name": "query"}),
        (["--truncate-dim", "5", "--normalize"], {"truncate_dim": 5, "normalize_embeddings": True}),
        (["--batch-size", "1"], {}),
        (["--precision", "ubinary", "--threads", "1"], {"precision": "ubinary"}),
        (["--precision", "uint8", "--quiet"], {"precision": "uint8"}),
        (["--max-length", "5", "--on-overflow", "truncate"], {"processing_kwargs": {"text": {"max_length": 5}}}),
    ]
    loaded.on_overflow = "truncate"
    for options, same in cases:
        done = run("embed", "-m", model, "--format", "npy", *options, *TEXTS)
        assert done.returncode == 0
        assert np.array_equal(np.load(io.BytesIO(done.stdout)), loaded.encode(TEXTS, **same)), options


def test_what_is_cut_is_said(model: Path) -> None:
    long = "weather " * 100
    done = run("embed", "-m", model, long)
    assert done.returncode == 0
    assert re.fullmatch(r"bertcpp: warning: 1 of 1 texts, .* longer than 64 tokens .*\n", done.stderr.decode())
    assert "raise --max-length (at most 64 here), or pass --on-overflow window to" in done.stderr.decode()
    assert "windows, truncate to cut silently, error to refuse" in done.stderr.decode()
    assert succeed("embed", "-m", model, "--quiet", long) == done.stdout
    assert succeed("embed", "-m", model, "--on-overflow", "truncate", long) == done.stdout
    assert "inputs[0] has 102 tokens" in fail(1, "embed", "-m", model, "--on-overflow", "error", long)


def test_arguments_are_called_by_the_options_of_the_command() -> None:
    _, parsers = cli._parser()
    told = {
        ("embed", "raise max_seq_length, on_overflow='warn'"): "raise --max-length, --on-overflow warn",
        ("answer", "a larger max_seq_len or a smaller doc_stride"): "a larger --window or a smaller --stride",
        ("summarize", "max_length must be"): "--max-tokens must be",
        ("fill-mask", "pass tokenizer_kwargs={'truncation': True} to"): "pass --truncate to",
        ("info", "raise max_seq_length"): "raise max_seq_length",
        ("embed", "my/batch_size: 'batch_size' in batch_size.json"): "my/batch_size: 'batch_size' in batch_size.json",
    }
    for (command, message), wanted in told.items():
        assert in_options(message, parsers[command]) == wanted


def test_thousands_of_lines(model: Path, tmp_path: Path) -> None:
    text = "".join(f"sentence number {number}\n" for number in range(3000))
    succeed("embed", "-m", model, "-o", tmp_path / "all.npy", stdin=text)
    result = np.load(tmp_path / "all.npy", mmap_mode="r")
    assert result.shape == (3000, 24)
    picked = [0, 511, 512, 2999]
    assert np.array_equal(result[picked], SentenceTransformer(model).encode([f"sentence number {n}" for n in picked]))


def test_info(model: Path) -> None:
    said = succeed("info", model).decode()
    for pattern in (
        "model type +bert",
        "layers +3",
        "hidden size +32",
        "pooling +mean, then Dense 32 to 24, then Norm",
    ):
        assert re.search(pattern, said), pattern
    assert re.search("instruction set +(avx512|avx2|neon|scalar)", said)
    facts = json.loads(succeed("info", model, "--json"))
    assert facts["checkpoint"]["parameters"] == sum(p.size for p in _tensors(model))
    assert facts["checkpoint"]["stored_as"] == ["float32"]
    assert facts["checkpoint"]["prompts"] == {"query": "Find: "}
    machine = facts["machine"]
    assert machine["threads"] >= 1
    assert sorted(machine["native_dtypes"] + machine["emulated_dtypes"]) == ["bfloat16", "float32", "int8"]
    assert ("bfloat16" in machine["native_dtypes"]) == (machine["instruction_set"] in ("amx", "avx512_bf16"))
    assert machine["auto_dtype"] == ("int8" if "int8" in machine["native_dtypes"] else "float32")
    assert machine["gpus"] == (devices.gpus() or f"none: {devices.why_no_gpu()}")
    assert re.search("native dtypes +float32", said)
    assert succeed("info").decode().startswith("machine\n")


def _tensors(model: Path) -> list[Any]:
    from safetensors.numpy import load_file

    return list(load_file(model / "model.safetensors").values())


def test_help_teaches_and_costs_little() -> None:
    for arguments in (["--help"], *([command.name, "--help"] for command in cli.COMMANDS)):
        said = succeed(*arguments).decode()
        assert "examples:" in said
        assert max(map(len, said.splitlines())) <= 120
    assert re.fullmatch(r"bertcpp \S+\n", succeed("--version").decode())
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, bertcpp.cli\nprint(sorted({'numpy', 'tokenizers'} & set(sys.modules)))"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert loaded.stdout == "[]\n"


def test_the_examples_of_help_run(minilm: Path, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS))
    (tmp_path / "texts.gz").write_bytes(gzip.compress((tmp_path / "texts.txt").read_bytes()))
    (tmp_path / "articles.jsonl").write_text(json.dumps({"body": TEXTS[0]}))
    (tmp_path / "reviews.csv").write_text("stars,review\n" + "".join(f'5,"{text}"\n' for text in TEXTS))
    (tmp_path / "my-model").symlink_to(minilm)
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "bertcpp").write_text(f'#!/bin/sh\nexec {shlex.join(COMMAND)} "$@"\n')
    (programs / "bertcpp").chmod(0o755)
    environment = {**ENVIRONMENT, "PATH": f"{programs}:{os.environ['PATH']}"}
    # The tasks' commands are test_cli_tasks's, convert is test_conversion's.
    epilogs = [command.epilog for command in cli.COMMANDS if command.name in ("embed", "info", "bench")]
    examples = [
        re.split(r" {3,}", line.strip())[0]
        for text in (cli._EPILOG, *epilogs)
        for line in text.partition("examples:")[2].splitlines()
        if "bertcpp " in line and "COMMAND" not in line
    ]
    assert len(examples) == 18
    for example in examples:
        if " --compare " in example:
            continue  # test_cli_bench's: other engines take long to load
        if " bench " in example:
            example += " --shapes 1x16 --rounds 1 --seconds 0.001"
        done = subprocess.run(
            example, shell=True, cwd=tmp_path, env=environment, capture_output=True, timeout=60, check=False
        )
        assert (done.returncode, done.stderr) == (0, b""), example
    assert np.load(tmp_path / "vectors.npy").shape == (3, 48)
    assert vectors((tmp_path / "vectors.jsonl").read_bytes()).shape == (1, 384)


MISTAKES = [
    (2, [], "required: COMMAND"),
    (2, ["nonsense"], "invalid choice: 'nonsense'"),
    (2, ["embed", "--nonsense", "a"], "unrecognized arguments"),
    (2, ["embed", "--batch-size", "0", "a"], "'0' is not a positive whole number"),
    (2, ["embed", "--batch-size", "many", "a"], "'many' is not a positive whole number"),
    (2, ["embed", "--format", "csv", "a"], "invalid choice: 'csv'"),
    (2, ["embed", "--file", "x", "a"], "choose one"),
    (2, ["embed", "--field", "x", "a"], "--column is for tables and JSON lines"),
    (2, ["embed", "--prompt", "a", "--prompt-name", "b", "c"], "not allowed with"),
    (1, ["embed", "--model", "no/such/model/here", "a"], "no/such/model/here"),
    (1, ["embed", "--file", "no-such-file"], "no-such-file: No such file or directory"),
    (1, ["embed", "--file", "."], "Is a directory"),
    (1, ["embed", "--output", "no-such-folder/out.npy", "a"], "No such file or directory"),
    (1, ["embed", "--prompt-name", "nope", "a"], "--prompt-name 'nope' is none of the prompts"),
    (1, ["embed", "--max-length", "100000", "a"], "--max-length must be an integer from 1 to 64"),
    (1, ["info", "no/such/model/here"], "no/such/model/here"),
]


@pytest.mark.parametrize(("code", "arguments", "message"), MISTAKES)
def test_mistakes(model: Path, tmp_path: Path, code: int, arguments: list[str], message: str) -> None:
    if arguments[:1] == ["embed"] and "--model" not in arguments:
        arguments = ["embed", "--model", str(model), *arguments[1:]]
    said = fail(code, *arguments, cwd=tmp_path)
    assert said.startswith("bertcpp")
    assert message in said


@pytest.mark.parametrize(
    ("stdin", "options", "message"),
    [
        (b"fine\n\xff\xfe\n", [], "standard input, line 2: not UTF-8"),
        (b'{"text": "a"}\n{"body": 1}', ["--field", "text"], "line 2: no text under 'text' (it holds ['body'])"),
        (b"{", ["--field", "text"], "line 1: not JSON"),
        (b"[1]", ["--field", "text"], "line 1: no text under 'text' (it holds list)"),
    ],
)
def test_lines_that_are_wrong(model: Path, tmp_path: Path, stdin: bytes, options: list[str], message: str) -> None:
    out = tmp_path / "out.jsonl"
    assert message in fail(1, "embed", "-m", model, "-o", out, *options, stdin=stdin)
    assert os.listdir(tmp_path) == [], "nothing half-written is left"


def test_an_output_that_cannot_be_written_is_named_as_given(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "gone" / "out.npy"
    said = fail(1, "embed", "-m", model, "-o", path, "a")
    assert f"{path}: cannot be written (No such file or directory); check the folder" in said


def test_an_output_with_a_name_as_long_as_names_may_be(model: Path, tmp_path: Path) -> None:
    path = tmp_path / ("ü" * 125 + ".npy")
    assert run("embed", "-m", model, "-o", path, "a").returncode == 0
    assert os.listdir(tmp_path) == [path.name]


def test_debug_shows_the_traceback() -> None:
    done = run("info", "no/such/model/here", "--debug")
    assert b"Traceback" in done.stderr


def test_any_thread_may_run_a_command() -> None:
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(main, ["info", "no/such/model/here"]).result() == 1


def endless(model: Path, *arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
    shell = f"yes 'The weather is lovely today.' | exec {shlex.join([*COMMAND, 'embed', '-m', str(model), *arguments])}"
    return subprocess.Popen(["bash", "-c", shell], start_new_session=True, **options)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted(model: Path, tmp_path: Path, number: signal.Signals, code: int) -> None:
    process = endless(model, "-o", str(tmp_path / "out.npy"), stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 60
        while not any(path.stat().st_size > 1 << 16 for path in tmp_path.iterdir()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.killpg(process.pid, number)
        _, said = process.communicate(timeout=30)
        assert said == b""
        if number == signal.SIGINT:
            assert process.returncode == code
        assert os.listdir(tmp_path) == []
    finally:
        process.kill()
        process.wait()


def test_on_a_terminal(model: Path) -> None:
    """Without texts it does not wait for them, and vectors are shown as a preview."""
    for arguments, code, shown in (([], 2, b"no texts: pass them"), (["A"], 0, b"A\r\n  24 numbers of length 1.000")):
        ours, theirs = pty.openpty()
        command = [*COMMAND, "embed", "-m", str(model), *arguments]
        process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)
        seen = b""
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # how Linux says that the other end is closed
                break
            if not part:
                break
            seen += part
        os.close(ours)
        assert process.wait(60) == code
        assert shown in seen
