"""values.yaml, its schema and its documentation agree, and bad values are refused in words."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.export import chart_schema
from tests.chart.chart import CHART, RefusedError, render, tool

VALUES = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
SCHEMA = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))


def keys(values: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every path of `values`, maps and leaves."""
    for key, value in values.items():
        yield (*path, key)
        if isinstance(value, dict):
            yield from keys(value, (*path, key))


def test_the_committed_schema_is_made_of_the_values() -> None:
    assert chart_schema.main(["--check"]) == 0


def test_a_key_without_a_type_is_an_error_when_the_schema_is_made() -> None:
    with pytest.raises(chart_schema.SchemaError, match=r"gateway\.mystery: the default None tells no type"):
        chart_schema.schema({**VALUES, "gateway": {**VALUES["gateway"], "mystery": None}}, ["encode"])


def test_a_type_without_a_key_is_an_error_when_the_schema_is_made() -> None:
    without = {key: value for key, value in VALUES.items() if key != "clusterDomain"}
    with pytest.raises(chart_schema.SchemaError, match="clusterDomain fits no key"):
        chart_schema.schema(without, ["encode"])


def test_unknown_keys_are_refused_at_every_level() -> None:
    """Each map of values.yaml whose keys are ours, found in the schema and closed there."""
    for path in [(), *keys(VALUES)]:
        node: Any = SCHEMA
        default: Any = VALUES
        for key in path:
            node, default = node.get("properties", {}).get(key, {}), default[key]
        if isinstance(default, dict) and default and "properties" in node and path != ("global",):
            assert node["additionalProperties"] is False, path
            assert node["properties"].keys() >= default.keys()


def test_an_executor_may_have_every_key_of_the_defaults() -> None:
    overrides = SCHEMA["properties"]["executors"]["additionalProperties"]
    assert overrides["properties"].keys() == {*VALUES["executorDefaults"], "model"}
    assert overrides["additionalProperties"] is False


def test_every_key_is_documented() -> None:
    lines = (CHART / "values.yaml").read_text(encoding="utf-8").splitlines()
    readme = (CHART / "README.md").read_text(encoding="utf-8")
    documented = {line.split("`")[1] for line in readme.splitlines() if line.startswith("| `")}
    leaves = {".".join(path) for path in keys(VALUES)}
    maps = {".".join(path[:i]) for path in keys(VALUES) for i in range(1, len(path))}
    missing = {leaf for leaf in leaves - maps if not any(leaf == d or leaf.startswith(f"{d}.") for d in documented)}
    assert missing == set()
    assert "# -- " in "\n".join(lines)


def test_the_readme_is_what_helm_docs_writes(tmp_path: Path) -> None:
    chart = tmp_path / "helm" / CHART.name
    shutil.copytree(CHART, chart)
    command = [tool("helm-docs"), "--chart-search-root", str(chart.parent), "--sort-values-order", "file"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    written = (chart / "README.md").read_text(encoding="utf-8")
    assert written == (CHART / "README.md").read_text(encoding="utf-8"), "`make export` writes it"


@pytest.mark.parametrize("helm", ["helm", "helm3"])
def test_the_chart_lints(helm: str) -> None:
    command = [tool(helm), "lint", "--strict", str(CHART)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "[WARNING]" not in run.stdout


E = "executors"
REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"replicas": 3}, "additional properties 'replicas' not allowed"),
    ({"flow": "nothing"}, "at '/flow': value must be one of 'clip', 'encode'"),
    ({"flow": None}, "missing property 'flow'"),
    ({"gateway": {"replica": 3}}, "at '/gateway': additional properties 'replica' not allowed"),
    ({"gateway": {"replicas": "3"}}, "at '/gateway/replicas': got string, want null or integer"),
    ({"gateway": {"replicas": -1}}, "at '/gateway/replicas': minimum: got -1, want 0"),
    ({"gateway": {"auth": {"existingSecret": "My_Secret"}}}, "at '/gateway/auth/existingSecret'"),
    ({"gateway": {"auth": {"existingSecret": 7}}}, "got number, want string"),
    ({"gateway": {"logFormat": "xml"}}, "value must be one of 'json', 'text'"),
    ({"gateway": {"service": {"type": "External"}}}, "'ClusterIP', 'NodePort', 'LoadBalancer'"),
    ({"gateway": {"ingress": {"enabled": "yes"}}}, "got string, want boolean"),
    (
        {"gateway": {"ingress": {"enabled": True}}},
        "gateway.ingress: enabled, so hosts must contain at least one host name",
    ),
    ({"gateway": {"httpRoute": {"enabled": True}}}, "gateway.httpRoute: enabled, so parentRefs must name a Gateway"),
    ({"gateway": {"httpRoute": {"parentRefs": [{"namespace": "x"}]}}}, "missing property 'name'"),
    (
        {"gateway": {"resources": {"limits": {"cpu": "lots"}}}},
        "at '/gateway/resources/limits/cpu': 'lots' does not match",
    ),
    ({"gateway": {"resources": {"limit": {}}}}, "additional properties 'limit' not allowed"),
    ({"gateway": {"tolerations": [{"kee": "x"}]}}, "at '/gateway/tolerations/0': additional properties 'kee' not"),
    ({"gateway": {"extraEnv": [{"value": "x"}]}}, "missing property 'name'"),
    ({"gateway": {"extraEnv": {"A": "b"}}}, "got object, want array"),
    ({"gateway": {"pdb": {"maxUnavailable": "half"}}}, "at '/gateway/pdb/maxUnavailable': 'half' does not match"),
    (
        {"gateway": {"autoscaling": {"minReplicas": 9}}},
        "gateway.autoscaling: minReplicas (9) is more than maxReplicas (6)",
    ),
    ({"gateway": {"podAnnotations": {"a": 1}}}, "got number, want string"),
    ({E: {"nobody": {}}}, "executors.nobody: the Flow has no executor of this name: use one of: encoder"),
    ({E: {"nobody": None}}, "executors.nobody: the Flow has no executor of this name: use one of: encoder"),
    ({E: {"encoder": {"replica": 1}}}, "at '/executors/encoder': additional properties 'replica' not allowed"),
    ({E: {"encoder": {"device": "gpu"}}}, "at '/executors/encoder/device': 'gpu' does not match pattern"),
    ({E: {"encoder": {"model": {"source": "s3"}}}}, "value must be one of 'image', 'claim', 'download'"),
    (
        {E: {"encoder": {"model": {"source": "claim"}}}},
        "values: executors.encoder.model: source is claim, so claim must name a PersistentVolumeClaim",
    ),
    (
        {E: {"encoder": {"model": {"claim": "weights"}}}},
        "executors.encoder.model: claim is set, so source must be claim",
    ),
    ({E: {"encoder": {"gpu": {"count": 0}}}}, "minimum: got 0, want 1"),
    ({E: {"encoder": {"gpu": {"resourceName": "gpu"}}}}, "at '/executors/encoder/gpu/resourceName'"),
    ({E: {"encoder": {"image": {"digest": "abc"}}}}, "at '/executors/encoder/image/digest': 'abc' does not match"),
    ({E: {"encoder": {"image": {"tag": "a:b"}}}}, "at '/executors/encoder/image/tag'"),
    (
        {E: {"encoder": {"strategy": {"rollingUpdate": {"maxSurge": 1, "x": 1}}}}},
        "additional properties 'x' not allowed",
    ),
    ({E: {"encoder": {"egress": [{"too": []}]}}}, "additional properties 'too' not allowed"),
    ({"model": {"source": "claim"}}, "values: model: source is claim, so claim must name a PersistentVolumeClaim"),
    ({"model": {"cache": None}}, "missing property 'cache'"),
    (
        {"executorDefaults": {"model": {"name": "x"}}},
        "at '/executorDefaults': additional properties 'model' not allowed",
    ),
    ({E: ["encoder"]}, "got array, want object"),
    ({"executorDefaults": {"gpu": None}}, "missing property 'gpu'"),
    ({"executorDefaults": {"startupSeconds": 0}}, "minimum: got 0, want 1"),
    ({"clusterDomain": "cluster.local."}, "at '/clusterDomain': 'cluster.local.' does not match"),
    ({"global": {"imageRegistry": "https://reg.example.com"}}, "at '/global/imageRegistry'"),
    ({"commonLabels": {"team": "a b"}}, "at '/commonLabels/team': 'a b' does not match"),
    ({"imagePullSecrets": ["registry"]}, "at '/imagePullSecrets/0': got string, want null or object"),
    ({"networkPolicy": {"gatewayFrom": [{"podSelectr": {}}]}}, "additional properties 'podSelectr' not allowed"),
    (
        {"shutdown": {"preStopSeconds": 5}},
        "shutdown.preStopSeconds (5) must be more than connections.maxAgeSeconds (5)",
    ),
    (
        {"shutdown": {"gracePeriodSeconds": 20}},
        "gracePeriodSeconds (20) must be more than shutdown.preStopSeconds (20)",
    ),
]


@pytest.mark.parametrize(("values", "message"), REFUSALS, ids=[json.dumps(values) for values, _ in REFUSALS])
def test_a_bad_value_is_refused_in_words(values: dict[str, Any], message: str) -> None:
    with pytest.raises(RefusedError) as refused:
        render(values)
    said = str(refused.value)
    assert message in said
    assert "nil pointer" not in said
