"""Values that take two to be wrong, or that Kubernetes would refuse: a sentence names the value and the mend."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.chart.chart import RefusedError, render

TOKENS = {"existingSecret": "tokens"}
ANYBODY = {"anonymous": True}
PARENTS = [{"name": "public"}]
E = "executors"


def gateway(**values: Any) -> dict[str, Any]:
    return {"gateway": values}


def encoder(**values: Any) -> dict[str, Any]:
    return {E: {"encoder": values}}


def service(**values: Any) -> dict[str, Any]:
    return gateway(auth=TOKENS, service=values)


BALANCER = {"type": "LoadBalancer"}
REFUSALS: list[tuple[dict[str, Any], str, str]] = [
    # who may come in
    (
        gateway(service=BALANCER),
        "gateway.service.type: LoadBalancer exposes the gateway",
        "set gateway.auth.existingSecret to a Secret",
    ),
    (gateway(ingress={"enabled": True, "hosts": ["a"]}), "gateway.ingress.enabled exposes", "auth.anonymous: true"),
    (gateway(httpRoute={"enabled": True, "parentRefs": PARENTS}), "gateway.httpRoute.enabled", "auth.anonymous: true"),
    (gateway(grpcRoute={"enabled": True, "parentRefs": PARENTS}), "gateway.grpcRoute.enabled", "auth.anonymous: true"),
    (gateway(auth={**TOKENS, **ANYBODY}), "gateway.auth.anonymous: true allows public", "set only one"),
    ({"networkPolicy": {"enabled": False, "gatewayFrom": [{"podSelector": {}}]}}, "gatewayFrom restricts", "enable it"),
    # the Service
    (service(nodePorts={"http": 30080}), "type is ClusterIP, so nodePorts", "set type to NodePort, or remove them"),
    (service(externalTrafficPolicy="Local"), "so externalTrafficPolicy has no effect", "set type to LoadBalancer"),
    (service(loadBalancerClass="a/b"), "so loadBalancerClass has no effect", "set type to LoadBalancer"),
    (service(type="NodePort", loadBalancerSourceRanges=["10.0.0.0/8"]), "so loadBalancerSourceRanges", "LoadBalancer"),
    (
        service(**BALANCER, loadBalancerSourceRanges=["office"]),
        '"office" is not a valid address range',
        "203.0.113.0/24",
    ),
    (
        service(type="NodePort", nodePorts={"http": 30080, "grpc": 30080}),
        "grpc and http use the same port",
        "different",
    ),
    (service(ports={"http": 80, "grpc": 80}), "service.ports: grpc and http both use port 80", "set different"),
    (service(ports={"http": 8080}), "service.ports: grpc and http both use port 8080", "set different"),
    (service(ipFamilies=["IPv4", "IPv6"]), "service.ipFamilies: lists two", "must be PreferDualStack or Require"),
    (service(ipFamilies=["IPv6", "IPv6"], ipFamilyPolicy="PreferDualStack"), "ipFamilies: IPv6 is listed twice", ""),
    (service(labels={"a b": "c"}), 'gateway.service.labels: "a b" is not a valid key', "letters, digits"),
    # from outside
    (
        gateway(auth=TOKENS, ingress={"enabled": True, "hosts": ["https://a"]}),
        '"https://a" is not a valid host',
        "scheme",
    ),
    (gateway(auth=TOKENS, ingress={"enabled": True, "hosts": ["a:80"]}), '"a:80" is not a valid host', "port"),
    (gateway(auth=TOKENS, ingress={"enabled": True, "hosts": ["a"], "paths": []}), "ingress: enabled, so paths", "`/`"),
    (gateway(auth=TOKENS, grpcRoute={"enabled": True}), "grpcRoute: enabled, so parentRefs must name a Gateway", ""),
    (
        gateway(auth=TOKENS, tls={"existingSecret": "t"}, httpRoute={"enabled": True, "parentRefs": PARENTS}),
        "gateway.httpRoute: enabled, and the gateway uses TLS",
        "set gateway.tls.backendPolicy.hostname to the name in its certificate",
    ),
    (
        gateway(tls={"existingSecret": "t", "backendPolicy": {"hostname": "a"}}),
        "backendPolicy: hostname is set, so",
        "exactly one of caCertificateRefs and wellKnownCACertificates must be set",
    ),
    (
        gateway(tls={"backendPolicy": {"hostname": "a"}}),
        "backendPolicy: hostname is set, so gateway.tls.existingSecret",
        "name the Secret",
    ),
    # resources
    (
        gateway(resources={"limits": {"cpu": "50m"}}),
        "gateway.resources.limits.cpu (50m) is less than requests",
        "raise",
    ),
    (encoder(resources={"limits": {"memory": "0.5Gi"}}), "resources.limits.memory (0.5Gi) is less than", "(768Mi)"),
    (encoder(resources={"requests": {"cpu": 3}}), "encoder.resources.limits.cpu (2) is less than requests.cpu (3)", ""),
    (
        gateway(resources={"limits": {"memory": "300Mi"}}),
        "limits.memory (300Mi) is too small for",
        "raise the limit to 416Mi",
    ),
    (gateway(usesWith={"max_body_bytes": 2**26}), "usesWith.max_body_bytes (67108864)", "raise the limit to 672Mi"),
    (
        gateway(usesWith={"max_bytes_under_way": 2**27}),
        "usesWith.max_bytes_under_way (134217728)",
        "or lower the option",
    ),
    (
        gateway(usesWith={"memory_bytes": 2**30}),
        "memory_bytes (1073741824) is more than resources.limits.memory",
        "remove",
    ),
    (encoder(usesWith={"decode_memory": 2**30}), "decode_memory (1073741824) and queue_bytes", "the other half"),
    (encoder(usesWith={"queue_bytes": 2**30}), "queue_bytes (1073741824) are more than half", "raise the limit"),
    (encoder(usesWith={"max_image_bytes": 2**29}), "max_image_bytes (536870912) is more than queue_bytes", "lower max"),
    # pods
    ({"commonLabels": {"-a": "b"}}, 'commonLabels: "-a" is not a valid key', "letters, digits"),
    ({"commonLabels": {"Ex.com/a": "b"}}, 'commonLabels: "Ex.com/a" is not a valid key', "DOMAIN/"),
    ({"nodeSelector": {"a/b/c": "d"}}, 'nodeSelector: "a/b/c" is not a valid key', "DOMAIN/"),
    (gateway(podLabels={"a": "b c"}), 'gateway.podLabels.a: "b c" is not a valid label value', "at most 63"),
    (encoder(nodeSelector={"a": "b c"}), 'executors.encoder.nodeSelector.a: "b c" is not a valid', "at most 63"),
    (encoder(podAnnotations={"a b": "c"}), 'executors.encoder.podAnnotations: "a b" is not a valid', "letters"),
    ({"serviceAccount": {"name": "a", "annotations": {"b": "c"}}}, "serviceAccount.annotations are for", "remove name"),
    (gateway(extraVolumes=[{"name": "tmp"}]), 'gateway.extraVolumes: two volumes are called "tmp"', "another name"),
    (gateway(extraVolumeMounts=[{"name": "a", "mountPath": "/a"}]), '"a": no volume has this name', "extraVolumes"),
    (
        encoder(extraVolumes=[{"name": "a"}], extraVolumeMounts=[{"name": "a", "mountPath": "/tmp/"}]),
        "executors.encoder.extraVolumeMounts: two mounts at /tmp",
        'give "a" another mountPath',
    ),
    (
        encoder(model={"source": "claim", "claim": "w"}, extraVolumes=[{"name": "models"}]),
        'two volumes are called "models"',
        "another name",
    ),
    (
        encoder(tolerations=[{"operator": "Exists", "key": "a", "value": "b"}]),
        "operator Exists takes no value",
        "remove",
    ),
    # coming and going
    (gateway(pdb={"maxUnavailable": 0}), "gateway.pdb.maxUnavailable: 0 would block every node drain", "set 1"),
    (encoder(pdb={"maxUnavailable": "0%"}), "encoder.pdb.maxUnavailable: 0% would block every", "pdb.enabled: false"),
    (encoder(strategy={"type": "Recreate", "rollingUpdate": {"maxSurge": 1}}), "type is Recreate, so", "remove it"),
    (
        encoder(strategy={"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}),
        "strategy: maxSurge and maxUnavailable are both 0",
        "set one of them to 1",
    ),
    (
        gateway(
            autoscaling={"enabled": True},
            resources={"requests": {"cpu": None}, "limits": {"cpu": None}},
        ),
        "gateway.autoscaling: enabled, and uses the CPU",
        "set resources.requests.cpu",
    ),
    # models
    (
        {"model": {"source": "download", "cache": {"persistent": True, "accessModes": []}}},
        "accessModes: must not",
        "Many",
    ),
    ({"model": {"source": "download", "cache": {"size": 0}}}, "model.cache.size: 0 is too small", "gigabytes"),
    ({"model": {"cache": {"persistent": True}}}, "cache: persistent needs downloaded weights", "set source"),
    # GPUs
    (encoder(device="cuda"), "device is cuda, but the image clip-image-encoder:0.1.0 is built for CPUs", "0.1.0-gpu"),
    (encoder(device="cuda:1", image={"tag": "g"}), "device cuda:1 is not available", "gpu.count is 1"),
    (
        encoder(device="cuda", image={"tag": "g"}, autoscaling={"enabled": True}),
        "device is cuda, but autoscaling uses the CPU",
        "set autoscaling.by",
    ),
]


@pytest.mark.parametrize(("values", "wrong", "mend"), REFUSALS, ids=[json.dumps(values) for values, *_ in REFUSALS])
def test_what_makes_no_sense_is_refused_in_a_sentence(values: dict[str, Any], wrong: str, mend: str) -> None:
    with pytest.raises(RefusedError) as refused:
        render(values)
    said = str(refused.value)
    assert "values: " in said
    assert wrong in said
    assert mend in said


SOUND: list[dict[str, Any]] = [
    service(type="NodePort", nodePorts={"http": 30080}),
    service(**BALANCER, loadBalancerSourceRanges=["2001:db8::/32", "203.0.113.0/24"]),
    gateway(auth=ANYBODY, service=BALANCER),
    service(ports={"http": 80, "grpc": 50051}),
    service(ipFamilies=["IPv6", "IPv4"], ipFamilyPolicy="RequireDualStack"),
    service(ipFamilies=["IPv6"]),
    gateway(auth=TOKENS, ingress={"enabled": True, "hosts": ["*.example.com"]}),
    gateway(resources={"limits": {"memory": "672Mi"}}, usesWith={"max_body_bytes": 2**26}),
    gateway(resources={"limits": {"memory": None}}, usesWith={"max_body_bytes": 2**26}),
    gateway(resources={"requests": {"cpu": "1000m"}, "limits": {"cpu": 1}}),
    gateway(pdb={"enabled": False, "maxUnavailable": 0}),
    encoder(usesWith={"max_image_bytes": 2**28}),
    encoder(device="cuda:1", gpu={"count": 2}, image={"tag": "0.1.0-gpu"}),
    {"commonLabels": {"example.com/a.b_c": ""}},
]


@pytest.mark.parametrize("values", SOUND, ids=[json.dumps(values) for values in SOUND])
def test_what_makes_sense_is_not(values: dict[str, Any]) -> None:
    assert render(values).objects
