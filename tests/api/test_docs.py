"""What the documents say a program prints is what it prints (that every block runs is test_documents.py's)."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import bertcpp

DOCUMENTS = sorted((Path(__file__).resolve().parents[2] / "docs").glob("**/*.md"))
BLOCKS = [
    (document.name, block)
    for document in DOCUMENTS
    if document.name != "integrations.md"  # tests/integrations runs its examples
    for block in re.findall(r"^```python\n(.*?)^```", document.read_text(), flags=re.DOTALL | re.MULTILINE)
]
PRINTED = re.compile(r"^ *print\(.*\)  # (.+)$", flags=re.MULTILINE)
STATED = [(name, block) for name, block in BLOCKS if PRINTED.search(block)]


def test_the_guide_states_results() -> None:
    assert len([name for name, _ in STATED if name == "guide.md"]) >= 5


@pytest.mark.parametrize(("name", "block"), STATED, ids=[f"{name}-{i}" for i, (name, _) in enumerate(STATED)])
def test_stated_results(name: str, block: str, tmp_path: Path, fitted_heads: dict[str, Path]) -> None:
    for folder, path in fitted_heads.items():
        (tmp_path / folder).symlink_to(path)
    command = [sys.executable, "-c", block]
    environment = os.environ | {"PYTHONPATH": str(Path(bertcpp.__file__).parents[1])}  # the one under test
    completed = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert completed.returncode == 0, completed.stderr
    lines = completed.stdout.splitlines()
    missing = [stated for stated in PRINTED.findall(block) if stated not in lines]
    assert missing == [], f"{name} states {missing}; printed were {lines}"
