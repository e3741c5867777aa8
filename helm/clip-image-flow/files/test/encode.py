"""`helm test`: a known picture through the gateway, by HTTP and gRPC, with the release's own tokens and certificate.

The environment says what to expect: HTTP_ADDRESS and GRPC_ADDRESS (host:port), MODEL, TIMEOUT_SECONDS; TOKENS_FILE and
CERTIFICATE_FILE where the gateway has them. For the model of expected.json the embedding must be the stored one, else
it must be finite and the same each time.
"""

# ruff: noqa: T201  # what it prints is the log of the Job
from __future__ import annotations

import base64
import http.client
import json
import math
import os
import ssl
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
PICTURE = (HERE / "picture.png").read_bytes()
EXPECTED = json.loads((HERE / "expected.json").read_text(encoding="utf-8"))


class NotYetError(Exception):
    """The gateway, or what is behind it, is still coming up."""


def by_http(address: str, token: str, certificate: str) -> tuple[list[float], str]:
    """The embedding, and the name the certificate is for. POST /post is Jina's own route."""
    document = {"blob": base64.b64encode(PICTURE).decode(), "mime_type": "image/png"}
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    connection = _connection(address, certificate)
    try:
        connection.request("POST", "/post", json.dumps({"execEndpoint": "/", "data": [document]}), headers)
        name = _certified_name(connection.sock.getpeercert()) if certificate else ""
        response = connection.getresponse()
        body = response.read()
    except ssl.SSLCertVerificationError:
        raise
    except (OSError, http.client.HTTPException) as error:
        raise NotYetError(f"HTTP {address}: {error}") from error
    finally:
        connection.close()
    if response.status in (502, 503):
        raise NotYetError(f"HTTP {response.status}: {body[:300]!r}")
    if response.status != 200:
        raise SystemExit(f"HTTP {response.status}: {body[:300]!r}")
    return json.loads(body)["data"][0]["embedding"], name


def by_grpc(address: str, token: str, certificate: str, name: str) -> list[float]:
    """The embedding, over Jina's own service."""
    os.environ["JINA_OPTOUT_TELEMETRY"] = "1"
    import grpc
    from docarray import Document, DocumentArray
    from jina.proto import jina_pb2_grpc
    from jina.types.request.data import DataRequest

    request = DataRequest()
    request.header.exec_endpoint = "/"
    request.data.docs = DocumentArray([Document(blob=PICTURE)])
    if certificate:
        credentials = grpc.ssl_channel_credentials(Path(certificate).read_bytes())
        channel = grpc.secure_channel(address, credentials, [("grpc.ssl_target_name_override", name)])
    else:
        channel = grpc.insecure_channel(address)
    metadata = [("authorization", f"Bearer {token}")] if token else []
    with channel:
        try:
            (response,) = jina_pb2_grpc.JinaRPCStub(channel).Call(iter([request]), timeout=30, metadata=metadata)
        except grpc.RpcError as error:
            if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                raise NotYetError(f"gRPC {address}: {error.details()}") from error
            raise SystemExit(f"gRPC {error.code().name}: {error.details()}") from error
    if response.header.status.code != 0:
        raise NotYetError(f"gRPC: {response.header.status.description}")
    return [float(x) for x in response.data.docs[0].embedding]


def check(embedding: list[float] | None, reference: list[float], what: str) -> None:
    """Finite, of the same length as the reference, and in its direction."""
    if not embedding:
        raise SystemExit(f"{what}: no embedding came back")
    if not all(math.isfinite(x) for x in embedding):
        raise SystemExit(f"{what}: the embedding is not finite")
    if len(embedding) != len(reference):
        raise SystemExit(f"{what}: dimension {len(embedding)}, expected {len(reference)}")
    if (cosine := _cosine(embedding, reference)) < EXPECTED["cosine"]:
        raise SystemExit(f"{what}: cosine {cosine:.6f} to what was expected, the least is {EXPECTED['cosine']}")
    print(f"ok: {what}: dimension {len(embedding)}, cosine {cosine:.7f}", flush=True)


def _connection(address: str, certificate: str) -> http.client.HTTPConnection:
    if not certificate:
        return http.client.HTTPConnection(address, timeout=30)
    # The address within the cluster is not the one the certificate is for: what counts is that it is this certificate.
    context = ssl.create_default_context(cafile=certificate)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return http.client.HTTPSConnection(address, timeout=30, context=context)


def _certified_name(peer: dict) -> str:
    names = [value for _, value in peer.get("subjectAltName", ())]
    names += [value for entry in peer.get("subject", ()) for key, value in entry if key == "commonName"]
    return names[0].replace("*", "test") if names else ""


def _cosine(a: list[float], b: list[float]) -> float:
    norm = math.sqrt(sum(x * x for x in a) * sum(x * x for x in b))
    return sum(x * y for x, y in zip(a, b, strict=True)) / norm if norm else 0.0


def _token(path: str) -> str:
    if not path:
        return ""
    lines = (line.partition("#")[0].strip() for line in Path(path).read_text(encoding="utf-8").splitlines())
    return next((line for line in lines if line), "")


def main() -> None:
    """Try until everything is up, for TIMEOUT_SECONDS; then once is enough to fail."""
    environment = os.environ
    token = _token(environment.get("TOKENS_FILE", ""))
    certificate = environment.get("CERTIFICATE_FILE", "")
    deadline = time.monotonic() + float(environment["TIMEOUT_SECONDS"])
    while True:
        try:
            first, name = by_http(environment["HTTP_ADDRESS"], token, certificate)
            reference = EXPECTED["embedding"] if environment["MODEL"] == EXPECTED["model"] else first
            check(first, reference, "HTTP")
            check(by_http(environment["HTTP_ADDRESS"], token, certificate)[0], reference, "HTTP again")
            check(by_grpc(environment["GRPC_ADDRESS"], token, certificate, name), reference, "gRPC")
            return
        except NotYetError as error:
            if time.monotonic() > deadline:
                raise SystemExit(str(error)) from error
            print(f"waiting: {error}", flush=True)
            time.sleep(2)


if __name__ == "__main__":
    main()
    sys.exit(0)
