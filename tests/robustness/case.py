"""What a row of the tables is: something odd to do, and what must come of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from workshop import Workshop


class Raises(NamedTuple):
    """`act` raises exactly `error`, with a message that `message` is found in."""

    name: str
    act: Callable[[Workshop], Any]
    error: type[BaseException]
    message: str


class Works(NamedTuple):
    """`act` gives what `like` gives: the original's answer, or one that is known."""

    name: str
    act: Callable[[Workshop], Any]
    like: Callable[[Workshop], Any]


Case = Raises | Works
