"""Every command that the documents show exists and runs, or is run by another test that is named here."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<body>.*?)^(?P=indent)```", re.DOTALL | re.MULTILINE)
SHELL = ("bash", "sh", "console", "shell")
# Commands that other checks run, or that need a network; the pattern is matched against the whole command.
RUN_ELSEWHERE = {
    r"make \S+.*": "test_make_knows",
    r"bertcpp convert .+": "tests/api/test_conversion.py",
    r"git clone \S+( && cd \S+)?|cd \S+": "setting up",
    r"(\S*python3? -m )?pip install .+": "make install, make test, make wheel",
    r"(\S+=\S+ )*(\S*python3? -m )?pytest.*": "this suite",
    r"\.ci/run": "continuous integration",
    r"(sudo )?apt-get .*": "setting up",
    r"bertcpp bench .*": "tests/api/test_cli_bench.py",
    r"(\S+=\S+ )*(\S*python3? )(examples|bench|fuzz)/\S+\.py.*": "test_scripts_exist",
}


def blocks(languages: tuple[str, ...]) -> list[tuple[str, str]]:
    found = []
    for document in DOCUMENTS:
        for fence in FENCE.finditer(document.read_text()):
            if fence["language"] in languages:
                body = re.sub(rf"^{fence['indent']}", "", fence["body"], flags=re.MULTILINE)
                found.append((document.name, body))
    return found


def commands() -> list[tuple[str, str]]:
    """(document, command) of every command shown; in console blocks the lines after `$`."""
    found = []
    for document, body in blocks(SHELL):
        lines = body.replace("\\\n", " ").splitlines()
        prompts = [line[2:] for line in lines if line.startswith("$ ")]
        for line in prompts or lines:
            command = re.sub(r"\s+#.*$", "", line).strip()
            if command and not command.startswith("#"):
                found.append((document, command))
    return found


COMMANDS = commands()
# ARCHITECTURE.md shows signatures, no programs; the examples of integrations.md are run by `make test-integrations`.
PYTHON_BLOCKS = [block for block in blocks(("python",)) if block[0] not in ("ARCHITECTURE.md", "integrations.md")]


def known_elsewhere(command: str) -> bool:
    return any(re.fullmatch(pattern, command) for pattern in RUN_ELSEWHERE)


def test_the_documents_show_the_two_commands() -> None:
    assert ("README.md", "make demo") in COMMANDS
    assert ("README.md", "make test") in COMMANDS


SHOWN = "\n".join(path.read_text() for path in DOCUMENTS)
MAKE_TARGETS = sorted(set(re.findall(r"(?:^|`)make ([a-z-]+)", SHOWN, re.MULTILINE)))
MAKEFILE = (ROOT / "Makefile").read_text()


@pytest.mark.parametrize("target", MAKE_TARGETS)
def test_make_knows(target: str) -> None:
    assert re.search(rf"^{target}:.*## ", MAKEFILE, flags=re.MULTILINE), f"`make` does not explain {target}"


def test_every_make_target_is_listed() -> None:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    names = re.findall(r"^([a-z-]+):.*## ", MAKEFILE, flags=re.MULTILINE)
    assert len(names) >= 10
    assert [name for name in names if f"make {name} " not in listed] == []
    for name in names:
        dry = subprocess.run(["make", "-n", name], cwd=ROOT, capture_output=True, text=True, check=False)
        assert dry.returncode == 0, dry.stderr


def test_scripts_exist() -> None:
    words = {word for _, command in COMMANDS for word in command.split()}
    scripts = {word for word in words if re.fullmatch(r"[\w./-]+/[\w.-]+\.(py|sh)", word)}
    scripts |= set(re.findall(r"\b(?:tests|bench|examples)/\w+\.(?:sh|py)\b", MAKEFILE))
    assert "examples/demo.py" in scripts
    assert [script for script in sorted(scripts) if not (ROOT / script).is_file()] == []


def test_extras_exist() -> None:
    declared = set(re.findall(r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text(), flags=re.MULTILINE))
    installed = [command for _, command in COMMANDS if "pip install" in command]
    groups = [group for command in installed for group in re.findall(r"\[([\w,]+)\]", command)]
    shown = {extra for group in groups for extra in group.split(",")}
    assert shown <= declared


RUNNABLE = [
    (document, command)
    for document, command in COMMANDS
    if not known_elsewhere(command) and document != "commands.md"  # whose commands and outputs are test_cli_docs's
]


@pytest.mark.parametrize(("document", "command"), RUNNABLE, ids=[command for _, command in RUNNABLE])
def test_command_runs(document: str, command: str, tmp_path: Path) -> None:
    """`bertcpp ...` in an empty folder, with this environment's bertcpp first on the path."""
    assert re.search(r"\bbertcpp\b", command), f"{document} shows a command that nothing runs: {command}"
    program = tmp_path / "bin" / "bertcpp"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\nimport sys\nfrom bertcpp.cli import main\nsys.exit(main())\n")
    program.chmod(0o755)
    (tmp_path / "sentences.txt").write_text("A man is eating food.\nThe weather is lovely today.\n")
    environment = os.environ | {"PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"}
    shell = ["bash", "-o", "pipefail", "-c", command]
    completed = subprocess.run(
        shell, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert completed.returncode == 0, f"{shlex.join(shell)}\n{completed.stderr}"
    assert completed.stdout or any(path.suffix in (".npy", ".jsonl") for path in tmp_path.iterdir())


@pytest.mark.parametrize(
    ("document", "source"), PYTHON_BLOCKS, ids=[f"{document}-{i}" for i, (document, _) in enumerate(PYTHON_BLOCKS)]
)
def test_python_block_runs(document: str, source: str, tmp_path: Path, fitted_heads: dict[str, Path]) -> None:
    for folder, path in fitted_heads.items():
        (tmp_path / folder).symlink_to(path)
    command = [sys.executable, "-W", "error::DeprecationWarning:__main__", "-c", source]
    completed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert completed.returncode == 0, f"{source}\n{completed.stderr}"
