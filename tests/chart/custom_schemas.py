"""Schemas of the custom resources that the chart creates; like Kubernetes' strict schemas they reject unknown fields.

They have the fields that the chart may use, with the types, names and choices of the published definitions: Prometheus
Operator's `monitoring.coreos.com/v1`, KEDA's `keda.sh/v1alpha1`.
"""

from __future__ import annotations

from typing import Any

from jsonschema import Draft202012Validator

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_TEXTS: Schema = {"type": "object", "additionalProperties": _TEXT}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_DURATION: Schema = {
    "type": "string",
    "pattern": "^(0|(([0-9]+)y)?(([0-9]+)w)?(([0-9]+)d)?(([0-9]+)h)?(([0-9]+)m)?(([0-9]+)s)?(([0-9]+)ms)?)$",
}


def _map(required: str = "", **properties: Schema) -> Schema:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": required.split(),
        "properties": properties,
    }


def _list(items: Schema, least: int = 1) -> Schema:
    return {"type": "array", "items": items, "minItems": least}


def _resource(version: str, kind: str, spec: Schema) -> Schema:
    return _map(
        "apiVersion kind metadata spec",
        apiVersion={"const": version},
        kind={"const": kind},
        metadata=_map("name", name=_TEXT, namespace=_TEXT, labels=_TEXTS, annotations=_TEXTS),
        spec=spec,
    )


_SELECTOR = _map(matchLabels=_TEXTS)
_ENDPOINT = _map(port=_TEXT, path=_TEXT, interval=_DURATION, scheme={"enum": ["http", "https"]})
_RULE = _map(
    "expr",
    alert=_TEXT,
    record=_TEXT,
    expr={"type": ["string", "integer"]},
    labels=_TEXTS,
    annotations=_TEXTS,
    **{"for": _DURATION, "keep_firing_for": _DURATION},
)
_GROUP = _map("name", name={**_TEXT, "minLength": 1}, interval=_DURATION, rules=_list(_RULE))
_POLICY = _map("periodSeconds type value", type={"enum": ["Pods", "Percent"]}, value=_COUNT, periodSeconds=_COUNT)
_SCALING = _map(
    stabilizationWindowSeconds=_COUNT, selectPolicy={"enum": ["Max", "Min", "Disabled"]}, policies=_list(_POLICY)
)
_TRIGGER = _map(
    "type metadata",
    type=_TEXT,
    name=_TEXT,
    useCachedMetrics={"type": "boolean"},
    metricType={"enum": ["AverageValue", "Value", "Utilization"]},
    authenticationRef=_map("name", name=_TEXT, kind=_TEXT),
    metadata=_TEXTS,
)
_SCALED = _map(
    "scaleTargetRef triggers",
    scaleTargetRef=_map("name", name=_TEXT, apiVersion=_TEXT, kind=_TEXT, envSourceContainerName=_TEXT),
    pollingInterval=_COUNT,
    cooldownPeriod=_COUNT,
    idleReplicaCount=_COUNT,
    minReplicaCount=_COUNT,
    maxReplicaCount=_COUNT,
    fallback=_map(
        "failureThreshold replicas",
        failureThreshold=_COUNT,
        replicas=_COUNT,
        behavior={"enum": ["static", "currentReplicas", "currentReplicasIfHigher", "currentReplicasIfLower"]},
    ),
    advanced=_map(
        restoreToOriginalReplicaCount={"type": "boolean"},
        horizontalPodAutoscalerConfig=_map(name=_TEXT, behavior=_map(scaleUp=_SCALING, scaleDown=_SCALING)),
    ),
    triggers=_list(_TRIGGER),
)
_MONITOR = {"selector": _SELECTOR, "podTargetLabels": _list(_TEXT), "jobLabel": _TEXT}

SCHEMAS: dict[str, Schema] = {
    "PodMonitor": _resource(
        "monitoring.coreos.com/v1",
        "PodMonitor",
        _map("selector podMetricsEndpoints", **_MONITOR, podMetricsEndpoints=_list(_ENDPOINT)),
    ),
    "ServiceMonitor": _resource(
        "monitoring.coreos.com/v1",
        "ServiceMonitor",
        _map("selector endpoints", **_MONITOR, targetLabels=_list(_TEXT), endpoints=_list(_ENDPOINT)),
    ),
    "PrometheusRule": _resource("monitoring.coreos.com/v1", "PrometheusRule", _map(groups=_list(_GROUP))),
    "ScaledObject": _resource("keda.sh/v1alpha1", "ScaledObject", _SCALED),
}

CUSTOM = {"HTTPRoute", "GRPCRoute", "BackendTLSPolicy", *SCHEMAS}
"""Kinds that Kubernetes' own schemas do not have. Tests check those of Gateway API field by field."""


def custom_refusal(one: dict[str, Any]) -> str | None:
    """Return the reason why a custom resource is not valid; None if it is valid."""
    error = next(Draft202012Validator(SCHEMAS[one["kind"]]).iter_errors(one), None)
    return error and f"{one['kind']}: {'.'.join(str(part) for part in error.absolute_path)}: {error.message}"
