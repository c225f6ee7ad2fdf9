"""What the arguments of models over texts may be: each check returns the value to go on with, or says what is wrong."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar

import numpy as np

from .devices import Device, Target, resolve, target
from .errors import InputError
from .packed_weights import target_for
from .pooling import encoder_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = [
    "MOST_THREADS",
    "ON_OVERFLOW",
    "OnOverflow",
    "check_device",
    "check_pool",
    "checked_count",
    "checked_dimensions",
    "checked_options",
    "checked_stride",
    "checked_threads",
    "chosen_prompt",
    "chosen_target",
    "merged_prompts",
    "one_of",
    "renamed",
]

logger = logging.getLogger(__name__)

MOST_THREADS = 1024  # as the engine has it
OnOverflow = Literal["truncate", "warn", "error", "window"]
ON_OVERFLOW = ("truncate", "warn", "error", "window")

# Choices of other engines that do not change results, so that code which passes them runs.
_WITHOUT_EFFECT = ("attn_implementation", "low_cpu_mem_usage", "use_safetensors")

P = ParamSpec("P")
R = TypeVar("R")


def renamed(**names: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let a function be called with older names of its keywords."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            for old, new in names.items():
                if old in kwargs:
                    if new in kwargs:
                        raise TypeError(f"{function.__name__}() got both {new!r} and its older name {old!r}")
                    kwargs[new] = kwargs.pop(old)
            return function(*args, **kwargs)

        return call

    return decorate


def one_of(name: str, value: Any, allowed: tuple[Any, ...]) -> Any:
    """Return `value`.

    Raises:
        InputError: if it is not allowed.
    """
    if value not in allowed:
        raise InputError(f"{name} {value!r} is not one of {', '.join(map(repr, allowed))}")
    return value


def check_device(device: Any, own: Device) -> None:
    """Take None and the device that a model is on.

    Raises:
        InputError: if another device is asked for.
    """
    if device is not None and resolve(device) != own:
        raise InputError(f"device is {str(device)!r}, but this model is on {str(own)!r}; move it with to()")


def checked_stride(value: Any, max_length: int) -> int:
    """Return how many tokens windows of `max_length` share: `value`, or for None a quarter of the window.

    Raises:
        InputError: if it is no number of tokens, or not less than a window.
    """
    if value is None:
        return max_length // 4
    if not (_is_whole(value) and 0 <= value < max_length):
        raise InputError(
            f"stride, the tokens that two windows share, must be an integer from 0 to {max_length - 1}, less than a "
            f"window of {max_length} tokens, not {value!r}"
        )
    return int(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def checked_count(name: str, value: Any, default: int) -> int:
    """Return a number of at least 1, or the default for None.

    Raises:
        InputError: if it is something else.
    """
    if value is not None and not (_is_whole(value) and value >= 1):
        raise InputError(f"{name} must be an integer of at least 1, or None, not {value!r}")
    return default if value is None else int(value)


def checked_options(name: str, value: Any) -> dict[str, Any]:
    """Return arguments by name as a dictionary of their own, an empty one for None.

    Raises:
        InputError: if they are something else.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise InputError(f"{name} must be a dictionary of arguments by their names, or None, not {value!r}")
    return dict(value)


def check_pool(pool: Any) -> None:
    """Take None and what `start_multi_process_pool` returns.

    Raises:
        InputError: if it is something else.
    """
    if pool is not None and not (isinstance(pool, dict) and {"input", "output", "processes"} <= pool.keys()):
        raise InputError(f"pool must be what start_multi_process_pool() returned, or None, not {pool!r}")


def checked_threads(value: Any) -> int | None:
    """Return a number of threads, or None for the default.

    Raises:
        InputError: if it is something else.
    """
    if value is not None and not (_is_whole(value) and 1 <= value <= MOST_THREADS):
        raise InputError(
            f"num_threads must be an integer from 1 to {MOST_THREADS}, or None for the default, not {value!r}"
        )
    return None if value is None else int(value)


def checked_dimensions(value: Any) -> int | None:
    """Return a number of leading dimensions to keep, or None for all.

    Raises:
        InputError: if it is something else.
    """
    if value is not None and not (_is_whole(value) and value >= 1):
        raise InputError(f"truncate_dim must be an integer of at least 1, or None for all dimensions, not {value!r}")
    return None if value is None else int(value)


def chosen_prompt(prompts: dict[str, str], default: str | None, prompt: str | None, name: str | None) -> str:
    """Return the prompt of a call: the one given, or the one named, or the default one.

    Raises:
        InputError: if it is no string, or there is none of that name.
    """
    if prompt is not None:
        if name is not None:
            logger.warning("prompt and prompt_name were both given; prompt_name %r is ignored", name)
        if not isinstance(prompt, str):
            raise InputError(f"prompt must be a string, not {prompt!r}")
        return prompt
    name = default if name is None else name
    if name is None:
        return ""
    if name not in prompts:
        raise InputError(f"prompt_name {name!r} is none of the prompts {list(prompts)}")
    return prompts[name]


def merged_prompts(given: dict[str, str] | None, settings: dict[str, Any]) -> dict[str, str]:
    """Return prompts by name: the caller's before the checkpoint's, and `query` and `document` in any case.

    Raises:
        InputError: if the caller's are no strings by name.
    """
    if given is not None and not (isinstance(given, dict) and all(isinstance(text, str) for text in given.values())):
        raise InputError(f"prompts must be a dictionary of strings, such as {{'query': 'query: '}}, not {given!r}")
    saved = {name: text or "" for name, text in (settings.get("prompts") or {}).items()}
    return {"query": "", "document": ""} | saved | dict(given or {})


def chosen_target(device: Any, model_kwargs: Any, folder: Path | None = None) -> Target:
    """Return where to compute, and in what, the checkpoint in a folder; take what changes nothing here.

    Raises:
        InputError: if something else is asked for.
        DeviceError: if something is missing to compute on the device.
    """
    dtype = None
    for name, value in checked_options("model_kwargs", model_kwargs).items():
        if name in ("dtype", "torch_dtype"):
            dtype = value if dtype is None else dtype
        elif name not in _WITHOUT_EFFECT:
            raise InputError(
                f"model_kwargs[{name!r}] is not known; bertcpp takes dtype and {', '.join(_WITHOUT_EFFECT)}"
            )
    return target(device, dtype) if folder is None else target_for(encoder_folder(folder), device, dtype)
