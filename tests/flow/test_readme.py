"""The README's programs work as they stand there."""

from __future__ import annotations

import re
import subprocess
import sys

from scripts.flow import ROOT, RunningFlow

SEARCH, ENCODE = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
PICTURES = sorted((ROOT / "examples" / "pictures" / "heldout").glob("*.png"))


def lines_of(program: str, flow: RunningFlow) -> list[str]:
    """What the program prints when its Flow is `flow`."""
    here = program.replace("grpc://127.0.0.1:51000", flow.grpc)
    assert here != program, "the README's address is the Flow's default one"
    run = subprocess.run([sys.executable, "-c", here], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()


def test_the_first_program_finds_pictures_for_each_text(clip_flow: RunningFlow) -> None:
    found = [re.fullmatch(r"(.*) \['(.*)', '(.*)', '(.*)'\]", line) for line in lines_of(SEARCH, clip_flow)]
    assert [match[1] for match in found if match] == ["a red apple", "a smiling face"]
    files = {str(picture.relative_to(ROOT)) for picture in PICTURES}
    assert all(len(set(match.groups()[1:]) & files) == 3 for match in found if match)


def test_the_second_program_prints_an_embedding_for_each_picture(clip_flow: RunningFlow) -> None:
    lines = lines_of(ENCODE, clip_flow)
    assert [line.split()[0] for line in lines if "(32,)" in line] == [picture.name for picture in PICTURES]
