"""The README's program works as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys

from scripts.flow import ROOT, RunningFlow


def test_the_program_in_the_readme_prints_an_embedding_for_each_picture(flow: RunningFlow) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    here = program.replace("grpc://127.0.0.1:51000", flow.grpc)
    assert here != program, "the README's address is the Flow's default one"
    run = subprocess.run([sys.executable, "-c", here], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    pictures = sorted((ROOT / "examples" / "pictures" / "heldout").glob("*.png"))
    assert [line.split()[0] for line in run.stdout.splitlines() if "(32,)" in line] == [p.name for p in pictures]
