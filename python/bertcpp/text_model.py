"""What models over texts share: loading, settings, and texts in, packed batches out."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from . import _core, architectures, checkpoints
from .arguments import (
    ON_OVERFLOW,
    check_device,
    checked_count,
    checked_options,
    checked_stride,
    checked_threads,
    chosen_prompt,
    chosen_target,
    merged_prompts,
    one_of,
)
from .batching import Progress, chunks, length_of, splits, token_budget
from .devices import Device, target
from .errors import InputError
from .pooling import read_settings
from .text_packing import Cuts, TextPacker, say_what_was_cut

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from typing_extensions import Self

    from .arguments import OnOverflow
    from .batching import Tokens
    from .configuration import PretrainedConfig
    from .tokenization import PreTrainedTokenizer
    from .windows import Windows

__all__ = ["Call", "TextModel"]


@dataclass(frozen=True)
class Call:
    """What one call asks of the way from texts to packed tokens.

    Attributes:
        max_length: tokens that stay of a text, special ones included.
        batch_tokens: tokens that a batch holds at most, about.
        prompt: put before every text (of a pair, before the first).
        on_overflow: what happens to longer texts.
        stride: tokens that windows share.
        num_threads: threads of the engine; 0 means its default.
    """

    max_length: int
    batch_tokens: int
    prompt: str
    on_overflow: str
    stride: int
    num_threads: int


class TextModel:
    """A checkpoint that takes texts. Arguments and exceptions are those of the classes derived from it."""

    _kinds: ClassVar[tuple[str, ...]] = ()  # the model_type of their config_sentence_transformers.json
    _packer: TextPacker

    def __init__(
        self,
        model_name_or_path: str | os.PathLike[str],
        *,
        device: Any = None,
        prompts: dict[str, str] | None = None,
        default_prompt_name: str | None = None,
        cache_folder: str | os.PathLike[str] | None = None,
        revision: str | None = None,
        local_files_only: bool = False,
        token: bool | str | None = None,
        model_kwargs: dict[str, Any] | None = None,
        processor_kwargs: dict[str, Any] | None = None,
        config_kwargs: dict[str, Any] | None = None,
        backend: str = "torch",
        num_threads: int | None = None,
        on_overflow: OnOverflow = "warn",
    ) -> None:
        """Find the checkpoint, read its settings and load it."""
        self._where = chosen_target(device, model_kwargs)
        if backend != "torch":
            raise ValueError(f"backend {backend!r} is not known: the engine is bertcpp's own; leave the argument out")
        self.on_overflow = one_of("on_overflow", on_overflow, ON_OVERFLOW)
        self.num_threads = checked_threads(num_threads)
        self._folder = checkpoints.locate(
            os.fspath(model_name_or_path) if isinstance(model_name_or_path, os.PathLike) else model_name_or_path,
            cache_dir=cache_folder or os.environ.get("SENTENCE_TRANSFORMERS_HOME"),
            revision=revision,
            local_files_only=local_files_only,
            token=token,
        )
        self._where = chosen_target(device, model_kwargs, self._folder)
        self._settings = read_settings(self._folder, self._kinds)
        self.prompts = merged_prompts(prompts, self._settings)
        self.default_prompt_name = default_prompt_name or self._settings.get("default_prompt_name")
        if self.default_prompt_name is not None and self.default_prompt_name not in self.prompts:
            raise ValueError(
                f"default_prompt_name {self.default_prompt_name!r} is none of the prompts {list(self.prompts)}"
            )
        tokenizer_options = checked_options("processor_kwargs", processor_kwargs)
        self._arguments = (tokenizer_options, checked_options("config_kwargs", config_kwargs))
        stated = self._load(*self._arguments)
        limit = self.tokenizer.model_max_length if stated is None else stated
        self._max_seq_length = self._checked_length(min(limit, self._packer.max_length))

    def _load(self, tokenizer_options: dict[str, Any], config_options: dict[str, Any]) -> int | None:
        """Load what computes, set `_packer`, and return the limit that the checkpoint states, if it does."""
        raise NotImplementedError

    @property
    def tokenizer(self) -> PreTrainedTokenizer:
        """The tokenizer. It is shared by all calls and cannot be replaced."""
        return self._packer.tokenizer

    @property
    def max_seq_length(self) -> int:
        """Tokens that stay of a text or pair, special ones included; may be set, up to the encoder's positions."""
        return self._max_seq_length

    @max_seq_length.setter
    def max_seq_length(self, value: int | None) -> None:
        self._max_seq_length = self._packer.max_length if value is None else self._checked_length(value)

    @property
    def device(self) -> Device:
        """Where the model computes: `"cpu"` or `"cuda:0"`, with `type` and `index` as a `torch.device` has them."""
        return self._where.device

    def to(self, device: Any) -> Self:
        """Move the model to a device, for which the checkpoint is read again, and return it.

        Raises:
            ValueError: if there is no such device.
            DeviceError: if something is missing to compute on it.
        """
        before, self._where = self._where, target(device, None, self._where)
        if before != self._where:
            try:
                self._load(*self._arguments)
            except BaseException:
                self._where = before
                raise
        return self

    def eval(self) -> Self:
        """Return the model: it only ever infers."""
        return self

    def _checked_length(self, value: Any, name: str = "max_seq_length") -> int:
        largest = self._packer.max_length
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not 1 <= value <= largest:
            raise ValueError(f"{name} must be an integer from 1 to {largest}, this encoder's limit, got {value!r}")
        return int(value)

    def _call(
        self,
        batch_size: int,
        prompt: str | None,
        prompt_name: str | None,
        on_overflow: str | None,
        stride: int | None,
        num_threads: int | None,
        **elsewhere: Any,
    ) -> Call:
        """Check what every call takes; `elsewhere` are keywords that only other libraries know a use for."""
        size = checked_count("batch_size", batch_size, 32)
        if elsewhere.get("pool") is not None or isinstance(elsewhere.get("device"), (list, tuple)):
            raise ValueError(
                f"{type(self).__name__} computes in this process, with all its threads; leave out pool and lists of "
                "devices"
            )
        check_device(elsewhere.get("device"), self.device)
        mode = one_of("on_overflow", self.on_overflow if on_overflow is None else on_overflow, ON_OVERFLOW)
        threads = checked_threads(self.num_threads if num_threads is None else num_threads) or 0
        return Call(
            max_length=self._max_seq_length,
            batch_tokens=size * self._max_seq_length,
            prompt=chosen_prompt(self.prompts, self.default_prompt_name, prompt, prompt_name),
            on_overflow=str(mode),
            stride=checked_stride(stride, self._max_seq_length),
            num_threads=threads,
        )

    def _packs(
        self, texts: Iterable[Any], call: Call, show: bool | None, what: str
    ) -> Iterator[tuple[Tokens, Windows | None]]:
        """Yield the tokens of texts, chunk by chunk; move a bar, and say at the end what was cut."""
        progress = Progress(show, length_of(texts), what)
        cuts, first = Cuts(), 0
        try:
            for chunk in chunks(texts):
                windows: Windows | None = None
                if call.on_overflow == "window":
                    tokens, windows, more = self._packer.pack_windows(
                        chunk, call.max_length, call.stride, prompt=call.prompt, first=first
                    )
                else:
                    tokens, more = self._packer.pack(
                        chunk, call.max_length, prompt=call.prompt, may_cut=call.on_overflow != "error", first=first
                    )
                yield tokens, windows
                cuts, first = cuts.plus(more), first + len(chunk)
                progress.update(len(chunk))
        finally:
            progress.close()
        if call.on_overflow != "truncate":
            say_what_was_cut(cuts, first, call.max_length, self._packer.max_length)

    @staticmethod
    def _batches(config: PretrainedConfig, tokens: Tokens, call: Call) -> Iterator[Tokens]:
        """Yield the sequences in runs of as many tokens as the engine takes at once."""
        settings = architectures.engine_config(config)
        budget = token_budget(settings, call.num_threads or _core.get_num_threads())
        for start, end in splits(tokens.cu_seqlens, min(budget, call.batch_tokens)):
            yield tokens.rows(start, end)

    def _transformer(self) -> Path:
        """Return the folder of the encoder: the first of the modules, or the checkpoint's own."""
        from .pooling import listed_modules

        path = self._folder / "modules.json"
        modules = listed_modules(path) if path.is_file() else []
        return modules[0][1] if modules else self._folder

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in self._loaded}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Map the weights again from the same files."""
        self.__dict__.update(state)
        self._load(*self._arguments)

    _loaded: ClassVar[tuple[str, ...]] = ("_packer", "_model")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self._folder)!r}, max_seq_length={self._max_seq_length})"


def as_list(inputs: Any, name: str) -> Any:
    """Return an iterable of texts as it is.

    Raises:
        InputError: if it is a single text, or nothing that can be iterated.
    """
    if isinstance(inputs, (str, bytes)) or not hasattr(inputs, "__iter__"):
        raise InputError(f"{name} is of type {type(inputs).__name__}; pass a list of strings")
    return inputs
