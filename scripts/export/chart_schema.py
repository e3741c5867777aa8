"""Write the chart's values.schema.json from values.yaml, the table `_TYPES`, and the names of Flows.

A key of values.yaml has the type of its default. `_TYPES` has the types of keys whose default (null, an empty list or
map) has no type or not enough; a key without a type is an error, and so is an entry without a key. Kubernetes' own
types come from its published schemas, so a misspelt toleration is rejected before anything is installed.
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

from scripts.export.files import differences, write
from scripts.flow.names import CHART, flow_names

Schema = dict[str, Any]

_KUBERNETES = "v1.34.0-local-strict"

_TEXT: Schema = {"type": "string"}
_NAME: Schema = {"type": "string", "pattern": "^([a-z0-9]([a-z0-9.-]*[a-z0-9])?)?$"}
_SIZE: Schema = {"type": ["string", "integer"], "pattern": "^[0-9]+(\\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$"}
_SECONDS: Schema = {"type": "integer", "minimum": 1, "maximum": 86400}
_COUNT: Schema = {"type": "integer", "minimum": 0, "maximum": 10000}
_TEXTS: Schema = {"type": "object", "additionalProperties": _TEXT}
_AMOUNTS: Schema = {"type": "object", "additionalProperties": {**_SIZE, "type": ["string", "number", "null"]}}


def _kubernetes(definition: str) -> Schema:
    return {"$ref": f"#/definitions/io.k8s.{definition}"}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _or_null(schema: Schema) -> Schema:
    """Allow null in a schema, if possible without `anyOf`, whose validation errors are long."""
    if "$ref" in schema or "anyOf" in schema:
        return {"anyOf": [{"type": "null"}, schema]}
    if "enum" in schema:
        return {**schema, "enum": [*schema["enum"], None]}
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return {**schema, "type": list(dict.fromkeys([*types, "null"]))}


_TYPES: dict[str, Schema] = {
    "global.imageRegistry": {
        "type": "string",
        "pattern": "^([A-Za-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)*)?$",
    },
    "imagePullSecrets": _list(_kubernetes("api.core.v1.LocalObjectReference")),
    "commonLabels": {
        "type": "object",
        "additionalProperties": {"type": "string", "pattern": "^([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$"},
    },
    "clusterDomain": {"type": "string", "pattern": "^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"},
    "serviceAccount.name": _NAME,
    "*nnotations": _TEXTS,
    "*Seconds": _SECONDS,
    "networkPolicy.gatewayFrom": _list(_kubernetes("api.networking.v1.NetworkPolicyPeer")),
    "networkPolicy.dns.to": _list(_kubernetes("api.networking.v1.NetworkPolicyPeer")),
    "networkPolicy.dns.port": {"type": "integer", "minimum": 1, "maximum": 65535},
    "*.image.repository": _or_null({"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._/:-]*$"}),
    "*.image.tag": _or_null({"type": "string", "pattern": "^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$"}),
    "*.image.digest": _or_null({"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"}),
    "*.image.pullPolicy": {"enum": ["IfNotPresent", "Always", "Never"]},
    "*.replicas": _COUNT,
    "*.resources": {
        "type": "object",
        "additionalProperties": False,
        "properties": {"requests": _AMOUNTS, "limits": _AMOUNTS},
    },
    "*.usesWith": {"type": "object"},
    "gateway.logFormat": {"enum": ["json", "text"]},
    "gateway.auth.existingSecret": _NAME,
    "gateway.auth.key": {"type": "string", "pattern": "^[A-Za-z0-9._-]+$"},
    "gateway.tls.existingSecret": _NAME,
    "gateway.service.type": {"enum": ["ClusterIP", "NodePort", "LoadBalancer"]},
    "gateway.service.nodePorts": {
        "type": "object",
        "additionalProperties": False,
        "properties": {name: {"type": "integer", "minimum": 1, "maximum": 65535} for name in ("grpc", "http")},
    },
    "gateway.service.loadBalancerSourceRanges": _list(_TEXT),
    "gateway.ingress.className": _or_null(_TEXT),
    "gateway.ingress.hosts": _list({"type": "string", "minLength": 1}),
    "gateway.ingress.tls": _list(_kubernetes("api.networking.v1.IngressTLS")),
    "gateway.httpRoute.parentRefs": _list(
        {
            "type": "object",
            "additionalProperties": False,
            "required": ["name"],
            "properties": {
                **dict.fromkeys(("group", "kind", "name", "namespace", "sectionName"), _TEXT),
                "port": {"type": "integer"},
            },
        }
    ),
    "gateway.httpRoute.hostnames": _list({"type": "string", "minLength": 1}),
    "*.strategy": _or_null(_kubernetes("api.apps.v1.DeploymentStrategy")),
    "*.autoscaling.minReplicas": {**_COUNT, "minimum": 1},
    "*.autoscaling.maxReplicas": {**_COUNT, "minimum": 1},
    "*.autoscaling.targetCPUUtilizationPercentage": {"type": "integer", "minimum": 1, "maximum": 1000},
    "*.autoscaling.behavior": _kubernetes("api.autoscaling.v2.HorizontalPodAutoscalerBehavior"),
    "*.pdb.maxUnavailable": {"type": ["integer", "string"], "minimum": 0, "pattern": "^[0-9]{1,2}%$|^100%$"},
    "*.affinity": _kubernetes("api.core.v1.Affinity"),
    "*nodeSelector": _TEXTS,
    "*tolerations": _list(_kubernetes("api.core.v1.Toleration")),
    "*.priorityClassName": _NAME,
    "*.egress": _list(_kubernetes("api.networking.v1.NetworkPolicyEgressRule")),
    "*.extraEnv": _list(_kubernetes("api.core.v1.EnvVar")),
    "*.extraVolumes": _list(_kubernetes("api.core.v1.Volume")),
    "*.extraVolumeMounts": _list(_kubernetes("api.core.v1.VolumeMount")),
    "executorDefaults.device": _or_null({"type": "string", "pattern": "^(cpu|cuda(:[0-9]+)?)$"}),
    "executorDefaults.gpu.count": {"type": "integer", "minimum": 1, "maximum": 64},
    "executorDefaults.gpu.resourceName": {"type": "string", "pattern": "^[a-z0-9.-]+/[A-Za-z0-9._-]+$"},
    "executorDefaults.gpu.runtimeClassName": _NAME,
    "model.name": _or_null({"type": "string", "minLength": 1}),
    "model.source": {"enum": ["image", "claim", "download"]},
    "model.claim": _NAME,
    "model.cache.size": _SIZE,
    "model.cache.accessModes": _list({"enum": ["ReadWriteOnce", "ReadWriteMany", "ReadWriteOncePod"]}),
    "model.cache.storageClassName": _or_null(_NAME),
}


class SchemaError(RuntimeError):
    """values.yaml and `_TYPES` do not match."""


def schema(values: dict[str, Any], flows: Sequence[str]) -> Schema:
    """Return the JSON Schema (draft 7) of `values`, which rejects unknown keys.

    :param values: content of values.yaml.
    :param flows: names of the Flows with a topology in the chart.
    :raises SchemaError: if a key has no type, or an entry of `_TYPES` no key.
    """
    used: set[str] = set()
    properties = {key: _of(key, value, used) for key, value in values.items() if key != "executors"}
    properties["flow"] = {"enum": sorted(flows)}
    executor = properties["executorDefaults"]
    own = {**executor, "properties": {**executor["properties"], "model": properties["model"]}}
    properties["executors"] = {"type": "object", "additionalProperties": _or_null(_override(own))}
    if unused := sorted(_TYPES.keys() - used):
        raise SchemaError(f"_TYPES: {unused[0]} fits no key of values.yaml")
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "additionalProperties": False,
        "required": _required(values),
        "properties": properties,
        "definitions": _definitions(properties),
    }


def _of(path: str, default: object, used: set[str]) -> Schema:
    for pattern, typed in _TYPES.items():
        if fnmatch.fnmatchcase(path, pattern):
            used.add(pattern)
            return typed
    if isinstance(default, dict) and default:
        return _of_map(path, default, used)
    for kind, name in ((bool, "boolean"), (int, "integer"), (str, "string")):  # in this order: True is an int too
        if isinstance(default, kind):
            return {"type": name}
    raise SchemaError(f"values.yaml: {path}: the default {default!r} tells no type; add one to _TYPES")


def _of_map(path: str, default: dict[str, Any], used: set[str]) -> Schema:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": _required(default),
        "properties": {key: _of(f"{path}.{key}", value, used) for key, value in default.items()},
    }


def _required(default: dict[str, Any]) -> list[str]:
    """Return the keys that may not be null: a null would remove a default that templates need."""
    return [key for key, value in default.items() if value is not None]


def _override(typed: Schema) -> Schema:
    """Return the schema of overrides of executorDefaults and model: nothing is required, and null is the default."""
    return {
        **_optional(typed),
        "properties": {key: _or_null(_optional(value)) for key, value in typed["properties"].items()},
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
    """Write the schema; the exit code is 1 if `--check` finds it stale, or it cannot be generated."""
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
    texts: dict[Path, str] = {options.chart / "values.schema.json": text}
    if options.check:
        found = differences(texts, [])
        print(found, end="")
        return bool(found)
    for path in write(texts, []):
        print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
