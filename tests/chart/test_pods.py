"""What the values do to the pods: probes and shutdown, models, GPUs, placement, scaling, tokens and TLS."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from jina.parsers import set_gateway_parser, set_pod_parser

from tests.chart.cases import CASES, EVERYTHING_ON
from tests.chart.chart import Object, Values, argument, container, render


def encoder(**values: Any) -> Object:
    """The encoder's Deployment with values of its own."""
    return render({"executors": {"encoder": values}}).one("Deployment", "clip-encoder")


def gateway(**values: Any) -> Object:
    """The gateway's Deployment with values of its own."""
    return render({"gateway": values}).one("Deployment", "clip-gateway")


def uses_with(deployment: Object) -> dict[str, Any]:
    return dict(json.loads(argument(container(deployment), "--uses-with")))


def pod(deployment: Object) -> Object:
    return dict(deployment["spec"]["template"]["spec"])


def test_an_executor_lives_by_its_process_and_is_ready_by_its_service() -> None:
    one = container(encoder())
    assert one["livenessProbe"]["grpc"] == {"port": 8080}
    assert one["readinessProbe"]["grpc"] == {"port": 8080, "service": "jina.JinaSingleDataRequestRPC"}


@pytest.mark.parametrize(("seconds", "times"), [(600, 300), (90, 45), (1, 1)])
def test_an_executor_has_time_to_load_its_model(seconds: int, times: int) -> None:
    probe = container(encoder(startupSeconds=seconds))["startupProbe"]
    assert (probe["periodSeconds"], probe["failureThreshold"]) == (2, times)
    assert probe["grpc"]["service"] == "jina.JinaSingleDataRequestRPC"


def test_a_rollout_is_given_up_no_sooner_than_a_model_may_take_to_load(two_executors: Any) -> None:
    values = {"executorDefaults": {"startupSeconds": 100}, "executors": {"text_ranker": {"startupSeconds": 900}}}
    rendering = render(values, chart=two_executors)
    deadlines = {o["metadata"]["name"]: o["spec"]["progressDeadlineSeconds"] for o in rendering.of_kind("Deployment")}
    assert deadlines == {"clip-encoder": 160, "clip-text-ranker": 960, "clip-gateway": 960}


@pytest.mark.parametrize(("tls", "scheme"), [("", "HTTP"), ("certificate", "HTTPS")])
def test_the_gateway_is_ready_once_every_executor_answered_and_lives_by_itself(tls: str, scheme: str) -> None:
    one = container(gateway(tls={"existingSecret": tls}))
    assert one["readinessProbe"]["httpGet"] == {"path": "/startupz", "port": "http", "scheme": scheme}
    for probe in ("livenessProbe", "startupProbe"):
        assert one[probe]["httpGet"] == {"path": "/healthz", "port": "http", "scheme": scheme}


@pytest.mark.parametrize("case", CASES)
def test_a_pod_that_ends_has_lost_its_connections_before_it_stops(case: str) -> None:
    rendering = render(CASES[case])
    for name in ("clip-encoder", "clip-gateway"):
        deployment = rendering.one("Deployment", name)
        pause = container(deployment)["lifecycle"]["preStop"]["sleep"]["seconds"]
        age = json.loads(argument(container(deployment), "--grpc-server-options"))["grpc.max_connection_age_ms"]
        assert age / 1000 < pause < pod(deployment)["terminationGracePeriodSeconds"]


def test_a_rollout_on_cpu_never_has_a_pod_too_few() -> None:
    for deployment in (encoder(), gateway()):
        assert deployment["spec"]["strategy"] == {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
        }


@pytest.mark.parametrize("device", ["cuda", "cuda:0"])
def test_a_gpu_brings_what_a_gpu_needs(device: str) -> None:
    deployment = encoder(device=device, gpu={"runtimeClassName": "nvidia"})
    spec = pod(deployment)
    assert container(deployment)["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert "nvidia.com/gpu" not in container(deployment)["resources"]["requests"], "Kubernetes copies the limit"
    assert spec["nodeSelector"] == {"nvidia.com/gpu.present": "true"}
    assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in spec["tolerations"]
    assert spec["runtimeClassName"] == "nvidia"
    assert uses_with(deployment)["device"] == device


def test_a_rollout_on_gpus_needs_no_spare_one() -> None:
    strategy = encoder(device="cuda")["spec"]["strategy"]
    assert strategy["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}


def test_a_slice_of_a_gpu_is_another_resource() -> None:
    limits = container(encoder(device="cuda", gpu={"resourceName": "nvidia.com/mig-1g.10gb", "count": 2}))["resources"][
        "limits"
    ]
    assert limits["nvidia.com/mig-1g.10gb"] == "2"
    assert "nvidia.com/gpu" not in limits


def test_without_a_gpu_nothing_of_it_remains() -> None:
    deployment = encoder(device="cpu", gpu={"runtimeClassName": "nvidia", "count": 4})
    assert not {"nodeSelector", "tolerations", "runtimeClassName"} & pod(deployment).keys()
    assert container(deployment)["resources"]["limits"].keys() == {"cpu", "memory", "ephemeral-storage"}


def test_a_gpu_for_one_executor_is_not_for_the_others(two_executors: Any) -> None:
    rendering = render({"executors": {"encoder": {"device": "cuda"}}}, chart=two_executors)
    assert "runtimeClassName" not in pod(rendering.one("Deployment", "clip-text-ranker"))
    limits = container(rendering.one("Deployment", "clip-text-ranker"))["resources"]["limits"]
    assert "nvidia.com/gpu" not in limits


def test_null_is_the_flows_value(two_executors: Any) -> None:
    values = {"executorDefaults": {"device": "cuda"}, "executors": {"text_ranker": {"device": None}}}
    rendering = render(values, chart=two_executors)
    assert uses_with(rendering.one("Deployment", "clip-encoder")) == {
        "pretrained_model_name_or_path": "ViT-B/32",
        "batch_size": 16,
        "device": "cuda",
    }
    assert uses_with(rendering.one("Deployment", "clip-text-ranker")) == {}


def test_an_executors_own_values_go_before_the_defaults(two_executors: Any) -> None:
    values = {
        "executorDefaults": {"replicas": 4, "usesWith": {"precision": "bf16", "batch_size": 8}},
        "executors": {"encoder": {"replicas": 0, "usesWith": {"batch_size": 64}, "resources": {"limits": {"cpu": 3}}}},
    }
    rendering = render(values, chart=two_executors)
    one, other = (rendering.one("Deployment", name) for name in ("clip-encoder", "clip-text-ranker"))
    assert (one["spec"]["replicas"], other["spec"]["replicas"]) == (0, 4)
    assert uses_with(one)["batch_size"] == 64
    assert uses_with(one)["precision"] == "bf16"
    assert uses_with(other) == {"precision": "bf16", "batch_size": 8}
    assert container(one)["resources"]["limits"] == {"cpu": 3, "memory": "2Gi", "ephemeral-storage": "1Gi"}


@pytest.mark.parametrize("values", [None, {}, {"replicas": None, "model": None, "resources": None, "gpu": None}])
def test_saying_nothing_changes_nothing(values: Values | None) -> None:
    assert render({"executors": {"encoder": values}}).objects == render().objects


def test_a_null_takes_a_limit_away() -> None:
    limits = container(encoder(resources={"limits": {"cpu": None}}))["resources"]["limits"]
    assert limits.keys() == {"memory", "ephemeral-storage"}


TEXTS = ["it's", 'a "b"', "$(HOME)", "$$(HOME) $HOME $$", "ü", "a: b # c", "{{ .Values }}", "<&>", "\\", "1e3", ""]


@pytest.mark.parametrize("text", TEXTS)
def test_settings_arrive_letter_by_letter(text: str) -> None:
    for deployment in (encoder(usesWith={"note": text}), gateway(usesWith={"note": text})):
        written = argument(container(deployment), "--uses-with")
        assert json.loads(expanded(written))["note"] == text


def expanded(argument: str) -> str:
    """What a process gets of an argument: the kubelet puts variables in, and makes one dollar sign of two."""
    return re.sub(r"\$\$|\$\(HOME\)", lambda found: "$" if found[0] == "$$" else "/home/app", argument)


@pytest.mark.parametrize("number", [0, 1, 2.5, 33554432, 1234567890123])
def test_numbers_arrive_as_they_are(number: float) -> None:
    assert uses_with(encoder(usesWith={"number": number}))["number"] == number


def test_the_embedded_model_mounts_nothing() -> None:
    deployment = encoder(model={"name": "emoji-tiny"})
    assert uses_with(deployment)["pretrained_model_name_or_path"] == "emoji-tiny"
    assert [mount["name"] for mount in container(deployment)["volumeMounts"]] == ["home", "tmp"]


def test_a_model_on_a_claim_is_mounted_read_only() -> None:
    deployment = encoder(model={"name": "/models/a.pt", "source": "claim", "claim": "weights"})
    assert {"name": "models", "mountPath": "/models", "readOnly": True} in container(deployment)["volumeMounts"]
    claim = {"name": "models", "persistentVolumeClaim": {"claimName": "weights", "readOnly": True}}
    assert claim in pod(deployment)["volumes"]
    assert {"name": "CLIP_CACHE", "value": "/models"} in container(deployment)["env"], "an OpenAI name is found there"


def test_a_download_goes_into_a_cache_that_counts_as_storage() -> None:
    deployment = encoder(model={"name": "ViT-B/32", "source": "download", "cache": {"size": "3Gi"}})
    assert {"name": "models", "emptyDir": {"sizeLimit": "3Gi"}} in pod(deployment)["volumes"]
    assert {"name": "CLIP_CACHE", "value": "/models"} in container(deployment)["env"]
    assert container(deployment)["resources"]["limits"]["ephemeral-storage"] == "4096Mi", "1Gi of its own and the cache"


def test_a_persistent_cache_is_a_claim_that_outlives_the_release() -> None:
    model = {"name": "ViT-B/32", "source": "download", "cache": {"persistent": True, "storageClassName": "nfs"}}
    rendering = render({"executors": {"encoder": {"model": model}}})
    claim = rendering.one("PersistentVolumeClaim", "clip-encoder-models")
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert claim["spec"] == {
        "accessModes": ["ReadWriteMany"],
        "storageClassName": "nfs",
        "resources": {"requests": {"storage": "4Gi"}},
    }
    volumes = pod(rendering.one("Deployment", "clip-encoder"))["volumes"]
    assert {"name": "models", "persistentVolumeClaim": {"claimName": "clip-encoder-models"}} in volumes


@pytest.mark.parametrize(
    ("image", "registry", "reference"),
    [
        ({}, "", "clip-image-encoder:0.1.0"),
        ({}, "reg.example.com/team", "reg.example.com/team/clip-image-encoder:0.1.0"),
        ({"tag": "next"}, "", "clip-image-encoder:next"),
        ({"digest": f"sha256:{'b' * 64}"}, "", f"clip-image-encoder@sha256:{'b' * 64}"),
        ({"repository": "other/encoder"}, "", "other/encoder:0.1.0"),
        ({"repository": "a.example.com:5000/x/y", "tag": "1"}, "", "a.example.com:5000/x/y:1"),
        ({"repository": "a.example.com:5000/x/y", "tag": "1"}, "b.example.com", "b.example.com/x/y:1"),
        ({"repository": "localhost/x"}, "b.example.com", "b.example.com/x:0.1.0"),
        ({"repository": "team/x"}, "b.example.com", "b.example.com/team/x:0.1.0"),
    ],
)
def test_images_are_the_flows_with_the_values_over_them(image: Values, registry: str, reference: str) -> None:
    values = {"global": {"imageRegistry": registry}, "executors": {"encoder": {"image": image}}}
    assert container(render(values).one("Deployment", "clip-encoder"))["image"] == reference


def test_tokens_and_certificates_come_from_secrets_and_reach_the_gateway_and_the_test() -> None:
    rendering = render(EVERYTHING_ON)
    deployment = rendering.one("Deployment", "clip-gateway")
    assert uses_with(deployment) == {
        "max_documents": 16,
        "tokens_file": "/etc/clip-gateway/auth/all",
        "tls_certificate_file": "/etc/clip-gateway/tls/tls.crt",
        "tls_key_file": "/etc/clip-gateway/tls/tls.key",
    }
    for owner, names in ((deployment, {"auth", "tls"}), (rendering.one("Job", "clip-test"), {"auth", "tls"})):
        mounted = {mount["name"]: mount for mount in owner["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]}
        assert names <= mounted.keys()
        assert all("subPath" not in mount for mount in mounted.values()), "a file mounted alone never changes"
        secrets = {v["name"]: v["secret"]["secretName"] for v in pod(owner)["volumes"] if "secret" in v}
        assert secrets == {"auth": "tokens", "tls": "certificate"}


def test_the_test_gets_the_certificate_and_not_its_key() -> None:
    job = render(EVERYTHING_ON).one("Job", "clip-test")
    (tls,) = [volume["secret"] for volume in pod(job)["volumes"] if volume["name"] == "tls"]
    assert [item["key"] for item in tls["items"]] == ["tls.crt"]


def test_without_secrets_the_gateway_is_asked_for_nothing() -> None:
    assert uses_with(gateway()) == {}
    assert [volume["name"] for volume in pod(gateway())["volumes"]] == ["home", "tmp"]


@pytest.mark.parametrize("role", ["clip-encoder", "clip-gateway"])
def test_pods_keep_apart_when_there_is_room(role: str) -> None:
    deployment = render().one("Deployment", role)
    labels = deployment["spec"]["selector"]["matchLabels"]
    constraints = pod(deployment)["topologySpreadConstraints"]
    assert {one["topologyKey"] for one in constraints} == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}
    assert {one["whenUnsatisfiable"] for one in constraints} == {"ScheduleAnyway"}
    assert all(one["labelSelector"]["matchLabels"] == labels for one in constraints)
    (term,) = pod(deployment)["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert term["podAffinityTerm"]["labelSelector"]["matchLabels"] == labels


@pytest.mark.parametrize("role", ["clip-encoder", "clip-gateway"])
def test_placement_and_additions_are_the_values(role: str) -> None:
    deployment = render(EVERYTHING_ON).one("Deployment", role)
    spec = pod(deployment)
    assert spec["affinity"].keys() == {"nodeAffinity"}
    assert spec["nodeSelector"]["pool"] == "clip"
    assert {"key": "pool", "operator": "Equal", "value": "clip", "effect": "NoSchedule"} in spec["tolerations"]
    assert spec["priorityClassName"] == "high"
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}
    assert deployment["spec"]["template"]["metadata"]["annotations"] == {"example.com/note": "yes"}
    assert {"name": "JINA_LOG_LEVEL", "value": "DEBUG"} in container(deployment)["env"]
    assert {"name": "more", "mountPath": "/more"} in container(deployment)["volumeMounts"]
    assert {"name": "more", "emptyDir": {"sizeLimit": "1Mi"}} in spec["volumes"]


@pytest.mark.parametrize("role", ["clip-encoder", "clip-gateway"])
def test_an_autoscaler_takes_the_number_of_pods_over(role: str) -> None:
    rendering = render(EVERYTHING_ON)
    assert "replicas" not in rendering.one("Deployment", role)["spec"]
    autoscaler = rendering.one("HorizontalPodAutoscaler", role)["spec"]
    assert autoscaler["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": role}
    assert (autoscaler["minReplicas"], autoscaler["maxReplicas"]) == (2, 6)
    assert autoscaler["metrics"][0]["resource"]["target"] == {"type": "Utilization", "averageUtilization": 70}
    assert autoscaler["behavior"] == {"scaleDown": {"stabilizationWindowSeconds": 60}}
    assert render().of_kind("HorizontalPodAutoscaler") == []


@pytest.mark.parametrize("role", ["clip-encoder", "clip-gateway"])
def test_a_drain_takes_one_pod_at_a_time(role: str) -> None:
    budget = render().one("PodDisruptionBudget", role)["spec"]
    assert budget["maxUnavailable"] == 1
    assert budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    assert budget["selector"] == render().one("Deployment", role)["spec"]["selector"]
    assert render(EVERYTHING_ON).one("PodDisruptionBudget", role)["spec"]["maxUnavailable"] == "50%"


@pytest.mark.parametrize("case", CASES)
def test_common_labels_are_everywhere_and_change_no_selector(case: str) -> None:
    rendering = render({**CASES[case], "commonLabels": {"team": "vision", "app.kubernetes.io/component": "mine"}})
    plain = render(CASES[case])
    for one in rendering.objects:
        assert one["metadata"]["labels"]["team"] == "vision"
    for name, template in rendering.pods().items():
        assert template["metadata"]["labels"]["team"] == "vision"
        if name.startswith("Deployment/"):
            selector = rendering.one(*name.split("/"))["spec"]["selector"]
            assert selector == plain.one(*name.split("/"))["spec"]["selector"]
            assert selector["matchLabels"].items() <= template["metadata"]["labels"].items()


@pytest.mark.parametrize("release", ["r" * 53, "7-of-9", "a.b", "x"])
def test_names_are_such_as_kubernetes_takes_whatever_the_release_is_called(release: str, two_executors: Any) -> None:
    objects = render(chart=two_executors, release=release).objects
    names = [(one["kind"], one["metadata"]["name"]) for one in objects]
    assert len(set(names)) == len(names)
    for kind, name in names:
        assert re.fullmatch(r"[a-z][a-z0-9-]{0,61}[a-z0-9]" if kind == "Service" else r"[a-z0-9.-]{1,63}", name)


@pytest.mark.parametrize("role", ["clip-encoder", "clip-gateway"])
def test_jina_reads_every_argument_of_the_chart(role: str, two_executors: Any) -> None:
    """By its own parsers: what they do not know they would ignore in silence."""
    arguments = container(render(EVERYTHING_ON, chart=two_executors).one("Deployment", role))["args"]
    parser = {"gateway": set_gateway_parser, "executor": set_pod_parser}[arguments[0]]()
    parsed, unknown = parser.parse_known_args(arguments[1:])
    assert unknown in ([], ["--native"])
    assert parsed.grpc_server_options["grpc.max_connection_age_ms"] == 5000
    if role == "clip-gateway":
        assert json.loads(parsed.deployments_addresses).keys() == {"encoder", "text_ranker"}
        assert parsed.grpc_channel_options["grpc.lb_policy_name"] == "round_robin"
        assert parsed.port == [8080, 8081]


@pytest.mark.parametrize(("case", "most"), [("defaults", 1000), ("small", 200)])
def test_two_cores_have_room_for_it(case: str, most: int) -> None:
    """Millicores that pods ask for; a kind cluster's own pods take 950 on one node."""
    asked = 0
    for deployment in render(CASES[case]).of_kind("Deployment"):
        cpu = container(deployment)["resources"]["requests"]["cpu"]
        asked += deployment["spec"]["replicas"] * int(cpu.removesuffix("m"))
    assert asked <= most
