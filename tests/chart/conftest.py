"""Fixtures for a Flow of two executors: its export, a copy to change, and the chart with its topology."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.exporting import FLOW, chart_with, export


@pytest.fixture(scope="session")
def export_of_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of the export: `k8s/` and `topology.yaml`."""
    made = tmp_path_factory.mktemp("export")
    assert export(FLOW, made) == 0
    return made


@pytest.fixture(scope="session")
def topology(export_of_two: Path) -> dict[str, Any]:
    """Return the topology in the export."""
    return dict(yaml.safe_load((export_of_two / "topology.yaml").read_text(encoding="utf-8")))


@pytest.fixture
def changed_flow(tmp_path: Path) -> Path:
    """Return a copy of the Flow file, with the files that it refers to, which a test can change."""
    shutil.copytree(FLOW.parent, tmp_path / "flow")
    return tmp_path / "flow" / FLOW.name


@pytest.fixture(scope="session")
def two_executors(export_of_two: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the chart with that topology in addition to its own, and as the default of `flow`."""
    chart = chart_with(export_of_two / "topology.yaml", "two_executors", tmp_path_factory.mktemp("charts"))
    values = (chart / "values.yaml").read_text(encoding="utf-8")
    assert "\nflow: encode\n" in values
    (chart / "values.yaml").write_text(values.replace("\nflow: encode\n", "\nflow: two_executors\n"), encoding="utf-8")
    return chart
