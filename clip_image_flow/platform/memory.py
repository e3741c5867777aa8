"""Amount of memory that this process may use: the limit of its cgroup, not the node's memory."""

from __future__ import annotations

import os
from pathlib import Path

from clip_image_flow.platform import cgroups

_FILES = ("memory.max", "memory.limit_in_bytes")  # of v2, of v1


def available(root: Path = cgroups.ROOT, own: Path = cgroups.OWN) -> int:
    """Memory in bytes: the smallest of the machine's memory and the limits of the cgroups."""
    limits = [cgroups.read(folder / name) for folder in cgroups.folders("memory", root, own) for name in _FILES]
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *(int(limit) for limit in limits if limit.isdecimal())])
