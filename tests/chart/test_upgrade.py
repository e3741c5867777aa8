"""An upgrade keeps what must be kept and rolls what it touches; an uninstall leaves what it says."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.chart.cases import CASES, EVERYTHING_ON
from tests.chart.chart import CHART, ROLES, ROOT, Rendering, render

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
    import shutil

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


def test_the_pod_of_helm_test_is_the_one_hook_and_goes_when_it_succeeded() -> None:
    """`helm test --logs` reads the pod that is called as the hook is; a Job's is called otherwise."""
    hooks = [o for o in render(EVERYTHING_ON).objects if "helm.sh/hook" in o["metadata"].get("annotations", {})]
    (pod,) = hooks
    assert (pod["kind"], pod["metadata"]["name"]) == ("Pod", "clip-test")
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    assert pod["metadata"]["annotations"]["helm.sh/hook-delete-policy"] == "before-hook-creation,hook-succeeded"
    assert pod["spec"]["activeDeadlineSeconds"] == 120
