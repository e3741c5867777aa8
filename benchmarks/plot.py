"""Draw the plot of docs/measurements.md from results/served.json: throughput and latency over callers.

python -m benchmarks.plot
"""

from __future__ import annotations

import json
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

from benchmarks.measure import RESULTS
from scripts import ROOT

PLOT = ROOT / "docs" / "speed.png"


def draw(load: dict[str, Any], title: str) -> None:
    """Draw a panel of images/s and one of p50 and p99, with a line per server."""
    figure, (rates, latencies) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for colour, (name, figures) in zip(("tab:blue", "tab:orange"), load.items(), strict=False):
        points = figures["callers"]
        callers = [point["callers"] for point in points]
        rates.plot(callers, [point["images_per_second"] for point in points], "o-", color=colour, label=name)
        latencies.plot(callers, [point["p50_ms"] for point in points], "o-", color=colour, label=f"{name}, p50")
        latencies.plot(callers, [point["p99_ms"] for point in points], "o--", color=colour, label="p99")
    for axes, label in ((rates, "images/s"), (latencies, "ms")):
        axes.set_xscale("log", base=2)
        axes.set_xticks(callers, [str(number) for number in callers])
        axes.set_xlabel("callers, one image a request")
        axes.set_ylabel(label)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7, frameon=False)
    figure.suptitle(title, fontsize=9)
    figure.savefig(PLOT, dpi=120)


def main() -> None:
    """Draw the results of `benchmarks.served --load`."""
    served = json.loads((RESULTS / "served.json").read_text(encoding="utf-8"))
    about = served["machine"]
    draw(served["load"], f"ViT-B/32, 640 x 427 JPEGs, one replica; {about['cpus']} CPUs, clients on the same ones")
    print(PLOT.relative_to(ROOT))


if __name__ == "__main__":
    main()
