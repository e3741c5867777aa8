"""scripts/export_k8s.py as a command: the check, the same bytes every time, all files or none, errors by name."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from scripts import ROOT, export_k8s
from scripts.export import files
from scripts.flow.names import CHART, flow_files, flow_name, flow_names, topology_file
from tests.chart.exporting import FLOW, Flow, edit, export, exported

CLIP = ROOT / "flows" / "clip_flow.yml"


def test_what_is_committed_comes_from_the_flows(capsys: pytest.CaptureFixture[str]) -> None:
    assert export_k8s.main(["--check"]) == 0, capsys.readouterr().out


def test_the_chart_has_the_committed_flows_and_no_others() -> None:
    assert flow_names() == [flow_name(flow) for flow in flow_files()] == ["clip", "encode"]


def test_the_manifests_are_those_of_the_flow_that_is_named(tmp_path: Path) -> None:
    assert export_k8s.main(["--flow", str(CLIP), "--k8s", str(tmp_path)]) == 0
    assert exported(tmp_path).keys() == {"encoder/encoder.yml", "gateway/gateway.yml", "text/text.yml"}
    assert export_k8s.main(["--check"]) == 0, "the chart is as it was"


@pytest.mark.parametrize("flow", ["clip", "encode"])
def test_the_topology_of_every_flow_is_checked(
    flow: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chart = shutil.copytree(CHART, tmp_path / "chart")
    monkeypatch.setattr(export_k8s, "topology_of", lambda name: topology_file(name, chart))
    assert export_k8s.main(["--check"]) == 0
    topology_file(flow, chart).unlink()
    assert export_k8s.main(["--check"]) == 1
    assert f"topologies/{flow}.yaml" in capsys.readouterr().out


def test_a_flow_is_called_as_its_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert flow_name(Path("flows/encode_flow.yml")) == "encode"
    assert flow_name(Path("clip.yml")) == "clip"
    flow = shutil.copy(FLOW, tmp_path / "My Flow.yml")
    assert export_k8s.main(["--flow", str(flow)]) == 1
    assert "'My Flow' is not a valid name of a Flow" in capsys.readouterr().err


def test_a_stale_file_fails_the_check_with_a_diff(
    export_of_two: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(export_of_two, tmp_path, dirs_exist_ok=True)
    manifest = tmp_path / "k8s" / "text_ranker" / "text-ranker.yml"
    manifest.write_text(manifest.read_text(encoding="utf-8").replace("replicas: 3", "replicas: 30"), encoding="utf-8")
    before = exported(tmp_path)
    assert export(FLOW, tmp_path, "--check") == 1
    printed = capsys.readouterr().out
    assert "-  replicas: 30\n+  replicas: 3\n" in printed
    assert "text-ranker.yml" in printed
    assert exported(tmp_path) == before, "--check writes nothing"


@pytest.mark.parametrize("change", ["missing", "left over"])
def test_a_file_too_few_or_too_many_fails_the_check(change: str, export_of_two: Path, tmp_path: Path) -> None:
    shutil.copytree(export_of_two, tmp_path, dirs_exist_ok=True)
    if change == "missing":
        (tmp_path / "topology.yaml").unlink()
    else:
        (tmp_path / "k8s" / "old.yml").write_text("kind: ConfigMap\n", encoding="utf-8")
    assert export(FLOW, tmp_path, "--check") == 1


def test_what_an_executor_leaves_behind_is_removed(changed_flow: Path, export_of_two: Path, tmp_path: Path) -> None:
    shutil.copytree(export_of_two, tmp_path, dirs_exist_ok=True)
    flow = yaml.safe_load(changed_flow.read_text(encoding="utf-8"))
    del flow["executors"][1]
    changed_flow.write_text(yaml.safe_dump(flow, sort_keys=False), encoding="utf-8")
    assert export(changed_flow, tmp_path) == 0
    assert sorted(p.name for p in (tmp_path / "k8s").iterdir()) == ["encoder", "gateway"]


def test_the_same_flow_gives_the_same_bytes_whatever_the_environment(
    export_of_two: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JINA_LOG_LEVEL", "DEBUG")  # which Jina itself would write into the manifests
    monkeypatch.setenv("JINA_GATEWAY_IMAGE", "elsewhere/gateway:1")
    monkeypatch.chdir(tmp_path)
    script = [sys.executable, str(ROOT / "scripts" / "export_k8s.py"), "--flow", str(FLOW)]
    subprocess.run([*script, "--k8s", "k8s", "--topology", "topology.yaml"], check=True, timeout=60)
    assert exported(tmp_path) == exported(export_of_two)


# In the program's interpreter: which names and addresses it asks for.
WATCH = """
import os, socket
ask = socket.getaddrinfo
def watched(host, *rest, **options):
    with open(os.environ["ASKED"], "a") as asked:
        print(host, file=asked)
    return ask(host, *rest, **options)
socket.getaddrinfo = watched
"""


def test_no_look_up_leaves_the_machine(tmp_path: Path) -> None:
    """Jina asks a registry of images for its own newest version, whatever is exported: here a closed local port."""
    (tmp_path / "sitecustomize.py").write_text(WATCH, encoding="utf-8")
    asked = tmp_path / "asked"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "ASKED": str(asked), "no_proxy": "*"}
    script = [sys.executable, str(ROOT / "scripts" / "export_k8s.py"), "--flow", str(FLOW), "--k8s", "k8s"]
    subprocess.run([*script, "--topology", "t.yaml"], cwd=tmp_path, env=environment, check=True, timeout=60)
    assert set(asked.read_text(encoding="utf-8").split()) == {"127.0.0.1"}


def test_without_a_network_it_is_the_same(export_of_two: Path, tmp_path: Path) -> None:
    """In a network namespace of its own there is not even a loopback that is up."""
    script = [sys.executable, str(ROOT / "scripts" / "export_k8s.py"), "--flow", str(FLOW), "--k8s", "k8s"]
    alone = ["unshare", "--map-root-user", "--net"]
    if shutil.which("unshare") is None or subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine grants no network namespace")
    subprocess.run([*alone, *script, "--topology", "topology.yaml"], cwd=tmp_path, check=True, timeout=60)
    assert exported(tmp_path) == exported(export_of_two)


def test_an_error_leaves_the_old_files(changed_flow: Path, export_of_two: Path, tmp_path: Path) -> None:
    out = shutil.copytree(export_of_two, tmp_path / "out")
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


def test_the_callers_environment_stays_as_it_was(tmp_path: Path) -> None:
    before = dict(os.environ)
    export(FLOW, tmp_path)
    assert dict(os.environ) == before


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
        ("", {"with": {"uses_with": {"a": 1}}}, "with: uses_with has no effect here"),
        ("", {"with": {"workspace": "/w"}}, "with: workspace: Jina's export makes None of '/w' for gateway"),
        ("", {"with": {"nonsense": 1}}, "with: nonsense: Jina does not know this option"),
        ("", {"jtype": "Executor"}, "this is not a Flow file"),
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
