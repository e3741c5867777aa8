"""Every example runs against a Flow as its text says, and prints what it is there to show."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import ROOT
from scripts.flow.running import RunningFlow

EXAMPLES = sorted((ROOT / "examples").glob("[0-9]*.*"))
BY_HTTP = {"02_http.py", "07_openai_client.py", "08_curl.sh"}
PICTURES = ROOT / "examples" / "pictures" / "heldout"

# What each must print, as regular expressions; the model has 128 dimensions.
EXPECTED = {
    "01_encode_pictures.py": [
        r"^airplane\.png +float32 \(128,\)  \[[+-]\d+\.\d{3}, .*\.\.\.\]$",
        r"^wrapped-gift\.png ",
    ],
    "02_http.py": [r"^Jina's Client: \(128,\) \[", r"^plain JSON, normalised: \(128,\) .* length 1\.0$"],
    "03_chunks.py": [
        r"^traversal_paths '@r'\n +page +\(2, 128\)\n +chunk image +None\n +chunk text +None\n +chunk image +None$",
        r"^traversal_paths '@c'\n +page +None\n(?: +chunk (?:image|text) +\(128,\)\n){3}",
        r"^traversal_paths '@r,c'\n +page +\(2, 128\)\n(?: +chunk (?:image|text) +\(128,\)\n){3}",
    ],
    "04_skip_bad_pictures.py": [
        r"^refused: BadDocument: document 'truncated': ",
        r"^refused: BadParameter: batch_size ",
        r"^whole: \(128,\), length 1\.0000$",
        r"^truncated: BadDocument: ",
        r"^not a picture: UnsupportedMedia: ",
    ],
    "05_find_similar.py": [
        r"^most like tiger-face\.png, of 48 pictures:\n +1\.000  tiger-face\.png\n(?: +\d\.\d{3}  .*\n){5}"
    ],
    "06_without_jina.py": [r"'dim': 128, ", r"^48 pictures -> float32 \(48, 128\)$"],
    "07_openai_client.py": [r"^emoji-tiny  fox\.png +\(128,\)\nemoji-tiny  owl\.png +\(128,\)$"],
    "08_curl.sh": [
        r'^JSON:\n\{"embedding":\[-?\d\.\d+',
        r"^a NumPy file:\napplication/x-npy, 640 bytes$",
        r'^what is wrong with bytes that are no picture:\n\{"type":"urn:clip-image-flow:problem:UnsupportedMedia"',
    ],
    "09_search_by_words.py": [
        rf"^{words}, among 48 pictures:\n +0\.\d+  heldout/{first}\.png\n(?: +0\.\d+  heldout/[a-z-]+\.png\n){{4}}"
        for words, first in (
            ("a red apple", "red-apple"),
            ("a smiling face", "grinning-face"),
            ("a sailboat", "sailboat"),
        )
    ],
    "10_zero_shot_labels.py": [
        r"^fox\.png:\n +9\d\.\d%  cosine 0\.\d{3}  an emoji of a fox\n"
        r"(?: +\d\.\d%  cosine -?\d\.\d{3}  an emoji of an? (?:owl|frog|rocket)\n){3}$",
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
def test_example(clip_flow: RunningFlow, example: Path) -> None:
    host = clip_flow.http if example.name in BY_HTTP else clip_flow.grpc
    result = run(example, *([] if example.suffix == ".sh" else ["--host"]), host, CLIP_MODEL=clip_flow.model)
    assert result.returncode == 0, result.stderr
    for pattern in EXPECTED[example.name]:
        assert re.search(pattern, result.stdout, re.MULTILINE), f"{pattern}\n\nnot in\n\n{result.stdout}"


def test_own_pictures(clip_flow: RunningFlow) -> None:
    example = ROOT / "examples" / "01_encode_pictures.py"
    result = run(example, "--host", clip_flow.grpc, str(PICTURES / "fox.png"), str(PICTURES / "owl.png"))
    assert result.returncode == 0, result.stderr
    assert {line.split()[0] for line in result.stdout.splitlines()} == {"fox.png", "owl.png"}


def test_own_folder_is_searched_by_own_words(clip_flow: RunningFlow, tmp_path: Path) -> None:
    (tmp_path / "album").mkdir()
    (tmp_path / "album" / "fox.png").write_bytes((PICTURES / "fox.png").read_bytes())
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    (tmp_path / "notes.txt").write_text("no picture either")
    example = ROOT / "examples" / "09_search_by_words.py"
    result = run(example, "--host", clip_flow.grpc, str(tmp_path), "a fox", "ein Fuchs")
    assert result.returncode == 0, result.stderr
    assert re.sub(r"-?\d\.\d{3}", "cosine", result.stdout).splitlines() == [
        "a fox, among 1 pictures:",
        "    cosine  album/fox.png",
        "ein Fuchs, among 1 pictures:",
        "    cosine  album/fox.png",
    ]


def test_a_folder_without_pictures_is_named(tmp_path: Path) -> None:
    result = run(ROOT / "examples" / "09_search_by_words.py", str(tmp_path), "a fox")
    assert result.returncode == 2
    assert f"no pictures in {tmp_path}" in result.stderr


def test_own_labels_get_probabilities(clip_flow: RunningFlow) -> None:
    example = ROOT / "examples" / "10_zero_shot_labels.py"
    result = run(example, "--host", clip_flow.http, str(PICTURES / "owl.png"), "an owl", "a frog")
    assert result.returncode == 0, result.stderr
    title, *lines = result.stdout.splitlines()
    assert title == "owl.png:"
    assert {line.split("  ")[-1] for line in lines} == {"an owl", "a frog"}
    probabilities = [float(line.split("%")[0]) for line in lines]
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(100, abs=0.2)
