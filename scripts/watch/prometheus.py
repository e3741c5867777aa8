"""Runs Prometheus on this machine, with the labels that the Flow's series have in a cluster."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from scripts.processes import free_ports, process_group

NAMESPACE, RELEASE = "local", "clip"
"""Values of the dashboard's variables on this machine."""
_START_SECONDS = 30


class PrometheusError(RuntimeError):
    """Prometheus is not installed, does not start, or rejects a query."""


@dataclass(frozen=True)
class Series:
    """A series in the result of a query: labels, and (Unix time in seconds, value) pairs in order of time."""

    labels: Mapping[str, str]
    values: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus."""

    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def query(self, expression: str) -> list[Series]:
        """Return the current values of `expression`.

        :raises PrometheusError: if it is not a valid query.
        """
        return [Series(one["metric"], [_value(one["value"])]) for one in self._ask("query", query=expression)]

    def query_range(self, expression: str, seconds: float, end: float, step: float) -> list[Series]:
        """Return the values of `expression` over a range of time.

        :param expression: PromQL query.
        :param seconds: length of the range, in seconds.
        :param end: end of the range, Unix time in seconds.
        :param step: time between two values, in seconds.
        :raises PrometheusError: if it is not a valid query.
        """
        found = self._ask("query_range", query=expression, start=end - seconds, end=end, step=step)
        return [Series(one["metric"], [*map(_value, one["values"])]) for one in found]

    def _ask(self, what: str, **parameters: Any) -> list[Any]:
        url = f"{self.url}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return list(json.load(answer)["data"]["result"])
        except urllib.error.HTTPError as error:
            raise PrometheusError(f"{parameters['query']}: {json.load(error)['error']}") from error


def _value(pair: Sequence[Any]) -> tuple[float, float]:
    return float(pair[0]), float(pair[1])


@contextlib.contextmanager
def prometheus(metrics: Mapping[str, Sequence[int]], seconds: float = 1, port: int = 0) -> Iterator[Prometheus]:
    """Run Prometheus, which scrapes a Flow, during the context; its data is deleted at the end.

    :param metrics: ports of metrics, as in `RunningFlow.metrics`.
    :param seconds: time between two scrapes, in seconds.
    :param port: port of Prometheus; 0 for a free one.
    :raises PrometheusError: if the program is not on the PATH, or does not start.
    """
    if not (program := shutil.which("prometheus")):
        raise PrometheusError("prometheus is not on the PATH (Debian: apt-get install prometheus)")
    found = Prometheus(port or free_ports(1)[0])
    with tempfile.TemporaryDirectory(prefix="clip-prometheus-", ignore_cleanup_errors=True) as folder:
        config, log = Path(folder) / "prometheus.yml", Path(folder) / "log"
        config.write_text(yaml.safe_dump(_config(metrics, seconds)), encoding="utf-8")
        command = [
            program,
            f"--config.file={config}",
            f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address=127.0.0.1:{found.port}",
            f"--query.lookback-delta={max(5 * seconds, 5):g}s",
        ]
        with process_group(command, log, {}) as process:
            end = time.monotonic() + _START_SECONDS
            while not _is_ready(found.url):
                if process.poll() is not None or time.monotonic() > end:
                    raise PrometheusError(f"prometheus does not start: {log.read_text(encoding='utf-8')[-1000:]}")
                time.sleep(0.1)
            yield found


def _config(metrics: Mapping[str, Sequence[int]], seconds: float) -> dict[str, Any]:
    targets = [
        {
            "targets": [f"127.0.0.1:{port}"],
            "labels": {
                "namespace": NAMESPACE,
                "app_kubernetes_io_instance": RELEASE,
                "app_kubernetes_io_component": name,
                "pod": f"{RELEASE}-{name}-{number}",
            },
        }
        for name, ports in metrics.items()
        for number, port in enumerate(ports)
    ]
    every = f"{int(1000 * seconds)}ms"
    return {
        "global": {"scrape_interval": every, "scrape_timeout": every},
        "scrape_configs": [{"job_name": RELEASE, "static_configs": targets}],
    }


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/-/ready", timeout=5):
            return True
    except OSError:
        return False
