"""Every alert fires at what it is for and at nothing near it, by `promtool test rules` on the rules as rendered."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.cases import OPERATED
from tests.chart.chart import NAMESPACE, ROOT, render, tool

RUNBOOK = ROOT / "docs" / "runbook.md"
Series = dict[str, str]


@dataclass(frozen=True)
class Case:
    """What one alert is tried with: series as promtool writes them, a value a minute.

    :param at: when it is looked at.
    :param fires: series at which it fires.
    :param labels: of the alert then, besides its severity.
    :param summary: what it says then.
    :param quiet: several sets of series at which it does not fire.
    """

    at: str
    fires: Series
    summary: str
    quiet: list[Series]
    labels: dict[str, str] = field(default_factory=dict)


def requests(errors: str, others: str, status: str = "503", error: str = "Unavailable") -> Series:
    """Requests by outcome, so many more each minute."""
    name = "clip_gateway_requests_total{pod='clip-gateway-1',protocol='HTTP',"
    return {f"{name}status='200',error=''}}": others, f"{name}status='{status}',error='{error}'}}": errors}


def latency(fast: str, every: str) -> Series:
    name = "clip_gateway_request_seconds"
    return {
        f"{name}_bucket{{protocol='HTTP',le='0.5'}}": "0+1x450",
        f"{name}_bucket{{protocol='HTTP',le='1.0'}}": fast,
        f"{name}_bucket{{protocol='HTTP',le='10.0'}}": every,
        f"{name}_count{{protocol='HTTP'}}": every,
    }


def queue(items: str) -> Series:
    labels = "{pod='clip-encoder-1',app_kubernetes_io_component='encoder',tower='image'}"
    return {f"clip_queue_items{labels}": items, f"clip_queue_limit_items{labels}": "2048x30"}


def up(*values: str) -> Series:
    return {f"clip_gateway_executor_up{{pod='clip-gateway-{i}',executor='encoder'}}": v for i, v in enumerate(values)}


def models(second: str) -> Series:
    name = "clip_model_info{tower='image',"
    return {f"{name}pod='a',fingerprint='1f'}}": "1x60", f"{name}pod='b',fingerprint='2f'}}": second}


def checks(values: str) -> Series:
    labels = "{pod='clip-encoder-1',app_kubernetes_io_component='encoder',tower='image'}"
    return {f"clip_self_check_failures_total{labels}": values}


def memory(used: str, limit: str) -> Series:
    pod = "{pod='clip-encoder-1',container='executor'}"
    return {f"container_memory_working_set_bytes{pod}": used, f"container_spec_memory_limit_bytes{pod}": limit}


def throttled(share: str, pod: str = "clip-encoder-1") -> Series:
    labels = f"{{pod='{pod}',container='executor'}}"
    return {
        f"container_cpu_cfs_throttled_periods_total{labels}": share,
        f"container_cpu_cfs_periods_total{labels}": "0+600x40",
    }


def certificate(end: int) -> Series:
    return {"clip_gateway_certificate_expiry_timestamp_seconds{pod='clip-gateway-1'}": f"{end}x10"}


DAY = 86400
_POD = {"pod": "clip-encoder-1", "container": "executor"}

CASES: dict[str, Case] = {
    "ClipAvailabilityBurnsFast": Case(
        "70m",
        requests("0+3x90", "0+97x90"),
        "3% of requests end in a 5xx",
        [
            requests("0+1x90", "0+99x90"),
            requests("0+30x40 1200x50", "0+97x90"),  # it is over
            requests("0x60 0+3x30", "0+100x90"),  # it has begun a moment ago, and may be over in another
            requests("0+50x90", "0+50x90", "400", "BadDocument"),
        ],
    ),
    "ClipAvailabilityBurnsSlowly": Case(
        "7h",
        requests("0+1x450", "0+99x450"),
        "1% of requests end in a 5xx, for hours",
        [requests("0+1x450", "0+199x450"), requests("0+1x350 350x100", "0+99x450")],
    ),
    "ClipLatencyBurnsFast": Case(
        "70m",
        latency("0+80x90", "0+100x90"),
        "20% of requests take longer than the latency bound",
        [latency("0+90x90", "0+100x90"), latency("0+100x60 6000+80x30", "0+100x90")],
    ),
    "ClipLatencyBurnsSlowly": Case(
        "7h",
        latency("0+90x450", "0+100x450"),
        "10% of requests take longer than the latency bound, for hours",
        [latency("0+95x450", "0+100x450")],
    ),
    "ClipQueueSaturated": Case(
        "12m",
        queue("1536x30"),
        "a queue of encoder is 75% full",
        [queue("1300x30"), queue("0x9 2048x3 0x20")],
        {"app_kubernetes_io_component": "encoder"},
    ),
    "ClipErrorRatio": Case(
        "30m",
        requests("0+10x60", "0+90x60", "429", "QueueFull"),
        "10% of requests end in QueueFull",
        [requests("0+4x60", "0+96x60", "429", "QueueFull"), requests("0+50x60", "0+50x60", "415", "UnsupportedMedia")],
        {"error": "QueueFull"},
    ),
    "ClipNoReadyExecutor": Case(
        "5m",
        up("0x10", "0x10"),
        "no replica of encoder responds to any gateway",
        [up("0x10", "1x10"), up("1x4 0 1x10", "1x4 0 1x10")],
        {"executor": "encoder"},
    ),
    "ClipNoMetrics": Case(
        "15m",
        {},
        "Prometheus has no metrics of any gateway of the release",
        [up("0x30"), up("1x5 _x5 1x20")],
        {"namespace": NAMESPACE, "app_kubernetes_io_instance": "clip"},
    ),
    "ClipSelfCheckFailed": Case(
        "20m",
        checks("0x10 1x60"),
        "clip-encoder-1 computed wrong vectors, and was restarted",
        [checks("0x60"), checks("1x60")],
        {"pod": "clip-encoder-1", "app_kubernetes_io_component": "encoder"},
    ),
    "ClipTwoFingerprints": Case(
        "40m",
        models("1x60"),
        "2 fingerprints of the image tower are in use at the same time",
        [models("1x20 stale"), {"clip_model_info{tower='image',pod='a',fingerprint='1f'}": "1x60"}],
        {"tower": "image"},
    ),
    "ClipCertificateEnds": Case(
        "1m",
        certificate(10 * DAY + 60),
        "the certificate in use expires in 10d 0h 0m 0s",
        [certificate(15 * DAY)],
    ),
    "ClipMemoryNearLimit": Case(
        "12m",
        memory("95x20", "100x20"),
        "clip-encoder-1 uses 95% of its memory limit",
        [memory("85x20", "100x20"), memory("95x20", "0x20"), memory("85x8 95x3 85x9", "100x20")],
        _POD,
    ),
    "ClipCPUThrottled": Case(
        "30m",
        throttled("0+360x40"),
        "clip-encoder-1 is throttled in 60% of its CPU periods",
        [throttled("0+240x40"), throttled("0+360x40", pod="another-encoder-1")],
        _POD,
    ),
}


@pytest.fixture(scope="module")
def rules() -> dict[str, Any]:
    """The rules as rendered."""
    return dict(render(OPERATED).one("PrometheusRule", "clip-alerts")["spec"])


@pytest.fixture(scope="module")
def alerts(rules: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The alerts by name."""
    return {rule["alert"]: rule for group in rules["groups"] for rule in group["rules"]}


def owned(series: Series, release: str = "clip") -> list[dict[str, str]]:
    """The series with the labels of a release, as promtool takes them."""
    own = f"namespace='{NAMESPACE}',app_kubernetes_io_instance='{release}'"
    return [{"series": name.replace("{", f"{{{own},", 1), "values": values} for name, values in series.items()]


def promtool(rules: dict[str, Any], test: dict[str, Any], folder: Path) -> None:
    """Pass when the test does."""
    (folder / "rules.yaml").write_text(yaml.safe_dump(rules), encoding="utf-8")
    whole = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": [{"interval": "1m", **test}]}
    (folder / "test.yaml").write_text(yaml.safe_dump(whole), encoding="utf-8")
    command = [tool("promtool"), "test", "rules", "test.yaml"]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_these_are_all_alerts(alerts: dict[str, Any]) -> None:
    assert alerts.keys() == CASES.keys()


def test_the_rules_are_sound(rules: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules), encoding="utf-8")
    command = [tool("promtool"), "check", "rules", "--lint=all", "--lint-fatal", str(tmp_path / "rules.yaml")]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("name", CASES)
def test_it_fires(name: str, rules: dict[str, Any], alerts: dict[str, Any], tmp_path: Path) -> None:
    case, alert = CASES[name], alerts[name]
    expected = {
        "exp_labels": {**alert["labels"], **case.labels},
        "exp_annotations": {**alert["annotations"], "summary": case.summary},
    }
    look = {"eval_time": case.at, "alertname": name, "exp_alerts": [expected]}
    promtool(rules, {"input_series": owned(case.fires), "alert_rule_test": [look]}, tmp_path)


@pytest.mark.parametrize(
    ("name", "number"), [(name, number) for name, case in CASES.items() for number in range(len(case.quiet))]
)
def test_it_does_not_fire(name: str, number: int, rules: dict[str, Any], tmp_path: Path) -> None:
    look = {"eval_time": CASES[name].at, "alertname": name, "exp_alerts": []}
    promtool(rules, {"input_series": owned(CASES[name].quiet[number]), "alert_rule_test": [look]}, tmp_path)


@pytest.mark.parametrize("name", [name for name in CASES if not re.search("NoMetrics|Memory|CPU", name)])
def test_it_does_not_fire_for_another_release(name: str, rules: dict[str, Any], tmp_path: Path) -> None:
    look = {"eval_time": CASES[name].at, "alertname": name, "exp_alerts": []}
    promtool(rules, {"input_series": owned(CASES[name].fires, "other"), "alert_rule_test": [look]}, tmp_path)


@pytest.mark.parametrize("name", CASES)
def test_its_runbook_begins_with_what_is_seen(name: str, alerts: dict[str, Any]) -> None:
    address, _, anchor = alerts[name]["annotations"]["runbook_url"].partition("#")
    assert address == "https://example.com/runbook.md"
    sections = dict(re.findall(r"^## (\w+)\n\n(.*?)(?=^## |\Z)", RUNBOOK.read_text(encoding="utf-8"), re.M | re.S))
    (section,) = [text for heading, text in sections.items() if heading.lower() == anchor]
    for part in ("**Seen:**", "**Look:**", "**Do:**"):
        assert part in section
    assert section.startswith("**Seen:**")


def test_objectives_are_the_values(tmp_path: Path) -> None:
    values = {"monitoring": {"enabled": True, "rules": {"enabled": True, "availability": 0.99, "latencySeconds": 0.5}}}
    rules = dict(render(values).one("PrometheusRule", "clip-alerts")["spec"])
    quiet = {"eval_time": "70m", "alertname": "ClipAvailabilityBurnsFast", "exp_alerts": []}
    promtool(rules, {"input_series": owned(requests("0+3x90", "0+97x90")), "alert_rule_test": [quiet]}, tmp_path)
    (fast,) = [r["expr"] for g in rules["groups"] for r in g["rules"] if r["alert"] == "ClipLatencyBurnsFast"]
    assert 'le=~"0[.]5([.]0)?"' in fast
