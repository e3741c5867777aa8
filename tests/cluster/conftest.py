"""Fixtures: one kind cluster for all tests in this directory, a namespace per module, and a dump of it on failure."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.cluster.kube import FIGURES, IMAGES, ROOT, Cluster, Namespace, missing_tools, run
from tests.conftest import save_random_clip

NAME = "clip-image-flow-test"
RESTRICTED = {"runAsNonRoot": True, "runAsUser": 10001, "fsGroup": 10001, "seccompProfile": {"type": "RuntimeDefault"}}
_DUMPS = ROOT / ".cache" / "cluster-dumps"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--keep-cluster", action="store_true", help="keep the kind cluster, and reuse one that was kept")
    parser.addoption(
        "--every-rollout",
        action="store_true",
        help="test rollouts with all numbers of gateways and replicas (20 more minutes)",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    rest = [item for item in items if item.get_closest_marker("every_rollout")]
    if rest and not config.getoption("--every-rollout"):
        config.hook.pytest_deselected(items=rest)
        items[:] = [item for item in items if item not in rest]


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Create a kind cluster with the images of this checkout."""
    if missing := missing_tools():
        message = f"the cluster tests need {', '.join(missing)}"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(f"NOT RUN: {message}")
    keep = request.config.getoption("--keep-cluster")
    run("make", "--silent", "images", "FLOW=flows/clip_flow.yml", cwd=ROOT, timeout=1500)
    kubeconfig = Path(tempfile.gettempdir()) / f"kubeconfig-{NAME}"
    there = NAME in run("kind", "get", "clusters").split()
    if there and not keep:
        run("kind", "delete", "cluster", "--name", NAME)
        there = False
    if there:
        run("kind", "export", "kubeconfig", "--name", NAME, "--kubeconfig", kubeconfig)
    else:
        image = ["--image", os.environ["KIND_NODE_IMAGE"]] if os.environ.get("KIND_NODE_IMAGE") else []
        settings = Path(__file__).with_name("kind.yaml")
        run(
            *("kind", "create", "cluster", "--name", NAME, *image, "--config", settings),
            *("--kubeconfig", kubeconfig, "--wait", "180s"),
            timeout=420,
        )
    made = Cluster(NAME, kubeconfig)
    for image_name in IMAGES.values():
        made.load(image_name)
    yield made
    if not keep:
        run("kind", "delete", "cluster", "--name", NAME)


@pytest.fixture(scope="module")
def namespace(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Namespace]:
    """Create a namespace for one module."""
    name = request.module.__name__.rpartition(".")[2].removeprefix("test_").replace("_", "-")
    with cluster.namespace(f"t-{name}") as made:
        yield made


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_random_clip(tmp_path_factory.mktemp("models") / "random.pt")


@pytest.fixture(scope="module")
def claim(namespace: Namespace, model: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Create a PersistentVolumeClaim with the model, and another model of the same name in the directory `other`."""
    other = save_random_clip(tmp_path_factory.mktemp("models") / "random.pt", seed=1)
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "100Mi"}}}
    mount = {"name": "models", "mountPath": "/models"}
    container = {
        "name": "writer",
        "image": IMAGES["clip-gateway"],
        "command": ["sleep", "600"],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [mount],
    }
    volume = {"name": "models", "persistentVolumeClaim": {"claimName": "models"}}
    pod = {"containers": [container], "volumes": [volume], "securityContext": RESTRICTED}
    namespace.apply(
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "models"}, "spec": spec},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "writer"}, "spec": pod},
    )
    namespace.kubectl("wait", "pod/writer", "--for=condition=Ready", "--timeout=90s")
    write = ["kubectl", "--namespace", namespace.name, "exec", "--stdin", "writer", "--", "sh", "-c"]
    for file, place in ((model, "/models"), (other, "/models/other")):
        subprocess.run(
            [*write, f"mkdir -p {place} && cat >{place}/random.pt"],
            input=file.read_bytes(),
            env=namespace.cluster.environment,
            check=True,
            timeout=120,
        )
    namespace.kubectl("delete", "pod", "writer", "--grace-period=0", "--force")
    return "models"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    namespace = getattr(item, "funcargs", {}).get("namespace")
    if report.failed and namespace is not None:
        folder = _DUMPS / re.sub(r"[^\w.-]+", "-", item.name)
        namespace.dump(folder)
        report.sections.append(
            ("cluster", f"events, descriptions and logs are in {folder.relative_to(ROOT)}\n" + _gist(folder))
        )
    return report


def _gist(folder: Path) -> str:
    parts = []
    for file in ("pods.txt", "events.txt"):
        if (folder / file).is_file():
            parts += [file, *(folder / file).read_text(encoding="utf-8").splitlines()[-25:]]
    return "\n".join(parts)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if FIGURES:
        terminalreporter.section("measured on the cluster")
        for figure in FIGURES:
            terminalreporter.write_line(figure)
