"""Selects the Flow file, and derives names of the Flow and its executors, for serving, exporting and deploying.

The environment variable FLOW is the path of a Flow file. By default `make serve` and `make demo` use `SERVED_FLOW`, for
images and texts; `make export`, `make images`, `make deploy` and the chart use `DEFAULT_FLOW`, for images only. The
name of a Flow is that of its file without `_flow`: `encode`. It is also the chart's value `flow`, and the name of the
topology, `files/topologies/encode.yaml`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from scripts import ROOT

CHART = ROOT / "helm" / "clip-image-flow"
DEFAULT_FLOW = ROOT / "flows" / "encode_flow.yml"
SERVED_FLOW = ROOT / "flows" / "clip_flow.yml"
MODEL_OPTION = "pretrained_model_name_or_path"


def flow_file(environment: Mapping[str, str] = os.environ, default: Path = DEFAULT_FLOW) -> Path:
    """Return the Flow file in FLOW, else `default`."""
    return Path(environment.get("FLOW") or default)


def flow_files() -> list[Path]:
    """Return the project's Flow files; each has a topology in the chart."""
    return sorted(DEFAULT_FLOW.parent.glob("*.yml"))


def flow_name(path: Path) -> str:
    """Return the name of the Flow in the file `path`: `encode` for `flows/encode_flow.yml`."""
    return path.stem.removesuffix("_flow")


def topology_file(name: str, chart: Path = CHART) -> Path:
    """Return the path of the chart's topology of the Flow `name`."""
    return chart / "files" / "topologies" / f"{name}.yaml"


def flow_names(chart: Path = CHART) -> list[str]:
    """Return the names of the Flows with a topology in the chart: the allowed values of `flow`."""
    return sorted(file.stem for file in topology_file("*", chart).parent.glob("*.yaml"))


def object_name(executor: str) -> str:
    """Return the name of an executor's Kubernetes objects, which Jina derives from the executor's name."""
    return executor.replace("/", "-").replace("_", "-").lower()


def model_option(flow: Path, executor: Mapping[str, Any]) -> str | None:
    """Return the option that sets an executor's model; None if the executor has no model.

    An executor has a model if `pretrained_model_name_or_path` is in its `uses_with`, or in the `with` of the config.yml
    that its `uses` refers to.

    :param flow: Flow file; a relative `uses` is resolved against its directory.
    :param executor: options of the executor in that file.
    """
    uses, options = executor.get("uses"), executor.get("uses_with") or {}
    if isinstance(uses, str) and (config := flow.parent / uses).is_file():
        options = {**(yaml.safe_load(config.read_text(encoding="utf-8")).get("with") or {}), **options}
    return MODEL_OPTION if MODEL_OPTION in options else None
