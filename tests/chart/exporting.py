"""Exports and changes the Flow of two executors."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import yaml

from scripts import export_k8s
from scripts.export import chart_schema
from scripts.flow.names import topology_file
from tests.chart.chart import CHART, FIXTURES

FLOW = FIXTURES / "two_executors" / "flow.yml"
Flow = dict[str, Any]


def export(flow: Path, folder: Path, *options: str) -> int:
    """Run the export command with `folder` for its output; return the exit code."""
    return export_k8s.main(
        ["--flow", str(flow), "--k8s", str(folder / "k8s"), "--topology", str(folder / "topology.yaml"), *options]
    )


def exported(folder: Path) -> dict[str, bytes]:
    """Return the files in `folder`: relative path -> content."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def chart_with(topology: Path, name: str, folder: Path) -> Path:
    """Copy the chart to `folder` and add a topology, like `make export`, which changes no template; return the copy."""
    chart = folder / CHART.name
    shutil.copytree(CHART, chart)
    shutil.copy(topology, topology_file(name, chart))
    assert chart_schema.main(["--chart", str(chart)]) == 0
    return chart


def edit(path: Path, where: str, options: dict[str, Any]) -> None:
    """Set options in a Flow file.

    :param path: Flow file.
    :param where: `gateway`, index of an executor, or an empty string for the Flow itself.
    :param options: options to set.
    """
    flow = yaml.safe_load(path.read_text(encoding="utf-8"))
    target = flow["gateway"] if where == "gateway" else flow["executors"][int(where)] if where else flow
    target.update(options)
    path.write_text(yaml.safe_dump(flow, sort_keys=False, allow_unicode=True), encoding="utf-8")
