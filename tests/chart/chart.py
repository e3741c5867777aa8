"""Renders the chart, once per set of values and test run; without Helm tests are skipped, or fail in CI."""

from __future__ import annotations

import functools
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from scripts.flow.names import CHART, topology_file
from tests.tools import tool as tool

ROOT = Path(__file__).parents[2]
FIXTURES = Path(__file__).parent / "fixtures"
RELEASE, NAMESPACE = "clip", "clip-ns"

Values = dict[str, Any]
Object = dict[str, Any]


def deployments(chart: Path = CHART, flow: str = "") -> list[str]:
    """Return the names of the Deployments: the gateway's, and one per executor of the Flow (by default the chart's)."""
    flow = flow or yaml.safe_load((chart / "values.yaml").read_text(encoding="utf-8"))["flow"]
    topology = yaml.safe_load(topology_file(flow, chart).read_text(encoding="utf-8"))
    return [f"{RELEASE}-{name}" for name in ("gateway", *(node["component"] for node in topology["executors"]))]


ROLES = deployments()


class RefusedError(Exception):
    """Helm did not render the chart; the text is Helm's error."""


@dataclass(frozen=True)
class Rendering:
    """The output of `helm template` for one set of values."""

    text: str
    objects: list[Object]

    def of_kind(self, kind: str) -> list[Object]:
        """Return the objects of one kind."""
        return [one for one in self.objects if one["kind"] == kind]

    def one(self, kind: str, name: str) -> Object:
        """Return the object of that kind and name."""
        (found,) = [one for one in self.of_kind(kind) if one["metadata"]["name"] == name]
        return found

    def pods(self) -> dict[str, Object]:
        """Return all pods: `KIND/NAME` of the owner, or of the pod itself -> metadata and spec."""
        templates = {o["metadata"]["name"]: o["spec"]["template"] for o in self.of_kind("Deployment")}
        alone = {o["metadata"]["name"]: o for o in self.of_kind("Pod")}
        return {f"Deployment/{name}": one for name, one in templates.items()} | {
            f"Pod/{name}": one for name, one in alone.items()
        }


def argument(container: Object, name: str) -> str:
    """Return the value after `name` in a container's arguments."""
    arguments: list[str] = container["args"]
    assert arguments.count(name) == 1, f"{name} in {arguments}"
    return arguments[arguments.index(name) + 1]


def container(deployment: Object) -> Object:
    """Return the only container of a Deployment."""
    (one,) = deployment["spec"]["template"]["spec"]["containers"]
    return dict(one)


def render(
    values: Values | None = None,
    *,
    chart: Path = CHART,
    helm: str = "helm",
    release: str = RELEASE,
    flags: tuple[str, ...] = (),
) -> Rendering:
    """Render the chart with `values`, once per test run.

    :param values: values that override those of the chart.
    :param chart: directory of the chart.
    :param helm: name of the Helm program.
    :param release: name of the release.
    :param flags: further flags of `helm template`, such as `--api-versions`, `--kube-version` and `--set`.
    :raises RefusedError: if Helm does not render the chart.
    """
    return _render(json.dumps(values or {}, sort_keys=True), chart, helm, release, flags)


@functools.cache
def _render(values: str, chart: Path, helm: str, release: str, flags: tuple[str, ...]) -> Rendering:
    command = [tool(helm), "template", release, str(chart), "--namespace", NAMESPACE, "--values", "-", *flags]
    run = subprocess.run(command, input=values, capture_output=True, text=True, timeout=60, check=False)
    if run.returncode != 0:
        raise RefusedError(run.stderr)
    documents = yaml.load_all(run.stdout, yaml.CSafeLoader)
    return Rendering(run.stdout, [one for one in documents if one])


def notes(values: Values, chart: Path = CHART) -> str:
    """Return the rendered NOTES.txt, from a dry run of the client, which needs no cluster."""
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
    """Return the values in profiles/NAME.yaml."""
    text = (chart / "profiles" / f"{name}.yaml").read_text(encoding="utf-8")
    return dict(yaml.safe_load(text))


def encoder(**values: Any) -> Object:
    """Render the chart with values of the encoder; return the encoder's Deployment."""
    return render({"executors": {"encoder": values}}).one("Deployment", "clip-encoder")


def gateway(**values: Any) -> Object:
    """Render the chart with values of the gateway; return the gateway's Deployment."""
    return render({"gateway": values}).one("Deployment", "clip-gateway")


def uses_with(deployment: Object) -> dict[str, Any]:
    return dict(json.loads(argument(container(deployment), "--uses-with")))


def pod(owner: Object) -> Object:
    """Return the spec of a pod, or of the pods of a Deployment."""
    return dict(owner["spec"]["template"]["spec"] if "template" in owner["spec"] else owner["spec"])
