"""The `bertcpp` command with mistaken arguments and files: one line that says what is wrong, and an exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from case import Case, Raises, Works

if TYPE_CHECKING:
    from collections.abc import Callable

    from workshop import Workshop


class RefusedError(Exception):
    """The command's exit code and what it said."""


def command(*arguments: str, stdin: bytes = b"") -> Callable[[Workshop], str]:
    """Run the command; {} in an argument is the checkpoint's folder. Returns what it printed."""

    def act(w: Workshop) -> str:
        line = [sys.executable, "-m", "bertcpp", *(argument.replace("{}", str(w.folder)) for argument in arguments)]
        variables = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(line, input=stdin, env=variables, cwd=w.folder, capture_output=True, check=False)
        said = done.stderr.decode()
        if done.returncode:
            assert "Traceback" not in said
            assert said.count("\n") == 1, said
            raise RefusedError(f"{done.returncode}: {said}")
        return done.stdout.decode()

    return act


def refused(name: str, message: str, *arguments: str, stdin: bytes = b"") -> Raises:
    return Raises(name, command(*arguments, stdin=stdin), RefusedError, message)


def embed(name: str, message: str, *arguments: str, stdin: bytes = b"") -> Raises:
    return refused(name, message, "embed", "--model", "{}", *arguments, stdin=stdin)


def task(name: str, what: str, message: str, *arguments: str, stdin: bytes = b"") -> Raises:
    model = ("{}",) if name == "bench" else ("--model", "{}")
    return refused(f"{name}: {what}", message, name, *model, *arguments, stdin=stdin)


def vectors(text: str) -> list[int]:
    """How many numbers each line's vector has."""
    return [len(json.loads(line)["embedding"]) for line in text.splitlines()]


CSV = ("--input-format", "csv", "--column")
PAIRS = ("--column", "x", "--pair-column", "y")
EMBED = ("embed", "-m", "{}", "--quiet")

CASES: list[Case] = [
    refused("no command", "^2: bertcpp: error: .*COMMAND.*--help"),
    refused("an unknown command", "^2: bertcpp: error: .*'embde'", "embde"),
    refused("an unknown option", "^2: bertcpp.*--normalise", "embed", "--normalise", "a"),
    refused("a model that is not there", "^1: bertcpp: .*no-such-model.*not on this machine", "info", "no-such-model"),
    refused("a folder without a model", "^1: bertcpp: ", "info", "/dev"),
    embed("no threads", "^2: .*'0' is not a positive whole number", "--threads", "0", "a"),
    embed("half a dimension", r"^2: .*'0\.5' is not a positive whole number", "--truncate-dim", "0.5", "a"),
    embed("an unknown format", "^2: .*'xml'", "--format", "xml", "a"),
    embed("an unknown precision", "^2: .*'int4'", "--precision", "int4", "a"),
    embed("an unknown prompt", "^1: bertcpp: .*'x' is none of the prompts", "--prompt-name", "x", "a"),
    embed("both texts and a file", "^2: .*choose one", "--file", "vocab.txt", "a"),
    embed("a field of arguments", "^2: .*--column is for tables and JSON lines", "--field", "x", "a"),
    embed("a file that is not there", r"^1: bertcpp: .*gone\.txt", "--file", "gone.txt"),
    embed("a file that is a folder", "^1: bertcpp: .*1_Pooling", "--file", "1_Pooling"),
    embed("a file that is not UTF-8", "^1: bertcpp: .*(utf-8|UTF-8)", "--file", "-", stdin=b"a cat\n\xff\xfe\n"),
    embed("lines that are no JSON", "^1: bertcpp: .*not JSON", "--field", "x", stdin=b"a cat\n"),
    embed("lines without the field", "^1: bertcpp: .*no text under 'x'", "--field", "x", stdin=b'{"y": "a"}\n'),
    embed("a field that is a number", "^1: bertcpp: .*no text under 'x'", "--field", "x", stdin=b'{"x": 3}\n'),
    embed("a folder to write to that is not there", "^1: bertcpp: .*gone", "--output", "gone/x.npy", "a"),
    embed("an output without a name", "^1: bertcpp: error: '' names no file to write to", "--output", "", "a"),
    embed("an output that ends in a slash", "^1: .*'new/' names no file to write to", "--output", "new/", "a"),
    embed(
        "a text over the limit",
        "^1: bertcpp: error: .* more than --max-length .* by --on-overflow warn$",
        *("--on-overflow", "error", "cat " * 50),
    ),
    embed(
        "a limit without room",
        "^1: bertcpp: error: .* windows of 2 tokens; raise --max-length$",
        *("--on-overflow", "window", "--max-length", "2", "cat " * 50),
    ),
    embed("too many threads", "^1: bertcpp: error: --threads must be", "--threads", "99999", "a"),
    refused("a conversion to nowhere", "^2: .*OUT", "convert", "{}"),
    refused("a conversion both cased and not", "^2: .*not allowed with", "convert", "{}", "x", "--cased", "--uncased"),
    refused("a conversion onto itself", "^1: .*lie in each other", "convert", "{}", "{}", "--overwrite"),
    refused("nothing to prune", "^2: .*nothing to leave out", "prune", "{}", "../x"),
    refused("pruning in two ways", "^2: .*choose one way", "prune", "{}", "../x", "--layers", "0", "--drop-heads", "1"),
    refused("pruning by nothing", "^2: .*name a file of them with --texts", "prune", "{}", "../x", "--drop-heads", "1"),
    refused("layers that are no numbers", "^2: .*no list of numbers", "prune", "{}", "../x", "--layers", "first"),
    refused("heads without a layer", "^2: .*no layer and its heads", "prune", "{}", "../x", "--heads", "3"),
    refused("a head that is not there", "^1: .*no head 2 in layer 0", "prune", "{}", "../x", "--heads", "0:2"),
    refused("the only layer", "^1: .*all 1 layers would be left out", "prune", "{}", "../x", "--layers", "0-0"),
    refused("trimming to nothing", "^2: .*with --texts", "trim", "{}", "../x"),
    refused("trimming to a file that is not there", r"^1: .*gone\.txt", "trim", "{}", "../x", "--texts", "gone.txt"),
    refused("trimming to an empty file", "^1: .*no texts", "trim", "{}", "../x", "--texts", "-"),
    embed("a table without the column", r"^1: .*no column 'x' among \['a', 'b'\].*--column", *CSV, "x", stdin=b"a,b\n"),
    embed("a table with a short row", "^1: .*line 3: 1 cells where there are 2", *CSV, "a", stdin=b"a,b\nc,d\ne\n"),
    embed("a table with an open quote", "^1: .*standard input, line", *CSV, "a", stdin=b'a\n"b\n'),
    embed("a table that is not UTF-8", "^1: .*line 2: not UTF-8", *CSV, "a", stdin=b"a\n\xff\n"),
    embed("bytes as a table", "^1: bertcpp: error: ", *CSV, "a", stdin=bytes(range(256))),
    embed("columns of lines", "^1: .*lines of text have no columns", "--input-format", "lines", "--column", "x"),
    task("classify", "no head for it", "^1: .*has no head for BertForSequenceClassification", "a cat"),
    task("ner", "no head for it", "^1: .*has no head for BertForTokenClassification", "a cat"),
    task("answer", "no head for it", "^1: .*no head for BertForQuestionAnswering", "--question", "a?", "a cat"),
    task("fill-mask", "no head for it", "^1: .*no head for BertForMaskedLM", "a [MASK]"),
    task("rerank", "no head for it", "^1: .*CrossEncoder reads a Transformer with a head", "--query", "a?", "a cat"),
    task("summarize", "a file that is a folder", "^1: .*1_Pooling", "--file", "1_Pooling"),
    task("summarize", "a share of nothing", "^1: .*ratio must be", "--ratio", "0", "a cat"),
    task(
        "similarity", "pairs without the second column", "^1: .*'y'.*--pair-column", *PAIRS, stdin=b'{"x": "a cat"}\n'
    ),
    task("bench", "a shape over the limit", "^1: .*takes at most 16 tokens", "--shapes", "1x17"),
    Works(
        "similarity of nothing", lambda w: command("similarity", "-m", "{}", "--json", stdin=b"")(w), lambda w: "[]\n"
    ),
    Works(
        "a summary of nothing",
        lambda w: json.loads(command("summarize", "-m", "{}", stdin=b"")(w))["summary_text"],
        lambda w: "",
    ),
    Works(
        "texts from standard input, an empty one too",
        lambda w: vectors(command(*EMBED, stdin=b"a cat\n\nthe dog")(w)),
        lambda w: [8, 8, 8],
    ),
    Works(
        "JSON lines with empty lines between",
        lambda w: vectors(command(*EMBED, "--field", "x", stdin=b'\n{"x": "a"}\n\n')(w)),
        lambda w: [8],
    ),
    Works(
        "a field called embedding is kept",
        lambda w: list(json.loads(command(*EMBED, "--field", "x", stdin=b'{"x": "a", "embedding": 3}')(w))),
        lambda w: ["x", "embedding", "predicted_embedding"],
    ),
    Works(
        "half a character in another field",
        lambda w: json.loads(command(*EMBED, "--field", "x", stdin=b'{"x": "a", "y": "\\ud800"}')(w))["y"],
        lambda w: "\ud800",
    ),
    Works("nothing from standard input", lambda w: vectors(command(*EMBED, stdin=b"")(w)), lambda w: []),
    Works("a text that looks like an option", lambda w: vectors(command(*EMBED, "--", "--help")(w)), lambda w: [8]),
]
