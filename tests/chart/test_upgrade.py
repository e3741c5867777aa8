"""An upgrade keeps what must be kept and rolls what it touches; an uninstall leaves what it says."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.cases import CASES, EVERYTHING_ON
from tests.chart.chart import CHART, ROLES, ROOT, Rendering, container, pod, render, uses_with

PERSISTENT = {
    "executors": {"encoder": {"model": {"name": "ViT-B/32", "source": "download", "cache": {"persistent": True}}}}
}


def git(*arguments: str) -> bytes:
    """The output of git; empty when it fails."""
    run = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, timeout=60, check=False)
    return run.stdout if run.returncode == 0 else b""


@pytest.fixture(scope="module")
def previous(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The chart of the last commit but one that changed it: there is no release to compare with yet."""
    chart = CHART.relative_to(ROOT)
    commits = git("log", "--format=%H", "-2", "--", str(chart)).decode().split()
    if len(commits) < 2:
        pytest.skip("the history here has no earlier chart (a shallow clone, or none)")
    archive = git("archive", commits[1], str(chart))
    folder = tmp_path_factory.mktemp("previous")
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(folder, filter="data")
    return folder / chart


def earlier_values() -> list[str]:
    """Every values.yaml that the chart had, oldest first: commits."""
    file = CHART.relative_to(ROOT) / "values.yaml"
    return git("log", "--reverse", "--format=%h", "--", str(file)).decode().split()


def values_of(commit: str) -> dict[str, Any]:
    """values.yaml as it was."""
    return dict(yaml.safe_load(git("show", f"{commit}:{CHART.relative_to(ROOT)}/values.yaml")))


@pytest.fixture(params=earlier_values() or [""])
def earlier(request: pytest.FixtureRequest) -> dict[str, Any]:
    """A values.yaml that the chart had."""
    if not request.param:
        pytest.skip("the history here has no earlier chart")
    return values_of(request.param)


@pytest.fixture
def reusing(earlier: dict[str, Any], tmp_path: Path) -> Path:
    """The chart as `helm upgrade --reuse-values` has it: today's, with that values.yaml in place of its own."""
    chart = shutil.copytree(CHART, tmp_path / CHART.name)
    (chart / "values.yaml").write_text(yaml.safe_dump(earlier), encoding="utf-8")
    return chart


def today(earlier: dict[str, Any]) -> dict[str, Any]:
    """What an earlier values.yaml says otherwise than today's."""
    return {"shutdown": earlier["shutdown"], "gateway": {"autoscaling": earlier["gateway"]["autoscaling"]}}


@pytest.mark.parametrize("helm", ["helm", "helm3"])
def test_the_values_of_an_earlier_chart_render_as_todays_do(helm: str, earlier: dict[str, Any], reusing: Path) -> None:
    def without_policies(rendering: Rendering) -> list[Any]:
        return [one for one in rendering.objects if one["kind"] != "NetworkPolicy"]  # they have the DNS of then

    assert without_policies(render(chart=reusing, helm=helm)) == without_policies(render(today(earlier), helm=helm))
    assert render(chart=reusing, helm=helm).of_kind("NetworkPolicy")


def test_what_was_set_in_an_earlier_chart_stays_set(earlier: dict[str, Any], reusing: Path) -> None:
    model = {"name": "ViT-B/32", "source": "claim", "claim": "weights"}
    own = {"model": model} if "model" in earlier else {"executorDefaults": {"model": model}}
    deployment = render({**own, "gateway": {"replicas": 5}}, chart=reusing).one("Deployment", "clip-encoder")
    assert uses_with(deployment)["pretrained_model_name_or_path"] == "ViT-B/32"
    claims = [volume.get("persistentVolumeClaim") for volume in pod(deployment)["volumes"]]
    assert {"claimName": "weights", "readOnly": True} in claims


def test_an_earlier_values_file_is_taken_over_todays_defaults(earlier: dict[str, Any]) -> None:
    """`helm upgrade --reset-then-reuse-values`, or `--values` with a copy of that file."""
    assert pods_of(render(earlier)) == pods_of(render(today(earlier)))
    where = earlier if "model" in earlier else earlier["executorDefaults"]
    where["model"] |= {"name": "ViT-L/14", "source": "download"}
    deployment = render(earlier).one("Deployment", "clip-encoder")
    assert uses_with(deployment)["pretrained_model_name_or_path"] == "ViT-L/14"
    assert {"name": "CLIP_CACHE", "value": "/models"} in container(deployment)["env"]


def pods_of(rendering: Rendering) -> dict[str, Any]:
    """What runs."""
    return {name: pod["spec"] for name, pod in rendering.pods().items()}


@pytest.mark.parametrize("key", ["gateway", "executorDefaults"])
def test_a_null_for_a_key_that_came_later_is_its_default(key: str) -> None:
    assert render({key: {"podLabels": None, "extraContainers": None}, "enabled": None}).objects == render().objects


def kept(rendering: Rendering) -> dict[tuple[str, str], Any]:
    """What Kubernetes refuses to change, or what holds data: selectors of Deployments, claims and their sizes."""
    selectors = {("Deployment", o["metadata"]["name"]): o["spec"]["selector"] for o in rendering.of_kind("Deployment")}
    claims = {("Claim", o["metadata"]["name"]): o["spec"] for o in rendering.of_kind("PersistentVolumeClaim")}
    return {**selectors, **claims}


@pytest.mark.parametrize("values", [{}, PERSISTENT], ids=["defaults", "persistent cache"])
def test_an_upgrade_keeps_selectors_and_claims(values: dict[str, Any], previous: Path) -> None:
    before, now = kept(render(values, chart=previous)), kept(render(values))
    assert {key: now.get(key) for key in before} == before


def test_the_selectors_are_these_for_good() -> None:
    selectors = {o["metadata"]["name"]: o["spec"]["selector"]["matchLabels"] for o in render().of_kind("Deployment")}
    for component, selector in selectors.items():
        assert selector == {
            "app.kubernetes.io/name": "clip-image-flow",
            "app.kubernetes.io/instance": "clip",
            "app.kubernetes.io/component": component.removeprefix("clip-"),
        }


def rolled(values: dict[str, Any], base: dict[str, Any]) -> set[str]:
    """The Deployments whose pods are replaced when `values` come to an installation with `base`."""
    before, after = render(base).pods(), render({**base, **values}).pods()
    return {name for name in after if name.startswith("Deployment/") and before[name] != after[name]}


@pytest.mark.parametrize(
    ("values", "touched"),
    [
        ({"executors": {"encoder": {"usesWith": {"batch_size": 8}}}}, {"encoder"}),
        ({"executors": {"encoder": {"model": {"name": "ViT-B/32"}}}}, {"encoder"}),
        ({"executors": {"encoder": {"extraEnv": [{"name": "A", "value": "b"}]}}}, {"encoder"}),
        ({"executors": {"encoder": {"replicas": 5}}}, set()),
        ({"executors": {"encoder": {"autoscaling": {"enabled": True}}}}, set()),
        ({"executors": {"encoder": {"pdb": {"enabled": False}}}}, set()),
        ({"gateway": {"usesWith": {"max_documents": 8}}}, {"gateway"}),
        ({"gateway": {"auth": {"existingSecret": "tokens"}}}, {"gateway"}),
        ({"gateway": {"service": {"type": "NodePort"}}}, set()),
        ({"gateway": {"auth": {"anonymous": True}, "ingress": {"enabled": True, "hosts": ["a"]}}}, set()),
        ({"networkPolicy": {"enabled": False}}, set()),
        ({"test": {"timeoutSeconds": 5}}, set()),
        ({"clusterDomain": "corp.example"}, {"gateway"}),
        ({"shutdown": {"preStopSeconds": 15}}, {"encoder", "gateway"}),
    ],
)
def test_a_value_rolls_only_what_it_touches(values: dict[str, Any], touched: set[str]) -> None:
    assert rolled(values, {}) == {f"Deployment/clip-{name}" for name in touched}


def test_a_new_chart_alone_rolls_nothing(tmp_path: Path) -> None:
    chart = tmp_path / CHART.name
    shutil.copytree(CHART, chart)
    text = (chart / "Chart.yaml").read_text(encoding="utf-8")
    (chart / "Chart.yaml").write_text(text.replace("ersion: 0.1.0", "ersion: 9.9.9"), encoding="utf-8")
    newer = render(chart=chart)
    assert newer.of_kind("Deployment")[0]["metadata"]["labels"]["helm.sh/chart"] == "clip-image-flow-9.9.9"
    for name in ROLES:
        assert newer.pods()[f"Deployment/{name}"] == render().pods()[f"Deployment/{name}"]


@pytest.mark.parametrize("case", CASES)
def test_an_uninstall_leaves_a_persistent_cache_and_nothing_else(case: str) -> None:
    for one in render(CASES[case]).objects:
        annotations = one["metadata"].get("annotations", {})
        assert ("helm.sh/resource-policy" in annotations) == (one["kind"] == "PersistentVolumeClaim")


def test_the_pod_of_helm_test_is_the_one_hook_and_stays_to_be_read() -> None:
    """`helm test --logs` reads the pod that is called as the hook is; a Job's is called otherwise."""
    hooks = [o for o in render(EVERYTHING_ON).objects if "helm.sh/hook" in o["metadata"].get("annotations", {})]
    (pod,) = hooks
    assert (pod["kind"], pod["metadata"]["name"]) == ("Pod", "clip-test")
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    assert pod["metadata"]["annotations"]["helm.sh/hook-delete-policy"] == "before-hook-creation"
    assert pod["spec"]["activeDeadlineSeconds"] == 120
