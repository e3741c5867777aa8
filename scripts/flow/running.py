"""Applies environment variables to the Flow file, and runs the Flow as a separate process.

A Flow file has only literal values, since Jina's YAML has no defaults for environment variables. `load_flow` applies
these variables; `running_flow` runs the result like `jina flow`, and stops all processes at the end, unlike Jina on
SIGTERM.

| variable | what it sets |
|---|---|
| FLOW | Flow file; default `flows/clip_flow.yml`, for images and texts |
| CLIP_GRPC_PORT, CLIP_HTTP_PORT | ports of the gateway |
| CLIP_MODEL | model of the executors that have one (`scripts.flow.names.model_option`) |
| REPLICAS | number of replicas of the executors with the option `replicas` |
| CLIP_MONITORING_PORT | enables metrics: port of the gateway's metrics; those of each replica are on the next ports |
| CLIP_TRACES_PORT | enables traces: port of a collector on this machine, OTLP over gRPC without TLS |

Export, deploy and chart default to `flows/encode_flow.yml`, for images only; see `scripts.flow.names`.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import IO, Any

import yaml

from scripts import ROOT
from scripts.flow.names import MODEL_OPTION, SERVED_FLOW, flow_file, model_option
from scripts.processes import kill

_GRACE_SECONDS = 20.0


class FlowError(RuntimeError):
    """The Flow cannot be configured, or failed to start."""


def load_flow(environment: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Return the Flow with the settings of `environment` applied; its paths become absolute.

    :raises FlowError: if a setting is invalid.
    """
    path = flow_file(environment, SERVED_FLOW)
    if not path.is_file():
        there = ", ".join(str(file.relative_to(ROOT)) for file in sorted((ROOT / "flows").glob("*.yml")))
        raise FlowError(f"FLOW must be the path of a Flow file, not {str(path)!r}; there are: {there}")
    flow: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    gateway = flow.get("gateway") or {}
    if not isinstance(gateway.get("port"), list) or len(gateway["port"]) != 2:
        raise FlowError(f"{path}: gateway: port must be two, [gRPC, HTTP]")
    gateway["uses"] = _absolute(path, gateway["uses"])
    for i, name in enumerate(("CLIP_GRPC_PORT", "CLIP_HTTP_PORT")):
        if value := environment.get(name):
            gateway["port"][i] = _whole_number(name, value, 65535)
    flow["py_modules"] = [_absolute(path, module) for module in flow.get("py_modules", [])]
    for executor in flow["executors"]:
        if (value := environment.get("REPLICAS")) and "replicas" in executor:
            executor["replicas"] = _whole_number("REPLICAS", value, 1000)
        if (value := environment.get("CLIP_MODEL")) and (option := model_option(path, executor)):
            model = str(Path(value).resolve()) if Path(value).exists() else value
            executor["uses_with"] = {**(executor.get("uses_with") or {}), option: model}
        executor["uses"] = _absolute(path, executor["uses"])
    if value := environment.get("CLIP_MONITORING_PORT"):
        _monitor(flow, _whole_number("CLIP_MONITORING_PORT", value, 65000))
    if value := environment.get("CLIP_TRACES_PORT"):
        port = _whole_number("CLIP_TRACES_PORT", value, 65535)
        traces = {"tracing": True, "traces_exporter_host": "http://127.0.0.1", "traces_exporter_port": port}
        flow["with"] = {**(flow.get("with") or {}), **traces}
    return flow


def _monitor(flow: dict[str, Any], port: int) -> None:
    """Enable metrics in every process of the Flow, on ports from `port` on."""
    flow["with"] = {**(flow.get("with") or {}), "monitoring": True}
    flow["gateway"]["port_monitoring"] = port
    for executor in flow["executors"]:
        replicas = executor.get("replicas") or 1
        executor["port_monitoring"] = [*range(port + 1, port + 1 + replicas)]
        port += replicas


def monitoring_ports(flow: dict[str, Any]) -> dict[str, list[int]]:
    """Return the ports of metrics: `gateway` -> its port, and executor name -> the ports of its replicas."""
    nodes = [{"name": "gateway", **flow["gateway"]}, *flow["executors"]]
    ports = {node["name"]: node.get("port_monitoring") for node in nodes}
    return {name: port if isinstance(port, list) else [port] for name, port in ports.items() if port}


def model_of(flow: dict[str, Any]) -> str:
    """Return the model of the first executor that has one in its `uses_with`, else an empty string."""
    named = [(executor.get("uses_with") or {}).get(MODEL_OPTION) for executor in flow["executors"]]
    return next((str(model) for model in named if model), "")


def _absolute(flow: Path, reference: str) -> str:
    """Return the absolute path of a file in `flow`; a reference to a class or image is returned unchanged."""
    file = (flow.parent / reference).resolve()
    return str(file) if file.is_file() else reference


def _whole_number(name: str, value: str, most: int) -> int:
    if not value.isascii() or not value.isdigit() or not 1 <= int(value) <= most:
        raise FlowError(f"{name} must be a whole number from 1 to {most}, not {value!r}")
    return int(value)


@dataclass(frozen=True)
class RunningFlow:
    """A Flow that is ready.

    :param metrics: ports of metrics, see `monitoring_ports`.
    """

    grpc_port: int
    http_port: int
    model: str
    executors: tuple[str, ...]
    metrics: dict[str, list[int]]
    process: subprocess.Popen[bytes]

    @property
    def grpc(self) -> str:
        """gRPC address, for `jina.Client(host=...)`."""
        return f"grpc://127.0.0.1:{self.grpc_port}"

    @property
    def http(self) -> str:
        """HTTP address, for `jina.Client(host=...)`, curl and browsers."""
        return f"http://127.0.0.1:{self.http_port}"


@contextlib.contextmanager
def running_flow(environment: Mapping[str, str] = os.environ, output: IO[bytes] | None = None) -> Iterator[RunningFlow]:
    """Run the Flow during the context; at the end all of its processes are stopped, even after an error.

    Jina builds each Executor under a lock file in HOME, which a killed process may leave locked, so each run has a
    separate HOME.

    :param environment: environment of the processes, with the variables in the table at the top of this module.
    :param output: file for the Flow's log; by default the output of this process.
    :raises FlowError: if the Flow exits before it is ready, or a setting is invalid.
    """
    flow = load_flow(environment)
    grpc_port, http_port = flow["gateway"]["port"]
    with tempfile.TemporaryDirectory(prefix="clip-image-flow-") as home:
        file, ready = Path(home) / "flow.yml", Path(home) / "ready"
        file.write_text(yaml.safe_dump(flow, sort_keys=False), encoding="utf-8")  # Jina requires that jtype comes first
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "scripts.flow.process", str(file), str(ready)],
            env=_process_environment(environment, home),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT if output else None,
            start_new_session=True,  # a separate process group: Ctrl-C does not reach it directly
        )
        try:
            # Without a timeout while the Flow runs: a first start may download a model.
            while not (ready.exists() and _gateway_knows_all(http_port)):
                if (code := process.poll()) is not None:
                    raise FlowError(f"the Flow exited with code {code} before it was ready; see its log")
                time.sleep(0.05)
            names = tuple(executor["name"] for executor in flow["executors"])
            yield RunningFlow(grpc_port, http_port, model_of(flow), names, monitoring_ports(flow), process)
        finally:
            _end(process)


def _gateway_knows_all(http_port: int) -> bool:
    """Return whether every executor has responded to the gateway; Jina reports a Flow as ready slightly earlier."""
    connection = http.client.HTTPConnection("127.0.0.1", http_port, timeout=5)
    try:
        connection.request("GET", "/startupz")
        return connection.getresponse().status != HTTPStatus.SERVICE_UNAVAILABLE
    except (OSError, http.client.HTTPException):  # a gateway with TLS, or not ClipGateway
        return True
    finally:
        connection.close()


def _process_environment(environment: Mapping[str, str], home: str) -> dict[str, str]:
    """Return `environment` with the HOME of this run, and with variables for the caches that all runs share."""
    cache = Path(environment.get("HOME") or "~").expanduser() / ".cache"
    kept = {"CLIP_CACHE": str(cache / "clip"), "HF_HOME": str(cache / "huggingface")}
    return {**kept, **environment, "HOME": home, "JINA_OPTOUT_TELEMETRY": "1", "JINA_LOG_NO_COLOR": "1"}


def _end(process: subprocess.Popen[bytes]) -> None:
    """Stop the Flow with SIGINT, the only signal on which Jina stops its processes; then kill those that are left."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_SECONDS)
    kill(process)
    assert process.stdin is not None
    process.stdin.close()
