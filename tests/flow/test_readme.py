"""The programs in the README and in the page on requests work as they stand there."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from scripts import ROOT
from scripts.flow.running import RunningFlow


def programs_in(page: str) -> list[str]:
    """The Python in `page`."""
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL)


SEARCH, ENCODE = programs_in("README.md")
(RANK,) = programs_in("docs/requests.md")
PICTURES = sorted((ROOT / "examples" / "pictures" / "heldout").glob("*.png"))


def lines_of(program: str, flow: RunningFlow) -> list[str]:
    """What the program prints when its Flow is `flow`."""
    here = program.replace("grpc://127.0.0.1:51000", flow.grpc)
    assert here != program, "the page's address is the Flow's default one"
    run = subprocess.run([sys.executable, "-c", here], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()


def test_the_first_program_finds_pictures_for_each_text(clip_flow: RunningFlow) -> None:
    apple, face = lines_of(SEARCH, clip_flow)
    assert apple.startswith("a red apple ['examples/pictures/heldout/red-apple.png', 'examples/")
    assert face.startswith("a smiling face ['examples/pictures/heldout/grinning-face.png', 'examples/")
    assert apple.count(".png") == face.count(".png") == 3


def test_the_second_program_prints_an_embedding_for_each_picture(clip_flow: RunningFlow) -> None:
    lines = lines_of(ENCODE, clip_flow)
    assert [line.split()[0] for line in lines if "(128,)" in line] == [picture.name for picture in PICTURES]


def test_the_program_for_rank_prints_scores_that_add_up_to_one(clip_flow: RunningFlow) -> None:
    (line,) = lines_of(RANK, clip_flow)
    ranked = re.findall(r"\('(an emoji of an? \w+)', (\d\.\d+)\)", line)
    assert [label for label, _ in ranked] == ["an emoji of a fox", "an emoji of an owl"]
    assert sum(float(score) for _, score in ranked) == pytest.approx(1, abs=1e-5)
