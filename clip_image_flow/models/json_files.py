"""Reads JSON configuration files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from clip_image_flow.errors import ModelError


def read_object(file: Path, name: str) -> dict[str, Any]:
    """Read the JSON object in `file`.

    :param name: name of the model in error messages.
    :raises ModelError: the file does not exist, or does not contain a JSON object.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(f"model {name!r}: {file.parent} has no {file.name}") from error
    except ValueError as error:
        raise ModelError(f"model {name!r}: {file} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise ModelError(f"model {name!r}: {file} is not a JSON object")
    return content


def part(whole: dict[str, Any], key: str, file: Path, name: str) -> dict[str, Any]:
    """The object called `key` in `whole`; empty if it is missing.

    :param file: file of `whole`, for error messages.
    :param name: name of the model in error messages.
    :raises ModelError: the value is not an object.
    """
    found = whole.get(key) or {}
    if not isinstance(found, dict):
        raise ModelError(f"model {name!r}: the {key} of {file.name} must be an object, not {found!r}")
    return found
