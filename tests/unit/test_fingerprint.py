"""Fingerprints: what changes them, what does not, and that an answer names its own."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from clip_text import CLIPTextEncoder
from docarray import Document, DocumentArray

from clip_image_flow import ImageEncoder, TextEncoder, models
from clip_image_flow.errors import ModelChanged
from clip_image_flow.fingerprint import PREPARED, fingerprint
from tests.conftest import encoded, photo, save_random_clip

BLOB = encoded(photo())
WEIGHTS = "ab" * 32

Make = Callable[..., Any]


def of(kind: type[ImageEncoder] | type[TextEncoder], model: str, **options: Any) -> str:
    encoder = kind(model, **options)
    encoder.close()
    return str(encoder.info["fingerprint"])


def test_it_is_computed_as_documented() -> None:
    described = {"kind": "text", "precision": "fp32", "prepared": PREPARED["text"], "weights": WEIGHTS}
    text = json.dumps(described, sort_keys=True, separators=(",", ":"))
    assert fingerprint("text", WEIGHTS, "fp32") == hashlib.sha256(text.encode()).hexdigest()


def test_in_fp32_the_engines_have_one(tiny_model: Path) -> None:
    for kind in (ImageEncoder, TextEncoder):
        assert of(kind, str(tiny_model), backend="torch") == of(kind, str(tiny_model), backend="openvino")


def test_whatever_makes_other_vectors_has_another(tiny_model: Path, tmp_path: Path) -> None:
    other = save_random_clip(tmp_path / "other.pt", seed=1)
    found = [
        of(ImageEncoder, str(tiny_model)),
        of(ImageEncoder, str(tiny_model), decode="fast"),
        of(ImageEncoder, str(tiny_model), backend="torch", precision="bf16"),
        of(ImageEncoder, str(other)),
        of(TextEncoder, str(tiny_model)),
        of(TextEncoder, str(other)),
    ]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("options", [{"max_batch_size": 3}, {"queue_size": 7}, {"truncate": False}, {"threads": 1}])
def test_what_changes_no_vector_changes_no_fingerprint(tiny_model: Path, options: dict[str, Any]) -> None:
    assert of(TextEncoder, str(tiny_model), **options) == of(TextEncoder, str(tiny_model))


def test_a_copy_of_the_weights_has_the_same(tiny_model: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.pt"
    copy.write_bytes(tiny_model.read_bytes())
    assert of(TextEncoder, str(copy)) == of(TextEncoder, str(tiny_model))


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "ignore", "-m", "clip_image_flow.fingerprint", *arguments]
    return subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_command_computes_it_from_the_files(tiny_model: Path) -> None:
    expected = f"image  {of(ImageEncoder, str(tiny_model))}\ntext   {of(TextEncoder, str(tiny_model))}\n"
    assert run(str(tiny_model)).stdout == expected


def test_the_command_says_what_it_lacks(tmp_path: Path) -> None:
    ended = run("ViT-B/32", CLIP_CACHE=str(tmp_path))
    assert ended.returncode == 1
    assert ended.stderr == "error: the files of 'ViT-B/32' are not on this machine: start it once, or give their path\n"


def post(executor: Any, *docs: Document, endpoint: str = "encode", **parameters: Any) -> Any:
    return asyncio.run(getattr(executor, endpoint)(docs=DocumentArray(docs), parameters=parameters))


@pytest.mark.parametrize("endpoint", ["encode", "rank"])
def test_an_executor_says_what_made_its_vectors(make_executor: Make, tiny_model: Path, endpoint: str) -> None:
    executor = make_executor()
    made_by = post(executor, Document(blob=BLOB), Document(text="x"), endpoint=endpoint)
    assert made_by == {"model": "tiny.pt", "fingerprint": of(ImageEncoder, str(tiny_model))}
    assert post(executor, Document(text="x"), endpoint=endpoint) is None


def test_vectors_that_are_expected_otherwise_are_refused_before_any_work(
    make_executor: Make, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = make_executor(CLIPTextEncoder)
    own, other = of(TextEncoder, str(tiny_model)), fingerprint("text", WEIGHTS, "fp32")
    assert post(executor, Document(text="x"), expect_fingerprint=f"{other},{own}")["fingerprint"] == own
    monkeypatch.setattr(executor._encoder, "submit", None)
    told = f"vectors are made by {own} here, the model 'tiny.pt'; the request expects {other}"
    with pytest.raises(ModelChanged, match=told):
        post(executor, Document(text="x"), expect_fingerprint=other)


def test_what_is_left_alone_is_not_refused(make_executor: Make) -> None:
    executor = make_executor(CLIPTextEncoder)
    assert post(executor, Document(blob=BLOB), expect_fingerprint=fingerprint("text", WEIGHTS, "fp32")) is None


def test_files_are_hashed_once(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = models.resolve(str(tiny_model))
    first = checkpoint.fingerprint()
    monkeypatch.setattr(hashlib, "file_digest", None)
    assert checkpoint.fingerprint() == first
