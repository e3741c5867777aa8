"""Reads the queries of the chart's dashboard, and draws its panels as an image.

In a cluster Grafana draws the same queries. Here matplotlib draws lines, stacked areas, single numbers and tables, with
other colours and fonts.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.flow.names import CHART
from scripts.watch.prometheus import NAMESPACE, RELEASE, Prometheus, Series

FILE = CHART / "files" / "dashboards" / "clip-image-flow.json"
_COLOURS = {"green": "#3f9142", "orange": "#e08a1e", "red": "#c0392b", "blue": "#3567a8"}
_WIDTH = 24  # columns of Grafana's grid


@dataclass(frozen=True)
class Query:
    """One query of a panel; `legend` can contain names of labels, such as `{{tower}}`."""

    expression: str
    legend: str


@dataclass(frozen=True)
class Panel:
    """One panel.

    :param kind: `stat`, `timeseries`, `table` or `row`.
    :param place: x, y, width and height in units of Grafana's grid.
    :param steps: thresholds: (lowest value, colour), in ascending order.
    """

    title: str
    kind: str
    place: tuple[int, int, int, int]
    queries: list[Query]
    unit: str
    stacked: bool
    steps: list[tuple[float, str]]


def panels(window: str, file: Path = FILE) -> list[Panel]:
    """Return the panels, with the variables of their queries replaced by the values of `scripts.watch.prometheus`.

    :param window: window of rates, such as `30s`, for Grafana's `$__rate_interval`.
    :param file: dashboard as JSON.
    """
    values = {"$__rate_interval": window, "$namespace": NAMESPACE, "$release": RELEASE}
    return [_panel(one, values) for one in json.loads(file.read_text(encoding="utf-8"))["panels"]]


def _panel(one: dict[str, Any], values: dict[str, str]) -> Panel:
    queries = []
    for target in one.get("targets", ()):
        expression = target["expr"]
        for name, value in values.items():
            expression = expression.replace(name, value)
        queries.append(Query(expression, target["legendFormat"]))
    defaults = one.get("fieldConfig", {}).get("defaults", {})
    steps = [(step["value"] or -math.inf, step["color"]) for step in defaults.get("thresholds", {}).get("steps", ())]
    place = one["gridPos"]
    stacked = "stacking" in defaults.get("custom", {})
    where = (place["x"], place["y"], place["w"], place["h"])
    return Panel(one["title"], one["type"], where, queries, defaults.get("unit", ""), stacked, steps)


def legend(query: Query, series: Series) -> str:
    """Return the name of a series: the query's legend with the values of its labels."""
    text = query.legend
    for name, value in series.labels.items():
        text = text.replace("{{" + name + "}}", value)
    return text


def shown(value: float, unit: str) -> str:
    """Format a value with its unit, like Grafana."""
    if math.isnan(value):
        return "no data"
    if unit == "percentunit":
        return f"{100 * value:.4g} %"
    if unit == "s":
        return f"{1000 * value:.3g} ms" if value < 1 else f"{value:.3g} s"
    if unit == "bytes":
        return f"{value / 2**20:.3g} MiB" if value >= 2**20 else f"{value / 2**10:.3g} KiB"
    return f"{value:.3g}" + (" req/s" if unit == "reqps" else "")


def draw(source: Prometheus, seconds: float, output: Path, window: str = "15s") -> None:
    """Draw the dashboard.

    :param source: Prometheus to query.
    :param seconds: time range of the panels, in seconds before now.
    :param output: image file to write.
    :param window: window of rates, such as `15s`.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    every = panels(window)
    height = max(y + h for _, y, _, h in (panel.place for panel in every))
    figure = pyplot.figure(figsize=(16, 0.42 * height), facecolor="white")
    for panel in every:
        x, y, width, tall = panel.place
        box = (x / _WIDTH + 0.022, 1 - (y + tall) / height + 0.022, width / _WIDTH - 0.034, tall / height - 0.05)
        if panel.kind == "row":
            figure.text(0.01, 1 - (y + 0.75) / height, panel.title, fontsize=12, fontweight="bold")
        else:
            axes = figure.add_axes(box)
            axes.set_title(panel.title, fontsize=9, loc="left")
            {"stat": _stat, "table": _table, "timeseries": _lines}[panel.kind](axes, panel, source, seconds)
    figure.savefig(output, dpi=80)
    pyplot.close(figure)


def _stat(axes: Any, panel: Panel, source: Prometheus, _: float) -> None:
    found = source.query(panel.queries[0].expression)
    value = found[0].values[0][1] if found else math.nan
    colour = next((name for least, name in reversed(panel.steps) if value >= least), "blue")
    axes.set(xticks=[], yticks=[], facecolor=_COLOURS[colour])
    axes.text(0.5, 0.5, shown(value, panel.unit), ha="center", va="center", fontsize=20, color="white")


def _table(axes: Any, panel: Panel, source: Prometheus, _: float) -> None:
    axes.axis("off")
    found = source.query(panel.queries[0].expression)
    names = sorted({name for one in found for name in one.labels})
    rows = [[one.labels.get(name, "")[:12] for name in names] + [f"{one.values[0][1]:g}"] for one in found]
    if rows:
        table = axes.table(rows, colLabels=[*names, "processes"], loc="upper center", cellLoc="left")
        table.auto_set_font_size(False)
        table.set_fontsize(7)


def _lines(axes: Any, panel: Panel, source: Prometheus, seconds: float) -> None:
    end, step = time.time(), max(1.0, seconds / 240)
    drawn = [
        (legend(query, one), one.values)
        for query in panel.queries
        for one in source.query_range(query.expression, seconds, end, step)
    ]
    times = sorted({moment for _, values in drawn for moment, _ in values})
    most = max((value for _, values in drawn for _, value in values if not math.isnan(value)), default=0.0)
    word, scale = {"s": ("ms", 1e-3), "reqps": ("req/s", 1.0), "percentunit": ("share", 1.0)}.get(panel.unit, ("", 1.0))
    if panel.unit == "bytes":
        word, scale = ("MiB", 2.0**20) if most > 2**20 else ("KiB", 2.0**10)
    if panel.stacked and drawn:
        rows = [[_at(values, moment) / scale for moment in times] for _, values in drawn]
        axes.stackplot([moment - end for moment in times], rows, labels=[name for name, _ in drawn], alpha=0.6)
    else:
        for name, values in drawn:
            axes.plot([moment - end for moment, _ in values], [value / scale for _, value in values], label=name)
    axes.set_ylabel(word, fontsize=7)
    axes.tick_params(labelsize=7)
    axes.set_ylim(0, 1.35 * axes.get_ylim()[1])  # space for the legend
    axes.grid(alpha=0.3)
    if drawn:
        axes.legend(fontsize=6, loc="upper left", ncols=2)


def _at(values: Any, moment: float) -> float:
    found = dict(values).get(moment, 0.0)
    return 0.0 if math.isnan(found) else float(found)
