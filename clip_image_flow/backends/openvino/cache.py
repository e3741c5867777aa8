"""Cache of converted models on disk.

Each model is a folder `<name>/`, which is written under a temporary name and then renamed. It contains a list of its
files' SHA-256 (`sha256sum -c SHA256SUMS` verifies it too). A folder that does not match its list is not used.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import tempfile
from collections.abc import Callable
from pathlib import Path

logger = logging.getLogger(__name__)
SUMS = "SHA256SUMS"
"""File in each folder that lists the SHA-256 of the other files."""


class ConvertedModels:
    """The converted models in `folder`, which need not exist and need not be writable."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, name: str) -> Path | None:
        """The folder of the model called `name`; None if it is missing or corrupt."""
        folder = self._folder / name
        if not folder.is_dir():
            return None
        if not _is_whole(folder):
            logger.warning("the converted model in %s is broken and is not used", folder)
            return None
        return folder

    def keep(self, name: str, write: Callable[[Path], None]) -> Path | None:
        """Store a model.

        :param name: name of its folder.
        :param write: function that writes the model's files into a folder.
        :return: folder of the model, or None if it cannot be stored: no permission, no space.
        """
        folder = self._folder / name
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self._folder, prefix=".new-") as parent:
                new, old = Path(parent) / "new", Path(parent) / "old"
                new.mkdir()
                write(new)
                sums = [f"{_sha256(file)}  {file.name}\n" for file in sorted(new.iterdir())]
                (new / SUMS).write_text("".join(sums), encoding="ascii")
                with contextlib.suppress(FileNotFoundError):
                    folder.rename(old)  # a corrupt one, or another replica's, whose memory maps outlive the rename
                new.rename(folder)
        except (OSError, RuntimeError) as error:  # RuntimeError: OpenVINO's for a full disk
            if (kept := self.find(name)) is None:  # otherwise another replica was faster
                logger.info("the converted model is not kept in %s: %s", self._folder, error)
            return kept
        return folder


def _is_whole(folder: Path) -> bool:
    try:
        lines = (folder / SUMS).read_text(encoding="ascii").splitlines()
        listed = [line.split("  ", 1) for line in lines]
        return bool(listed) and all(_sha256(folder / file) == wanted for wanted, file in listed)
    except (OSError, ValueError):
        return False


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
