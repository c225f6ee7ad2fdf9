"""The `bertcpp` command with streams that are closed, full, not for reading, or left by their reader."""

from __future__ import annotations

import errno
import io
import os
import shlex
import subprocess
from typing import TYPE_CHECKING

import numpy as np
import pytest
from command_line import COMMAND, ENVIRONMENT, save_model

from bertcpp import cli

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, seed: int) -> Path:
    return save_model(tmp_path_factory.mktemp("model"), seed)


def shell(line: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["bash", "-c", line], capture_output=True, timeout=60, check=False, env=ENVIRONMENT)


def test_a_reader_that_leaves(model: Path) -> None:
    command = f"yes 'The weather is lovely today.' | {shlex.join([*COMMAND, 'embed', '-m', str(model)])} | head -n 2"
    done = shell(command)
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 2
    assert done.stderr == b""


def test_streams_that_are_closed(model: Path, tmp_path: Path) -> None:
    embed = shlex.join([*COMMAND, "embed", "-m", str(model), "weather " * 100])
    info = shlex.join([*COMMAND, "info"])
    unread = shlex.join([*COMMAND, "embed", "-m", str(model), "--file", "-"])
    complaint = b"bertcpp: error: the output cannot be written: "
    cases = [
        (f"{embed} -q >&-", 1, complaint + b"Bad file descriptor\n"),
        (f"{info} >&-", 1, complaint + b"Bad file descriptor\n"),
        (f"{info} >/dev/full", 1, complaint + b"No space left on device\n"),
        (f"{shlex.join([*COMMAND, '--version'])} >/dev/full", 1, complaint + b"No space left on device\n"),
        (f"{shlex.join([*COMMAND, 'embed', '--help'])} >/dev/full", 1, complaint + b"No space left on device\n"),
        (f"{embed} -o {tmp_path / 'untold.npy'} 2>/dev/full", 0, b""),  # cut, and nobody can be told
        (f"{unread} 0>{tmp_path / 'out'}", 1, b"bertcpp: error: standard input: Bad file descriptor\n"),
        (f"{unread} --input-format parquet 0>/dev/null", 1, b"bertcpp: error: standard input: Bad file descriptor\n"),
        (f"{embed} -q -o {tmp_path / 'vectors.npy'} >&-", 0, b""),
    ]
    for command, code, said in cases:
        done = shell(command)
        assert (done.returncode, done.stderr) == (code, said), command
    assert np.load(tmp_path / "vectors.npy").shape == (1, 24)
    done = shell(embed)
    assert done.returncode == 0
    assert b"warning" in done.stderr
    reads, writes = os.pipe()
    os.close(reads)
    done = subprocess.run(
        [*COMMAND, "--help"], stdout=writes, stderr=subprocess.PIPE, timeout=60, check=False, env=ENVIRONMENT
    )
    os.close(writes)
    assert (done.returncode, done.stderr) == (141, b"")
    done = shell(f"{unread} <&-")
    assert done.returncode == 1
    assert b"standard input is closed; name a file" in done.stderr
    done = shell(f"{embed} 2>&-")
    assert done.returncode == 0
    assert b"warning" not in done.stdout  # which goes where nobody reads it, not among the results


class Full(io.StringIO):
    """A caller's own stream, without a descriptor, that takes no more."""

    def flush(self) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_caller_s_stream_that_cannot_be_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdout", Full())
    assert cli.main(["info"]) == 1
    assert capsys.readouterr().err == "bertcpp: error: the output cannot be written: No space left on device\n"
