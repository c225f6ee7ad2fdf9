"""Says what the library says of its arguments in the options of a command, which are all that its user can change."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

__all__ = ["in_options"]

# Arguments of the library: where the options of commands that stand for them are kept, if not under the same name.
_KEPT_AS = {
    "activation_fn": "function",
    "aggregation_strategy": "aggregation",
    "candidate_labels": "labels",
    "doc_stride": "stride",
    "function_to_apply": "function",
    "handle_impossible_answer": "impossible",
    "hypothesis_template": "template",
    "ignore_labels": "ignore",
    "max_length": "max_tokens",
    "max_seq_len": "window",
    "max_seq_length": "max_length",
    "normalize_embeddings": "normalize",
    "num_sentences": "sentences",
    "num_threads": "threads",
    "similarity_fn_name": "metric",
}
# Remedies that no one name stands for: what they need among the options, and how a command says them.
_REMEDIES = (
    ("truncate", "tokenizer_kwargs={'truncation': True}", "--truncate"),
    ("window", "smaller max_question_len", "shorter question"),
)
_CHOICES = re.compile(r"'(window|truncate|warn|error)'(?= to )")  # that follow one which is named with its argument


def in_options(message: str, parser: argparse.ArgumentParser) -> str:
    """Return a message with a command's options in place of the arguments of the library that they stand for.

    Names without an underscore are left as they are: they may as well be words.

    Args:
        message: of an error or a warning about arguments.
        parser: the command's.
    """
    options = {
        action.dest: next(option for option in action.option_strings if option.startswith("--"))
        for action in parser._actions
        if action.option_strings
    }
    for name, told, instead in _REMEDIES:
        message = message.replace(told, instead) if name in options else message
    named = {name: option for name, option in options.items() if "_" in name}
    for name, kept in _KEPT_AS.items():
        if name not in options and kept in options:
            named[name] = options[kept]
    for name, option in named.items():
        # Not in quotes, in a path or an attribute: that is something else of the same name.
        alone = rf"(?<![\w'\"./\\-]){name}(?![\w'\"/\\-]|\.\w)"
        changed = re.sub(rf"{alone}='(\w+)'", rf"{option} \1", message)
        if changed != message:
            changed = _CHOICES.sub(r"\1", changed)
        message = re.sub(rf"{alone}=", f"{option} ", changed)
        message = re.sub(alone, option, message)
    return message
