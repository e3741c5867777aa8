"""Compares generated files with those on disk, and writes all of them or none."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path


def differences(texts: Mapping[Path, str], stale: list[Path]) -> str:
    """Return unified diffs from the disk to `texts`, empty if they are equal.

    :param texts: path -> content.
    :param stale: files that should not exist.
    """
    wanted = {**dict.fromkeys(stale, ""), **texts}
    return "".join(_difference(path, text) for path, text in sorted(wanted.items()))


def write(texts: Mapping[Path, str], stale: list[Path]) -> list[Path]:
    """Write changed files and remove stale ones.

    All files are written under temporary names before the first is renamed, so an error (a full disk, a read-only
    directory) leaves the old files unchanged.

    :param texts: path -> content.
    :param stale: files to remove.
    :return: files that changed.
    """
    changed = {path: text for path, text in texts.items() if _read(path) != text}
    written: list[tuple[Path, Path]] = []
    try:
        for path, text in changed.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f".{path.name}.{os.getpid()}")
            written.append((temporary, path))
            temporary.write_text(text, encoding="utf-8")
        for temporary, path in written:
            temporary.replace(path)
    finally:
        for temporary, _ in written:
            temporary.unlink(missing_ok=True)
    for path in stale:
        path.unlink()
        if not any(path.parent.iterdir()):
            path.parent.rmdir()
    return [*changed, *stale]


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _difference(path: Path, text: str) -> str:
    old, new = _read(path).splitlines(keepends=True), text.splitlines(keepends=True)
    return "".join(difflib.unified_diff(old, new, f"{path} (on disk)", f"{path} (as it should be)"))
