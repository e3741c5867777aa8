"""Measures and reports: alternatives run alternately, ratios are computed per round, results name the machine."""

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
    """Times of one alternative, one value per round.

    :param seconds: wall-clock time, in seconds.
    :param cpu_seconds: CPU time of all cores, in seconds; more reliable if other programs use the machine.
    """

    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)

    def add(self, way: Callable[[], object]) -> None:
        """Run `way` once, and add its times."""
        cpu, clock = time.process_time(), time.perf_counter()
        way()
        self.seconds.append(time.perf_counter() - clock)
        self.cpu_seconds.append(time.process_time() - cpu)


def repeat(way: Callable[[], object], rounds: int) -> Turns:
    """Run one alternative `rounds` times, after a warm-up run."""
    turns = Turns()
    way()
    for _ in range(rounds):
        turns.add(way)
    return turns


def take_turns(ways: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, Turns]:
    """Run each alternative once per round, after a warm-up round.

    A drifting speed of the machine, or other programs on it, then affect all alternatives.

    :param ways: name -> alternative.
    :param rounds: number of rounds, without the warm-up round.
    """
    turns = {name: Turns() for name in ways}
    with tqdm(total=(rounds + 1) * len(ways), unit="run", disable=not sys.stderr.isatty()) as progress:
        for turn in range(rounds + 1):
            for name, way in ways.items():
                (turns[name] if turn else Turns()).add(way)
                progress.update()
    return turns


def times_faster(slow: list[float], fast: list[float]) -> float:
    """Return how many times faster `fast` is than `slow`: the median of the rounds' ratios.

    :param slow: seconds per round.
    :param fast: seconds per round, in the same rounds.
    """
    return statistics.median(a / b for a, b in zip(slow, fast, strict=True))


def percentile(values: list[float], share: float) -> float:
    """Return a percentile of `values`; `share` is from 0 to 1."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def machine() -> dict[str, Any]:
    """Return the machine and the versions that the figures are measured with."""
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
    """Return a line of text with the values of `machine()`."""
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    busy = f"; load average {about['load_average']}, so others used it too" if about["load_average"] > 3 else ""
    return f"{about['cpus']} CPUs ({about['cpu']}), {about['memory_gb']} GB; {versions}{busy}"


def save(name: str, figures: Mapping[str, Any]) -> Path:
    """Save the figures of a benchmark, with the machine, in benchmarks/results/NAME.json; return the path."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({"machine": machine(), **figures}, indent=2) + "\n", encoding="utf-8")
    return path


def exit_code(failed: bool, low: Sequence[str], otherwise: str) -> int:
    """Return the exit code, 1 if a check failed; print what failed to standard error.

    :param failed: whether a check failed.
    :param low: names of ratios that are below their minimums.
    :param otherwise: name of what failed if `low` is empty.
    """
    if failed:
        print(f"below its floor: {', '.join(low) or otherwise}", file=sys.stderr)
    return int(failed)


def rss_mb(pid: int) -> float:
    """Return the resident memory of a process, in MB."""
    fields = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds that a process has used so far, in all threads, in user and kernel mode."""
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
    return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
