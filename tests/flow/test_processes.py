"""How the Flow starts and ends: nothing is left behind, whatever ends it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from jina import Client

from scripts import ROOT
from scripts.flow.names import MODEL_OPTION
from scripts.flow.running import load_flow
from tests.flow.conftest import flow_environment

START_SECONDS = 120


def serve(environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "scripts.flow.serve"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for(text: str, process: subprocess.Popen[str]) -> str:
    """The output up to the line with `text`."""
    output = ""
    assert process.stdout is not None
    for line in process.stdout:
        output += line
        if text in line:
            return output
    raise AssertionError(f"ended without {text!r}:\n{output}")


def flow_processes(environment: dict[str, str]) -> list[int]:
    """Processes of the Flow with this environment's port."""
    marker = f"CLIP_GRPC_PORT={environment['CLIP_GRPC_PORT']}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if marker in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
        except OSError:  # ended meanwhile
            continue
    return found


def gone_within(environment: dict[str, str], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while flow_processes(environment):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda s: s.name)
def test_serve_ends_everything_when_it_is_told_to(tiny_model: Path, number: signal.Signals) -> None:
    environment = flow_environment(tiny_model)
    with serve(environment) as process:
        wait_for("clip-image-flow is ready", process)
        assert len(flow_processes(environment)) >= 4  # serve, the Flow, a gateway, an executor
        process.send_signal(number)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "ended" in output
    assert flow_processes(environment) == []


def test_the_flow_ends_when_serve_is_killed(tiny_model: Path) -> None:
    environment = flow_environment(tiny_model, REPLICAS="1")
    with serve(environment) as process:
        wait_for("clip-image-flow is ready", process)
        process.kill()
        assert gone_within(environment, 30)


@pytest.mark.parametrize(
    ("settings", "executors", "words"),
    [({"FLOW": ""}, "encoder, text", True), ({"FLOW": "flows/encode_flow.yml"}, "encoder", False)],
    ids=["by default", "pictures alone"],
)
def test_serve_says_what_it_answers_and_how_to_ask(
    tiny_model: Path, settings: dict[str, str], executors: str, words: bool
) -> None:
    environment = flow_environment(tiny_model, REPLICAS="1", **settings)
    with serve(environment) as process:
        told = wait_for("Ctrl-C ends it", process)
        process.terminate()
    assert f"clip-image-flow is ready: model {tiny_model}, executors {executors}\n" in told
    assert f"grpc://127.0.0.1:{environment['CLIP_GRPC_PORT']}" in told
    assert "examples/01_encode_pictures.py" in told
    assert f"http://127.0.0.1:{environment['CLIP_HTTP_PORT']}/embed" in told
    assert ("examples/09_search_by_words.py" in told) == words


def test_the_model_of_the_environment_is_that_of_words_and_of_pictures() -> None:
    models = {
        executor["name"]: executor["uses_with"][MODEL_OPTION]
        for executor in load_flow({"CLIP_MODEL": "ViT-B/32"})["executors"]
    }
    assert models == {"encoder": "ViT-B/32", "text": "ViT-B/32"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"CLIP_MODEL": "no/such/model.pt"}, "no such file or folder"),
        ({"CLIP_GRPC_PORT": "many"}, "CLIP_GRPC_PORT must be a whole number"),
        ({"REPLICAS": "0"}, "REPLICAS must be a whole number"),
    ],
)
def test_serve_says_why_it_cannot_start(tiny_model: Path, settings: dict[str, str], message: str) -> None:
    environment = {**flow_environment(tiny_model, REPLICAS="1"), **settings}
    with serve(environment) as process:
        output, _ = process.communicate(timeout=START_SECONDS)
    assert process.returncode == 1
    assert message in " ".join(output.split())
    assert flow_processes(environment) == []


def test_jina_flow_runs_the_file_as_it_is_and_calls_nobody(tmp_path: Path) -> None:
    """A call to the outside would go to the proxy that listens here; by itself Jina makes several."""
    calls: list[bytes] = []

    def listen(proxy: socket.socket) -> None:
        with contextlib.suppress(OSError):  # closed at the end
            while True:
                connection, _ = proxy.accept()
                calls.append(connection.recv(1000))
                connection.close()

    with socket.create_server(("127.0.0.1", 0)) as proxy:
        threading.Thread(target=listen, args=(proxy,), daemon=True).start()
        address = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        environment = {k: v for k, v in os.environ.items() if k != "JINA_OPTOUT_TELEMETRY"}
        environment |= {"HTTPS_PROXY": address, "HTTP_PROXY": address, "NO_PROXY": "", "HOME": str(tmp_path)}
        with subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "jina", "flow", "--uses", "flows/encode_flow.yml"],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                wait_for("Flow is ready", process)
                hosts = ("grpc://127.0.0.1:51000", "http://127.0.0.1:8000")
                answers = [Client(host=host).post("/info")[0] for host in hosts]
            finally:
                process.send_signal(signal.SIGINT)
                process.communicate(timeout=60)
        assert [answer.tags["model"] for answer in answers] == ["emoji-tiny"] * 2
        assert calls == []
