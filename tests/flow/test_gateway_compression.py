"""Compressed bodies: decoded for every route, within the limits of what is not, and refused in words that help."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import http.client
import json
import os
import subprocess
import time
import zlib
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest
import requests

from scripts.flow.running import RunningFlow
from scripts.processes import repeated
from tests.flow.asking import IMAGE, JSON, PICTURE, URI, check_problem, send
from tests.flow.cost import MIB, cost
from tests.flow.gateways import Gateway, gateway

POSTS = ["/embed", "/post", "/v1/embeddings"]


@pytest.fixture(scope="module")
def roomy(obedient: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with the default limit for bodies, and 44 MiB for all of them."""
    log = tmp_path_factory.mktemp("roomy") / "gateway.log"
    with gateway({"encoder": obedient}, log, {"max_bytes_under_way": 44 * MIB}) as running:
        requests.post(f"{running.http}/embed", data=gzip.compress(b"x"), headers=encoded_as("gzip"), timeout=30)
        yield running


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
def test_every_route_decodes_its_body(limited: Gateway, coding: str, chunked: bool) -> None:
    encode = ENCODERS[coding]

    def sent(data: bytes) -> Any:
        body = encode(data)
        return iter([body[i : i + 70] for i in range(0, len(body), 70)]) if chunked else body

    headers = {**encoded_as(coding)}
    assert send(limited.http, "/embed", data=sent(PICTURE), headers=headers).status_code == 200
    headers |= JSON
    body = json.dumps({"data": [{"id": "a", "text": "some text " * 50_000}]}).encode()
    answer = send(limited.http, "/post", data=sent(body), headers=headers)
    assert answer.json()["data"][0]["text"] == "some text " * 50_000
    body = json.dumps({"input": [URI, URI]}).encode()
    assert len(send(limited.http, "/v1/embeddings/", data=sent(body), headers=headers).json()["data"]) == 2


def test_a_compressed_picture_has_its_embedding(flow: RunningFlow) -> None:
    plain = send(flow.http, "/embed", data=PICTURE, headers=IMAGE).json()
    for coding, encode in ENCODERS.items():
        assert send(flow.http, "/embed", data=encode(PICTURE), headers=encoded_as(coding)).json() == plain


def test_a_compressed_body_may_wait_for_100_continue(limited: Gateway) -> None:
    """As curl has bodies of a megabyte and more do."""
    command = ["curl", "--silent", "--max-time", "30", "--write-out", "%{http_code}", "--data-binary", "@-"]
    for name, value in {**encoded_as("gzip"), "Expect": "100-continue"}.items():
        command += ["-H", f"{name}: {value}"]
    body = gzip.compress(os.urandom(900_000))
    told = subprocess.run([*command, f"{limited.http}/embed"], input=body, capture_output=True, timeout=60, check=True)
    assert told.stdout.endswith(b"200")


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("coding", ["br", "zstd", "compress", "gzip, gzip", "gzip, br", "gzip;q=1", "*"])
def test_any_other_coding_is_415_and_says_which_there_are(limited: Gateway, path: str, coding: str) -> None:
    headers = {**(IMAGE if path == "/embed" else JSON), "Content-Encoding": coding}
    answer = send(limited.http, path, data=gzip.compress(PICTURE), headers=headers)
    check_problem(answer, 415, "UnsupportedMedia", repr(coding))
    assert answer.headers["accept-encoding"] == "gzip, deflate, identity"


def test_lines_of_content_encoding_are_one_list(limited: Gateway) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", limited.http_port, timeout=30)
    connection.putrequest("POST", "/embed")
    for line in ("br", "gzip"):
        connection.putheader("Content-Encoding", line)
    body = gzip.compress(PICTURE)
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
    answer = connection.getresponse()
    assert (answer.status, "'br, gzip'" in json.load(answer)["detail"]) == (415, True)


def test_415_for_another_reason_speaks_of_no_coding(limited: Gateway) -> None:
    answer = send(limited.http, "/embed", data=b"x", headers={"Content-Type": "text/html"})
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
def test_a_broken_coding_is_400(limited: Gateway, name: str, path: str) -> None:
    coding, body = BROKEN[name]
    headers = {**(IMAGE if path == "/embed" else JSON), "Content-Encoding": coding}
    check_problem(
        send(limited.http, path, data=body, headers=headers), 400, "BadEncoding", f"Content-Encoding: {coding}"
    )


@pytest.mark.parametrize("path", ["/embed", "/embed/", "/post", "/v1/embeddings"])
@pytest.mark.parametrize("encode", [gzip.compress, zlib.compress])
def test_decoded_bytes_count_against_the_limit(limited: Gateway, path: str, encode: Any) -> None:
    headers = {**(JSON if path in POSTS[1:] else IMAGE)}
    headers["Content-Encoding"] = "gzip" if encode is gzip.compress else "deflate"
    answer = send(limited.http, path, data=encode(bytes(1_000_001)), headers=headers)
    check_problem(answer, 413, "TooLarge", "larger than 1000000 bytes")
    if path.startswith("/embed"):
        assert send(limited.http, path, data=encode(bytes(1_000_000)), headers=headers).status_code == 200
    # an encoded body over the limit is refused as any other
    answer = send(limited.http, path, data=encode(os.urandom(1_000_000)), headers=headers)
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

    def ask() -> None:
        began = time.perf_counter()
        assert session.get(f"{gateway.http}/healthz", timeout=10).status_code == 200
        seconds.append(time.perf_counter() - began)

    with requests.Session() as session, repeated(ask, 0.01):
        yield seconds
