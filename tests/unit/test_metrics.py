"""An Executor's metrics: what requests do to them, and what they never do."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from docarray import Document, DocumentArray
from prometheus_client import CollectorRegistry

from clip_gateway.observing.certificate import expires
from clip_gateway.observing.metrics import Metrics as GatewayMetrics
from clip_image_flow.errors import ConfigError, RequestError
from clip_image_flow.serving.metrics import OUTCOMES
from clip_image_flow.serving.self_check import Failures
from tests.conftest import encoded, photo

PICTURE = encoded(photo())

Value = Callable[..., float]


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def executor(make_executor: Callable[..., Any], registry: CollectorRegistry) -> Any:
    arguments = {"metrics_registry": registry, "name": "encoder"}
    return make_executor(runtime_args=arguments, queue_size=4, max_batch_size=2)


@pytest.fixture
def value(registry: CollectorRegistry, executor: Any) -> Value:
    """The value of a metric: name and labels."""

    def read(name: str, **labels: str) -> float:
        found = registry.get_sample_value(name, {"tower": "image", **labels})
        assert found is not None, name
        return found

    return read


def post(executor: Any, *blobs: bytes, **parameters: Any) -> None:
    docs = DocumentArray([Document(blob=blob) for blob in blobs])
    with contextlib.suppress(RequestError):
        asyncio.run(executor.encode(docs=docs, parameters=parameters))


def test_a_start_counts_no_items(value: Value) -> None:
    assert {value("clip_items_total", outcome=outcome) for outcome in OUTCOMES} == {0}
    for name in ("queue_wait_seconds", "prepare_seconds", "forward_seconds", "batch_items", "item_bytes"):
        assert value(f"clip_{name}_count") == 0
    assert value("clip_queue_items") == 0
    assert value("clip_queue_limit_items") == 4


@pytest.mark.parametrize(
    ("blobs", "outcomes"),
    [
        ([PICTURE] * 3, {"ok": 3}),
        ([PICTURE, b"broken"], {"ok": 1, "UnsupportedMedia": 1}),
        ([b"", PICTURE], {"ok": 1, "BadDocument": 0}),  # without content there is nothing to encode
        ([PICTURE] * 5, {"ok": 0, "TooLarge": 5}),
    ],
)
def test_items_are_counted_by_their_end(
    executor: Any, value: Value, blobs: list[bytes], outcomes: dict[str, int]
) -> None:
    post(executor, *blobs, on_error="skip")
    assert {outcome: value("clip_items_total", outcome=outcome) for outcome in outcomes} == outcomes


def test_items_that_nobody_waits_for_in_time_are_expired(executor: Any, value: Value) -> None:
    post(executor, PICTURE, PICTURE, __deadline__=1.0)
    assert value("clip_items_total", outcome="Expired") + value("clip_items_total", outcome="Cancelled") == 2


def test_every_item_is_timed_and_weighed(executor: Any, value: Value) -> None:
    post(executor, *[PICTURE] * 4)
    for name in ("queue_wait_seconds", "prepare_seconds", "item_bytes"):
        assert value(f"clip_{name}_count") == 4
    assert value("clip_item_bytes_sum") == 4 * len(PICTURE)
    assert value("clip_batch_items_sum") == 4
    assert value("clip_forward_seconds_count") == value("clip_batch_items_count") >= 2
    assert value("clip_forward_seconds_sum") > 0


def test_the_self_check_is_not_counted(executor: Any, value: Value) -> None:
    assert executor._self_check.check() == ""
    assert value("clip_items_total", outcome="ok") == 0
    assert value("clip_batch_items_count") == 0


def test_the_model_is_shown_by_its_public_name(registry: CollectorRegistry, executor: Any) -> None:
    (info,) = [
        sample.labels for metric in registry.collect() for sample in metric.samples if sample.name == "clip_model_info"
    ]
    known = executor._encoder.info
    assert info == {
        "tower": "image",
        "model": "tiny.pt",
        "fingerprint": known["fingerprint"],
        "precision": "fp32",
        "backend": known["backend"],
        "dim": "32",
    }


def test_labels_are_bounded_whatever_is_sent(executor: Any, registry: CollectorRegistry) -> None:
    def series() -> set[tuple[str, ...]]:
        samples = [sample for metric in registry.collect() for sample in metric.samples]
        return {(sample.name, *map(str, sorted(sample.labels.items()))) for sample in samples}

    before = series()
    for number in range(5):
        post(executor, PICTURE, f"broken {number}".encode(), on_error="skip", __request_id__=f"id {number}")
    assert {name for name, *_ in series() - before} == set()


def test_failures_of_the_self_check_outlive_the_process_that_found_them(
    make_executor: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for expected in (0, 1, 2):
        registry = CollectorRegistry()
        make_executor(runtime_args={"metrics_registry": registry, "name": "encoder"})
        assert registry.get_sample_value("clip_self_check_failures_total", {"tower": "image"}) == expected
        Failures("encoder").add()
    assert Failures("another").count == 0


def test_without_monitoring_nothing_is_counted_and_all_is_encoded(make_executor: Callable[..., Any]) -> None:
    executor = make_executor()
    docs = DocumentArray([Document(blob=PICTURE)])
    asyncio.run(executor.encode(docs=docs))
    assert docs[0].embedding.shape == (32,)


@pytest.mark.parametrize("days", [30, 20000])  # UTCTime up to 2049, GeneralizedTime from then on
def test_the_end_of_a_certificate_is_read(tmp_path: Path, days: int) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=clip", "-days", str(days)),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    text = ["openssl", "x509", "-in", str(certificate), "-noout", "-enddate"]
    said = subprocess.run(text, check=True, capture_output=True, text=True).stdout.strip().removeprefix("notAfter=")
    assert expires(str(certificate)) == ssl.cert_time_to_seconds(said)


@pytest.mark.parametrize("text", ["", "no certificate", "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----"])
def test_what_is_no_certificate_has_no_end(tmp_path: Path, text: str) -> None:
    (tmp_path / "file.pem").write_text(text)
    assert expires(str(tmp_path / "file.pem")) is None
    assert expires(str(tmp_path / "missing.pem")) is None


def test_a_gateway_shows_what_it_holds_and_who_answers() -> None:
    class Held:
        limit, taken, held = 8, 3, 100
        names, missing = ["encoder", "text"], ["text"]

    registry = CollectorRegistry()
    metrics = GatewayMetrics(registry)
    metrics.watch(Held(), Held(), Held())
    metrics.ended("HTTP", 200, "", 0.3)
    assert registry.get_sample_value("clip_gateway_requests_under_way") == 3
    assert registry.get_sample_value("clip_gateway_held_bytes") == 100
    assert registry.get_sample_value("clip_gateway_executor_up", {"executor": "encoder"}) == 1
    assert registry.get_sample_value("clip_gateway_executor_up", {"executor": "text"}) == 0
    bucket = {"protocol": "HTTP", "le": "0.25"}
    assert registry.get_sample_value("clip_gateway_request_seconds_bucket", bucket) == 0


def test_a_gateway_that_is_not_monitored_counts_nothing() -> None:
    metrics = GatewayMetrics(None)
    metrics.ended("HTTP", 200, "", 0.3)


@pytest.mark.parametrize("value", ["xml", "JSON"])
def test_a_log_format_that_is_none_does_not_start(
    make_executor: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("LOG_FORMAT", value)
    with pytest.raises(ConfigError, match="LOG_FORMAT must be text or json"):
        make_executor()


@pytest.fixture
def loggers_as_before() -> Iterator[None]:
    """What is logged in later tests goes where it went."""
    loggers = [one for one in logging.Logger.manager.loggerDict.values() if isinstance(one, logging.Logger)]
    before = [(one, one.handlers, one.propagate) for one in loggers]
    yield
    for one, handlers, propagates in before:
        one.handlers, one.propagate = handlers, propagates


@pytest.mark.usefixtures("loggers_as_before")
def test_log_lines_of_an_executor_can_be_json(
    make_executor: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LOG_FORMAT", "json")
    executor = make_executor(runtime_args={"name": "encoder"})
    capsys.readouterr()
    post(executor, PICTURE, PICTURE, __request_id__="r-8")
    post(executor, b"broken", __request_id__="r-9")
    executor._log._lines.flush()
    good, bad = map(json.loads, capsys.readouterr().out.splitlines())
    assert {"request_id": "r-8", "executor": "encoder", "items": 2, "logger": "clip_executor"}.items() <= good.items()
    assert good["fingerprint"] == executor._encoder.info["fingerprint"]
    assert 0 < good["waiting_ms"] + good["preparing_ms"] + good["computing_ms"] <= good["ms"] + 1
    assert (bad["request_id"], bad["error"]) == ("r-9", "UnsupportedMedia")
    assert "not an image" in bad["detail"]
