"""A set of texts against what lies on the disk: compared, or written all or none."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path


def differences(texts: Mapping[Path, str], stale: list[Path]) -> str:
    """Unified diffs from the disk to `texts`; empty when they agree. A file of `stale` should not be there."""
    wanted = {**dict.fromkeys(stale, ""), **texts}
    return "".join(_difference(path, text) for path, text in sorted(wanted.items()))


def write(texts: Mapping[Path, str], stale: list[Path]) -> list[Path]:
    """Write what changed and remove `stale`.

    All texts are on the disk before the first takes its place, so a failure (a full disk, a folder that may not be
    written) leaves the old files.

    :returns: the files that changed.
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
