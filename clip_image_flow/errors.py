"""Exceptions of the library.

A `RequestError` is a client error. Its subclasses are defined in `clip_wire.errors`, because the gateway recognises
them by their names and `args`. The other errors concern the operator, or are internal to the library.
"""

from __future__ import annotations

from typing import TypeVar

from clip_wire.errors import (
    BadDocument,
    BadParameter,
    Expired,
    ModelChanged,
    NotFinite,
    QueueFull,
    RequestError,
    TooLarge,
    UnsupportedMedia,
)

__all__ = [
    "BadDocument",
    "BadParameter",
    "ConfigError",
    "Expired",
    "ModelChanged",
    "ModelError",
    "NotFinite",
    "QueueFull",
    "RequestError",
    "TakesLonger",
    "TooLarge",
    "UnsupportedMedia",
    "bare",
    "first_line",
]


class ConfigError(ValueError):
    """The encoder cannot be built with these options: a start-up error whose message says what to change."""


class ModelError(ConfigError):
    """The model cannot be loaded: missing, unreachable, corrupt or of another architecture."""


class TakesLonger(Exception):
    """An item needs more time or memory to prepare than most: it moves to the lane of large items."""


E = TypeVar("E", bound=Exception)


def bare(error: E) -> E:
    """Return `error` without traceback and cause: their frames refer to the item, and the item's future to the error.

    Such a cycle, with the image in it, would be freed by the garbage collector, thousands of requests later.
    """
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def first_line(error: Exception) -> str:
    """The first line of an error's message, or its class name if the message is empty."""
    return (str(error) or type(error).__name__).splitlines()[0]
