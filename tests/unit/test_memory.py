"""Memory of a process: the smallest of the machine's and the limits of its cgroups."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from clip_image_flow.platform import memory

MACHINE = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("0::/\n", {"memory.max": "536870912\n"}, 512 << 20),
        ("0::/\n", {"memory.max": "max\n"}, MACHINE),
        ("0::/\n", {}, MACHINE),
        ("0::/pods/one\n", {"pods/one/memory.max": "max", "pods/memory.max": "1048576"}, 1 << 20),
        ("4:memory:/\n3:cpu:/\n", {"memory/memory.limit_in_bytes": "2097152"}, 2 << 20),
        ("4:memory:/\n", {"memory/memory.limit_in_bytes": "9223372036854771712"}, MACHINE),
    ],
    ids=["v2", "v2 without a limit", "no cgroup", "a parent's limit", "v1", "v1 without a limit"],
)
def test_memory(tmp_path: Path, own: str, files: dict[str, str], expected: int) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    (tmp_path / "own").write_text(own)
    assert memory.available(tmp_path, tmp_path / "own") == expected
