"""Programs that tests need and nothing downloads."""

from __future__ import annotations

import os
import shutil

import pytest


def tool(name: str) -> str:
    """The path of a program; a test that needs a missing one is skipped aloud, and fails in continuous integration."""
    if path := shutil.which(name):
        return path
    if os.environ.get("CI"):
        pytest.fail(f"{name} is not on the PATH")
    pytest.skip(f"{name} is not on the PATH")
