"""`helm test`: encode a known picture, and a word for it if the Flow encodes texts, through the gateway.

Requests are sent over HTTP and gRPC, with the tokens and the certificate of the release.

Environment variables: HTTP_ADDRESS and GRPC_ADDRESS (host:port), MODEL, TIMEOUT_SECONDS; TOKENS_FILE and
CERTIFICATE_FILE if the gateway uses them. With the model of expected.json, the embeddings must match the stored ones;
with other models they must be finite, repeatable, and of the same dimension.
"""

# ruff: noqa: T201  # the printed lines are the log of the test pod
from __future__ import annotations

import base64
import contextlib
import http.client
import json
import math
import os
import ssl
import sys
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).parent
PICTURE = (HERE / "picture.png").read_bytes()
EXPECTED = json.loads((HERE / "expected.json").read_text(encoding="utf-8"))
STORED = {"picture": EXPECTED["embedding"], "word": EXPECTED["word_embedding"]}
DOCUMENTS = {
    "picture": {"blob": base64.b64encode(PICTURE).decode(), "mime_type": "image/png"},
    "word": {"text": EXPECTED["word"]},
}
# These requests stop the sidecars of Istio and Linkerd, which would keep the pod running forever.
SIDECARS = ("http://127.0.0.1:15020/quitquitquit", "http://127.0.0.1:4191/shutdown")
Embeddings = dict[str, list[float]]


class NotYetError(Exception):
    """The gateway or an executor is still starting."""


def encoded(address: str, token: str, certificate: str) -> tuple[Embeddings, str]:
    """Encode over HTTP, and return an embedding of each kind that the Flow encodes, and a name in the certificate."""
    infos, name = post(address, token, certificate, "/info", [])
    kinds = ["picture", "word"] if "text" in [info["tags"].get("modality") for info in infos] else ["picture"]
    answers, _ = post(address, token, certificate, "/", [DOCUMENTS[kind] for kind in kinds])
    return {kind: answer["embedding"] for kind, answer in zip(kinds, answers, strict=True)}, name


def post(
    address: str, token: str, certificate: str, endpoint: str, documents: list[dict[str, str]]
) -> tuple[list[dict], str]:
    """Return the documents of the response, and a name in the certificate. POST /post is Jina's own route."""
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    connection = _connection(address, certificate)
    try:
        connection.request("POST", "/post", json.dumps({"execEndpoint": endpoint, "data": documents}), headers)
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
    return json.loads(body)["data"], name


def by_grpc(address: str, token: str, certificate: str, name: str, kinds: list[str]) -> Embeddings:
    """Return an embedding of each kind, over Jina's own gRPC service."""
    os.environ["JINA_OPTOUT_TELEMETRY"] = "1"
    import grpc
    from docarray import Document, DocumentArray
    from jina.proto import jina_pb2_grpc
    from jina.types.request.data import DataRequest

    request = DataRequest()
    request.header.exec_endpoint = "/"
    documents = {"picture": Document(blob=PICTURE), "word": Document(text=EXPECTED["word"])}
    request.data.docs = DocumentArray([documents[kind] for kind in kinds])
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
    return {
        kind: [] if answer.embedding is None else [float(x) for x in answer.embedding]
        for kind, answer in zip(kinds, response.data.docs, strict=True)
    }


def check_all(embeddings: Embeddings, references: Embeddings, how: str) -> None:
    """Raise SystemExit if one of the embeddings does not pass `check`."""
    for kind, embedding in embeddings.items():
        check(embedding, references[kind], f"{how}, {kind}")


def check(embedding: list[float] | None, reference: list[float], what: str) -> None:
    """Raise SystemExit unless the embedding is finite, and has the dimension and the direction of the reference."""
    if not embedding:
        raise SystemExit(f"{what}: the response has no embedding")
    if not all(math.isfinite(x) for x in embedding):
        raise SystemExit(f"{what}: the embedding is not finite")
    if len(embedding) != len(reference):
        raise SystemExit(f"{what}: dimension {len(embedding)}, expected {len(reference)}")
    if (cosine := _cosine(embedding, reference)) < EXPECTED["cosine"]:
        raise SystemExit(f"{what}: cosine {cosine:.6f} to the expected embedding, the minimum is {EXPECTED['cosine']}")
    print(f"ok: {what}: dimension {len(embedding)}, cosine {cosine:.7f}", flush=True)


def _connection(address: str, certificate: str) -> http.client.HTTPConnection:
    if not certificate:
        return http.client.HTTPConnection(address, timeout=30)
    # The certificate is for another name than the address in the cluster: check that it is this certificate instead.
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


def end_sidecars() -> None:
    """Stop the sidecars of a service mesh; without a mesh, nothing listens on their ports."""
    for address in SIDECARS:
        with contextlib.suppress(OSError, http.client.HTTPException):
            urllib.request.urlopen(urllib.request.Request(address, method="POST"), timeout=2).close()


def main() -> None:
    """Retry for TIMEOUT_SECONDS while the gateway or an executor is starting; other errors fail at once."""
    environment = os.environ
    token = _token(environment.get("TOKENS_FILE", ""))
    certificate = environment.get("CERTIFICATE_FILE", "")
    deadline = time.monotonic() + float(environment["TIMEOUT_SECONDS"])
    while True:
        try:
            first, name = encoded(environment["HTTP_ADDRESS"], token, certificate)
            references = STORED if environment["MODEL"] == EXPECTED["model"] else first
            check_all(first, references, "HTTP")
            if len(dimensions := {len(embedding) for embedding in first.values()}) > 1:
                raise SystemExit(f"picture and word have different dimensions: {sorted(dimensions)}")
            check_all(encoded(environment["HTTP_ADDRESS"], token, certificate)[0], references, "HTTP again")
            check_all(by_grpc(environment["GRPC_ADDRESS"], token, certificate, name, list(first)), references, "gRPC")
            return
        except NotYetError as error:
            if time.monotonic() > deadline:
                raise SystemExit(str(error)) from error
            print(f"waiting: {error}", flush=True)
            time.sleep(2)


if __name__ == "__main__":
    try:
        main()
    finally:
        end_sidecars()
    sys.exit(0)
