"""What the gateway and the Executors agree on."""

from __future__ import annotations

import inspect
import subprocess
import sys
import tomllib
from dataclasses import fields
from http import HTTPStatus
from pathlib import Path

import pytest

from clip_image_flow import ImageEncoder
from clip_image_flow.serving.parameters import EncodeParameters
from clip_wire import errors, parameters
from clip_wire.info import Info
from clip_wire.work import Work

ROOT = Path(__file__).parents[2]


def test_every_error_is_raised_by_one_side_and_has_its_status() -> None:
    named = {kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.RequestError)}
    both = [*errors.OF_EXECUTORS, *errors.OF_THE_GATEWAY]
    assert len(both) == len(set(both))
    assert set(both) == named - {errors.RequestError}
    for kind in both:
        assert HTTPStatus(kind.status) >= 400
        assert kind.title


def test_the_parameters_are_those_of_the_executor() -> None:
    reserved = {name.strip("_") for name in parameters.SET_BY_THE_GATEWAY if name != parameters.PINNED}
    assert {*parameters.KNOWN, *reserved} == {field.name for field in fields(EncodeParameters)}
    assert all(map(parameters.is_reserved, [*parameters.SET_BY_THE_GATEWAY, parameters.RESULTS]))
    assert not any(map(parameters.is_reserved, parameters.KNOWN))


def test_info_has_these_fields(encoder: ImageEncoder) -> None:
    assert encoder.info.keys() | {"version", "started", "modality", "context_length"} == Info.__annotations__.keys()


def test_it_imports_the_standard_library_alone() -> None:
    modules = [f"clip_wire.{path.stem}" for path in (ROOT / "clip_wire").glob("[a-z]*.py")]
    program = f"import {', '.join(modules)}"
    # -S: without the site-packages
    run = subprocess.run([sys.executable, "-S", "-c", program], cwd=ROOT, env={}, check=False, capture_output=True)
    assert run.returncode == 0, run.stderr.decode()


def test_both_distributions_have_one_version_and_name_every_package() -> None:
    library = tomllib.loads((ROOT / "pyproject.toml").read_text())
    gateway = tomllib.loads((ROOT / "gateway" / "pyproject.toml").read_text())
    assert library["project"]["version"] == gateway["project"]["version"]
    found = {
        ".".join(path.parent.relative_to(ROOT / "gateway").parts)
        for path in (ROOT / "gateway" / "clip_gateway").rglob("__init__.py")
    }
    assert set(gateway["tool"]["setuptools"]["packages"]) == found | {"clip_wire"}


def test_work_of_several_executors_adds_up() -> None:
    work = Work()
    work.add(Work(2, 1.0, 2.0, 3.0).numbers(), "1f")
    work.add(Work(1, 0.5, 0.5, 0.5).numbers(), "2f")
    work.add([4, 0, 0, 0], "1f")
    assert work.fields() == {
        "items": 7,
        "fingerprint": "1f, 2f",
        "waiting_ms": 1.5,
        "preparing_ms": 2.5,
        "computing_ms": 3.5,
    }
    assert str(work) == "7 items: 1.5 ms waiting, 2.5 preparing, 3.5 computing by 1f 2f"


@pytest.mark.parametrize("numbers", [[], [1.0], [1.0, 2.0, 3.0, 4.0, 5.0]])
def test_work_of_another_version_is_left_out(numbers: list[float]) -> None:
    work = Work()
    work.add(numbers, "")
    assert (work.items, work.fields(), str(work)) == (0, {}, "")
