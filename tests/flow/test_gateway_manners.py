"""HTTP as its standards have it: HEAD, one spelling of a path, Allow and Accept."""

from __future__ import annotations

import http.client
import io
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.flow.asking import IMAGE, PICTURE, check_problem, send
from tests.flow.gateways import Gateway, gateway

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


def test_the_tls_end_in_front_is_not_redirected_away(guarded: Gateway) -> None:
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
