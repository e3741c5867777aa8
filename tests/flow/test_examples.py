"""Every example runs against a Flow as its text says, and prints what it is there to show."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.flow import ROOT, RunningFlow

EXAMPLES = sorted((ROOT / "examples").glob("[0-9]*.*"))
BY_HTTP = {"02_http.py", "07_openai_client.py", "08_curl.sh"}
PICTURES = ROOT / "examples" / "pictures" / "heldout"

# What each must print, as regular expressions; the model of the tests has 32 dimensions.
EXPECTED = {
    "01_encode_pictures.py": [
        r"^airplane\.png +float32 \(32,\)  \[[+-]\d+\.\d{3}, .*\.\.\.\]$",
        r"^wrapped-gift\.png ",
    ],
    "02_http.py": [r"^Jina's Client: \(32,\) \[", r"^plain JSON, normalised: \(32,\) .* length 1\.0$"],
    "03_chunks.py": [
        r"^traversal_paths '@r'\n +page +\(2, 32\)\n +chunk image +None\n +chunk text +None\n +chunk image +None$",
        r"^traversal_paths '@c'\n +page +None\n +chunk image +\(32,\)\n +chunk text +None\n +chunk image +\(32,\)$",
        r"^traversal_paths '@r,c'\n +page +\(2, 32\)\n +chunk image +\(32,\)\n +chunk text +None\n",
    ],
    "04_skip_bad_pictures.py": [
        r"^refused: BadDocument: document 'truncated': ",
        r"^refused: BadParameter: batch_size ",
        r"^whole: \(32,\), length 1\.0000$",
        r"^truncated: BadDocument: ",
        r"^not a picture: UnsupportedMedia: ",
    ],
    "05_find_similar.py": [
        r"^most like tiger-face\.png, of 48 pictures:\n +1\.000  tiger-face\.png\n(?: +\d\.\d{3}  .*\n){5}"
    ],
    "06_without_jina.py": [r"'dim': 32, ", r"^48 pictures -> float32 \(48, 32\)$"],
    "07_openai_client.py": [r"^tiny\.pt  fox\.png +\(32,\)\ntiny\.pt  owl\.png +\(32,\)$"],
    "08_curl.sh": [
        r'^JSON:\n\{"embedding":\[-?\d\.\d+',
        r"^a NumPy file:\napplication/x-npy, 256 bytes$",
        r'^what is wrong with a text:\n\{"type":"urn:clip-image-flow:problem:UnsupportedMedia"',
    ],
}


def run(example: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash" if example.suffix == ".sh" else sys.executable, str(example), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
        check=False,
    )


def test_every_example_has_an_expectation() -> None:
    assert [example.name for example in EXAMPLES] == sorted(EXPECTED)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.stem)
def test_example(flow: RunningFlow, example: Path) -> None:
    host = flow.http if example.name in BY_HTTP else flow.grpc
    result = run(example, *([] if example.suffix == ".sh" else ["--host"]), host, CLIP_MODEL=flow.model)
    assert result.returncode == 0, result.stderr
    for pattern in EXPECTED[example.name]:
        assert re.search(pattern, result.stdout, re.MULTILINE), f"{pattern}\n\nnot in\n\n{result.stdout}"


def test_own_pictures(flow: RunningFlow) -> None:
    example = ROOT / "examples" / "01_encode_pictures.py"
    result = run(example, "--host", flow.grpc, str(PICTURES / "fox.png"), str(PICTURES / "owl.png"))
    assert result.returncode == 0, result.stderr
    assert {line.split()[0] for line in result.stdout.splitlines()} == {"fox.png", "owl.png"}
