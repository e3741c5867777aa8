"""Number of CPUs that this process may use: the quota of its cgroup, not the node's core count."""

from __future__ import annotations

import math
import os
from pathlib import Path

from threadpoolctl import threadpool_limits

from clip_image_flow.platform import cgroups


def available(root: Path = cgroups.ROOT, own: Path = cgroups.OWN) -> int:
    """Number of CPUs, at least 1: the smallest of the affinity mask and the quotas of the cgroups (v1 or v2)."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [quota for folder in cgroups.folders("cpu", root, own) for quota in _quota(folder)]
    return max(1, min([allowed, *(math.ceil(quota) for quota in quotas)]))


def _quota(folder: Path) -> list[float]:
    """CPU quota of a cgroup, as a list of one number; empty if it has no limit.

    https://docs.kernel.org/admin-guide/cgroup-v2.html, "cpu.max"; v1: cpu.cfs_quota_us over cpu.cfs_period_us.
    """
    if limit := cgroups.read(folder / "cpu.max"):
        quota, period = limit.split()
    else:
        quota = cgroups.read(folder / "cpu.cfs_quota_us") or "-1"
        period = cgroups.read(folder / "cpu.cfs_period_us") or "0"
    return [int(quota) / int(period)] if quota not in ("max", "-1") else []


def limit_libraries(threads: int) -> None:
    """Limit OpenBLAS and OpenMP, which would use as many threads as the node has cores, to `threads`.

    Libraries that are not loaded yet read the environment variables, which are set unless they exist; numpy's OpenBLAS,
    which Jina has already loaded, is limited through threadpoolctl.
    """
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(variable, str(threads))
    threadpool_limits(threads, user_api="blas")  # no context manager: the limit stays
