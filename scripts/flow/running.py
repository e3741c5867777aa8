"""The Flow file, with the environment's settings over it, and the Flow as a process of its own.

A Flow file holds literals, since Jina's YAML has no defaults for environment variables. `load_flow` lays
these over it; `running_flow` runs the result as `jina flow` would, and takes everything down again: Jina's own parent
leaves its processes behind on SIGTERM.

| variable | what it sets |
|---|---|
| FLOW | the Flow file; by default `flows/clip_flow.yml`, for words and pictures |
| CLIP_GRPC_PORT, CLIP_HTTP_PORT | the gateway's ports |
| CLIP_MODEL | the model of the executors that take one (`scripts.flow.names.model_option`) |
| REPLICAS | replicas of the executors that have a number of them |
| CLIP_MONITORING_PORT | metrics on: the gateway's on this port, those of each replica on the next ones |
| CLIP_TRACES_PORT | traces on: the port of a collector on this machine, OTLP over gRPC without TLS |

Export, deploy and chart have another default, `flows/encode_flow.yml`, for pictures alone; see `scripts.flow.names`.
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
    """The Flow cannot be configured or did not come up."""


def load_flow(environment: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """The Flow with the settings of `environment` over it; paths in it become absolute.

    :raises FlowError: for a setting that makes no sense.
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
    """Have every process of the Flow show metrics, on ports from `port` on."""
    flow["with"] = {**(flow.get("with") or {}), "monitoring": True}
    flow["gateway"]["port_monitoring"] = port
    for executor in flow["executors"]:
        replicas = executor.get("replicas") or 1
        executor["port_monitoring"] = [*range(port + 1, port + 1 + replicas)]
        port += replicas


def monitoring_ports(flow: dict[str, Any]) -> dict[str, list[int]]:
    """The ports of metrics by process: `gateway`, and each executor with those of its replicas."""
    nodes = [{"name": "gateway", **flow["gateway"]}, *flow["executors"]]
    ports = {node["name"]: node.get("port_monitoring") for node in nodes}
    return {name: port if isinstance(port, list) else [port] for name, port in ports.items() if port}


def model_of(flow: dict[str, Any]) -> str:
    """The model that the first executor with one in its `uses_with` takes; empty when none has."""
    named = [(executor.get("uses_with") or {}).get(MODEL_OPTION) for executor in flow["executors"]]
    return next((str(model) for model in named if model), "")


def _absolute(flow: Path, reference: str) -> str:
    """A file named in `flow`, by a path that holds from anywhere; what is no file there (a class, an image) stays."""
    file = (flow.parent / reference).resolve()
    return str(file) if file.is_file() else reference


def _whole_number(name: str, value: str, most: int) -> int:
    if not value.isascii() or not value.isdigit() or not 1 <= int(value) <= most:
        raise FlowError(f"{name} must be a whole number from 1 to {most}, not {value!r}")
    return int(value)


@dataclass(frozen=True)
class RunningFlow:
    """A Flow that answers.

    :param metrics: ports of metrics, as `monitoring_ports` has them.
    """

    grpc_port: int
    http_port: int
    model: str
    executors: tuple[str, ...]
    metrics: dict[str, list[int]]
    process: subprocess.Popen[bytes]

    @property
    def grpc(self) -> str:
        """The address for `jina.Client(host=...)`."""
        return f"grpc://127.0.0.1:{self.grpc_port}"

    @property
    def http(self) -> str:
        """The address for `jina.Client(host=...)`, curl and browsers."""
        return f"http://127.0.0.1:{self.http_port}"


@contextlib.contextmanager
def running_flow(environment: Mapping[str, str] = os.environ, output: IO[bytes] | None = None) -> Iterator[RunningFlow]:
    """Run the Flow; at the end all of its processes end, whatever happened.

    Jina builds each Executor under a lock file in HOME that a killed process may leave locked, so each run has a HOME
    of its own.

    :param environment: settings, see the table at the top of this module, and the environment of the processes.
    :param output: where the Flow's log goes; by default to this process' own output.
    :raises FlowError: it ended before it was ready, or a setting makes no sense.
    """
    flow = load_flow(environment)
    grpc_port, http_port = flow["gateway"]["port"]
    with tempfile.TemporaryDirectory(prefix="clip-image-flow-") as home:
        file, ready = Path(home) / "flow.yml", Path(home) / "ready"
        file.write_text(yaml.safe_dump(flow, sort_keys=False), encoding="utf-8")  # Jina wants jtype first
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "scripts.flow.process", str(file), str(ready)],
            env=_process_environment(environment, home),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT if output else None,
            start_new_session=True,  # a process group of its own: Ctrl-C reaches it through us alone
        )
        try:
            # As long as the Flow lives: a first start may download a model.
            while not (ready.exists() and _gateway_knows_all(http_port)):
                if (code := process.poll()) is not None:
                    raise FlowError(f"the Flow ended with code {code} before it was ready; its log says why")
                time.sleep(0.05)
            names = tuple(executor["name"] for executor in flow["executors"])
            yield RunningFlow(grpc_port, http_port, model_of(flow), names, monitoring_ports(flow), process)
        finally:
            _end(process)


def _gateway_knows_all(http_port: int) -> bool:
    """Whether the gateway has had an answer from every executor; Jina calls a Flow ready some moments earlier."""
    connection = http.client.HTTPConnection("127.0.0.1", http_port, timeout=5)
    try:
        connection.request("GET", "/startupz")
        return connection.getresponse().status != HTTPStatus.SERVICE_UNAVAILABLE
    except (OSError, http.client.HTTPException):  # a gateway with TLS, or another than ours
        return True
    finally:
        connection.close()


def _process_environment(environment: Mapping[str, str], home: str) -> dict[str, str]:
    """`environment` with the HOME of this run; what is kept across runs is named by its own variable."""
    cache = Path(environment.get("HOME") or "~").expanduser() / ".cache"
    kept = {"CLIP_CACHE": str(cache / "clip"), "HF_HOME": str(cache / "huggingface")}
    return {**kept, **environment, "HOME": home, "JINA_OPTOUT_TELEMETRY": "1", "JINA_LOG_NO_COLOR": "1"}


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask the Flow to end as Ctrl-C does, the one way in which Jina ends its processes; then end what is left."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_SECONDS)
    kill(process)
    assert process.stdin is not None
    process.stdin.close()
