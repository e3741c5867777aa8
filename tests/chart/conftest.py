"""Another Flow, of two executors: its export, a copy to change, and the chart with its topology."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.chart import CHART
from tests.chart.exporting import FLOW, export


@pytest.fixture(scope="session")
def export_of_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the export: `k8s/` and `topology.yaml`."""
    made = tmp_path_factory.mktemp("export")
    assert export(FLOW, made) == 0
    return made


@pytest.fixture(scope="session")
def topology(export_of_two: Path) -> dict[str, Any]:
    """Its topology."""
    return dict(yaml.safe_load((export_of_two / "topology.yaml").read_text(encoding="utf-8")))


@pytest.fixture
def changed_flow(tmp_path: Path) -> Path:
    """A copy of the Flow and what it names, to be changed."""
    shutil.copytree(FLOW.parent, tmp_path / "flow")
    return tmp_path / "flow" / FLOW.name


@pytest.fixture(scope="session")
def two_executors(export_of_two: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The chart, no template touched, with that topology."""
    chart = tmp_path_factory.mktemp("charts") / CHART.name
    shutil.copytree(CHART, chart)
    shutil.copy(export_of_two / "topology.yaml", chart / "files")
    return chart
