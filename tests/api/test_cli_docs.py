"""The examples of the tasks' commands run, and docs/commands.md shows what they print on a terminal of 100 columns."""

from __future__ import annotations

import io
import json
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import toy_checkpoints as toys
from test_cli_tasks import models, write_csv

from bertcpp import cli

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["models"]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "commands.md"


TASKS = {module.COMMAND.name for module in cli._TASKS} - {"embed"}  # whose examples test_cli has
EXAMPLES = [
    (command.name, line.strip())
    for command in cli.COMMANDS
    if command.name in TASKS
    for line in command.epilog.partition("examples:")[2].splitlines()
    if "bertcpp " in line
]
TABLES: dict[str, tuple[list[str], list[list[str]]]] = {
    "reviews.csv": (["stars", "review"], [["5", text] for text in toys.MOOD_OF]),
    "pairs.csv": (["first", "second"], [["A cat.", "A dog."]]),
    "found.csv": (["query", "passage"], [list(pair) for pair in toys.RELEVANCE]),
}
JSON_LINES: dict[str, list[dict[str, str]]] = {
    "pairs.jsonl": [{"premise": text, "hypothesis": other} for text, other in toys.ENTAILED],
    "questions.jsonl": [{"question": question, "context": context} for question, context in toys.ANSWER_OF],
    "articles.jsonl": [{"body": "Cats sleep. Dogs bark. Birds sing at dawn."}],
}
TEXTS = {
    "texts.txt": list(toys.MOOD_OF),
    "letters.txt": list(toys.ENTITIES_OF),
    "letter.txt": [toys.LETTER],
    "paragraphs.txt": [context for _, context in toys.ANSWER_OF],
    "passages.txt": [document for _, document in toys.RELEVANCE],
    "sentences.txt": ["She lives in [MASK].", "He went to [MASK]."],
    "article.txt": [
        "The council of the town met on Monday to speak about the new library.",
        "Its members argued for three hours over what it may cost. The weather was fine.",
        "In the end they agreed to build the library beside the school. It will open in two years.",
    ],
}


def write_files(folder: Path) -> None:
    """Whatever the examples read."""
    for name, (names, rows) in TABLES.items():
        write_csv(folder / name, names, rows)
    for name, objects in JSON_LINES.items():
        (folder / name).write_text("".join(json.dumps(one) + "\n" for one in objects))
    for name, texts in TEXTS.items():
        (folder / name).write_text("".join(text + "\n" for text in texts))


@pytest.mark.parametrize(("name", "example"), EXAMPLES, ids=[example for _, example in EXAMPLES])
def test_the_examples_of_help_run(
    models: Path, tmp_path: Path, name: str, example: str, monkeypatch: pytest.MonkeyPatch, capsysbinary: Any
) -> None:
    write_files(tmp_path)
    for folder in models.iterdir():
        if folder.is_dir():
            (tmp_path / folder.name).symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    source, _, command = example.rpartition(" | ")
    if source:
        text = (tmp_path / source.removeprefix("cat ")).read_bytes()
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text)))
    before = set(tmp_path.iterdir())
    assert cli.main(shlex.split(command)[1:]) == 0
    out, errors = capsysbinary.readouterr()
    assert errors == b""
    assert out or set(tmp_path.iterdir()) - before


class Shown(NamedTuple):
    command: str
    output: str


def shown() -> Iterator[Shown]:
    for block in re.findall(r"^```console\n(.*?)^```", PAGE.read_text(), flags=re.DOTALL | re.MULTILINE):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            yield Shown(command, output)


class Terminal(io.BytesIO):
    def isatty(self) -> bool:
        return True


def printed(command: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a command prints in the current folder."""
    words = shlex.split(command)
    if words[0] == "cat":
        return Path(words[1]).read_text()
    terminal = Terminal()
    with monkeypatch.context() as patch:
        patch.setenv("TERM", "dumb")
        patch.setenv("COLUMNS", "100")
        patch.setattr("sys.stdout", io.TextIOWrapper(terminal))
        assert words[0] == "bertcpp"
        assert cli.main(words[1:]) == 0
        return terminal.getvalue().decode()


def taken_apart(text: str) -> tuple[str, list[float]]:
    """Text without fractions and bars, whose last places differ between processors; and the fractions."""
    fractions = re.compile(r"-?\d+\.\d+")
    return re.sub(r"[█▏▎▍▌▋▊▉]+ *", "█", fractions.sub("0.0", text)), list(map(float, fractions.findall(text)))


@pytest.mark.parametrize("example", list(shown()), ids=lambda example: example.command)
def test_the_page_shows_what_is_printed(
    models: Path, tmp_path: Path, example: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path)
    for folder in models.iterdir():
        if folder.is_dir():
            (tmp_path / folder.name).symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    text, numbers = taken_apart(printed(example.command, monkeypatch))
    stated_text, stated_numbers = taken_apart(example.output)
    assert text == stated_text
    assert numbers == pytest.approx(stated_numbers, abs=2e-3)
    if "--output" in example.command:
        assert Path(shlex.split(example.command)[-1]).is_file()


def test_the_page_has_every_task() -> None:
    listed = set(re.findall(r"^\| `([a-z-]+)` \|", PAGE.read_text(), flags=re.MULTILINE))
    assert {"embed", *TASKS} <= listed <= {command.name for command in cli.COMMANDS}
    run = {shlex.split(example.command)[1] for example in shown() if example.command.startswith("bertcpp")}
    assert run == {"embed", *TASKS}
