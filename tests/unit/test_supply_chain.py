"""What is installed and built from is named by a hash."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scripts import ROOT
from scripts.lock import PYTHONS, merged, pins

LOCKS = sorted((ROOT / "locks").glob("*.txt"))
DOCKERFILES = [ROOT / "executors" / "Dockerfile", ROOT / "gateway" / "Dockerfile"]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)
def test_every_pin_has_a_hash(lock: Path) -> None:
    found = pins(lock.read_text(encoding="utf-8"))
    assert found
    assert [pin for pin, hashes in found.items() if not re.search(r"--hash=sha256:[0-9a-f]{64}", hashes)] == []


def test_torch_is_locked_in_the_version_that_is_asked_for() -> None:
    asked = re.search(r"^torch==\S+", (ROOT / "locks" / "runtime.in").read_text(encoding="utf-8"), re.MULTILINE)
    assert asked
    for name in ("torch-cpu", "runtime-cuda"):
        assert asked[0] in pins((ROOT / "locks" / f"{name}.txt").read_text(encoding="utf-8"))


def test_both_images_have_one_base_and_it_has_a_digest() -> None:
    bases = {re.search(r"^ARG BASE=(.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)[1] for file in DOCKERFILES}  # type: ignore[index]
    (base,) = bases
    assert re.fullmatch(r"python:3\.11-slim-bookworm@sha256:[0-9a-f]{64}", base)


def test_dockerfiles_name_no_architecture() -> None:
    for file in DOCKERFILES:
        assert not re.search(r"amd64|x86_64|aarch64|arm64", file.read_text(encoding="utf-8"))


def test_what_one_python_alone_needs_has_a_marker_in_the_lock_of_all() -> None:
    common = {"a==1": "    --hash=sha256:1\n"}
    of = {
        "3.11": {**common, "b==1": "    --hash=sha256:2\n"},
        "3.12": {**common, "b==2": "    --hash=sha256:3\n"},
        "3.13": {**common, "b==2": "    --hash=sha256:3\n"},
    }
    text = merged(of)
    assert "\na==1 \\\n" in text
    assert '\nb==1 ; python_version == "3.11" \\\n' in text
    assert '\nb==2 ; python_version == "3.12" or python_version == "3.13" \\\n' in text
    assert pins(text).keys() == {"a==1", "b==1", "b==2"}


def test_the_pythons_of_the_locks_are_those_of_the_distributions() -> None:
    first, *_, last = PYTHONS
    following = f"{last.partition('.')[0]}.{int(last.partition('.')[2]) + 1}"
    for file in (ROOT / "pyproject.toml", ROOT / "gateway" / "pyproject.toml"):
        assert f'requires-python = ">={first},<{following}"' in file.read_text(encoding="utf-8")
    assert f"PYTHONS := {' '.join(reversed(PYTHONS))}\n" in (ROOT / "Makefile").read_text(encoding="utf-8")
