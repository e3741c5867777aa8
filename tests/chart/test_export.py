"""scripts/export_k8s.py: what it writes, that it always writes the same, and what it refuses."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts import export_k8s
from scripts.export import files
from scripts.export.flow_file import project_version
from scripts.export.manifests import container, documents
from tests.chart.chart import CHART, FIXTURES, ROOT
from tests.chart.kubernetes_schemas import refusal

FLOW = FIXTURES / "two_executors" / "flow.yml"
Flow = dict[str, Any]


def export(flow: Path, folder: Path, *options: str) -> int:
    """Run the command into `folder`."""
    return export_k8s.main(
        ["--flow", str(flow), "--k8s", str(folder / "k8s"), "--topology", str(folder / "topology.yaml"), *options]
    )


def exported(folder: Path) -> dict[str, bytes]:
    """Every file under `folder`, by its path there."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The export of the Flow with two executors."""
    made = tmp_path_factory.mktemp("export")
    assert export(FLOW, made) == 0
    return made


@pytest.fixture(scope="module")
def topology(folder: Path) -> dict[str, Any]:
    return dict(yaml.safe_load((folder / "topology.yaml").read_text(encoding="utf-8")))


@pytest.fixture
def changed_flow(tmp_path: Path) -> Path:
    """A copy of the Flow and what it names, to be changed."""
    shutil.copytree(FLOW.parent, tmp_path / "flow")
    return tmp_path / "flow" / FLOW.name


def edit(path: Path, where: str, options: dict[str, Any]) -> None:
    """Set options of the gateway, or of an executor by its number."""
    flow = yaml.safe_load(path.read_text(encoding="utf-8"))
    target = flow["gateway"] if where == "gateway" else flow["executors"][int(where)] if where else flow
    target.update(options)
    path.write_text(yaml.safe_dump(flow, sort_keys=False, allow_unicode=True), encoding="utf-8")


def test_what_is_committed_comes_from_the_flow(capsys: pytest.CaptureFixture[str]) -> None:
    assert export_k8s.main(["--check"]) == 0, capsys.readouterr().out


def test_a_stale_file_fails_the_check_with_a_diff(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export(FLOW, tmp_path)
    manifest = tmp_path / "k8s" / "text_ranker" / "text-ranker.yml"
    manifest.write_text(manifest.read_text(encoding="utf-8").replace("replicas: 3", "replicas: 30"), encoding="utf-8")
    before = exported(tmp_path)
    assert export(FLOW, tmp_path, "--check") == 1
    printed = capsys.readouterr().out
    assert "-  replicas: 30\n+  replicas: 3\n" in printed
    assert "text-ranker.yml" in printed
    assert exported(tmp_path) == before, "--check writes nothing"


@pytest.mark.parametrize("change", ["missing", "left over"])
def test_a_file_too_few_or_too_many_fails_the_check(change: str, tmp_path: Path) -> None:
    export(FLOW, tmp_path)
    if change == "missing":
        (tmp_path / "topology.yaml").unlink()
    else:
        (tmp_path / "k8s" / "old.yml").write_text("kind: ConfigMap\n", encoding="utf-8")
    assert export(FLOW, tmp_path, "--check") == 1


def test_what_an_executor_leaves_behind_is_removed(changed_flow: Path, tmp_path: Path) -> None:
    export(changed_flow, tmp_path)
    flow = yaml.safe_load(changed_flow.read_text(encoding="utf-8"))
    del flow["executors"][1]
    changed_flow.write_text(yaml.safe_dump(flow, sort_keys=False), encoding="utf-8")
    assert export(changed_flow, tmp_path) == 0
    assert sorted(p.name for p in (tmp_path / "k8s").iterdir()) == ["encoder", "gateway"]


def test_the_same_flow_gives_the_same_bytes_whatever_the_environment(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JINA_LOG_LEVEL", "DEBUG")  # which Jina itself would write into the manifests
    monkeypatch.setenv("JINA_GATEWAY_IMAGE", "elsewhere/gateway:1")
    monkeypatch.chdir(tmp_path)
    script = [sys.executable, str(ROOT / "scripts" / "export_k8s.py"), "--flow", str(FLOW)]
    subprocess.run([*script, "--k8s", "k8s", "--topology", "topology.yaml"], check=True, timeout=60)
    assert exported(tmp_path) == exported(folder)


def test_no_look_up_leaves_the_machine(folder: Path, tmp_path: Path) -> None:
    """In a network namespace of its own there is not even a loopback that is up."""
    script = [sys.executable, str(ROOT / "scripts" / "export_k8s.py"), "--flow", str(FLOW), "--k8s", "k8s"]
    alone = ["unshare", "--map-root-user", "--net"]
    if shutil.which("unshare") is None or subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine grants no network namespace")
    watched = [*alone, *script, "--topology", "topology.yaml"]
    subprocess.run(watched, cwd=tmp_path, check=True, timeout=60)
    assert exported(tmp_path) == exported(folder)


def test_an_error_leaves_the_old_files(changed_flow: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(changed_flow, out)
    before = exported(out)
    edit(changed_flow, "1", {"shards": 2, "replicas": 7})
    assert export(changed_flow, out) == 1
    assert exported(out) == before


def test_a_write_that_fails_halfway_leaves_the_old_files(tmp_path: Path) -> None:
    first, second = tmp_path / "a.yml", tmp_path / "b" / "b.yml"
    first.write_text("old\n", encoding="utf-8")
    second.parent.write_text("a file where a folder should be", encoding="utf-8")
    with pytest.raises(OSError, match="b"):
        files.write({first: "new\n", second: "new\n"}, [])
    assert first.read_text(encoding="utf-8") == "old\n"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.yml", "b"], "nothing temporary stays"


@pytest.mark.parametrize("source", ["k8s", "fixture"])
def test_jinas_manifests_are_valid_as_they_are(source: str, folder: Path) -> None:
    manifests = sorted((ROOT / "k8s" if source == "k8s" else folder / "k8s").rglob("*.yml"))
    assert manifests
    for manifest in manifests:
        for one in yaml.safe_load_all(manifest.read_text(encoding="utf-8")):
            assert refusal(one) is None, f"{manifest}: {refusal(one)}"


def test_images_are_called_by_the_names_in_the_configurations(topology: dict[str, Any]) -> None:
    images = [node["image"] for node in (topology["gateway"], *topology["executors"])]
    version = project_version()
    assert images == [f"clip-gateway:{version}", f"clip-image-encoder:{version}", f"text-ranker:{version}"]


@pytest.mark.parametrize(
    ("options", "image"),
    [
        (
            ["--registry", "reg.example.com:5000/team"],
            f"reg.example.com:5000/team/clip-image-encoder:{project_version()}",
        ),
        (["--tag", "nightly"], "clip-image-encoder:nightly"),
        (["--digest", f"clip-image-encoder=sha256:{'0' * 64}"], f"clip-image-encoder@sha256:{'0' * 64}"),
    ],
    ids=["registry", "tag", "digest"],
)
def test_registry_tag_and_digest_are_options(options: list[str], image: str, tmp_path: Path) -> None:
    assert export(FLOW, tmp_path, *options) == 0
    topology = yaml.safe_load((tmp_path / "topology.yaml").read_text(encoding="utf-8"))
    assert topology["executors"][0]["image"] == image
    assert f"image: {image}\n" in (tmp_path / "k8s" / "encoder" / "encoder.yml").read_text(encoding="utf-8")


def test_an_image_in_the_flow_stays(changed_flow: Path, tmp_path: Path) -> None:
    edit(changed_flow, "1", {"uses": "docker://reg.example.com/other:2"})
    assert export(changed_flow, tmp_path) == 0
    topology = yaml.safe_load((tmp_path / "topology.yaml").read_text(encoding="utf-8"))
    assert topology["executors"][1]["image"] == "reg.example.com/other:2"


def test_the_namespace_is_an_option(tmp_path: Path) -> None:
    assert export(FLOW, tmp_path, "--namespace", "vision") == 0
    text = (tmp_path / "k8s" / "gateway" / "gateway.yml").read_text(encoding="utf-8")
    assert {one["metadata"]["namespace"] for one in yaml.safe_load_all(text)} == {"vision"}
    assert "grpc://encoder.vision.svc:8080" in text


def test_every_option_of_the_flow_arrives(folder: Path, topology: dict[str, Any]) -> None:
    """Written out by hand: where each line of the Flow is found again, in Jina's manifests and in the topology."""
    flow = yaml.safe_load(FLOW.read_text(encoding="utf-8"))
    text = (folder / "k8s" / "text_ranker" / "text-ranker.yml").read_text(encoding="utf-8")
    arguments = container(text)["args"]
    ranker = topology["executors"][1]
    assert list(flow["executors"][1]) == [
        *("name", "uses", "needs", "replicas", "timeout_ready", "workspace", "env", "env_from_secret")
    ], "a line was added to the Flow: say here where it arrives"
    assert arguments[arguments.index("--name") + 1] == ranker["name"] == "text_ranker"
    assert arguments[arguments.index("--workspace") + 1] == "/home/app/work space"
    assert arguments[arguments.index("--timeout-ready") + 1] == "120000"
    assert documents(text, "Deployment")[0]["spec"]["replicas"] == 3
    assert documents(text, "ConfigMap")[0]["data"]["OMP_NUM_THREADS"] == "2"
    assert {"name": "OMP_NUM_THREADS", "value": "2"} in ranker["env"]
    secret = {"name": "RANKER_KEY", "valueFrom": {"secretKeyRef": {"name": "ranker", "key": "key"}}}
    assert secret in container(text)["env"]
    assert secret in ranker["env"]
    assert topology["graph"] == {
        "start-gateway": ["encoder"],
        "encoder": ["text_ranker"],
        "text_ranker": ["end-gateway"],
    }
    encoder, gateway = topology["executors"][0], topology["gateway"]
    assert encoder["usesWith"] == {"pretrained_model_name_or_path": "ViT-B/32", "batch_size": 16}
    assert gateway["usesWith"] == {"max_documents": 64}
    assert gateway["grpcServerOptions"] == {"grpc.max_send_message_length": 33554432}
    assert gateway["ports"] == [{"name": "grpc", "port": 8080}, {"name": "http", "port": 8081}]


def test_every_option_of_the_projects_flow_arrives() -> None:
    """For whatever stands in flows/encode_flow.yml, now and later."""
    flow = yaml.safe_load((ROOT / "flows" / "encode_flow.yml").read_text(encoding="utf-8"))
    nodes = [("gateway", flow["gateway"]), *((node["name"], node) for node in flow["executors"])]
    for name, options in nodes:
        text = (ROOT / "k8s" / name / f"{name}.yml").read_text(encoding="utf-8")
        arguments = container(text)["args"]
        for option, value in options.items():
            flag = f"--{option.replace('_', '-')}"
            if option == "uses_with":
                assert json.loads(arguments[arguments.index(flag) + 1]) == value
            elif option not in ("uses", "needs", "env", "port", "protocol"):  # asked for elsewhere, or Kubernetes' own
                assert arguments[arguments.index(flag) + 1] == str(value)


def test_pods_report_nothing_to_jinas_makers(topology: dict[str, Any]) -> None:
    for node in (topology["gateway"], *topology["executors"]):
        assert {"name": "JINA_OPTOUT_TELEMETRY", "value": "1"} in node["env"]


def test_what_all_nodes_have_in_common_arrives_at_each(changed_flow: Path, tmp_path: Path) -> None:
    edit(changed_flow, "", {"with": {"name": "vision", "env": {"A": "b"}, "retries": 3}})
    edit(changed_flow, "1", {"env": {"A": "its own"}})
    assert export(changed_flow, tmp_path) == 0
    topology = yaml.safe_load((tmp_path / "topology.yaml").read_text(encoding="utf-8"))
    nodes = [topology["gateway"], *topology["executors"]]
    assert [next(e["value"] for e in node["env"] if e["name"] == "A") for node in nodes] == ["b", "b", "its own"]
    assert all(node["args"][node["args"].index("--retries") + 1] == "3" for node in nodes)


def test_what_the_chart_owns_is_not_in_the_topology(topology: dict[str, Any]) -> None:
    for node in (topology["gateway"], *topology["executors"]):
        assert not {"--k8s-namespace", "--replicas", "--timeout-ready", "--deployments-addresses"} & set(node["args"])
    assert "default" not in json.dumps(topology), "the namespace"


@pytest.mark.parametrize(
    ("where", "options", "message"),
    [
        ("1", {"shards": 2}, "shards: 2 is not exported; scale with replicas"),
        ("1", {"gpus": 1}, "executors.text_ranker.gpu"),
        ("1", {"volumes": ["/a:/b"]}, "executors.text_ranker.extraVolumes"),
        ("1", {"uses_before": "docker://x"}, "make it an executor of its own"),
        ("1", {"external": True}, "external is not exported"),
        ("1", {"py_modules": ["a.py"]}, "the config.yml"),
        ("1", {"image_pull_secrets": ["x"]}, "imagePullSecrets"),
        ("1", {"name": "gateway"}, "is none of gateway"),
        ("1", {"name": "encoder"}, "would both be called 'encoder'"),
        ("1", {"name": "9lives"}, "begins with a letter"),
        ("1", {"name": None}, "needs a `name`"),
        ("1", {"uses": "nowhere/config.yml"}, "neither docker://image nor a file"),
        ("1", {"uses": None}, "`uses` must be the path"),
        ("1", {"needs": ["nobody"]}, "needs: 'nobody' is none of gateway, encoder"),
        ("1", {"batch_sise": 3}, "batch_sise: Jina does not know this option"),
        ("1", {"env": {"A": 1}}, "write the value as a string"),
        ("1", {"uses_with": {"prompt": 'an "emoji"'}}, "text_ranker: uses_with: Jina's export makes"),
        ("1", {"uses_with": {"prompt": "ein Gürteltier"}}, "uses_with: Jina's export makes"),
        ("1", {"uses_with": {"prompt": 'it\'s "two" kinds'}}, "Jina cannot export this Flow"),
        ("1", {"workspace": "C:\\work"}, "workspace: Jina's export makes"),
        ("1", {"uses_with": {"home": "$HOME"}}, "uses_with: Jina's export makes"),
        ("1", {"uses_with": {"home": "${{ ENV.HOME }}"}}, "depends on who exports"),
        ("gateway", {"uses_with": {"title": "é"}}, "gateway: uses_with: Jina's export makes"),
        ("gateway", {"protocol": ["GRPC"], "port": [1]}, "gateway: protocol must be [GRPC, HTTP], not ['GRPC']"),
        ("gateway", {"protocol": None}, "gateway: protocol must be [GRPC, HTTP], not None"),
        ("gateway", {"uses": None}, "`uses` must be the path"),
        ("", {"with": {"uses_with": {"a": 1}}}, "with: uses_with reaches nobody"),
        ("", {"with": {"workspace": "/w"}}, "with: workspace: Jina's export makes None of '/w' for gateway"),
        ("", {"with": {"nonsense": 1}}, "with: nonsense: Jina does not know this option"),
        ("", {"jtype": "Executor"}, "this is no Flow file"),
        ("", {"executors": []}, "at least one executor"),
        ("", {"gateway": {"port": [1, 2]}}, "Jina's own gateway has no readiness"),
    ],
)
def test_what_cannot_be_exported_is_a_named_error(
    where: str, options: Flow, message: str, changed_flow: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(changed_flow, where, options)
    assert export(changed_flow, tmp_path / "out") == 1
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.startswith("export: ")
    assert printed.count("\n") == 1, "one line, no traceback"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("jtype: TextRanker\n", "metas.name must be the image's name"),
        ("jtype: [", "config.yml"),
        ("", "must be a mapping"),
    ],
    ids=["no metas.name", "no YAML", "empty"],
)
def test_a_configuration_that_names_no_image_is_a_named_error(
    text: str, message: str, changed_flow: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (changed_flow.parent / "ranker" / "config.yml").write_text(text, encoding="utf-8")
    assert export(changed_flow, tmp_path / "out") == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("text", [None, "", "- a\n", "jtype: Flow\nexecutors: [\n", "\xff"])
def test_a_file_that_is_no_flow_is_a_named_error(
    text: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flow = tmp_path / "flow.yml"
    if text is not None:
        flow.write_text(text, encoding="latin-1")
    assert export(flow, tmp_path / "out") == 1
    assert str(flow) in capsys.readouterr().err


@pytest.mark.parametrize("option", [["--digest", "x"], ["--namespace", "Not_One"], ["--digest", "a=sha256:12"]])
def test_a_wrong_option_is_refused(option: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        export_k8s.main(option)
    assert option[1] in capsys.readouterr().err


def test_the_callers_environment_stays_as_it_was(tmp_path: Path) -> None:
    before = dict(os.environ)
    export(FLOW, tmp_path)
    assert dict(os.environ) == before


def test_the_chart_has_the_version_of_the_project() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert chart["version"] == chart["appVersion"] == project_version()
    gpu = yaml.safe_load((CHART / "profiles" / "gpu.yaml").read_text(encoding="utf-8"))
    assert gpu["executors"]["encoder"]["image"]["tag"] == f"{project_version()}-gpu"
    assert f"clip-image-encoder:{project_version()}" in (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
