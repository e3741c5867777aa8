"""CPUs of a process: the smallest of its affinity mask and its cgroups' quotas."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from clip_image_flow.platform import cpus

NODE = 64


@pytest.fixture(autouse=True)
def a_large_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(NODE)), raising=False)


def counted(root: Path, own: str, files: dict[str, str]) -> int:
    """`cpus.available` where /sys/fs/cgroup holds `files` and /proc/self/cgroup the text `own`."""
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    (root / "own").write_text(own)
    return cpus.available(root, root / "own")


@pytest.mark.parametrize(
    ("cpu_max", "expected"),
    [
        ("200000 100000\n", 2),
        ("150000 100000\n", 2),
        ("100000 100000\n", 1),
        ("50000 100000\n", 1),
        ("1000 100000\n", 1),
        ("max 100000\n", NODE),
        ("12800000 100000\n", NODE),
    ],
    ids=["2", "1.5 rounds up", "1", "half", "a hundredth", "no limit", "more than the node has"],
)
def test_cgroup_v2_in_a_container(tmp_path: Path, cpu_max: str, expected: int) -> None:
    assert counted(tmp_path, "0::/\n", {"cpu.max": cpu_max}) == expected


def test_cgroup_v2_of_a_process_in_a_slice(tmp_path: Path) -> None:
    files = {"app.slice/cpu.max": "300000 100000"}
    assert counted(tmp_path, "0::/app.slice\n", files) == 3


@pytest.mark.parametrize(
    ("inner", "outer", "expected"),
    [("400000 100000", "200000 100000", 2), ("200000 100000", "400000 100000", 2), ("max 100000", "300000 100000", 3)],
    ids=["parent is tighter", "child is tighter", "only the parent limits"],
)
def test_nested_quotas_the_tightest_counts(tmp_path: Path, inner: str, outer: str, expected: int) -> None:
    files = {"pods/one/cpu.max": inner, "pods/cpu.max": outer}
    assert counted(tmp_path, "0::/pods/one\n", files) == expected


def test_the_quota_of_another_group_does_not_count(tmp_path: Path) -> None:
    files = {"mine/cpu.max": "max 100000", "other/cpu.max": "100000 100000"}
    assert counted(tmp_path, "0::/mine\n", files) == NODE


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("200000", 2), ("50000", 1), ("-1", NODE)],
    ids=["2", "half", "no limit"],
)
@pytest.mark.parametrize("own", ["4:cpu,cpuacct:/\n", "11:cpuset:/x\n4:cpu:/\n0::/y\n"], ids=["combined", "alone"])
def test_cgroup_v1_in_a_container(tmp_path: Path, own: str, quota: str, expected: int) -> None:
    files = {"cpu/cpu.cfs_quota_us": quota + "\n", "cpu/cpu.cfs_period_us": "100000\n"}
    assert counted(tmp_path, own, files) == expected


def test_cgroup_v1_nested_quotas(tmp_path: Path) -> None:
    files = {
        "cpu/pods/one/cpu.cfs_quota_us": "-1",
        "cpu/pods/one/cpu.cfs_period_us": "100000",
        "cpu/pods/cpu.cfs_quota_us": "250000",
        "cpu/pods/cpu.cfs_period_us": "100000",
    }
    assert counted(tmp_path, "4:cpu,cpuacct:/pods/one\n", files) == 3


@pytest.mark.parametrize(
    "own", ["0::/\n", "0::/gone\n", "4:cpu:/gone\n", ""], ids=["v2", "v2 gone", "v1 gone", "empty"]
)
def test_without_cgroup_files_the_affinity_mask_counts(tmp_path: Path, own: str) -> None:
    assert counted(tmp_path, own, {}) == NODE


def test_without_procfs_the_root_quota_counts(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("300000 100000")
    assert cpus.available(tmp_path, tmp_path / "missing") == 3


def test_the_affinity_mask_may_be_the_tightest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {5}, raising=False)
    assert counted(tmp_path, "0::/\n", {"cpu.max": "400000 100000"}) == 1


def test_this_machine_has_at_least_one_cpu() -> None:
    assert 1 <= cpus.available() <= NODE


@pytest.mark.parametrize("threads", [1, 2])
def test_openblas_and_openmp_follow_though_numpy_is_loaded_before(threads: int) -> None:
    program = f"""
import numpy, os, sys
sys.modules["torch"] = None  # sets its own number
from threadpoolctl import threadpool_info
from clip_image_flow.platform import cpus
cpus.limit_libraries({threads})
print([pool["num_threads"] for pool in threadpool_info()], os.environ["OMP_NUM_THREADS"])
"""
    environment = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    output = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60, check=True
    ).stdout
    assert output.split() == [f"[{threads}]", f"{threads}"]
