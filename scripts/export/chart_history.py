"""Keys of values.yaml in earlier charts: `helm upgrade --reuse-values` renders current templates with old values.

REQUIRED lists the keys of the charts of November 2026 and never grows: older values lack keys that were added later,
which is valid. Templates use the defaults of missing keys.
"""

from __future__ import annotations

from collections.abc import Sequence

from scripts.export.chart_types import Schema

REQUIRED: dict[str, str] = {
    "": "global imagePullSecrets commonLabels clusterDomain serviceAccount connections shutdown networkPolicy gateway "
    "executorDefaults executors test",
    "model": "source claim cache",
    "model.cache": "size persistent accessModes",
    "serviceAccount": "name annotations",
    "connections": "maxAgeSeconds graceSeconds",
    "shutdown": "preStopSeconds gracePeriodSeconds",
    "networkPolicy": "enabled gatewayFrom dns",
    "networkPolicy.dns": "to port",
    "gateway": "image resources usesWith logFormat auth tls service ingress httpRoute autoscaling pdb affinity "
    "nodeSelector tolerations priorityClassName podAnnotations egress extraEnv extraVolumes extraVolumeMounts",
    "gateway.image": "pullPolicy",
    "gateway.auth": "existingSecret key",
    "gateway.tls": "existingSecret",
    "gateway.service": "type annotations loadBalancerSourceRanges",
    "gateway.ingress": "enabled annotations hosts tls",
    "gateway.httpRoute": "enabled annotations parentRefs hostnames",
    "gateway.autoscaling": "enabled minReplicas maxReplicas targetCPUUtilizationPercentage behavior",
    "gateway.pdb": "enabled maxUnavailable",
    "executorDefaults": "image resources gpu usesWith startupSeconds autoscaling pdb affinity nodeSelector tolerations "
    "priorityClassName podAnnotations egress extraEnv extraVolumes extraVolumeMounts",
    "executorDefaults.image": "pullPolicy",
    "executorDefaults.gpu": "count resourceName tolerations runtimeClassName",
    "executorDefaults.autoscaling": "enabled minReplicas maxReplicas targetCPUUtilizationPercentage behavior",
    "executorDefaults.pdb": "enabled maxUnavailable",
    "test": "timeoutSeconds",
}
"""Path of a map -> its keys that cannot be null, separated by spaces."""

LEFT_OUT = frozenset({"gateway.replicas", "executorDefaults.replicas", "executorDefaults.gpu.nodeSelector"})
"""Keys that every chart has had, and for which null means that the field is omitted: templates use no default."""


def older(executor_keys: Sequence[str]) -> Schema:
    """Return the part of the schema for values of the first charts, which have the model under `executorDefaults`.

    As values of an earlier release (`--reuse-values`) they have no top-level `model`, and may have no `flow`. As a file
    (`--values`, `--reset-then-reuse-values`) they have all keys of the model under `executorDefaults`; only some of
    them there is an error in current values.

    :param executor_keys: current keys of `executorDefaults`, without `model`.
    """
    whole: Schema = {"required": ["model"], "properties": {"model": {"required": ["source", "claim", "cache"]}}}
    only_these: Schema = {"additionalProperties": False, "properties": dict.fromkeys(executor_keys, True)}
    return {
        "if": {"required": ["model"]},
        "then": {
            "required": ["flow"],
            "if": {"not": {"properties": {"executorDefaults": whole}}},
            "then": {"properties": {"executorDefaults": only_these}},
        },
    }
