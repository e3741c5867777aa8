"""URIs are read from where the operator allows, and from nowhere else."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler

import pytest

from clip_image_flow.errors import BadDocument, ConfigError, TooLarge
from clip_image_flow.image.uris import UriReader
from tests.conftest import WebServer

MAX_BYTES = 1000


@pytest.fixture
def web(web_server: WebServer) -> WebServer:
    web_server.answers = {"/cats/1.jpg": b"cat", "/dogs/1.jpg": b"dog", "/": b"root"}
    return web_server


def read(uri: str, *allowed: str, timeout: float = 10.0) -> bytes:
    return UriReader(allowed, timeout).read(uri, MAX_BYTES)


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("data:image/png;base64,aGVsbG8=", b"hello"),
        ("data:;base64,aGVsbG8=", b"hello"),
        ("data:image/png;name=a;base64,aGVsbG8=", b"hello"),
        ("data:image/png;base64,aGVsbG8%3D", b"hello"),
        ("data:,hello", b"hello"),
        ("data:text/plain,a%20b%00%ff", b"a b\0\xff"),
        ("data:text/plain,a,b", b"a,b"),
        ("DATA:,hello", b"hello"),
        ("data:,", b""),
        ("data:image/png;base64,aGVsbG8", b"hello"),
        ("data:image/png;base64,aGVs\r\n bG8=\n", b"hello"),
        ("DATA:image/png;charset=utf-8;BASE64 ,aGVsbG8=", b"hello"),
        ("data:;base64,-_-_", b"\xfb\xff\xbf"),
        ("data:,a=b%3D%25", b"a=b=%"),
    ],
)
def test_data_uris_are_read_by_default(uri: str, expected: bytes) -> None:
    assert UriReader().read(uri, MAX_BYTES) == expected


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("data:image/png;base64,aGVsb", "base64"),
        ("data:image/png;base64,aGVs!G8=", "base64"),
        ("data:image/png;base64,aGVsbG8é", "base64"),
        ("data:,100%", "a % at 3 that begins no escape"),
        ("data:,\ud800", "lone surrogate, which is not"),
        ("data:image/png;base64", "no comma"),
        ("data:", "no comma"),
    ],
    ids=["length", "bad character", "no ASCII", "no escape", "a lone surrogate", "no data", "nothing"],
)
def test_broken_data_uris_are_bad_documents(uri: str, message: str) -> None:
    with pytest.raises(BadDocument, match=message):
        read(uri, "data:")


@pytest.mark.parametrize(
    "body", ["," + "x" * (MAX_BYTES + 1), ";base64," + "eHh4" * MAX_BYTES, "," + "%41" * 10 * MAX_BYTES], ids=len
)
def test_a_large_data_uri_is_too_large(body: str) -> None:
    with pytest.raises(TooLarge, match=f"at most {MAX_BYTES} bytes"):
        read("data:image/png" + body, "data:")


def test_data_uris_leave_no_memory_behind() -> None:
    program = """
import base64, os, resource
from clip_image_flow.image.uris import UriReader
reader, sizes = UriReader(), []
for _ in range(300):
    reader.read("data:image/png;base64," + base64.b64encode(os.urandom(1 << 20)).decode(), 1 << 21)
    sizes.append(int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize())
print(max(sizes) - sizes[20])
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    assert int(ended.stdout) < 20 << 20


def test_a_percent_encoded_data_uri_costs_what_it_is_worth() -> None:
    uri = "data:image/png," + "%41" * (10 << 20)
    used = time.process_time()
    assert len(UriReader().read(uri, 10 << 20)) == 10 << 20
    assert time.process_time() - used < 2.5


def test_a_data_uri_of_just_the_limit_is_read_however_it_is_written() -> None:
    assert read("data:," + "%41" * MAX_BYTES, "data:") == b"A" * MAX_BYTES


@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1/cat.jpg",
        "https://example.com/cat.jpg",
        "http://169.254.169.254/latest/meta-data/",
        "file:///etc/hostname",
        "file://localhost/etc/hostname",
        "ftp://127.0.0.1/cat.jpg",
        "gopher://127.0.0.1/",
        "cat.jpg",
        "/etc/hostname",
        "../cat.jpg",
        "C:\\cat.jpg",
        "//127.0.0.1/cat.jpg",
        "",
        "javascript:alert(1)",
    ],
)
def test_everything_else_is_refused_by_default(uri: str) -> None:
    with pytest.raises(BadDocument, match="is not allowed here; send the image's bytes"):
        UriReader().read(uri, MAX_BYTES)


def test_without_prefixes_not_even_data_uris_are_read() -> None:
    with pytest.raises(BadDocument, match="is not allowed here"):
        read("data:,x")


@pytest.mark.parametrize("uri", ["http://[::1/cat.jpg", "http://127.0.0.1:port/", "http://127.0.0.1:99999/"])
def test_malformed_uris_are_bad_documents(uri: str) -> None:
    with pytest.raises(BadDocument, match="is malformed"):
        read(uri, "http://127.0.0.1/")


def test_a_long_uri_is_not_repeated_in_the_answer() -> None:
    with pytest.raises(BadDocument) as raised:
        read("http://127.0.0.1/" + "x" * 10_000)
    assert len(raised.value.detail) < 300


def test_an_allowed_address_is_read(web: WebServer) -> None:
    assert read(f"{web.url}/cats/1.jpg", f"{web.url}/cats/") == b"cat"
    assert read(f"{web.url}/cats/1.jpg", "data:", "https://example.com/", web.url) == b"cat"
    assert read(web.url, web.url) == b"root"


def test_a_query_is_passed_on(web: WebServer) -> None:
    web.answers["/cats/?id=1"] = b"cat by query"
    assert read(f"{web.url}/cats/?id=1", f"{web.url}/cats/") == b"cat by query"


@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1:{port}/dogs/1.jpg",
        "http://127.0.0.1:{port}/",
        "http://127.0.0.1:{port}/CATS/1.jpg",
        "http://127.0.0.1:{port}/cats/../dogs/1.jpg",
        "http://127.0.0.1:{port}/cats/%2e%2e/dogs/1.jpg",
        "http://127.0.0.1:{port}/cats/%2E./dogs/1.jpg",
        "http://127.0.0.1:{port}/cats/..%2fdogs/1.jpg",
        "http://127.0.0.1/cats/1.jpg",
        "http://127.0.0.1:1/cats/1.jpg",
        "http://localhost:{port}/cats/1.jpg",
        "http://127.0.0.1.example.com:{port}/cats/1.jpg",
        "http://127.0.0.1:{port}@evil.example/cats/1.jpg",
        "http://127.0.0.1:{port}\\@evil.example/cats/1.jpg",
        "http://evil.example/cats/1.jpg#@127.0.0.1:{port}/cats/1.jpg",
        "http://evil.example/?http://127.0.0.1:{port}/cats/1.jpg",
        "https://127.0.0.1:{port}/cats/1.jpg",
        "ftp://127.0.0.1:{port}/cats/1.jpg",
        "data:,x",
    ],
)
def test_an_address_beside_the_allowed_one_is_refused_and_not_asked_for(web: WebServer, uri: str) -> None:
    with pytest.raises(BadDocument, match="is not allowed here"):
        read(uri.format(port=web.port), f"{web.url}/cats/")
    assert web.asked == []


def test_a_redirect_is_not_followed(web: WebServer) -> None:
    def redirect(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(302)
        handler.send_header("Location", "/dogs/1.jpg")
        handler.end_headers()

    web.answers["/cats/moved.jpg"] = redirect
    with pytest.raises(BadDocument, match="302"):
        read(f"{web.url}/cats/moved.jpg", f"{web.url}/cats/")
    assert web.asked == ["GET /cats/moved.jpg"]


def test_what_is_not_there_is_a_bad_document(web: WebServer) -> None:
    with pytest.raises(BadDocument, match=r"cannot be read: .*404"):
        read(f"{web.url}/cats/none.jpg", web.url)


def test_a_server_that_is_not_there_is_a_bad_document(web: WebServer) -> None:
    web.close()
    with pytest.raises(BadDocument, match="cannot be read"):
        read(f"{web.url}/cats/1.jpg", web.url)


@pytest.mark.parametrize(("length", "fits"), [(MAX_BYTES, True), (MAX_BYTES + 1, False), (200_000, False)])
def test_the_limit_of_bytes(web: WebServer, length: int, fits: bool) -> None:
    web.answers["/large"] = bytes(length)
    if fits:
        assert len(read(f"{web.url}/large", web.url)) == length
    else:
        with pytest.raises(TooLarge, match=f"more than {MAX_BYTES} bytes"):
            read(f"{web.url}/large", web.url)


def test_an_endless_answer_ends_at_the_limit(web: WebServer) -> None:
    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while True:  # until the caller hangs up
            handler.wfile.write(bytes(1 << 16))

    web.answers["/endless"] = endless
    with pytest.raises(TooLarge, match="more than"):
        read(f"{web.url}/endless", web.url)


@pytest.mark.parametrize("drips", [False, True], ids=["silent", "drop by drop"])
def test_a_slow_server_costs_no_more_than_the_time_limit(web: WebServer, drips: bool) -> None:
    done = threading.Event()

    def slow(handler: BaseHTTPRequestHandler) -> None:
        if drips:
            handler.send_response(200)
            handler.end_headers()
        while not done.wait(0.05):
            if drips:
                handler.wfile.write(b"x")

    web.answers["/slow"] = slow
    began = time.monotonic()
    try:
        with pytest.raises(BadDocument, match=r"cannot be read: .*(timed out|not complete after 0.3 s)"):
            read(f"{web.url}/slow", web.url, timeout=0.3)
    finally:
        done.set()
    assert time.monotonic() - began < 3


@pytest.mark.parametrize(
    "answer",
    [b"not http at all\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b""],
    ids=["another protocol", "broken chunks", "hangs up"],
)
def test_a_server_that_talks_nonsense_is_a_bad_document(web: WebServer, answer: bytes) -> None:
    web.answers["/odd"] = lambda handler: handler.wfile.write(answer)
    with pytest.raises(BadDocument, match="cannot be read"):
        read(f"{web.url}/odd", web.url)


@pytest.mark.parametrize("path", ["/a b.jpg", "/a\x7fb.jpg", "/ä.jpg"], ids=["blank", "control", "umlaut"])
def test_a_path_that_is_not_percent_encoded_is_a_bad_document(web: WebServer, path: str) -> None:
    with pytest.raises(BadDocument):
        read(web.url + path, web.url)


@pytest.mark.parametrize(
    "prefix",
    [
        *("", "*", "http", "http:", "http://", "https:///images/", "ftp://example.com/", "example.com", "/pictures/"),
        *("file:", "file:pictures/", "file://server/pictures/", "http://[::1/", "http://example.com:port/"),
    ],
)
def test_a_prefix_that_allows_more_than_it_seems_to_is_a_start_up_error(prefix: str) -> None:
    with pytest.raises(ConfigError, match="allowed_uris"):
        UriReader([prefix])


def test_a_text_instead_of_a_list_is_a_start_up_error() -> None:
    with pytest.raises(ConfigError, match=r"must be a list of prefixes, such as \['data:'\]"):
        UriReader("data:")
