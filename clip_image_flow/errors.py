"""What can go wrong, in the words the caller needs.

A `RequestError` is the caller's to mend. Its classes are those of the wire, `clip_wire.errors`, since their names and
`args` are what the gateway sees of them. The others are the operator's, or stay within the library.
"""

from __future__ import annotations

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
    "first_line",
]


class ConfigError(ValueError):
    """The encoder cannot be built as it was asked for: a start-up error, with what to do about it."""


class ModelError(ConfigError):
    """The model cannot be loaded: missing, unreachable, corrupt or of another architecture."""


class TakesLonger(Exception):
    """An item cannot be prepared in the time and memory that most items need: it goes where long ones wait."""


def first_line(error: Exception) -> str:
    """The first line of what an error says; its class where it says nothing."""
    return (str(error) or type(error).__name__).splitlines()[0]
