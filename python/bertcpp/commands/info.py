"""`bertcpp info`: tell what a checkpoint and this machine are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from .options import Command

if TYPE_CHECKING:
    import argparse

__all__ = ["COMMAND"]

_LABEL_WIDTH = 16

_EPILOG = """\
examples:
  bertcpp info                       the processor, the instruction set and threads in use
  bertcpp info all-MiniLM-L6-v2      and the checkpoint: family, sizes, parameters, pooling, files
  bertcpp info ./my-model --json     the same as JSON, for scripts
"""


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.description = "Tell what a checkpoint is, and what it would run on."
    parser.add_argument("model", nargs="?", metavar="MODEL", help="a folder, a hub name, or an installed package")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")


def _run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    from ..description import describe_checkpoint, describe_machine

    facts = {} if arguments.model is None else {"checkpoint": describe_checkpoint(arguments.model)}
    facts["machine"] = describe_machine()
    if arguments.json:
        print(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    for title, section in facts.items():
        print(title)
        for label, value in section.items():
            print(f"  {label.replace('_', ' '):{_LABEL_WIDTH}} {_shown(label, value)}")


def _shown(label: str, value: Any) -> str:
    if label in ("files", "caches"):
        width = max(len(name) for name in value)
        gap = "\n" + " " * (_LABEL_WIDTH + 3)
        return gap.join(f"{name:{width}}  {_bytes(size, label == 'caches')}" for name, size in value.items())
    if label == "prompts":
        return ", ".join(f"{name} {text!r}" for name, text in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _bytes(count: int, binary: bool) -> str:
    """Return bytes in thousands, or for caches, which are made so, in powers of two."""
    base, infix = (1024, "i") if binary else (1000, "")
    size, unit = float(count), "B"
    for larger in (f"K{infix}B", f"M{infix}B", f"G{infix}B"):
        if size < base:
            break
        size, unit = size / base, larger
    return f"{size:.4g} {unit}" if binary or unit == "B" else f"{size:.1f} {unit}"


COMMAND = Command("info", "tell about a checkpoint", _EPILOG, _configure, _run)
