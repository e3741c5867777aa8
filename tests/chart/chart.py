"""The chart, rendered once for each set of values and shared; the tools it takes, found on the PATH or missed aloud."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.flow.names import CHART, topology_file

ROOT = Path(__file__).parents[2]
FIXTURES = Path(__file__).parent / "fixtures"
RELEASE, NAMESPACE = "clip", "clip-ns"

Values = dict[str, Any]
Object = dict[str, Any]


def deployments(chart: Path = CHART, flow: str = "") -> list[str]:
    """The names of the Deployments: the gateway's, and one for each executor of the Flow (by default the chart's)."""
    flow = flow or yaml.safe_load((chart / "values.yaml").read_text(encoding="utf-8"))["flow"]
    topology = yaml.safe_load(topology_file(flow, chart).read_text(encoding="utf-8"))
    return [f"{RELEASE}-{name}" for name in ("gateway", *(node["component"] for node in topology["executors"]))]


ROLES = deployments()


def tool(name: str) -> str:
    """The path of a program; a test that needs a missing one is skipped aloud, and fails in continuous integration."""
    if path := shutil.which(name):
        return path
    if os.environ.get("CI"):
        pytest.fail(f"{name} is not on the PATH")
    pytest.skip(f"{name} is not on the PATH")


class RefusedError(Exception):
    """Helm did not render; the text is what it says."""


@dataclass(frozen=True)
class Rendering:
    """What `helm template` gives for one set of values."""

    text: str
    objects: list[Object]

    def of_kind(self, kind: str) -> list[Object]:
        """The objects of one kind."""
        return [one for one in self.objects if one["kind"] == kind]

    def one(self, kind: str, name: str) -> Object:
        """The object of that kind and name."""
        (found,) = [one for one in self.of_kind(kind) if one["metadata"]["name"] == name]
        return found

    def pods(self) -> dict[str, Object]:
        """Every pod template, by the name of what it belongs to."""
        kinds = ("Deployment", "Job")
        return {
            f"{o['kind']}/{o['metadata']['name']}": o["spec"]["template"] for o in self.objects if o["kind"] in kinds
        }


def argument(container: Object, name: str) -> str:
    """The value after `name` in a container's arguments."""
    arguments: list[str] = container["args"]
    assert arguments.count(name) == 1, f"{name} in {arguments}"
    return arguments[arguments.index(name) + 1]


def container(deployment: Object) -> Object:
    """The one container of a Deployment."""
    (one,) = deployment["spec"]["template"]["spec"]["containers"]
    return dict(one)


def render(
    values: Values | None = None,
    *,
    chart: Path = CHART,
    helm: str = "helm",
    release: str = RELEASE,
    kubernetes: str = "1.34.2",
) -> Rendering:
    """The chart with `values`, rendered once a session.

    :param kubernetes: the version of the cluster.
    :raises RefusedError: Helm refuses.
    """
    return _render(json.dumps(values or {}, sort_keys=True), chart, helm, release, kubernetes)


@functools.cache
def _render(values: str, chart: Path, helm: str, release: str, kubernetes: str) -> Rendering:
    version = ["--kube-version", kubernetes]
    command = [tool(helm), "template", release, str(chart), *version, "--namespace", NAMESPACE, "--values", "-"]
    run = subprocess.run(command, input=values, capture_output=True, text=True, timeout=60, check=False)
    if run.returncode != 0:
        raise RefusedError(run.stderr)
    documents = yaml.load_all(run.stdout, yaml.CSafeLoader)
    return Rendering(run.stdout, [one for one in documents if one])


def notes(values: Values, chart: Path = CHART) -> str:
    """NOTES.txt as it is printed. Without a cluster Helm prints it in a dry run on the client alone."""
    command = [
        tool("helm"),
        "install",
        RELEASE,
        str(chart),
        "--namespace",
        NAMESPACE,
        "--dry-run=client",
        "--values",
        "-",
    ]
    run = subprocess.run(command, input=json.dumps(values), capture_output=True, text=True, timeout=60, check=True)
    return run.stdout.partition("\nNOTES:\n")[2]


def profile(name: str, chart: Path = CHART) -> Values:
    """The values of profiles/NAME.yaml."""
    text = (chart / "profiles" / f"{name}.yaml").read_text(encoding="utf-8")
    return dict(yaml.safe_load(text))


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
