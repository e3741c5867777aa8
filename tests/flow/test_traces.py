"""Traces: one from the caller through the gateway to the forward pass, by a collector that speaks OTLP."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import grpc
import pytest
import requests
from docarray import Document, DocumentArray
from jina import Client
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from scripts.flow.running import RunningFlow, running_flow
from scripts.watch.load import bodies
from tests.flow.conftest import flow_environment

PICTURE = next(bodies(words=False)).data
IMAGE = {"Content-Type": "image/png"}
PARTS = ("queue", "prepare", "batch queue", "forward")
CALLER = "00000000000000aa"  # the span that asks
SECONDS = 20.0


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps the spans that it is sent, with the service that they are of."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spans: list[tuple[str, Span]] = []

    def Export(self, request: Any, _: Any) -> Any:  # noqa: N802
        with self._lock:
            for resource in request.resource_spans:
                names = {one.key: one.value.string_value for one in resource.resource.attributes}
                for scope in resource.scope_spans:
                    self._spans += [(names["service.name"], span) for span in scope.spans]
        return trace_service_pb2.ExportTraceServiceResponse()

    def of(self, trace: str) -> list[tuple[str, Span]]:
        """The spans of a trace, by its id in hex."""
        with self._lock:
            return [(service, span) for service, span in self._spans if span.trace_id.hex() == trace]

    def named(self, name: str) -> list[Span]:
        with self._lock:
            return [span for _, span in self._spans if span.name == name]


@pytest.fixture(scope="module")
def collector() -> Iterator[tuple[Collector, int]]:
    """A collector and its port."""
    found = Collector()
    server = grpc.server(ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(found, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield found, port
    server.stop(None)


@pytest.fixture(scope="module")
def flow(collector: tuple[Collector, int], tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningFlow]:
    """The Flow for words and pictures, with traces."""
    settings = flow_environment(
        "emoji-tiny",
        FLOW="flows/clip_flow.yml",
        REPLICAS="1",
        CLIP_TRACES_PORT=str(collector[1]),
        OTEL_BSP_SCHEDULE_DELAY="100",
    )
    log = tmp_path_factory.mktemp("traced") / "flow.log"
    with log.open("wb") as output, running_flow(settings, output) as running:
        yield running


def trace_of(number: int) -> str:
    return f"{number:032x}"


def traceparent(number: int, sampled: bool = True) -> str:
    return f"00-{trace_of(number)}-{CALLER}-0{int(sampled)}"


def until(condition: Callable[[], Any]) -> Any:
    end = time.monotonic() + SECONDS
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


def by_http(flow: RunningFlow, number: int, sampled: bool = True) -> None:
    headers = {**IMAGE, "traceparent": traceparent(number, sampled)}
    assert requests.post(f"{flow.http}/embed", data=PICTURE, headers=headers, timeout=30).ok


def by_grpc(flow: RunningFlow, number: int) -> None:
    documents = DocumentArray([Document(blob=PICTURE)])
    answer = Client(host=flow.grpc).post("/", documents, metadata=[("traceparent", traceparent(number))])
    assert answer[0].embedding is not None


def complete(spans: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Return the spans of a trace if the executor's parts are there, with all their ancestors; else none yet."""
    ids = {CALLER, *(span.span_id.hex() for _, span in spans)}
    whole = all(span.parent_span_id.hex() in ids for _, span in spans)
    return spans if whole and {span.name for _, span in spans} >= {*PARTS} else []


@pytest.mark.parametrize(("ask", "number"), [(by_http, 1), (by_grpc, 2)])
def test_a_callers_trace_goes_all_the_way(
    flow: RunningFlow, collector: tuple[Collector, int], ask: Callable[..., None], number: int
) -> None:
    found, _ = collector
    ask(flow, number)
    spans = until(lambda: complete(found.of(trace_of(number))))
    services = {service for service, _ in spans}
    assert {service.partition("/")[0] for service in services} >= {"gateway", "encoder"}
    by_id = {span.span_id: span for _, span in spans}
    for name in PARTS:
        (part,) = [span for _, span in spans if span.name == name and span.attributes[0].value.string_value == "image"]
        ancestors = []
        span = part
        while parent := by_id.get(span.parent_span_id):
            ancestors.append(parent)
            span = parent
        assert span.parent_span_id.hex() == CALLER
        assert ancestors, name


def test_the_parts_of_a_request_follow_each_other(flow: RunningFlow, collector: tuple[Collector, int]) -> None:
    found, _ = collector
    by_http(flow, 3)
    until(lambda: {span.name for _, span in found.of(trace_of(3))} >= set(PARTS))
    parts = {span.name: span for _, span in found.of(trace_of(3)) if span.name in PARTS}
    times = [(parts[name].start_time_unix_nano, parts[name].end_time_unix_nano) for name in PARTS]
    assert all(began <= ended for began, ended in times)
    for (_, ended), (began, _) in pairwise(times):
        assert abs(began - ended) < 5e6  # nanoseconds
    now = time.time_ns()
    assert now - 60e9 < times[0][0] < now


def test_a_forward_pass_is_linked_to_its_requests_and_they_to_it(
    flow: RunningFlow, collector: tuple[Collector, int]
) -> None:
    found, _ = collector
    numbers = range(100, 124)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: by_http(flow, number), numbers))
    wanted = {trace_of(number) for number in numbers}
    until(lambda: all({span.name for _, span in found.of(trace)} >= set(PARTS) for trace in wanted))
    passes = {span.span_id: span for span in found.named("forward pass")}
    for trace in wanted:
        (forward,) = [span for _, span in found.of(trace) if span.name == "forward"]
        (link,) = forward.links
        batch = passes[link.span_id]
        assert trace in {one.trace_id.hex() for one in batch.links}
        assert not batch.parent_span_id
    linked = {one.trace_id.hex() for span in passes.values() for one in span.links}
    assert wanted <= linked


def test_what_the_caller_does_not_sample_is_not_traced(flow: RunningFlow, collector: tuple[Collector, int]) -> None:
    found, _ = collector
    by_http(flow, 200, sampled=False)
    by_http(flow, 201)
    until(lambda: {span.name for _, span in found.of(trace_of(201))} >= set(PARTS))
    assert found.of(trace_of(200)) == []


def test_texts_are_traced_too_and_no_span_holds_what_was_sent(
    flow: RunningFlow, collector: tuple[Collector, int]
) -> None:
    found, _ = collector
    headers = {"Content-Type": "text/plain", "traceparent": traceparent(300)}
    requests.post(f"{flow.http}/embed", data="a-private-text", headers=headers, timeout=30)
    until(lambda: {span.name for _, span in found.of(trace_of(300))} >= set(PARTS))
    assert "a-private" not in str(found.of(trace_of(300)))


def test_answers_are_right_and_errors_are_true_while_traced(flow: RunningFlow) -> None:
    assert requests.post(f"{flow.http}/embed", data=b"broken", headers=IMAGE, timeout=30).status_code == 415
    documents = Client(host=flow.grpc).post("/", DocumentArray([Document(text="a")] * 3))
    assert [document.embedding.shape for document in documents] == [(128,)] * 3
