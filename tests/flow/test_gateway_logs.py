"""A request can be followed: its id comes back, reaches the executor and stands in its log line, which says no more."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import requests
from docarray import Document
from jina import Client
from jina.proto import jina_pb2_grpc

from scripts import ROOT
from scripts.processes import free_ports
from tests.flow.asking import IMAGE, PICTURE, ask_once, data_request, post, send
from tests.flow.gateways import Gateway, gateway, running, wait_for

ID = "caller-7f3a"


def by_http(gateway: Gateway, sent: str | None) -> tuple[str, str]:
    """The id that comes back, and the one that the executor got."""
    answer = send(gateway.http, **post(), headers={"X-Request-Id": sent} if sent else {})
    return answer.headers["x-request-id"], answer.json()["parameters"]["__results__"]["encoder"]["parameters"][
        "__request_id__"
    ]


def by_grpc(gateway: Gateway, sent: str | None) -> tuple[str, str]:
    with grpc.insecure_channel(gateway.grpc[7:]) as channel:
        call = jina_pb2_grpc.JinaRPCStub(channel).Call(
            iter([data_request()]), timeout=30, metadata=[("x-request-id", sent)] if sent else []
        )
        (answer,) = call
        metadata = dict(call.trailing_metadata())
    return metadata["x-request-id"], answer.parameters["__results__"]["encoder"]["parameters"]["__request_id__"]


def line_of(gateway: Gateway, request_id: str, **wanted: Any) -> dict[str, Any]:
    (line,) = gateway.log_lines(request_id=request_id, **wanted)
    return line


Ask = Callable[[Gateway, str | None], tuple[str, str]]


@pytest.mark.parametrize("ask", [by_http, by_grpc])
def test_the_callers_id_goes_all_the_way(limited: Gateway, ask: Ask) -> None:
    sent = f"{ID}-{ask.__name__}"
    assert ask(limited, sent) == (sent, sent)
    assert line_of(limited, sent)["status"] == 200


@pytest.mark.parametrize("ask", [by_http, by_grpc])
@pytest.mark.parametrize("sent", [None, "x" * 129, "two words"])
def test_without_a_usable_id_a_new_one_is_made(limited: Gateway, ask: Ask, sent: str | None) -> None:
    first, second = ask(limited, sent), ask(limited, sent)
    assert first[0] == first[1] != second[0]
    assert len(first[0]) == 32


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({"path": "/embed?secret=parameter", "data": PICTURE, "headers": IMAGE}, {"status": 200, "endpoint": "/embed"}),
        ({"path": "/embed", "data": b"", "headers": IMAGE}, {"status": 400, "error": "BadDocument"}),
        ({"path": "/nothing", "method": "GET"}, {"status": 404, "error": "NotFound", "method": "GET"}),
        (post(parameters={"sleep": 9}), {"status": 504, "error": "Expired"}),
        (post(parameters={"fail": "ValueError"}), {"status": 500, "error": "InternalError"}),
    ],
)
def test_an_http_request_has_one_line(limited: Gateway, request_: dict[str, Any], expected: dict[str, Any]) -> None:
    answer = send(limited.http, **request_)
    line = line_of(limited, answer.headers["x-request-id"], protocol="HTTP")
    assert expected.items() <= line.items()
    assert line["ms"] > 0
    assert {"time", "level", "logger", "message"} <= line.keys()


def test_a_grpc_request_has_one_line(limited: Gateway) -> None:
    metadata = [("x-request-id", "grpc-lines")]
    ask_once(limited.grpc, data_request(fail="BadDocument"), metadata=metadata)
    line = line_of(limited, "grpc-lines")
    assert {"protocol": "gRPC", "endpoint": "/", "status": 400, "error": "BadDocument"}.items() <= line.items()


def test_lines_hold_nothing_of_what_was_sent(limited: Gateway) -> None:
    secret = b"a-private-picture"
    encoded = base64.b64encode(secret).decode()
    send(limited.http, "/embed?key=a-private-word", data=secret, headers={**IMAGE, "Cookie": "a-private-cookie"})
    send(limited.http, **post(data=[{"blob": encoded, "text": "a-private-text"}], parameters={"fail": "KeyError"}))
    send(limited.http, "/post", data=b"{a-private-body", headers={"Content-Type": "application/json"})
    ask_once(limited.grpc, data_request(blobs=[secret], fail="KeyError", detail="a-private-detail"))
    log = limited.log_text()
    assert "a-private" not in log
    assert encoded not in log


def test_health_is_not_logged(limited: Gateway) -> None:
    for path in ("/healthz", "/readyz", "/startupz", "/"):
        send(limited.http, path, "GET")
        assert not limited.log_lines(endpoint=path, protocol="HTTP")


def test_every_line_after_the_start_is_json(limited: Gateway) -> None:
    send(limited.http, "/embed", data=PICTURE, headers=IMAGE)
    lines = limited.log_text().splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith('{"time"'))
    assert all(isinstance(json.loads(line), dict) for line in lines[first:] if line)


def test_requests_are_counted_by_how_they_ended(obedient: int, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    (tmp_path / "tokens").write_text("a-token\n")
    settings = {"tokens_file": str(tmp_path / "tokens"), "max_documents": 1}
    monitoring = ["--monitoring", "--port-monitoring", str(port)]
    headers = {"Authorization": "Bearer a-token"}
    metadata = [("authorization", "Bearer a-token")]
    with gateway({"encoder": obedient}, tmp_path / "gateway.log", settings, *monitoring) as running:
        send(running.http, **post(), headers=headers)
        send(running.http, **post(data=[{}, {}]), headers=headers)
        send(running.http, **post())
        ask_once(running.grpc, data_request(fail="QueueFull"), metadata=metadata)
        with pytest.raises(grpc.RpcError):
            ask_once(running.grpc, data_request())
        text = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text
    counted = dict(re.findall(r"^clip_gateway_requests_total\{(.*)\} (\S+)$", text, flags=re.MULTILINE))
    assert counted == {
        'error="",protocol="HTTP",status="200"': "1.0",
        'error="TooLarge",protocol="HTTP",status="413"': "1.0",
        'error="Unauthenticated",protocol="HTTP",status="401"': "1.0",
        'error="QueueFull",protocol="gRPC",status="429"': "1.0",
        'error="Unauthenticated",protocol="gRPC",status="401"': "1.0",
    }
    assert 'clip_gateway_request_seconds_count{protocol="HTTP"} 3.0' in text
    assert "jina_successful_requests_total" in text


@pytest.fixture(scope="module")
def plain(obedient: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with gateway({"encoder": obedient}, tmp_path_factory.mktemp("plain") / "gateway.log") as running:
        yield running


def test_as_text_a_request_is_one_line_that_a_caller_cannot_break(plain: Gateway) -> None:
    send(plain.http, "/embed", data=PICTURE, headers={**IMAGE, "X-Request-Id": "text-1"})
    endpoint = "/a\nb INFO request forged"
    ask_once(plain.grpc, data_request(endpoint), metadata=[("x-request-id", "text-2")])
    Client(host=plain.grpc).post("/", Document())
    lines = [line for line in plain.log_text().splitlines() if " request " in line]
    assert any(" request HTTP POST /embed 200 - " in line and line.endswith(" id=text-1") for line in lines)
    (broken,) = [line for line in lines if "forged" in line]
    assert "gRPC post /a\\nb INFO request forged 404 NotFound" in broken


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_body_byte": 5}, "unknown option 'max_body_byte'"),
        ({"max_documents": 0}, "max_documents must be a whole number"),
        ({"tls_key_file": "gateway/config.yml"}, "belong together"),
        ({"tokens_file": "no/such/file"}, "tokens_file: no such file: no/such/file"),
        ({"log_format": "xml"}, "log_format (or LOG_FORMAT) must be text or json"),
    ],
)
def test_a_gateway_that_cannot_be_configured_says_why_and_ends(
    tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(AssertionError) as failed, gateway({"encoder": 1}, tmp_path / "gateway.log", settings):
        pass
    assert message in str(failed.value)


def test_no_torch_and_no_library_is_loaded() -> None:
    program = "import sys, clip_gateway.gateway; print(sorted({'torch', 'clip', 'clip_image_flow'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_the_gateway_loads_from_the_folder_of_an_image(obedient: int, tmp_path: Path) -> None:
    """As gateway/Dockerfile lays it out: config.yml and the packages side by side, found by PYTHONPATH alone."""
    shutil.copytree(ROOT / "gateway", tmp_path / "app")
    shutil.copytree(ROOT / "clip_wire", tmp_path / "app" / "clip_wire")
    ports = [str(port) for port in free_ports(2)]
    arguments = ["gateway", "--uses", "config.yml", "--protocol", "GRPC", "HTTP", "--port", *ports]
    graph = '{"encoder": ["end-gateway"], "start-gateway": ["encoder"]}'
    arguments += ["--graph-description", graph]
    arguments += ["--deployments-addresses", json.dumps({"encoder": [f"grpc://127.0.0.1:{obedient}"]})]
    log = tmp_path / "gateway.log"
    with running(arguments, log, tmp_path / "app", PYTHONPATH=str(tmp_path / "app")) as process:
        wait_for(lambda: requests.get(f"http://127.0.0.1:{ports[1]}/readyz", timeout=5).ok, log, process)
        assert send(f"http://127.0.0.1:{ports[1]}", "/embed", data=PICTURE, headers=IMAGE).status_code == 200


def test_a_slow_request_is_a_warning(obedient: int, tmp_path: Path) -> None:
    settings = {"slow_request_seconds": 0.5}
    with gateway({"encoder": obedient}, tmp_path / "gateway.log", settings, LOG_FORMAT="json") as running:
        quick = send(running.http, **post())
        slow = send(running.http, **post(parameters={"sleep": 0.7}))
        assert line_of(running, quick.headers["x-request-id"], protocol="HTTP")["level"] == "INFO"
        line = line_of(running, slow.headers["x-request-id"], protocol="HTTP")
    assert line["level"] == "WARNING"
    assert line["message"].startswith("slow request HTTP POST ")
