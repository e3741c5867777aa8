"""Fixtures: a Flow for images and texts that requires a token, and client programs in separate environments."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts import ROOT
from scripts.flow.running import RunningFlow, running_flow
from scripts.processes import free_ports

TOKEN = "a-token-of-the-tests"
PROGRAMS = Path(__file__).parent / "programs"
ENVIRONMENTS = Path(os.environ.get("CLIENTS_DIR", ROOT / ".cache" / "clients"))
Run = Callable[..., dict[str, Any]]


@contextlib.contextmanager
def clip_flow(folder: Path, **uses_with: Any) -> Iterator[RunningFlow]:
    """Run flows/clip_flow.yml with one replica of each executor.

    :param folder: directory for the changed Flow file and the log.
    :param uses_with: options of the gateway.
    """
    described = yaml.safe_load((ROOT / "flows" / "clip_flow.yml").read_text())
    described["py_modules"] = []
    for part in (described["gateway"], *described["executors"]):
        part["uses"] = str((ROOT / "flows" / part["uses"]).resolve())
    described["gateway"]["uses_with"] = uses_with
    file = folder / "clip_flow.yml"
    file.write_text(yaml.safe_dump(described, sort_keys=False))
    grpc, http = free_ports(2)
    settings = {"FLOW": str(file), "REPLICAS": "1", "CLIP_GRPC_PORT": str(grpc), "CLIP_HTTP_PORT": str(http)}
    with (folder / "flow.log").open("wb") as log, running_flow({**os.environ, **settings}, log) as running:
        yield running


@pytest.fixture(scope="session")
def flow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningFlow]:
    """Run a Flow that requires a token, with an alias for its model."""
    folder = tmp_path_factory.mktemp("flow")
    (folder / "tokens").write_text(TOKEN + "\n")
    with clip_flow(folder, tokens_file=str(folder / "tokens"), model_aliases=["another-name"]) as running:
        yield running


@pytest.fixture(scope="session")
def run(flow: RunningFlow) -> Run:
    """Return a function that runs a client program: (program, items, **changes of the job) -> its JSON output."""

    def run(program: str, items: list[dict[str, str]], **changes: Any) -> dict[str, Any]:
        environment = ENVIRONMENTS / ("clip-client" if program.startswith("clip_client") else "vendors")
        if not (environment / ".ready").is_file():
            pytest.skip(f"NOT RUN: {environment} is not there; `make test-clients` makes it")
        job = {"http": flow.http, "grpc": flow.grpc, "token": TOKEN, "model": flow.model, "items": items, **changes}
        quiet = {"HAYSTACK_TELEMETRY_ENABLED": "False", "JINA_OPTOUT_TELEMETRY": "1", "HOME": str(environment)}
        ended = subprocess.run(
            [environment / "bin" / "python", "-W", "ignore", PROGRAMS / f"{program}.py", json.dumps(job)],
            env={"PATH": os.environ["PATH"], **quiet},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr[-2000:]
        found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
        return found

    return run
