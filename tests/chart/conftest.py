"""The chart with the topology of another Flow."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from scripts import export_k8s
from tests.chart.chart import CHART, FIXTURES


@pytest.fixture(scope="session")
def two_executors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The chart, no template touched, with the topology of a Flow of two executors."""
    chart = tmp_path_factory.mktemp("charts") / CHART.name
    shutil.copytree(CHART, chart)
    flow = FIXTURES / "two_executors" / "flow.yml"
    options = ["--flow", flow, "--k8s", chart.parent / "k8s", "--topology", chart / "files" / "topology.yaml"]
    assert export_k8s.main([str(option) for option in options]) == 0
    return chart
