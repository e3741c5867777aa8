"""Values over the Flow: images, options, resources; letter by letter, and readable for Jina."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from jina.parsers import set_gateway_parser, set_pod_parser

from tests.chart.cases import EVERYTHING_ON
from tests.chart.chart import Values, argument, container, encoder, gateway, render, uses_with


def test_null_is_the_flows_value(two_executors: Any) -> None:
    values = {
        "executorDefaults": {"device": "cuda", "image": {"tag": "0.1.0-gpu"}},
        "executors": {"text_ranker": {"device": None}},
    }
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


@pytest.mark.parametrize("name", ["HOME", "CLIP_CACHE", "JINA_OPTOUT_TELEMETRY", "JINA_DEPLOYMENT_NAME"])
def test_an_environment_variable_is_there_once_and_the_values_go_before(name: str) -> None:
    """Helm 4 applies on the server's side, which refuses a list with two entries of one name."""
    model = {"source": "download", "name": "ViT-B/32"}
    deployment = encoder(extraEnv=[{"name": name, "value": "mine"}], model=model)
    env = container(deployment)["env"]
    assert [entry["value"] for entry in env if entry["name"] == name] == ["mine"]
    assert len({entry["name"] for entry in env}) == len(env)


@pytest.mark.parametrize("number", [0, 1, 2.5, 33554432, 1234567890123])
def test_numbers_arrive_as_they_are(number: float) -> None:
    assert uses_with(encoder(usesWith={"number": number}))["number"] == number


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
