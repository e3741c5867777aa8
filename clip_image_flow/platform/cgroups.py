"""Finds the cgroups (v1 or v2) that limit this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")


def folders(controller: str, root: Path = ROOT, own: Path = OWN) -> Iterator[Path]:
    """The folder of the process' cgroup for `controller` (`cpu`, `memory`), and its parent folders.

    A container sees its own cgroup at `root`; the path of a process outside of a container is in `own`.
    """
    for line in (read(own) or "0::/").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        base = root / controller if controllers else root
        folder = base / path.lstrip("/")
        while folder.is_relative_to(base):
            yield folder
            folder = folder.parent


def read(file: Path) -> str:
    """Content of a kernel file; "" if it is missing."""
    try:
        return file.read_text().strip()
    except OSError:
        return ""
