"""Which Flow, and how it and its executors are called: what serving, exporting and deploying have in common.

FLOW in the environment is the path of a Flow file. Without it a Flow on this machine (`make serve`, `make demo`) is
`SERVED_FLOW`, for words and pictures; `make export`, `make images`, `make deploy` and the chart take `DEFAULT_FLOW`,
for pictures alone. Its name is the file's without `_flow`: `encode`. The name is the chart's value `flow` and that of
the topology, `files/topologies/encode.yaml`.
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
    """The Flow file that FLOW names, else `default`."""
    return Path(environment.get("FLOW") or default)


def flow_files() -> list[Path]:
    """The project's Flow files: each has a topology in the chart."""
    return sorted(DEFAULT_FLOW.parent.glob("*.yml"))


def flow_name(path: Path) -> str:
    """The name of the Flow in the file `path`: `flows/encode_flow.yml` is `encode`."""
    return path.stem.removesuffix("_flow")


def topology_file(name: str, chart: Path = CHART) -> Path:
    """Where the chart has the topology of the Flow `name`."""
    return chart / "files" / "topologies" / f"{name}.yaml"


def flow_names(chart: Path = CHART) -> list[str]:
    """The Flows that the chart has a topology of: what its value `flow` may be."""
    return sorted(file.stem for file in topology_file("*", chart).parent.glob("*.yaml"))


def object_name(executor: str) -> str:
    """The name of an executor's Kubernetes objects, as Jina makes it of the executor's own."""
    return executor.replace("/", "-").replace("_", "-").lower()


def model_option(flow: Path, executor: Mapping[str, Any]) -> str | None:
    """The option by which an executor takes the model; None for an executor that takes no model.

    An executor takes the model when `pretrained_model_name_or_path` is in its `uses_with`, or in the `with` of the
    config.yml that its `uses` points at.

    :param flow: the Flow file; a relative `uses` counts from its folder.
    :param executor: the options of the executor in that file.
    """
    uses, options = executor.get("uses"), executor.get("uses_with") or {}
    if isinstance(uses, str) and (config := flow.parent / uses).is_file():
        options = {**(yaml.safe_load(config.read_text(encoding="utf-8")).get("with") or {}), **options}
    return MODEL_OPTION if MODEL_OPTION in options else None
