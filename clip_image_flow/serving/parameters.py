"""Validates the parameters of a request.

Numbers arrive as floats over gRPC (a protobuf Struct has no integers), so 4.0 is 4 and 4.5 is an error. Keys that
begin and end with two underscores are reserved for the gateway: `__request_id__` and `__deadline__` are read, others
are ignored.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from clip_image_flow.errors import BadParameter
from clip_wire import parameters as wire

ON_ERROR = ("raise", "skip")

# DocArray's grammar, with an optional leading @: a path is a sequence of selectors r (roots), c (chunks), m (matches)
# or .[attribute], each with an optional slice; several paths are separated by commas.
_INTEGER = r"(?:-?\d{1,9})"
_SLICE = rf"(?=[-\d:]){_INTEGER}?(?::{_INTEGER}?){{0,2}}"
_NAME = r"[A-Za-z_]\w*"
_STEP = rf"(?:[rcm]|\.\[{_NAME}(?:,{_NAME})*\])(?:\[{_SLICE}\]|{_SLICE})?"
_TRAVERSAL_PATHS = re.compile(rf"@?(?:{_STEP})+(?:,@?(?:{_STEP})+)*", re.ASCII)
_FINGERPRINT = re.compile("[0-9a-f]{64}")
_MOST_FINGERPRINTS = 16
_LONGEST_PATH = 256  # characters


@dataclass(frozen=True)
class EncodeParameters:
    """The options of one request.

    :param traversal_paths: DocArray path to the documents to encode, such as `@r` or `@r,c`.
    :param batch_size: maximum number of items in a forward pass that contains items of this request.
    :param on_error: `raise` to fail the request on its first bad document, `skip` to encode the others.
    :param normalize: whether to scale each embedding to unit length.
    :param drop_image_content: whether to clear the images of returned documents.
    :param expect_fingerprint: fingerprints of which one must be the model's; empty to accept any.
    :param deadline: Unix time in seconds after which the request expires, or None.
    :param request_id: id of the request in logs.
    """

    traversal_paths: str = "@r"
    batch_size: int = 32
    on_error: str = "raise"
    normalize: bool = False
    drop_image_content: bool = False
    expect_fingerprint: tuple[str, ...] = ()
    deadline: float | None = None
    request_id: str = ""

    def override(self, parameters: Mapping[str, Any] | None) -> EncodeParameters:
        """A copy of these options, overridden by the parameters of one request.

        :raises BadParameter: a key is unknown, or a value is not allowed.
        """
        changes: dict[str, Any] = {}
        for key, value in (parameters or {}).items():
            if key in _PARSERS:
                name, parse = _PARSERS[key]
                changes[name] = parse(key, value)
            elif not wire.is_reserved(key) and key != wire.MODEL_NAME:
                raise BadParameter(f"unknown parameter {key!r}; allowed are {', '.join(wire.KNOWN)}")
        return replace(self, **changes)


def positive_integer(key: str, value: Any) -> int:
    """`value` as an integer of at least 1; a float is accepted if it has no fraction."""
    if not _is_finite(value) or value != int(value) or value < 1:
        raise BadParameter(f"{key} must be a whole number of at least 1, not {_show(value)}")
    return int(value)


def not_negative(key: str, value: Any) -> float:
    """`value` as a number of at least 0."""
    if not _is_finite(value) or value < 0:
        raise BadParameter(f"{key} must be a number of at least 0, not {_show(value)}")
    return float(value)


def _traversal_paths(key: str, value: Any) -> str:
    path = value if isinstance(value, str) and len(value) <= _LONGEST_PATH else ""
    path = re.sub(r"\s+", "", path)
    if not _TRAVERSAL_PATHS.fullmatch(path):
        raise BadParameter(f"{key} must be a DocArray path such as '@r', '@c', '@r,c' or '@c[:2]', not {_show(value)}")
    return "@" + path.replace("@", "")


def _choice(key: str, value: Any) -> str:
    if value not in ON_ERROR:
        raise BadParameter(f"{key} must be one of {', '.join(ON_ERROR)}, not {_show(value)}")
    return str(value)


def _boolean(key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise BadParameter(f"{key} must be true or false, not {_show(value)}")
    return value


def _fingerprints(key: str, value: Any) -> tuple[str, ...]:
    names = [name.strip().lower() for name in value.split(",")] if isinstance(value, str) else []
    if not names or len(names) > _MOST_FINGERPRINTS or not all(map(_FINGERPRINT.fullmatch, names)):
        raise BadParameter(f"{key} must be a fingerprint of /info, or several with commas, not {_show(value)}")
    return tuple(names)


def _deadline(key: str, value: Any) -> float:
    if not _is_finite(value):
        raise BadParameter(f"{key} must be a Unix time in seconds, not {_show(value)}")
    return float(value)


def _is_finite(value: Any) -> bool:
    """Whether `value` is a number that fits into a float; a boolean is not a number."""
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # an integer that is too large for a float
        return False


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


_PARSERS: dict[str, tuple[str, Callable[[str, Any], Any]]] = {
    wire.TRAVERSAL_PATHS: ("traversal_paths", _traversal_paths),
    wire.ACCESS_PATHS: ("traversal_paths", _traversal_paths),
    wire.BATCH_SIZE: ("batch_size", positive_integer),
    wire.ON_ERROR: ("on_error", _choice),
    wire.NORMALIZE: ("normalize", _boolean),
    wire.DROP_IMAGE_CONTENT: ("drop_image_content", _boolean),
    wire.EXPECT_FINGERPRINT: ("expect_fingerprint", _fingerprints),
    wire.DEADLINE: ("deadline", _deadline),
    wire.REQUEST_ID: ("request_id", lambda _, value: str(value)[:200]),
}
