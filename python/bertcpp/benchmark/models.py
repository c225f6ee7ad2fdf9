"""The checkpoint that is measured, and how much arithmetic it asks for."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from .. import architectures, checkpoints
from ..configuration import AutoConfig
from ..pooling import plain_modules, read_modules

__all__ = ["DEFAULT_CACHE", "Model", "from_folder", "named"]

DEFAULT_CACHE = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "bertcpp-bench"


@dataclass(frozen=True)
class Model:
    """A checkpoint's folder and the sizes that its arithmetic and its inputs depend on."""

    name: str
    folder: Path
    layers: int
    hidden: int
    intermediate: int
    heads: int
    vocab: int
    family: str = "bert"
    longest: int = 512
    token_types: bool = True
    padding: int = 0

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of what a batch holds for it."""
        return ("input_ids", "attention_mask", "token_type_ids")[: 3 if self.token_types else 2]

    @property
    def key(self) -> str:
        """What its exports are kept under: another checkpoint in the same place has another."""
        files = sorted(path for path in self.folder.iterdir() if path.is_file())
        stated = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
        digest = hashlib.sha256(repr((str(self.folder.resolve()), stated)).encode()).hexdigest()
        return f"{self.name.replace(os.sep, '-')}-{digest[:12]}"

    def flop(self, lengths: list[int]) -> float:
        """Return the floating-point operations that a batch of these lengths needs, padding left out.

        The linear layers and the two products of attention; softmax, norms, activations and the pooler are not counted.
        """
        linear = 2 * (4 * self.hidden**2 + 2 * self.hidden * self.intermediate) * sum(lengths)
        attention = 4 * self.hidden * sum(length**2 for length in lengths)
        return float(self.layers * (linear + attention))


def from_folder(name: str, folder: Path) -> Model:
    """Return the checkpoint that lies in a folder.

    Raises:
        BertcppError: if it is none.
    """
    config = AutoConfig.from_pretrained(folder)
    limits = architectures.input_limits(config)
    return Model(
        name,
        folder,
        config.num_hidden_layers,
        config.hidden_size,
        config.intermediate_size,
        config.num_attention_heads,
        config.vocab_size,
        family=config.model_type,
        longest=limits.max_length,
        token_types=limits.type_vocab_size > 0,
        padding=config.pad_token_id or 0,
    )


def named(name: str) -> Model:
    """Return the encoder of a checkpoint by the name that `from_pretrained` takes.

    Raises:
        BertcppError: if there is none, or its family is not computed.
    """
    folder = checkpoints.locate(name)
    parts = read_modules(folder) or plain_modules(folder)
    architectures.of(AutoConfig.from_pretrained(parts.encoder))
    return from_folder(os.path.basename(os.path.normpath(name)), Path(parts.encoder))
