"""Write the chart's files that are generated from values.yaml: values.schema.json and files/defaults.yaml.

A key of values.yaml has the type of its default. `chart_types` has the types of keys whose type cannot be derived from
the default (null, an empty list or map); a key without a type is an error, and so is an entry without a key. The names
of Flows come from files/topologies.

files/defaults.yaml has the defaults by path. Templates use them for missing keys, since `helm upgrade --reuse-values`
renders them with the values of an older chart; so only keys that every chart has had are required (`chart_history`).
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import sys
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from scripts.export.chart_history import LEFT_OUT, REQUIRED, older
from scripts.export.chart_types import TYPES, Schema, or_null
from scripts.export.files import differences, write
from scripts.flow.names import CHART, flow_names

_KUBERNETES = "v1.34.0-local-strict"


_DEFAULTS = "# values.yaml by path, written by `make export`, for upgrades with the values of an older chart.\n"


class SchemaError(RuntimeError):
    """values.yaml and `TYPES` do not match."""


def schema(values: dict[str, Any], flows: Sequence[str]) -> Schema:
    """Return the JSON Schema (draft 7) of `values`, which rejects unknown keys.

    :param values: content of values.yaml.
    :param flows: names of the Flows with a topology in the chart.
    :raises SchemaError: if a key has no type, or an entry of `TYPES` matches no key.
    """
    used: set[str] = set()
    properties = {key: _of(key, value, used) for key, value in values.items() if key != "executors"}
    properties["flow"] = {"enum": sorted(flows)}
    properties["global"]["additionalProperties"] = True  # an umbrella chart has other global keys
    executor = properties["executorDefaults"]
    own = {**executor, "properties": {**executor["properties"], "model": properties["model"]}}
    properties["executors"] = {"type": "object", "additionalProperties": or_null(_override(own))}
    properties["executorDefaults"] = own
    if unused := sorted(TYPES.keys() - used):
        raise SchemaError(f"TYPES: {unused[0]} fits no key of values.yaml")
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "additionalProperties": False,
        "required": _required("", values),
        "properties": properties,
        **older(sorted(executor["properties"])),
        "definitions": _definitions(properties),
    }


def defaults(values: dict[str, Any]) -> dict[str, Any]:
    """Return the defaults by path, such as `gateway.image.pullPolicy`, without nulls and the keys in `LEFT_OUT`."""
    found: dict[str, Any] = {}

    def walk(path: str, default: object) -> None:
        known = any(fnmatch.fnmatchcase(path, pattern) for pattern in TYPES)
        if isinstance(default, dict) and default and not known:
            for key, value in default.items():
                walk(f"{path}.{key}" if path else key, value)
        elif default is not None and path not in LEFT_OUT:
            found[path] = default

    walk("", values)
    return found


def _of(path: str, default: object, used: set[str]) -> Schema:
    for pattern, typed in TYPES.items():
        if fnmatch.fnmatchcase(path, pattern):
            used.add(pattern)
            return typed
    if isinstance(default, dict) and default:
        return _of_map(path, default, used)
    for kind, name in ((bool, "boolean"), (int, "integer"), (str, "string")):  # in this order: True is an int too
        if isinstance(default, kind):
            return {"type": name}
    raise SchemaError(f"values.yaml: {path}: the default {default!r} tells no type; add one to TYPES")


def _of_map(path: str, default: dict[str, Any], used: set[str]) -> Schema:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": _required(path, default),
        "properties": {key: _of(f"{path}.{key}", value, used) for key, value in default.items()},
    }


def _required(path: str, default: dict[str, Any]) -> list[str]:
    """Return the keys that may not be null: those that every chart has had, and that templates need."""
    return [key for key in default if key in REQUIRED.get(path, "").split()]


def _override(typed: Schema) -> Schema:
    """Return the schema of overrides of executorDefaults and model: nothing is required, and null is the default."""
    return {
        **_optional(typed),
        "properties": {key: or_null(_optional(value)) for key, value in typed["properties"].items()},
    }


def _optional(typed: Schema) -> Schema:
    if "properties" not in typed:
        return typed
    kept = {key: value for key, value in typed.items() if key != "required"}
    return {**kept, "properties": {key: _optional(value) for key, value in typed["properties"].items()}}


def _definitions(used: Schema) -> Schema:
    """Return Kubernetes' definitions that `used` refers to, directly or indirectly."""
    package = resources.files("kubernetes_validate") / "kubernetes-json-schema" / _KUBERNETES / "_definitions.json"
    every = json.loads(package.read_text(encoding="utf-8"))["$defs"]
    found: Schema = {}
    waiting = _references(used)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = _bare(every[name])
            waiting |= _references(found[name])
    return dict(sorted(found.items()))


def _references(node: object) -> set[str]:
    if isinstance(node, dict):
        own = {node["$ref"].rpartition("/")[2]} if isinstance(node.get("$ref"), str) else set()
        return own.union(*(_references(value) for value in node.values()))
    return set().union(*(_references(item) for item in node)) if isinstance(node, list) else set()


def _bare(node: Any, names: bool = False) -> Any:
    """Return a schema without descriptions and Kubernetes' extensions.

    :param node: part of a schema.
    :param names: whether the keys of `node` are names of properties.
    """
    if isinstance(node, list):
        return [_bare(item) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {key: value for key, value in node.items() if names or not (key == "description" or key.startswith("x-"))}
    if "$ref" in kept and not names:
        return {"$ref": f"#/definitions/{kept['$ref'].rpartition('/')[2]}"}
    return {key: _bare(value, names=key == "properties" and not names) for key, value in kept.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files; the exit code is 1 if `--check` finds one stale, or the schema cannot be generated."""
    parser = argparse.ArgumentParser(prog="python -m scripts.export.chart_schema", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; print a diff and fail if it is stale")
    parser.add_argument("--chart", type=Path, default=CHART, help="directory of the chart (default: %(default)s)")
    options = parser.parse_args(arguments)
    values = yaml.safe_load((options.chart / "values.yaml").read_text(encoding="utf-8"))
    try:
        text = json.dumps(schema(values, flow_names(options.chart)), indent=1) + "\n"
    except SchemaError as error:
        print(f"chart_schema: {error}", file=sys.stderr)
        return 1
    own = _DEFAULTS + yaml.safe_dump(defaults(values), sort_keys=False, width=120)
    texts = {options.chart / "values.schema.json": text, options.chart / "files" / "defaults.yaml": own}
    if options.check:
        found = differences(texts, [])
        print(found, end="")
        return bool(found)
    for path in write(texts, []):
        print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
