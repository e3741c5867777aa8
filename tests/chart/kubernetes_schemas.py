"""Kubernetes' published schemas (1.34), strict: unknown fields are refused. Read once, for there are many objects."""

from __future__ import annotations

import functools
import json
import re
from importlib import resources
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

# Custom resources, which those schemas do not have: each is asserted field by field.
CUSTOM = {"HTTPRoute", "GRPCRoute", "BackendTLSPolicy"}
_FOLDER = resources.files("kubernetes_validate") / "kubernetes-json-schema" / "v1.34.0-local-strict"


def refusal(one: dict[str, Any]) -> str | None:
    """Why an object is not valid; None when it is.

    :raises FileNotFoundError: Kubernetes has no such kind of its own.
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
