"""Every set of values renders, alike with Helm 4 and Helm 3, to what Kubernetes 1.34 takes."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from yamllint import linter
from yamllint.config import YamlLintConfig

from scripts.flow.names import topology_file
from tests.chart.cases import CASES, EVERYTHING_ON
from tests.chart.chart import CHART, NAMESPACE, ROOT, RefusedError, render, tool
from tests.chart.custom_schemas import CUSTOM
from tests.chart.kubernetes_schemas import refusal

GOLDEN = Path(__file__).parent / "golden" / "defaults.yaml"

every_case = pytest.mark.parametrize("case", CASES)


@every_case
def test_every_object_is_valid(case: str) -> None:
    objects = render(CASES[case]).objects
    assert objects
    assert [reason for one in objects if one["kind"] not in CUSTOM and (reason := refusal(one))] == []


@pytest.mark.parametrize("case", ["defaults", "everything on", "everything off"])
def test_another_flow_is_valid_with_the_same_templates(case: str, two_executors: Path) -> None:
    objects = render(CASES[case], chart=two_executors).objects
    assert {"clip-encoder", "clip-text-ranker", "clip-gateway"} <= {o["metadata"]["name"] for o in objects}
    assert [reason for one in objects if one["kind"] not in CUSTOM and (reason := refusal(one))] == []


@pytest.mark.parametrize("helm", ["helm", "helm3"])
def test_a_flow_that_is_not_there_is_an_error_that_lists_what_there_is(
    helm: str, two_executors: Path, tmp_path: Path
) -> None:
    with pytest.raises(RefusedError) as refused:
        render({"flow": "nothing"}, chart=two_executors, helm=helm)
    assert "encode" in str(refused.value)
    assert "two_executors" in str(refused.value)
    chart = shutil.copytree(two_executors, tmp_path / two_executors.name)
    topology_file("two_executors", chart).unlink()  # the schema still has its name
    with pytest.raises(
        RefusedError, match='values: flow: the chart has no Flow "two_executors": set one of: clip, encode'
    ):
        render({"flow": "two_executors"}, chart=chart, helm=helm)


@every_case
def test_both_versions_of_helm_make_the_same_objects(case: str) -> None:
    key = lambda one: (one["kind"], one["metadata"]["name"])  # noqa: E731
    assert sorted(render(CASES[case]).objects, key=key) == sorted(render(CASES[case], helm="helm3").objects, key=key)


@every_case
def test_no_two_objects_have_the_same_name_and_all_are_in_the_releases_namespace(case: str) -> None:
    objects = render(CASES[case]).objects
    names = [(one["kind"], one["metadata"]["name"]) for one in objects]
    assert len(set(names)) == len(names)
    assert {one["metadata"]["namespace"] for one in objects} == {NAMESPACE}


@every_case
def test_the_yaml_is_clean(case: str) -> None:
    rules = "{extends: relaxed, rules: {line-length: disable, empty-lines: disable, indentation: disable}}"
    assert list(linter.run(render(CASES[case]).text, YamlLintConfig(rules))) == []


def test_the_defaults_render_as_reviewed() -> None:
    """The golden file shows in a review what a change of a template changes; `make export` writes it anew."""
    text = render().text.replace(f"namespace: {NAMESPACE}", "namespace: clip").replace(f".{NAMESPACE}.svc", ".clip.svc")
    assert text == GOLDEN.read_text(encoding="utf-8"), "`make export`, and look at the diff"


def test_an_http_route_leads_to_the_http_port() -> None:
    route = render(EVERYTHING_ON).one("HTTPRoute", "clip-gateway")
    assert route["apiVersion"] == "gateway.networking.k8s.io/v1"
    assert route["metadata"]["annotations"] == {"example.com/route": "yes"}
    assert route["spec"] == {
        "parentRefs": [{"name": "public", "namespace": "gateways", "sectionName": "https"}],
        "hostnames": ["clip.example.com"],
        "rules": [
            {
                "backendRefs": [{"name": "clip-gateway", "port": 8081}],
                "matches": [{"path": {"type": "PathPrefix", "value": "/v1"}}],
                "filters": [{"type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": ["x-request-id"]}}],
                "timeouts": {"request": "65s"},
            }
        ],
    }


def test_an_ingress_leads_to_the_http_port() -> None:
    ingress = render(EVERYTHING_ON).one("Ingress", "clip-gateway")
    assert ingress["spec"]["ingressClassName"] == "traefik"
    assert ingress["spec"]["tls"] == [{"hosts": ["clip.example.com"], "secretName": "clip-tls"}]
    (rule,) = ingress["spec"]["rules"]
    assert rule["host"] == "clip.example.com"
    assert rule["http"]["paths"][0]["backend"]["service"] == {"name": "clip-gateway", "port": {"name": "http"}}


def test_the_profiles_are_these() -> None:
    names = {path.stem for path in (ROOT / "helm" / "clip-image-flow" / "profiles").glob("*.yaml")}
    assert names == {"small", "production-cpu", "gpu", "air-gapped", "openshift"}
    assert names <= CASES.keys()


@pytest.mark.parametrize("name", ["small", "production-cpu", "gpu", "air-gapped", "openshift"])
def test_every_profile_says_when_to_use_it(name: str) -> None:
    text = (ROOT / "helm" / "clip-image-flow" / "profiles" / f"{name}.yaml").read_text(encoding="utf-8")
    assert text.startswith("# ")
    assert yaml.safe_load(text)


@pytest.mark.parametrize("name", ["production-cpu", "gpu"])
def test_an_air_gapped_cluster_takes_the_other_profiles(name: str) -> None:
    files = [CHART / "profiles" / f"{one}.yaml" for one in (name, "air-gapped")]
    flags = [word for file in files for word in ("--values", str(file))]
    command = [tool("helm"), "template", "clip", str(CHART), *flags]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr
    assert "claimName: clip-models" in run.stdout
    assert "image: registry.example.com/clip/clip-image-encoder:" in run.stdout


@pytest.mark.parametrize(("ci", "outcome"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)])
def test_a_missing_tool_is_missed_aloud(ci: str, outcome: type[BaseException], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", ci)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(outcome, match="helm is not on the PATH"):
        tool("helm")
