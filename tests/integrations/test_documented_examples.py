"""Every example of docs/integrations.md runs and prints what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "integrations.md"
SECTIONS = re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", DOCUMENT.read_text(), flags=re.DOTALL | re.MULTILINE)
EXAMPLES = [
    (title, block)
    for title, section in SECTIONS
    for block in re.findall(r"^```python\n(.*?)^```", section, flags=re.DOTALL | re.MULTILINE)
]
# Run before the example: any way out of this machine ends it.
NO_NETWORK = """
import socket

def refuse(*where, **more):
    raise SystemExit(f"the example asked for the network: {where}")

socket.getaddrinfo = socket.create_connection = refuse
"""


def test_there_is_an_example_for_each_library() -> None:
    assert [title for title, _ in EXAMPLES] == [
        "LangChain",
        "LlamaIndex",
        "Haystack",
        "Chroma",
        "BERTopic",
        "KeyBERT",
        "MTEB",
    ]


@pytest.mark.parametrize(("title", "block"), EXAMPLES, ids=[title for title, _ in EXAMPLES])
def test_example(title: str, block: str, tmp_path: Path) -> None:
    environment = os.environ | {"HOME": str(tmp_path)}
    completed = subprocess.run(
        [sys.executable, "-c", NO_NETWORK + block],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert completed.returncode == 0, f"{title}\n{completed.stderr}"
    stated = re.findall(r"^print\(.*\)  # (.+)$", block, flags=re.MULTILINE)
    assert stated
    assert [line for line in stated if line not in completed.stdout.splitlines()] == []


def test_the_versions_stated_are_those_installed() -> None:
    from importlib.metadata import version

    text = re.sub(r"\s+", " ", DOCUMENT.read_text())
    listed = text.split("`make test-integrations`:")[1].split("##")[0]
    stated = dict(re.findall(r"([a-z-]+) ([\d.]+\d)", listed))
    assert len(stated) == 7
    assert {package: version(package) for package in stated} == stated
