"""HTTP as its standards have it: HEAD, one spelling of a path, Allow, Accept, and bodies that come compressed."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import http.client
import io
import json
import os
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from scripts.flow import RunningFlow
from tests.flow.gateways import Gateway, gateway
from tests.flow.test_gateway_attacks import MIB, cost
from tests.flow.test_gateway_status import IMAGE, JSON, PICTURE, URI, check_problem, send

TOKEN = "a-token-9fk2"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
OPEN = ["/", "/healthz", "/readyz", "/startupz"]
BEHIND_A_TOKEN = ["/v1/models", "/v1/models/encoder", "/dry_run", "/docs", "/redoc", "/openapi.json"]
POSTS = ["/embed", "/post", "/v1/embeddings"]


@pytest.fixture(scope="module")
def guarded(obedient: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that asks for a token, with a small limit for bodies, whose log is JSON."""
    folder = tmp_path_factory.mktemp("manners")
    (folder / "tokens").write_text(TOKEN + "\n")
    settings = {"tokens_file": str(folder / "tokens"), "max_body_bytes": 1_000_000, "time_limit_seconds": 10}
    with gateway({"encoder": obedient}, folder / "gateway.log", settings, "--cors", LOG_FORMAT="json") as running:
        yield running


@pytest.fixture(scope="module")
def roomy(obedient: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with the default limit for bodies, and 44 MiB for all of them."""
    log = tmp_path_factory.mktemp("roomy") / "gateway.log"
    with gateway({"encoder": obedient}, log, {"max_bytes_under_way": 44 * MIB}) as running:
        requests.post(f"{running.http}/embed", data=gzip.compress(b"x"), headers=encoded_as("gzip"), timeout=30)
        yield running


class Answer:
    """What came back, as it stood on the wire."""

    def __init__(self, gateway: Gateway, method: str, path: str, body: Any = None, **headers: str) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", gateway.http_port, timeout=30)
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        self.status = answer.status
        self.headers = {name.lower(): value for name, value in answer.getheaders()}
        self.body = answer.read()
        # Another request on the same connection: nothing of this answer may be left in it.
        if method == "HEAD" and not answer.will_close:
            connection.request("GET", "/healthz")
            assert connection.getresponse().read() == b'{"status":"ok"}'
        connection.close()


@pytest.mark.parametrize("path", [*OPEN, *BEHIND_A_TOKEN, "/v1/models/none", "/nothing", *POSTS])
def test_head_is_the_head_of_what_get_answers(guarded: Gateway, path: str) -> None:
    known = {"X-Request-Id": "the-same"}
    get = Answer(guarded, "GET", path, **BEARER, **known)
    head = Answer(guarded, "HEAD", path, **BEARER, **known)
    assert head.body == b""
    assert get.body
    ours = [{k: v for k, v in answer.headers.items() if k != "date"} for answer in (head, get)]
    assert ours[0] == ours[1]
    assert head.status == get.status
    # The request ids and methods in bodies are of one length; so is all the rest.
    assert int(head.headers["content-length"]) == len(get.body)


@pytest.mark.parametrize("path", [*BEHIND_A_TOKEN, *POSTS, "/nothing"])
@pytest.mark.parametrize("change", ["{}", "{}/", "{}//", "/{}", "//{}/", "{0}%2F", "{}/?a=b"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT"])
def test_no_spelling_and_no_method_gets_around_the_token(guarded: Gateway, method: str, change: str, path: str) -> None:
    answer = Answer(guarded, method, change.format(path), b"x" if method == "POST" else None)
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("change", ["{}/", "/{}", "{}///", "//{}//", "{}%2f"])
@pytest.mark.parametrize("path", [*OPEN, *BEHIND_A_TOKEN, "/v1/models/none", "/nothing"])
def test_a_final_slash_is_the_same_path(guarded: Gateway, path: str, change: str) -> None:
    known = {"X-Request-Id": "the-same"}
    plain = Answer(guarded, "GET", path, **BEARER, **known)
    other = Answer(guarded, "GET", change.format(path), **BEARER, **known)
    assert (other.status, other.body) == (plain.status, plain.body)
    assert "location" not in other.headers


@pytest.mark.parametrize("path", ["/embed", "/embed/", "//embed", "/embed//", "/%65mbed", "/%65mbed/", "/embed%2F"])
def test_however_a_path_is_spelt_its_limits_and_its_log_line_are_the_same(guarded: Gateway, path: str) -> None:
    assert Answer(guarded, "POST", path, PICTURE, Content_Type="image/png", **BEARER).status == 200
    large = Answer(
        guarded, "POST", path, bytes(1_000_001), Content_Type="image/png", X_Request_Id=f"id{path}", **BEARER
    )
    assert large.status == 413
    (line,) = guarded.log_lines(request_id=f"id{path}")
    expected = {"endpoint": "/embed", "status": 413, "error": "TooLarge", "method": "POST"}
    assert expected.items() <= line.items()


def test_with_a_slash_health_is_open_and_not_logged(guarded: Gateway) -> None:
    for path in ("//", "/healthz/", "//readyz", "/startupz//"):
        for method in ("GET", "HEAD"):
            assert Answer(guarded, method, path, X_Request_Id="of-health").status == 200
    assert not guarded.log_lines(request_id="of-health")


def test_head_has_its_own_name_in_the_log(guarded: Gateway) -> None:
    Answer(guarded, "HEAD", "/v1/models/none/", X_Request_Id="a-head", **BEARER)
    (line,) = guarded.log_lines(request_id="a-head")
    expected = {"method": "HEAD", "endpoint": "/v1/models/none", "status": 404, "error": "NotFound"}
    assert expected.items() <= line.items()


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "post"])
@pytest.mark.parametrize("path", [*OPEN, *BEHIND_A_TOKEN, *POSTS])
def test_another_method_is_a_problem_that_says_which_there_are(
    guarded: Gateway, path: str, method: str, slash: str
) -> None:
    answer = Answer(guarded, method, path + slash, **BEARER)
    allowed = "POST" if path in POSTS else "GET, HEAD"
    if method in allowed:
        assert answer.status == 200
        return
    assert answer.status == 405
    assert answer.headers["allow"] == allowed
    assert answer.headers["content-type"] == "application/problem+json"
    if method != "HEAD":
        problem = json.loads(answer.body)
        assert (problem["status"], problem["type"]) == (405, "urn:clip-image-flow:problem:MethodNotAllowed")
        assert allowed in problem["detail"]


@pytest.mark.parametrize(
    "path", ["/nothing", "/nothing/", "/embed/more", "/embed/..", "/./embed", "/EMBED", "/v1", "*"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "OPTIONS"])
def test_what_is_no_route_is_a_problem(guarded: Gateway, path: str, method: str) -> None:
    answer = Answer(guarded, method, path, b"x", Host="[", **BEARER)
    assert (answer.status, answer.headers["content-type"]) == (404, "application/problem+json")
    assert json.loads(answer.body)["status"] == 404


@pytest.mark.parametrize(
    ("accept", "type_"),
    [
        (None, "application/json"),
        ("*/*", "application/json"),
        ("APPLICATION/X-NPY", "application/x-npy"),
        ("application/x-npy;q=0, */*", "application/json"),
        ("application/json;q=0.5, application/*;q=0.9, */*;q=0.1", "application/x-npy"),
        ("application/x-npy;q=0.5, application/json;q=0.5", "application/json"),
        ("x-npy", "application/json"),
    ],
)
def test_an_embedding_comes_as_its_caller_accepts_it(guarded: Gateway, accept: str | None, type_: str) -> None:
    headers = {**BEARER, "Content-Type": "image/png", **({"Accept": accept} if accept else {})}
    answer = Answer(guarded, "POST", "/embed", PICTURE, **headers)
    assert (answer.status, answer.headers["content-type"]) == (200, type_)
    if type_ == "application/x-npy":
        assert np.load(io.BytesIO(answer.body)).shape == (4,)
    else:
        assert json.loads(answer.body)["dim"] == 4


def test_lines_of_accept_are_one_list(guarded: Gateway) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", guarded.http_port, timeout=30)
    connection.putrequest("POST", "/embed")
    for line in ("text/html", "application/json;q=0.1", "application/x-npy;q=0.2"):
        connection.putheader("Accept", line)
    connection.putheader("Authorization", f"Bearer {TOKEN}")
    connection.putheader("Content-Length", "1")
    connection.endheaders(b"x")
    assert connection.getresponse().headers["content-type"] == "application/x-npy"


@pytest.mark.parametrize("accept", ["text/html", "application/x-npy;q=0", "*/*;q=0", "image/*, text/*"])
def test_when_nothing_is_acceptable_the_problem_lists_what_there_is(guarded: Gateway, accept: str) -> None:
    answer = send(guarded.http, "/embed/", data=PICTURE, headers={**IMAGE, **BEARER, "Accept": accept})
    check_problem(answer, 406, "NotAcceptable", "application/json or application/x-npy")


def encoded_as(coding: str, **more: str) -> dict[str, str]:
    return {**IMAGE, "Content-Encoding": coding, **more}


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


ENCODERS = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "GZip": lambda data: gzip.compress(data[:100]) + gzip.compress(data[100:]),
    "deflate": zlib.compress,
    "Deflate": raw_deflate,
    "identity": bytes,
    "": bytes,
}


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("coding", ENCODERS)
def test_every_route_decodes_its_body(guarded: Gateway, coding: str, chunked: bool) -> None:
    encode = ENCODERS[coding]

    def sent(data: bytes) -> Any:
        body = encode(data)
        return iter([body[i : i + 70] for i in range(0, len(body), 70)]) if chunked else body

    headers = {**encoded_as(coding), **BEARER}
    assert send(guarded.http, "/embed", data=sent(PICTURE), headers=headers).status_code == 200
    headers |= JSON
    body = json.dumps({"data": [{"id": "a", "text": "some text " * 50_000}]}).encode()
    answer = send(guarded.http, "/post", data=sent(body), headers=headers)
    assert answer.json()["data"][0]["text"] == "some text " * 50_000
    body = json.dumps({"input": [URI, URI]}).encode()
    assert len(send(guarded.http, "/v1/embeddings/", data=sent(body), headers=headers).json()["data"]) == 2


def test_a_compressed_picture_has_its_embedding(flow: RunningFlow) -> None:
    plain = send(flow.http, "/embed", data=PICTURE, headers=IMAGE).json()
    for coding, encode in ENCODERS.items():
        assert send(flow.http, "/embed", data=encode(PICTURE), headers=encoded_as(coding)).json() == plain


def test_a_compressed_body_may_wait_for_100_continue(guarded: Gateway) -> None:
    """`Expect: 100-continue`, as curl sends it with bodies of a megabyte and more."""
    body = gzip.compress(os.urandom(900_000))
    answer = Answer(
        guarded,
        "POST",
        "/embed",
        body,
        Expect="100-continue",
        Content_Encoding="gzip",
        Content_Type="image/png",
        **BEARER,
    )
    assert answer.status == 200


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("coding", ["br", "zstd", "compress", "gzip, gzip", "gzip, br", "gzip;q=1", "*"])
def test_any_other_coding_is_415_and_says_which_there_are(guarded: Gateway, path: str, coding: str) -> None:
    headers = {**BEARER, **(IMAGE if path == "/embed" else JSON), "Content-Encoding": coding}
    answer = send(guarded.http, path, data=gzip.compress(PICTURE), headers=headers)
    check_problem(answer, 415, "UnsupportedMedia", repr(coding))
    assert answer.headers["accept-encoding"] == "gzip, deflate, identity"


def test_lines_of_content_encoding_are_one_list(guarded: Gateway) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", guarded.http_port, timeout=30)
    connection.putrequest("POST", "/embed")
    for line in ("br", "gzip"):
        connection.putheader("Content-Encoding", line)
    connection.putheader("Authorization", f"Bearer {TOKEN}")
    body = gzip.compress(PICTURE)
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
    answer = connection.getresponse()
    assert (answer.status, "'br, gzip'" in json.load(answer)["detail"]) == (415, True)


def test_415_for_another_reason_speaks_of_no_coding(guarded: Gateway) -> None:
    answer = send(guarded.http, "/embed", data=b"x", headers={**BEARER, "Content-Type": "text/html"})
    assert answer.status_code == 415
    assert "accept-encoding" not in answer.headers


BROKEN = {
    "no gzip": ("gzip", PICTURE),
    "cut off": ("gzip", gzip.compress(PICTURE)[:-9]),
    "without its length": ("gzip", gzip.compress(PICTURE)[:-4]),
    "nothing": ("gzip", b""),
    "garbage behind it": ("gzip", gzip.compress(PICTURE) + b"garbage"),
    "a broken checksum": ("gzip", gzip.compress(PICTURE)[:-8] + bytes(8)),
    "a member cut off": ("gzip", gzip.compress(PICTURE) + gzip.compress(PICTURE)[:20]),
    "no deflate": ("deflate", b"\xff" * 100),
    "deflate, cut off": ("deflate", zlib.compress(PICTURE)[:-9]),
    "deflate, garbage behind it": ("deflate", zlib.compress(PICTURE) + b"garbage"),
    "raw, cut off": ("deflate", raw_deflate(PICTURE)[:-9]),
}


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_coding_is_400(guarded: Gateway, name: str, path: str) -> None:
    coding, body = BROKEN[name]
    headers = {**BEARER, **(IMAGE if path == "/embed" else JSON), "Content-Encoding": coding}
    check_problem(
        send(guarded.http, path, data=body, headers=headers), 400, "BadEncoding", f"Content-Encoding: {coding}"
    )


@pytest.mark.parametrize("path", ["/embed", "/embed/", "/post", "/v1/embeddings"])
@pytest.mark.parametrize("encode", [gzip.compress, zlib.compress])
def test_decoded_bytes_count_against_the_limit(guarded: Gateway, path: str, encode: Any) -> None:
    headers = {**BEARER, **(JSON if path in POSTS[1:] else IMAGE)}
    headers["Content-Encoding"] = "gzip" if encode is gzip.compress else "deflate"
    answer = send(guarded.http, path, data=encode(bytes(1_000_001)), headers=headers)
    check_problem(answer, 413, "TooLarge", "larger than 1000000 bytes")
    if path.startswith("/embed"):
        assert send(guarded.http, path, data=encode(bytes(1_000_000)), headers=headers).status_code == 200
    # an encoded body over the limit is refused as any other
    answer = send(guarded.http, path, data=encode(os.urandom(1_000_000)), headers=headers)
    check_problem(answer, 413, "TooLarge", "larger than 1000000 bytes")


def test_a_bomb_costs_what_the_limit_permits_and_others_are_answered_meanwhile(roomy: Gateway) -> None:
    once = gzip.compress(bytes(256 * MIB), 9)
    bombs = [once, once * 8, zlib.compress(bytes(512 * MIB), 9)]
    for bomb, coding in zip(bombs, ("gzip", "gzip", "deflate"), strict=True):
        with cost(roomy) as found, health_beside(roomy) as seconds:
            answer = requests.post(f"{roomy.http}/embed", data=bomb, headers=encoded_as(coding), timeout=30)
        check_problem(answer, 413, "TooLarge", "larger than 33554432 bytes")
        assert found.cpu <= 1.5, f"{found.cpu} s"
        assert found.over <= 80 * MIB, f"{found.over} bytes"
        assert max(seconds) < 2


def test_bombs_at_once_hold_no_more_than_the_budget(roomy: Gateway) -> None:
    import aiohttp

    bomb = gzip.compress(bytes(31 * MIB), 9)

    async def upload_all() -> list[int]:
        async def upload(session: aiohttp.ClientSession) -> int:
            async with session.post(f"{roomy.http}/embed", data=bomb, headers=encoded_as("gzip")) as answer:
                return answer.status

        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(120)) as session:
            return await asyncio.gather(*(upload(session) for _ in range(16)))

    with cost(roomy) as found:
        statuses = asyncio.run(upload_all())
    assert 429 in statuses
    assert set(statuses) <= {200, 429}
    assert found.peak <= 450 * MIB, f"{found.peak / MIB} MiB"
    answer = requests.post(f"{roomy.http}/embed", data=bomb, headers=encoded_as("gzip"), timeout=30)
    assert answer.status_code == 200  # all that was held is given back


@pytest.mark.parametrize(
    ("coding", "body"),
    [("gzip", gzip.compress(b"") * 1_000_000), ("deflate", b"\0\0\0\xff\xff" * 6_000_000)],
    ids=["empty members", "empty blocks"],
)
def test_a_body_of_nothing_takes_little_time(roomy: Gateway, coding: str, body: bytes) -> None:
    with cost(roomy) as found, health_beside(roomy) as seconds:
        answer = requests.post(f"{roomy.http}/embed", data=body, headers=encoded_as(coding), timeout=30)
    assert answer.status_code in (400, 413)
    assert found.cpu <= 2, f"{found.cpu} s"
    assert max(seconds) < 2


@contextlib.contextmanager
def health_beside(gateway: Gateway) -> Iterator[list[float]]:
    """How long health took, again and again while the block runs."""
    seconds: list[float] = []
    ended = threading.Event()

    def ask() -> None:
        with requests.Session() as session:
            while not ended.is_set() or not seconds:
                began = time.perf_counter()
                assert session.get(f"{gateway.http}/healthz", timeout=10).status_code == 200
                seconds.append(time.perf_counter() - began)
                time.sleep(0.01)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield seconds
    finally:
        ended.set()
        thread.join()


def test_the_tls_end_in_front_is_not_redirected_away(guarded: Gateway, tmp_path: Path) -> None:
    answer = Answer(
        guarded,
        "POST",
        "/embed/",
        PICTURE,
        X_Forwarded_Proto="https",
        Host="api.example.org",
        Content_Type="image/png",
        **BEARER,
    )
    assert answer.status == 200
    assert "location" not in answer.headers
