"""The chart as a part of another one, and under names that Kubernetes and YAML have thoughts of their own about."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.chart.chart import CHART, FIXTURES, NAMESPACE, RefusedError, Rendering, Values, pod, render
from tests.chart.kubernetes_schemas import refusal

RANCHER = {"global": {"cattle": {"systemDefaultRegistry": "registry.example.com", "clusterId": "c-1"}}}


@pytest.fixture(scope="session")
def umbrella(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A chart that has this one twice, as `pictures` and as `words`, as `helm dependency build` leaves it."""
    chart = shutil.copytree(FIXTURES / "umbrella", tmp_path_factory.mktemp("umbrella") / "search")
    shutil.copytree(CHART, chart / "charts" / CHART.name)
    return chart


def matched(selector: dict[str, str], rendering: Rendering) -> set[str]:
    """The pods that a selector picks."""
    pods = rendering.pods().items()
    return {name for name, one in pods if selector.items() <= one["metadata"]["labels"].items()}


@pytest.mark.parametrize("helm", ["helm", "helm3"])
def test_two_of_one_umbrella_have_names_of_their_own(helm: str, umbrella: Path) -> None:
    objects = render(chart=umbrella, helm=helm).objects
    names = [(one["kind"], one["metadata"]["name"]) for one in objects]
    assert len(set(names)) == len(names)
    assert {"clip-pictures-gateway", "clip-words-gateway", "clip-words-text"} <= {name for _, name in names}
    assert [reason for one in objects if (reason := refusal(one))] == []


def test_a_service_or_policy_of_one_picks_no_pod_of_the_other(umbrella: Path) -> None:
    rendering = render(chart=umbrella)
    picked = {
        **{o["metadata"]["name"]: o["spec"]["selector"] for o in rendering.of_kind("Service")},
        **{o["metadata"]["name"]: o["spec"]["podSelector"]["matchLabels"] for o in rendering.of_kind("NetworkPolicy")},
        **{o["metadata"]["name"]: o["spec"]["selector"]["matchLabels"] for o in rendering.of_kind("Deployment")},
    }
    for name, selector in picked.items():
        (found,) = matched(selector, rendering)
        assert found.partition("/")[2] == name.removesuffix("-headless")
        assert selector["app.kubernetes.io/name"] == "clip-image-flow", "whatever the umbrella calls it"


def test_the_gateway_of_one_asks_executors_of_its_own(umbrella: Path) -> None:
    rendering = render(chart=umbrella)
    for alias, executors in (("pictures", ["encoder"]), ("words", ["encoder", "text"])):
        gateway = rendering.one("Deployment", f"clip-{alias}-gateway")
        arguments = " ".join(pod(gateway)["containers"][0]["args"])
        assert all(f"clip-{alias}-{name}.{NAMESPACE}.svc" in arguments for name in executors)
        account = pod(gateway)["serviceAccountName"]
        assert rendering.one("ServiceAccount", account)


@pytest.mark.parametrize("off", ["pictures", "words"])
def test_a_condition_leaves_one_out(off: str, umbrella: Path) -> None:
    left = {"pictures": "words", "words": "pictures"}[off]
    objects = render({off: {"enabled": False}}, chart=umbrella).objects
    assert objects
    assert all(one["metadata"]["name"].startswith(f"clip-{left}") for one in objects)


def test_global_values_of_others_change_nothing(umbrella: Path) -> None:
    foreign = {"global": {"storageClass": "slow", "postgresql": {"auth": {"password": "x"}}}}
    assert render(foreign, chart=umbrella).objects == render(chart=umbrella).objects
    assert render({**RANCHER, "global": {**RANCHER["global"], "imagePullSecrets": ["a"]}}).objects == render().objects


def test_by_its_own_name_in_an_umbrella_it_has_the_names_that_it_has_alone(umbrella: Path, tmp_path: Path) -> None:
    chart = shutil.copytree(umbrella, tmp_path / "search")
    text = (chart / "Chart.yaml").read_text(encoding="utf-8")
    (chart / "Chart.yaml").write_text(text.partition("dependencies")[0], encoding="utf-8")
    (chart / "values.yaml").write_text("clip-image-flow: {}\n", encoding="utf-8")
    assert render(chart=chart).objects == render().objects


def test_not_to_be_installed_is_for_an_umbrella_to_say() -> None:
    with pytest.raises(
        RefusedError, match=r"values: enabled: false needs a `condition` of the dependency in an umbrella's Chart\.yaml"
    ):
        render({"enabled": False})


@pytest.mark.parametrize(
    ("values", "name", "label"),
    [
        ({"nameOverride": "vision"}, "clip-vision-gateway", "vision"),
        ({"fullnameOverride": "vision"}, "vision-gateway", "clip-image-flow"),
        ({"fullnameOverride": "a", "nameOverride": "b"}, "a-gateway", "b"),
    ],
)
def test_names_can_be_chosen(values: Values, name: str, label: str) -> None:
    deployment = render(values).one("Deployment", name)
    assert deployment["spec"]["selector"]["matchLabels"] == {
        "app.kubernetes.io/name": label,
        "app.kubernetes.io/instance": "clip",
        "app.kubernetes.io/component": "gateway",
    }


def texts(node: Any) -> list[Any]:
    """Every value of labels, selectors, annotations and names in an object."""
    if isinstance(node, list):
        return list(itertools.chain.from_iterable(map(texts, node)))
    if not isinstance(node, dict):
        return []
    named = [value for key, value in node.items() if key in ("name", "serviceAccountName", "namespace")]
    maps = [
        node[key] for key in ("labels", "annotations", "matchLabels", "selector") if isinstance(node.get(key), dict)
    ]
    flat = [value for one in maps for value in one.values() if not isinstance(value, dict)]
    return named + flat + list(itertools.chain.from_iterable(map(texts, node.values())))


@pytest.mark.parametrize("release", ["123", "true", "1e3", "null", "0x1f", "1.5", "no", "default", "2026-11-26"])
def test_whatever_a_release_is_called_names_and_labels_are_strings(release: str) -> None:
    objects = render({"gateway": {"autoscaling": {"enabled": True}}}, release=release).objects
    assert [one["kind"] for one in objects for value in texts(one) if not isinstance(value, str)] == []
    assert [reason for one in objects if (reason := refusal(one))] == []
    assert {one["metadata"]["labels"]["app.kubernetes.io/instance"] for one in objects} == {release}


def test_no_release_claims_the_namespaces_own_service_account() -> None:
    rendering = render(release="default")
    (account,) = rendering.of_kind("ServiceAccount")
    assert account["metadata"]["name"] == "default-clip-image-flow"
    assert {one["spec"]["serviceAccountName"] for one in rendering.pods().values()} == {"default-clip-image-flow"}


@pytest.mark.parametrize("key", ["managed-by", "version", "name", "instance"])
def test_a_standard_label_among_the_common_ones_is_there_once_and_is_the_charts(key: str) -> None:
    label = f"app.kubernetes.io/{key}"
    rendering = render({"commonLabels": {label: "mine", "helm.sh/chart": "mine"}})
    headings = [line.strip() for line in rendering.text.splitlines() if line.startswith("    " + label)]
    assert headings
    for one in rendering.objects:
        assert one["metadata"]["labels"].get(label) != "mine"
    metadata = rendering.text.partition("labels:")[2].partition("spec:")[0]
    assert metadata.count(f"{label}:") <= 1
