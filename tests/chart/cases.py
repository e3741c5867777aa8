"""Sets of values that the chart is rendered with: tests check the properties of every pod for each set."""

from __future__ import annotations

from typing import Any

from tests.chart.chart import profile

_NODES = {"pool": "clip"}
_TAINTS = [{"key": "pool", "operator": "Equal", "value": "clip", "effect": "NoSchedule"}]
_AFFINITY = {
    "nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}]
        }
    }
}
_WAITING = {
    "type": "Pods",
    "pods": {"metric": {"name": "clip_queue_items"}, "target": {"type": "AverageValue", "averageValue": "32"}},
}
_SIDECAR = {
    "name": "sidecar",
    "image": "registry.example.com/team/sidecar:1",
    "env": [],
    "resources": {
        "requests": {"cpu": "10m", "memory": "16Mi", "ephemeral-storage": "1Gi"},
        "limits": {"cpu": "10m", "memory": "16Mi", "ephemeral-storage": "1Gi"},
    },
    "securityContext": {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    },
    "volumeMounts": [{"name": "home", "mountPath": "/home/app"}, {"name": "tmp", "mountPath": "/tmp"}],
}
_EVERY_ROLE: dict[str, Any] = {
    "image": {"repository": "mirror.example.com:5000/x/y", "digest": "sha256:" + "a" * 64, "pullPolicy": "Always"},
    "strategy": {"type": "Recreate"},
    "autoscaling": {
        "enabled": True,
        "metrics": [_WAITING],
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 60}},
    },
    "pdb": {"maxUnavailable": "50%"},
    "affinity": _AFFINITY,
    "nodeSelector": _NODES,
    "tolerations": _TAINTS,
    "priorityClassName": "high",
    "annotations": {"reloader.stakater.com/auto": "true"},
    "podAnnotations": {"example.com/note": "yes"},
    "podLabels": {"example.com/cost": "vision"},
    "topologySpreadConstraints": [
        {"maxSkew": 2, "topologyKey": "example.com/rack", "whenUnsatisfiable": "ScheduleAnyway"}
    ],
    "revisionHistoryLimit": 3,
    "egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}], "ports": [{"port": 443, "protocol": "TCP"}]}],
    "extraEnv": [{"name": "JINA_LOG_LEVEL", "value": "DEBUG"}],
    "extraVolumes": [{"name": "more", "emptyDir": {"sizeLimit": "1Mi"}}],
    "extraVolumeMounts": [{"name": "more", "mountPath": "/more"}],
    "initContainers": [{**_SIDECAR, "name": "before"}],
    "extraPodSpec": {"schedulerName": "other"},
}

_OBJECT = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {
        "name": "{{ .Release.Name }}-mine",
        "namespace": "{{ .Release.Namespace }}",
        "labels": {"team": "vision"},
    },
}

EVERYTHING_ON: dict[str, Any] = {
    "global": {"imageRegistry": "registry.example.com/team"},
    "imagePullSecrets": [{"name": "registry"}],
    "commonLabels": {"team": "vision", "app.kubernetes.io/name": "not-mine"},
    "clusterDomain": "corp.example",
    "nodeSelector": {"kubernetes.io/arch": "amd64"},
    "extraObjects": [_OBJECT],
    "serviceAccount": {"annotations": {"example.com/role": "none"}},
    "networkPolicy": {"gatewayFrom": [{"namespaceSelector": {"matchLabels": {"team": "shop"}}}]},
    "gateway": {
        **_EVERY_ROLE,
        "usesWith": {"max_documents": 16},
        "auth": {"existingSecret": "tokens", "key": "all"},
        "tls": {
            "existingSecret": "certificate",
            "backendPolicy": {
                "hostname": "clip.example.com",
                "caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": "ca"}],
            },
        },
        "service": {
            "type": "LoadBalancer",
            "annotations": {"example.com/lb": "internal"},
            "labels": {"example.com/exposed": "yes"},
            "externalTrafficPolicy": "Local",
            "loadBalancerClass": "example.com/internal",
            "loadBalancerSourceRanges": ["10.0.0.0/8"],
            "ipFamilyPolicy": "PreferDualStack",
            "ipFamilies": ["IPv6", "IPv4"],
        },
        "ingress": {
            "enabled": True,
            "className": "traefik",
            "annotations": {"example.com/body": "64m"},
            "hosts": ["clip.example.com"],
            "tls": [{"hosts": ["clip.example.com"], "secretName": "clip-tls"}],
        },
        "httpRoute": {
            "enabled": True,
            "annotations": {"example.com/route": "yes"},
            "parentRefs": [{"name": "public", "namespace": "gateways", "sectionName": "https"}],
            "hostnames": ["clip.example.com"],
            "matches": [{"path": {"type": "PathPrefix", "value": "/v1"}}],
            "filters": [{"type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": ["x-request-id"]}}],
            "timeouts": {"request": "65s"},
        },
        "grpcRoute": {
            "enabled": True,
            "parentRefs": [{"name": "public", "namespace": "gateways"}],
            "hostnames": ["grpc.clip.example.com"],
            "matches": [{"method": {"service": "jina.JinaRPC"}}],
        },
    },
    "executorDefaults": {
        **_EVERY_ROLE,
        "device": "cuda",
        "gpu": {"count": 2, "resourceName": "nvidia.com/mig-1g.10gb", "runtimeClassName": "nvidia"},
        "usesWith": {"batch_size": 64, "note": 'it\'s "quoted" $(HOME) ünïcode'},
    },
    "model": {
        "name": "ViT-L/14",
        "source": "download",
        "cache": {"persistent": True, "storageClassName": "shared"},
    },
}

EVERYTHING_OFF: dict[str, Any] = {
    "serviceAccount": {"name": "existing"},
    "networkPolicy": {"enabled": False},
    "gateway": {"replicas": 0, "pdb": {"enabled": False}},
    "executorDefaults": {"replicas": 0, "pdb": {"enabled": False}},
    "model": {"name": "emoji-tiny"},
}

MONITORED: dict[str, Any] = {
    "monitoring": {"enabled": True, "from": [{"namespaceSelector": {"matchLabels": {"team": "monitoring"}}}]},
}

OPERATED: dict[str, Any] = {
    "monitoring": {
        **MONITORED["monitoring"],
        "scrape": "PodMonitor",
        "labels": {"release": "kube-prometheus-stack"},
        "prometheus": "http://prometheus.monitoring:9090",
        "rules": {"enabled": True, "runbook": "https://example.com/runbook.md"},
        "tracing": {
            "enabled": True,
            "host": "http://collector.observability",
            "to": [{"namespaceSelector": {"matchLabels": {"team": "observability"}}}],
            "ratio": 0.1,
        },
    },
    "executorDefaults": {
        "autoscaling": {"enabled": True, "by": "keda", "behavior": {"scaleDown": {"stabilizationWindowSeconds": 60}}},
    },
}

CASES: dict[str, dict[str, Any]] = {
    "defaults": {},
    **{name: profile(name) for name in ("small", "production-cpu", "gpu", "air-gapped", "openshift")},
    "everything on": EVERYTHING_ON,
    "everything off": EVERYTHING_OFF,
    "model on a claim": {"model": {"source": "claim", "claim": "weights", "name": "/models/a.pt"}},
    "model downloaded": {"model": {"source": "download", "name": "ViT-B/32"}},
    "monitored": MONITORED,
    "monitored by an operator": OPERATED,
    "scraped by a Service": {"monitoring": {**MONITORED["monitoring"], "scrape": "ServiceMonitor"}},
    "scaled on queues": {**MONITORED, "executorDefaults": {"autoscaling": {"enabled": True, "by": "waiting"}}},
    "words": {"flow": "clip"},
    "words, monitored": {**OPERATED, "flow": "clip"},
    "words, everything on": {**EVERYTHING_ON, "flow": "clip"},
    "words on CPUs": {**profile("production-cpu"), "flow": "clip"},
    "words beside GPUs": {**profile("gpu"), "flow": "clip"},
}
