"""What earlier charts had in values.yaml: `helm upgrade --reuse-values` brings it to the templates of today.

REQUIRED is of the charts of November 2026 and never grows: a key that came later is missing in older values, which is
no mistake. Templates then take its default.
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
"""By the path of a map: keys that cannot be null."""

LEFT_OUT = frozenset({"gateway.replicas", "executorDefaults.replicas", "executorDefaults.gpu.nodeSelector"})
"""Keys that every chart has had, and that a null leaves out: missing, they get no default."""


def older(executor_keys: Sequence[str]) -> Schema:
    """What the schema says of the first charts' values, in which the model stands under `executorDefaults`.

    As a chart's own values (`--reuse-values`) they have no `model` at the top, and may have no `flow`. As a file
    (`--values`, `--reset-then-reuse-values`) they have the model there whole; a part of it is a mistake of today.
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
