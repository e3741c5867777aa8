"""Executors that are rolled out to another model under a load: every gateway goes over to it once, nothing is lost."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import requests
from docarray import Document, DocumentArray
from jina import Client
from jina.proto import jina_pb2_grpc
from jina.types.request.data import DataRequest

from clip_wire.parameters import PINNED, UNREAD
from tests.conftest import encoded, save_random_clip
from tests.flow.gateways import Gateway, gateway, wait_for
from tests.flow.rollouts import PICTURE, Replicas, check_vectors, loads
from tests.flow.test_gateway_routes import uri

PICTURE_BYTES = encoded(PICTURE)
TOGETHER_SECONDS = 10.0  # within which all gateways switch
WORDS = {"input": ["a fox"]}
BOTH = {"input": [uri(PICTURE), "a fox"]}


def until(running: Gateway, condition: Callable[[], Any]) -> None:
    wait_for(condition, running.log, running.process)


@pytest.fixture(scope="module")
def other_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_random_clip(tmp_path_factory.mktemp("models") / "other.pt", seed=7)


@pytest.mark.parametrize(("gateways", "count", "change"), [(3, 2, "model"), (1, 3, "precision")])
def test_each_gateway_switches_once(
    tiny_model: Path, other_model: Path, tmp_path: Path, gateways: int, count: int, change: str
) -> None:
    """A rollout, and its rollback."""
    new: dict[str, Any] = (
        {"model": other_model} if change == "model" else {"model": tiny_model, "precision": "bf16", "backend": "torch"}
    )
    with contextlib.ExitStack() as stack:
        replicas = Replicas("image", count + 1, tmp_path)
        stack.callback(replicas.close)
        *old, spare = replicas.ports
        for port in old:
            replicas.start(port, tiny_model)
        running = [
            stack.enter_context(gateway({"encoder": replicas.ports}, tmp_path / f"gateway-{number}.log"))
            for number in range(gateways)
        ]
        for one in running:
            until(one, lambda one=one: requests.get(f"{one.http}/readyz", timeout=10).status_code == 200)
        found = stack.enter_context(loads(*(one.http for one in running)))
        time.sleep(2)
        spare = replicas.roll_out(old, spare, **new)
        forward = [load.switches for load in found]
        replicas.roll_out([port for port in replicas.ports if port != spare], spare, tiny_model)
        for load in found:
            load.stop()

    for load, there in zip(found, forward, strict=True):
        assert load.wrong == []
        assert len(there) == 1
        assert len(load.switches) == 2
    for number in (0, 1):
        times = [load.switches[number][0] for load in found]
        assert max(times) - min(times) < TOGETHER_SECONDS
        assert len({load.switches[number][1] for load in found}) == 1
    check_vectors(found)
    for one in running:
        switched = re.findall(r"WARNING executor encoder: switched from '(\S+)', .* to '(\S+)',", one.log.read_text())
        assert switched == [("tiny.pt", new["model"].name), (new["model"].name, "tiny.pt")]


def test_both_halves_switch_at_once(tiny_model: Path, other_model: Path, tmp_path: Path) -> None:
    """Images are rolled out first and words later: no answer has vectors of two models.

    The last replica of the old model is killed while it works. Whose words are encoded by then is told to try again:
    work is never done twice, and pods that end have a pause for it.
    """
    with contextlib.ExitStack() as stack:
        images, words = Replicas("image", 3, tmp_path), Replicas("text", 3, tmp_path)
        for replicas in (images, words):
            stack.callback(replicas.close)
            for port in replicas.ports[:2]:
                replicas.start(port, tiny_model)
        running = stack.enter_context(gateway({"encoder": images.ports, "text": words.ports}, tmp_path / "gateway.log"))
        until(running, lambda: requests.get(f"{running.http}/readyz", timeout=10).status_code == 200)
        load, texts = stack.enter_context(loads(running.http, running.http, callers=2))
        load.body, texts.body = BOTH, WORDS
        time.sleep(2)
        load.answers.clear()
        texts.answers.clear()
        words.start(words.ports[2], other_model)
        images.roll_out(images.ports[:2], images.ports[2], other_model)
        at_once = (len(load.switches), len(texts.switches))
        for port in words.ports[:2]:
            words.stop(port)
        words.start(words.ports[0], other_model)
        time.sleep(2)

    assert texts.wrong == []
    assert all("the model changed while the request was under way" in one for one in load.wrong)
    assert len(load.wrong) <= len(load.threads)
    assert at_once == (1, 1)
    assert (len(load.switches), len(texts.switches)) == (1, 1)
    check_vectors([load])
    assert {kind.split()[0] for _, kind, _ in load.answers} == {"tiny.pt", "other.pt"}
    assert all(len(kind.split()) == 3 for _, kind, _ in load.answers)
    log = running.log.read_text()
    assert len(re.findall("switched from 'tiny.pt'", log)) == 2
    assert "different checkpoints" not in log


@pytest.fixture(scope="module")
def mixed(tiny_model: Path, other_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicas]:
    """The middle of a rollout, which nobody ends: an older replica and a newer one."""
    folder = tmp_path_factory.mktemp("mixed")
    replicas = Replicas("image", 2, folder)
    replicas.start(replicas.ports[0], tiny_model)
    replicas.start(replicas.ports[1], other_model)
    yield replicas
    replicas.close()


@pytest.fixture(scope="module")
def halfway(mixed: Replicas, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that starts then."""
    with gateway({"encoder": mixed.ports[::-1]}, tmp_path_factory.mktemp("halfway") / "gateway.log") as running:
        until(running, lambda: requests.get(f"{running.http}/readyz", timeout=10).status_code == 200)
        yield running


def embed(running: Gateway, expects: str = "") -> requests.Response:
    headers = {"X-Expect-Fingerprint": expects} if expects else {}
    return requests.post(f"{running.http}/embed", data=PICTURE_BYTES, headers=headers, timeout=30)


def fingerprints(replicas: Replicas) -> list[str]:
    """By each replica itself."""
    found = []
    for port in replicas.ports:
        [answer] = Client(host=f"grpc://127.0.0.1:{port}").post("/info", return_responses=True)
        [info] = answer.parameters["__results__"].values()
        found.append(info["fingerprint"])
    return found


def test_a_gateway_that_starts_in_the_middle_pins_what_is_older(mixed: Replicas, halfway: Gateway) -> None:
    old, new = fingerprints(mixed)
    for _ in range(20):
        assert embed(halfway).headers["X-Model-Fingerprint"] == old
    body = requests.get(f"{halfway.http}/readyz", timeout=10).json()
    assert body["executors"]["encoder"]["fingerprint"] == old
    [model] = requests.get(f"{halfway.http}/v1/models", timeout=10).json()["data"]
    assert (model["id"], model["fingerprints"]) == ("tiny.pt", {"image": old})
    log = halfway.log_text()
    assert f"answers are of 'tiny.pt', fingerprint {old}" in log
    assert f"some replicas are of another kind, fingerprint {new}" in log


def test_who_expects_the_new_model_gets_it_from_its_replicas(mixed: Replicas, halfway: Gateway) -> None:
    old, new = fingerprints(mixed)
    for _ in range(10):
        assert embed(halfway, new).headers["X-Model-Fingerprint"] == new
        assert embed(halfway, f"{new}, {old}").headers["X-Model-Fingerprint"] == old
        assert embed(halfway).headers["X-Model-Fingerprint"] == old
    assert embed(halfway, "ab" * 32).status_code == 409
    [info] = (
        requests.post(f"{halfway.http}/post", json={"data": [], "execEndpoint": "/info"}, timeout=30)
        .json()["parameters"]["__results__"]
        .values()
    )
    assert info["fingerprint"] == old


def test_one_stream_is_answered_by_one_model(mixed: Replicas, halfway: Gateway) -> None:
    docs = DocumentArray([Document(blob=PICTURE_BYTES) for _ in range(60)])
    answers = Client(host=halfway.grpc).post("/", docs, request_size=3, return_responses=True)
    made = {result["fingerprint"] for answer in answers for result in answer.parameters["__results__"].values()}
    assert (len(answers), made) == (20, {fingerprints(mixed)[0]})


def test_an_executor_refuses_before_it_reads_a_document(mixed: Replicas) -> None:
    old, new = fingerprints(mixed)
    request = DataRequest()
    request.header.exec_endpoint = "/"
    request.proto_with_data.data.docs_bytes = b"this reads as nothing"
    with grpc.insecure_channel(f"127.0.0.1:{mixed.ports[0]}") as channel:
        call = jina_pb2_grpc.JinaSingleDataRequestRPCStub(channel).process_single_data
        for pinned, name, unread in ((new, "ModelChanged", True), (f"{new},{old}", "BadDocument", False)):
            request.parameters = {PINNED: pinned}
            answer, state = call.with_call(request, timeout=30)
            metadata = dict(state.trailing_metadata())
            assert (answer.status.exception.name, UNREAD in metadata) == (name, unread)
            assert metadata["is-error"] == "true"
            assert (len(answer.proto_with_data.data.docs_bytes) == 0) == unread


def test_a_rollout_that_keeps_the_model_asks_for_nothing_more(tiny_model: Path, tmp_path: Path) -> None:
    replicas = Replicas("image", 3, tmp_path)
    *old, spare = replicas.ports
    for port in old:
        replicas.start(port, tiny_model)
    try:
        with gateway({"encoder": replicas.ports}, tmp_path / "gateway.log") as running:
            until(running, lambda: requests.get(f"{running.http}/readyz", timeout=10).status_code == 200)
            with loads(running.http) as [load]:
                replicas.roll_out(old, spare, tiny_model)
            log = running.log_text()
    finally:
        replicas.close()
    assert (load.wrong, load.switches) == ([], [])
    assert "of another kind" not in log
