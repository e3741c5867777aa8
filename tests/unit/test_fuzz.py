"""What the fuzzer found stays mended, and a short sample of new mutants finds nothing."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from fuzz import __main__ as fuzzer
from fuzz import child
from fuzz.mutants import KINDS, mutant, valid
from fuzz.targets import TARGETS

SAMPLE = {"picture": 1500, "uri": 1000, "message": 600, "body": 1000, "form": 1000, "text": 1000}
SEED = 20261125
FOUND = sorted(path for path in fuzzer.CORPUS.glob("*/*") if path.suffix != ".txt")


@pytest.mark.parametrize("path", FOUND, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_what_was_found_is_mended(path: Path) -> None:
    assert fuzzer.failure_of(path.parent.name, path.read_bytes()) == ""


@pytest.mark.parametrize("kind", KINDS)
def test_a_sample_of_mutants_finds_nothing(kind: str) -> None:
    ends, found = fuzzer.batch(kind, SEED, 0, SAMPLE[kind])
    assert found == []
    assert ends.total() == SAMPLE[kind]
    assert len(ends) >= 2  # some are refused, in more than one way or beside those that are accepted


@pytest.mark.parametrize("kind", KINDS)
def test_valid_inputs_are_accepted(kind: str) -> None:
    accepted = [data for data in valid(kind) if TARGETS[kind](data) == "accepted"]
    assert len(accepted) > len(valid(kind)) / 2


def digests(kind: str) -> list[str]:
    return [hashlib.sha256(mutant(kind, 1, number)).hexdigest() for number in range(50)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_mutant_is_always_the_same_and_each_is_another(kind: str) -> None:
    program = f"from tests.unit.test_fuzz import digests; print(digests({kind!r}))"
    ended = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == str(digests(kind))
    assert len({mutant(kind, seed, n) for n in range(50) for seed in (1, 2)}) > 80


def test_what_comes_out_of_a_target_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: bytes) -> str:
        raise KeyError("data")

    monkeypatch.setitem(TARGETS, "uri", broken)
    assert str(child.run("uri", b"data:,")["failure"]).startswith("KeyError")


def test_a_mutant_that_ends_its_child_is_found_and_the_rest_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[int] = []

    def lines_of(kind: str, seed: str, first: str, count: str) -> list[dict[str, object]]:
        begun.append(int(first))
        if first == "0":
            return [{"begin": 0}, {"number": 0, "end": "accepted"}, {"begin": 1}, {"died": "ended by SIGSEGV"}]
        return [line for n in range(2, 4) for line in ({"begin": n}, {"number": n, "end": "accepted"})]

    monkeypatch.setattr(fuzzer, "lines_of", lines_of)
    ends, found = fuzzer.batch("uri", 1, 0, 4)
    assert (begun, found, ends["accepted"]) == ([0, 2], [(1, "ended by SIGSEGV")], 3)


def test_a_finding_is_made_smaller_as_long_as_it_fails_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzzer, "failure_of", lambda _, data: "KeyError" if b"bad" in data else "")
    assert fuzzer.smallest("uri", 40 * b"x" + b"bad" + 40 * b"y", "KeyError") == b"bad"
