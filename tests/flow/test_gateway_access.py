"""Who may come in, and over what: bearer tokens from a file that may change, and TLS, for HTTP and gRPC alike."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
import requests
from docarray import Document
from grpc_health.v1 import health_pb2, health_pb2_grpc
from jina import Client
from jina.excepts import BadServerFlow
from jina.proto import jina_pb2_grpc

from tests.flow.asking import IMAGE, ask_grpc, ask_once, check_problem, data_request, send
from tests.flow.gateways import SERVING, Gateway, gateway

FIRST, SECOND = "first-token-3kd9", "second-token-8fj2"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def metadata(token: str) -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {token}")]


def replace(file: Path, text: str) -> None:
    """As a mounted Secret is replaced: at once."""
    new = file.with_suffix(".new")
    new.write_text(text)
    new.rename(file)


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("tokens") / "tokens"
    file.write_text(f"# callers\n\n{FIRST}\n")
    return file


@pytest.fixture(scope="module")
def guarded(obedient: int, tokens: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    log = tmp_path_factory.mktemp("guarded") / "gateway.log"
    settings = {"tokens_file": str(tokens), "max_body_bytes": 1_000_000}
    with gateway({"encoder": obedient}, log, settings, LOG_FORMAT="json") as running:
        yield running


@pytest.fixture(autouse=True)
def first_token_alone(tokens: Path) -> None:
    replace(tokens, f"# callers\n\n{FIRST}\n")


REFUSED = {
    "none": None,
    "wrong": "Bearer wrong",
    "of another length": f"Bearer {FIRST}x",
    "a part": f"Bearer {FIRST[:-1]}",
    "empty": "Bearer ",
    "another scheme": f"Basic {FIRST}",
    "no scheme": FIRST,
    "the comment": "Bearer # callers",
}


@pytest.mark.parametrize("header", REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("path", ["/embed", "/post", "/v1/embeddings"])
def test_http_without_a_valid_token_is_401(guarded: Gateway, path: str, header: str | None) -> None:
    headers = {**IMAGE, **({"Authorization": header} if header else {})}
    answer = send(guarded.http, path, data=b"x", headers=headers)
    check_problem(answer, 401, "Unauthenticated", "token")
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("path", ["/v1/models", "/dry_run", "/docs", "/openapi.json", "/nothing"])
def test_everything_but_health_wants_a_token(guarded: Gateway, path: str) -> None:
    assert send(guarded.http, path, "GET").status_code == 401
    assert send(guarded.http, path, "GET", headers=bearer(FIRST)).status_code in (200, 404)


@pytest.mark.parametrize("header", REFUSED.values(), ids=REFUSED)
def test_grpc_without_a_valid_token_is_unauthenticated(guarded: Gateway, header: str | None) -> None:
    sent = [("authorization", header)] if header else []
    for ask in (ask_grpc, ask_once):
        with pytest.raises(grpc.RpcError) as error:
            ask(guarded.grpc, data_request(), metadata=sent)
        assert error.value.code() == grpc.StatusCode.UNAUTHENTICATED
        assert dict(error.value.trailing_metadata())["x-request-id"]


def test_a_refused_body_is_not_kept(guarded: Gateway) -> None:
    answer = send(guarded.http, "/embed", data=iter([bytes(1_000_000)] * 5), headers=IMAGE)
    assert answer.status_code == 401


def test_a_valid_token_opens_both_protocols(guarded: Gateway) -> None:
    assert send(guarded.http, "/embed", data=b"x", headers={**IMAGE, **bearer(FIRST)}).status_code == 200
    assert (
        send(guarded.http, "/embed", data=b"x", headers={**IMAGE, "authorization": f"bearer  {FIRST}"}).status_code
        == 200
    )
    assert ask_once(guarded.grpc, data_request(), metadata=metadata(FIRST)).status.code == 0
    assert len(Client(host=guarded.grpc).post("/", Document(), metadata=tuple(metadata(FIRST)))) == 1
    assert len(Client(host=guarded.http).post("/", Document(), headers=bearer(FIRST))) == 1
    assert Client(host=guarded.grpc).is_flow_ready(metadata=metadata(FIRST))
    # grpc.aio tells its caller INTERNAL when the call was refused before its message was sent, which Jina may pass on.
    with pytest.raises((BadServerFlow, grpc.RpcError), match=r"UNAUTHENTICATED|INTERNAL"):
        Client(host=guarded.grpc).post("/", Document())
    with pytest.raises(grpc.RpcError) as refused:
        ask_once(guarded.grpc, data_request())
    assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED


def test_health_is_open(guarded: Gateway) -> None:
    for path in ("/", "/healthz", "/readyz", "/startupz"):
        assert send(guarded.http, path, "GET").status_code == 200
    assert guarded.health() == guarded.health("encoder") == SERVING


def test_reflection_wants_a_token(guarded: Gateway) -> None:
    from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

    request = reflection_pb2.ServerReflectionRequest(list_services="")
    with grpc.insecure_channel(guarded.grpc[7:]) as channel:
        ask = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo
        with pytest.raises(grpc.RpcError, match="UNAUTHENTICATED"):
            list(ask(iter([request]), timeout=9))
        assert list(ask(iter([request]), timeout=9, metadata=metadata(FIRST)))


def test_tokens_are_rotated_without_a_gap_and_without_a_restart(guarded: Gateway, tokens: Path) -> None:
    def opens(token: str) -> bool:
        by_http = send(guarded.http, "/embed", data=b"x", headers={**IMAGE, **bearer(token)}).status_code
        try:
            ask_once(guarded.grpc, data_request(), metadata=metadata(token))
            by_grpc = 200
        except grpc.RpcError:
            by_grpc = 401
        assert by_http == by_grpc
        return by_http == 200

    assert (opens(FIRST), opens(SECOND)) == (True, False)
    replace(tokens, f"{FIRST}\n{SECOND}\n")
    assert (opens(FIRST), opens(SECOND)) == (True, True)
    replace(tokens, f"{SECOND}\n")
    assert (opens(FIRST), opens(SECOND)) == (False, True)
    tokens.unlink()
    assert (opens(FIRST), opens(SECOND)) == (False, True)
    replace(tokens, "# nobody\n")
    assert (opens(FIRST), opens(SECOND)) == (False, False)
    replace(tokens, f"{FIRST}\n")
    assert opens(FIRST)


def test_tokens_are_in_no_log_line(guarded: Gateway) -> None:
    for token in (FIRST, "guessed-token-1234"):
        send(guarded.http, "/embed", data=b"x", headers={**IMAGE, **bearer(token)})
        Client(host=guarded.http).post("/", Document(), headers=bearer(FIRST))
        try:
            ask_once(guarded.grpc, data_request(), metadata=metadata(token))
        except grpc.RpcError:
            continue
    log = guarded.log_text()
    assert "Unauthenticated" in log
    assert not any(token in log for token in (FIRST, "guessed-token-1234"))


@dataclass(frozen=True)
class Certificates:
    """Of a CA made for the test, and of a server that it vouches for."""

    ca: Path
    certificate: Path
    key: Path


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder = tmp_path_factory.mktemp("tls")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=60)

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test CA", "-days", "2")
    openssl("req", *key, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=gateway")
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names", "-days", "2"]
    openssl("x509", "-req", "-in", "server.csr", *signed, "-out", "server.pem")
    return Certificates(folder / "ca.pem", folder / "server.pem", folder / "server.key")


@pytest.fixture(scope="module")
def secure(obedient: int, certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    settings = {
        "tls_certificate_file": str(certificates.certificate),
        "tls_key_file": str(certificates.key),
    }
    with gateway({"encoder": obedient}, tmp_path_factory.mktemp("secure") / "gateway.log", settings) as running:
        yield running


def test_https_is_trusted_by_its_ca_alone(secure: Gateway, certificates: Certificates) -> None:
    sent = {"data": b"x", "headers": IMAGE, "timeout": 30}
    answer = requests.post(f"{secure.http}/embed", verify=str(certificates.ca), **sent)
    assert answer.status_code == 200
    with pytest.raises(requests.exceptions.SSLError):
        requests.post(f"{secure.http}/embed", **sent)
    with pytest.raises(requests.ConnectionError):
        requests.post(secure.http.replace("https", "http") + "/embed", **sent)


def test_grpc_over_tls(secure: Gateway, certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"localhost:{secure.grpc_port}"
    credentials = grpc.ssl_channel_credentials(certificates.ca.read_bytes())
    with grpc.secure_channel(address, credentials) as channel:
        (answer,) = jina_pb2_grpc.JinaRPCStub(channel).Call(iter([data_request()]), timeout=30)
        assert answer.status.code == 0
        health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=30)
        assert health.status == SERVING
    for refused in (grpc.secure_channel(address, grpc.ssl_channel_credentials()), grpc.insecure_channel(address)):
        with pytest.raises(grpc.RpcError, match="UNAVAILABLE"), refused as channel:
            list(jina_pb2_grpc.JinaRPCStub(channel).Call(iter([data_request()]), timeout=30))


def test_jinas_client_over_tls(secure: Gateway, certificates: Certificates) -> None:
    """Its gRPC takes the roots that gRPC knows, which the environment names; so it runs in a process of its own."""
    program = f"""
from jina import Client, Document
print(len(Client(host="grpcs://localhost:{secure.grpc_port}").post("/", Document())))
"""
    environment = {**os.environ, "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(certificates.ca)}
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.stdout.strip() == "1", run.stdout + run.stderr
