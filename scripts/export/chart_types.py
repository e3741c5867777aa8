"""The types of the chart's values that cannot be derived from their defaults, by patterns of their paths.

Kubernetes' own types come from its published schemas, so Helm rejects a misspelt toleration before the installation.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_NAME: Schema = {"type": "string", "pattern": "^([a-z0-9]([a-z0-9.-]*[a-z0-9])?)?$"}
_SIZE: Schema = {"type": ["string", "integer"], "pattern": "^[0-9]+(\\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$"}
_SECONDS: Schema = {"type": "integer", "minimum": 1, "maximum": 86400}
_PART: Schema = {"type": "string", "pattern": "^([a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?)?$"}
_PORT: Schema = {"type": "integer", "minimum": 1, "maximum": 65535}
_COUNT: Schema = {"type": "integer", "minimum": 0, "maximum": 10000}
_SHARE: Schema = {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}
_TEXTS: Schema = {"type": "object", "additionalProperties": _TEXT}
_AMOUNTS: Schema = {"type": "object", "additionalProperties": {**_SIZE, "type": ["string", "number", "null"]}}


def _kubernetes(definition: str) -> Schema:
    return {"$ref": f"#/definitions/io.k8s.{definition}"}


def _by_protocol(value: Schema) -> Schema:
    return {"type": "object", "additionalProperties": False, "properties": {"grpc": value, "http": value}}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def or_null(schema: Schema) -> Schema:
    """Return a schema that also allows null, without `anyOf` if possible: Helm's error is then one line."""
    if "$ref" in schema or "anyOf" in schema:
        return {"anyOf": [{"type": "null"}, schema]}
    if "enum" in schema:
        return {**schema, "enum": [*schema["enum"], None]}
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return {**schema, "type": list(dict.fromkeys([*types, "null"]))}


TYPES: dict[str, Schema] = {
    "global.imageRegistry": {
        "type": "string",
        "pattern": "^([A-Za-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)*)?$",
    },
    "nameOverride": _PART,
    "fullnameOverride": _PART,
    "imagePullSecrets": _list(_kubernetes("api.core.v1.LocalObjectReference")),
    "commonLabels": {
        "type": "object",
        "additionalProperties": {"type": "string", "pattern": "^([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$"},
    },
    "openshift": {"type": ["boolean", "null"]},
    "podSecurityContext": _kubernetes("api.core.v1.PodSecurityContext"),
    "containerSecurityContext": _kubernetes("api.core.v1.SecurityContext"),
    "extraObjects": _list({"type": ["object", "string"]}),
    "clusterDomain": {"type": "string", "pattern": "^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"},
    "serviceAccount.name": _NAME,
    "*nnotations": _TEXTS,
    "monitoring.rules.latencySeconds": {"enum": [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]},
    "*Seconds": _SECONDS,
    "networkPolicy.gatewayFrom": _list(_kubernetes("api.networking.v1.NetworkPolicyPeer")),
    "networkPolicy.dns.to": {**_list(_kubernetes("api.networking.v1.NetworkPolicyPeer")), "minItems": 1},
    "networkPolicy.dns.port": _PORT,
    "networkPolicy.download.to": {**_list(_kubernetes("api.networking.v1.NetworkPolicyPeer")), "minItems": 1},
    "*.image.repository": or_null({"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._/:-]*$"}),
    "*.image.tag": or_null({"type": "string", "pattern": "^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$"}),
    "*.image.digest": or_null({"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"}),
    "*.image.pullPolicy": {"enum": ["IfNotPresent", "Always", "Never"]},
    "*.replicas": or_null(_COUNT),
    "*.revisionHistoryLimit": or_null(_COUNT),
    "*.resources": {
        "type": "object",
        "additionalProperties": False,
        "properties": {"requests": _AMOUNTS, "limits": _AMOUNTS},
    },
    "*.usesWith": {"type": "object"},
    "monitoring.from": _list(_kubernetes("api.networking.v1.NetworkPolicyPeer")),
    "monitoring.scrape": {"enum": ["annotations", "PodMonitor", "ServiceMonitor", "none"]},
    "monitoring.interval": {"type": "string", "pattern": "^[0-9]+(ms|s|m)$"},
    "monitoring*.labels": _TEXTS,
    "monitoring.prometheus": {"type": "string", "pattern": "^(https?://[^ ]+)?$"},
    "monitoring.rules.availability": _SHARE,
    "monitoring.rules.fast": _SHARE,
    "monitoring.tracing.host": {"type": "string", "pattern": "^(https?://[^ :]+)?$"},
    "monitoring.tracing.port": _PORT,
    "monitoring.tracing.to": _list(_kubernetes("api.networking.v1.NetworkPolicyPeer")),
    "monitoring.tracing.ratio": {"type": "number", "minimum": 0, "maximum": 1},
    "gateway.logFormat": {"enum": ["json", "text"]},
    "gateway.auth.existingSecret": _NAME,
    "gateway.auth.key": {"type": "string", "pattern": "^[A-Za-z0-9._-]+$"},
    "gateway.tls.existingSecret": _NAME,
    "gateway.service.type": {"enum": ["ClusterIP", "NodePort", "LoadBalancer"]},
    "gateway.tls.backendPolicy.caCertificateRefs": _list(
        {
            "type": "object",
            "additionalProperties": False,
            "required": ["kind", "name"],
            "properties": dict.fromkeys(("group", "kind", "name"), _TEXT),
        }
    ),
    "gateway.tls.backendPolicy.wellKnownCACertificates": {"enum": ["", "System"]},
    "gateway.service.ports": _by_protocol(_PORT),
    "gateway.service.nodePorts": _by_protocol(_PORT),
    "gateway.service.appProtocols": _by_protocol(_TEXT),
    "gateway.service.labels": _TEXTS,
    "gateway.service.externalTrafficPolicy": {"enum": ["Cluster", "Local", None]},
    "gateway.service.loadBalancerClass": or_null(_TEXT),
    "gateway.service.ipFamilyPolicy": {"enum": ["SingleStack", "PreferDualStack", "RequireDualStack", None]},
    "gateway.service.ipFamilies": {**_list({"enum": ["IPv4", "IPv6"]}), "maxItems": 2},
    "gateway.service.loadBalancerSourceRanges": _list(_TEXT),
    "gateway.ingress.className": or_null(_TEXT),
    "gateway.ingress.hosts": _list({"type": "string", "minLength": 1}),
    "gateway.ingress.tls": _list(_kubernetes("api.networking.v1.IngressTLS")),
    "gateway.ingress.paths": _list({"type": "string", "pattern": "^/"}),
    "gateway.*Route.parentRefs": _list(
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
    "gateway.*Route.hostnames": _list({"type": "string", "minLength": 1}),
    "gateway.*Route.matches": _list({"type": "object"}),
    "gateway.*Route.filters": _list({"type": "object", "required": ["type"]}),
    "gateway.httpRoute.timeouts": {
        "type": "object",
        "additionalProperties": False,
        "properties": dict.fromkeys(("request", "backendRequest"), _TEXT),
    },
    "*.strategy": or_null(_kubernetes("api.apps.v1.DeploymentStrategy")),
    "*.autoscaling.minReplicas": {**_COUNT, "minimum": 1},
    "*.autoscaling.maxReplicas": {**_COUNT, "minimum": 1},
    "*.autoscaling.targetCPUUtilizationPercentage": {"type": "integer", "minimum": 1, "maximum": 1000},
    "*.autoscaling.by": {"enum": ["cpu", "waiting", "keda"]},
    "*.autoscaling.targetWaitingItems": {"type": "number", "exclusiveMinimum": 0},
    "*.autoscaling.behavior": _kubernetes("api.autoscaling.v2.HorizontalPodAutoscalerBehavior"),
    "*.autoscaling.metrics": _list(_kubernetes("api.autoscaling.v2.MetricSpec")),
    "*.pdb.maxUnavailable": {"type": ["integer", "string"], "minimum": 0, "pattern": "^[0-9]{1,2}%$|^100%$"},
    "*.affinity": _kubernetes("api.core.v1.Affinity"),
    "executorDefaults.gpu.nodeSelector": or_null(_TEXTS),
    "*nodeSelector": _TEXTS,
    "*.podLabels": _TEXTS,
    "*.topologySpreadConstraints": or_null(_list(_kubernetes("api.core.v1.TopologySpreadConstraint"))),
    "*.initContainers": _list(_kubernetes("api.core.v1.Container")),
    "*.extraContainers": _list(_kubernetes("api.core.v1.Container")),
    "*.extraPodSpec": {"type": "object"},
    "*tolerations": _list(_kubernetes("api.core.v1.Toleration")),
    "*.priorityClassName": _NAME,
    "*.egress": _list(_kubernetes("api.networking.v1.NetworkPolicyEgressRule")),
    "*.extraEnv": _list(_kubernetes("api.core.v1.EnvVar")),
    "*.extraVolumes": _list(_kubernetes("api.core.v1.Volume")),
    "*.extraVolumeMounts": _list(_kubernetes("api.core.v1.VolumeMount")),
    "executorDefaults.device": or_null({"type": "string", "pattern": "^(cpu|cuda(:[0-9]+)?)$"}),
    "executorDefaults.gpu.count": {"type": "integer", "minimum": 1, "maximum": 64},
    "executorDefaults.gpu.resourceName": {"type": "string", "pattern": "^[a-z0-9.-]+/[A-Za-z0-9._-]+$"},
    "executorDefaults.gpu.runtimeClassName": _NAME,
    "model.name": or_null({"type": "string", "minLength": 1}),
    "model.source": {"enum": ["image", "claim", "download", "oci"]},
    "model.claim": _NAME,
    "model.oci": {"type": "string", "pattern": "^$|^[a-z0-9][A-Za-z0-9._/:-]*@sha256:[0-9a-f]{64}$"},
    "model.cache.size": _SIZE,
    "model.cache.accessModes": _list({"enum": ["ReadWriteOnce", "ReadWriteMany", "ReadWriteOncePod"]}),
    "model.cache.storageClassName": or_null(_NAME),
}
