"""Validates objects with Kubernetes' published strict schemas (1.34), which reject unknown fields."""

from __future__ import annotations

import functools
import json
import re
from importlib import resources
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

_FOLDER = resources.files("kubernetes_validate") / "kubernetes-json-schema" / "v1.34.0-local-strict"


def refusal(one: dict[str, Any]) -> str | None:
    """Return the reason why an object is not valid; None if it is valid.

    :raises FileNotFoundError: if the kind is not one of Kubernetes' own.
    """
    api_version = re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", one["apiVersion"])
    error = next(_validator(f"{one['kind'].lower()}-{api_version}.json").iter_errors(one), None)
    if error is None:
        return None
    where = ".".join(str(part) for part in error.absolute_path)
    return f"{one['kind']}/{one['metadata']['name']}: {where}: {error.message}"


@functools.cache
def _validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(_read(name), registry=_registry())


@functools.cache
def _registry() -> Any:
    return Registry().with_resource("_definitions.json", Resource.from_contents(_read("_definitions.json")))


def _read(name: str) -> Any:
    return json.loads((_FOLDER / name).read_text(encoding="utf-8"))
