"""How benchmarks measure: ways take turns, ratios are taken within a turn, and a report says on which machine."""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tqdm import tqdm

from clip_image_flow.platform import cpus

RESULTS = Path(__file__).parent / "results"


@dataclass
class Turns:
    """What one way took in each turn.

    :param seconds: by the clock.
    :param cpu_seconds: of all cores. Where others use the machine too, it says more than the clock does.
    """

    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)

    def add(self, way: Callable[[], object]) -> None:
        """Run `way` once more."""
        cpu, clock = time.process_time(), time.perf_counter()
        way()
        self.seconds.append(time.perf_counter() - clock)
        self.cpu_seconds.append(time.process_time() - cpu)


def repeat(way: Callable[[], object], rounds: int) -> Turns:
    """`rounds` runs of one way, after one that does not count."""
    turns = Turns()
    way()
    for _ in range(rounds):
        turns.add(way)
    return turns


def take_turns(ways: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, Turns]:
    """Each way in each of `rounds` turns, after a turn that does not count.

    A machine whose speed drifts, or that others use too, is so fair to all of them.
    """
    turns = {name: Turns() for name in ways}
    with tqdm(total=(rounds + 1) * len(ways), unit="run", disable=not sys.stderr.isatty()) as progress:
        for turn in range(rounds + 1):
            for name, way in ways.items():
                (turns[name] if turn else Turns()).add(way)
                progress.update()
    return turns


def times_faster(slow: list[float], fast: list[float]) -> float:
    """How many times faster, from the seconds of both in the same turns: the median of the turns' ratios."""
    return statistics.median(a / b for a, b in zip(slow, fast, strict=True))


def percentile(values: list[float], share: float) -> float:
    """The value that `share` of `values` do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def machine() -> dict[str, Any]:
    """What the figures were measured on, and with."""
    versions = {"python": platform.python_version()}
    for package in ("torch", "openvino", "nncf", "jina", "Pillow", "numpy"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "cpu": _cpu_model(),
        "cpus": cpus.available(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "load_average": round(os.getloadavg()[0], 1),
        "versions": versions,
    }


def describe(about: Mapping[str, Any]) -> str:
    """One line of `machine()`."""
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    busy = f"; load average {about['load_average']}, so others used it too" if about["load_average"] > 3 else ""
    return f"{about['cpus']} CPUs ({about['cpu']}), {about['memory_gb']} GB; {versions}{busy}"


def save(name: str, figures: Mapping[str, Any]) -> Path:
    """Keep the figures of one benchmark with the machine they came from."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({"machine": machine(), **figures}, indent=2) + "\n", encoding="utf-8")
    return path


def exit_code(failed: bool, low: Sequence[str], otherwise: str) -> int:
    """1 for what failed, with a word on why.

    :param low: names of ratios that are below their floors.
    :param otherwise: what failed where there are none.
    """
    if failed:
        print(f"below its floor: {', '.join(low) or otherwise}", file=sys.stderr)
    return int(failed)


def rss_mb(pid: int) -> float:
    """Resident memory of one process, in MB."""
    fields = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def cpu_seconds(pid: int) -> float:
    """What one process has computed so far, all threads and modes."""
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
    return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
