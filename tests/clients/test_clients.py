"""The clients that people have, unchanged, each in an environment of its own: only the address is set."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from scripts import ROOT
from scripts.flow.running import RunningFlow
from tests.clients.conftest import PROGRAMS, TOKEN, clip_flow

RAW = ["clip_client_grpc", "clip_client_strings", "clip_client_rank"]
TEXTS_ALONE = ["haystack_openai", "langchain_openai_embeddings", "llama_index_openai"]
ALL = sorted(file.stem for file in PROGRAMS.glob("*_*.py") if file.stem != "__init__")
PICTURES = ROOT / "examples" / "pictures" / "heldout"
APPLE, OWL = ({"picture": str(PICTURES / f"{name}.png")} for name in ("red-apple", "owl"))
WORDS = [{"text": "a red apple"}, {"text": "חתול 🐈"}, {"text": "an owl"}]
MIXED = [{"text": "a red apple"}, APPLE, {"text": "an owl"}, OWL]

Run = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def embed(flow: RunningFlow) -> Callable[[dict[str, str]], np.ndarray]:
    """What `/embed` makes of an item."""

    def embed(item: dict[str, str]) -> np.ndarray:
        is_text = "text" in item
        body = item["text"].encode() if is_text else Path(item["picture"]).read_bytes()
        headers = {"Authorization": f"Bearer {TOKEN}", "Accept": "application/x-npy"}
        headers["Content-Type"] = "text/plain" if is_text else "image/png"
        answer = requests.post(f"{flow.http}/embed", body, headers=headers, timeout=30)
        assert answer.status_code == 200, answer.text
        return np.asarray(np.load(io.BytesIO(answer.content)))

    return embed


def test_there_are_programs_of_all_these_clients() -> None:
    assert {*RAW, *TEXTS_ALONE} <= set(ALL)
    assert len(ALL) >= 14


@pytest.mark.parametrize("program", ALL)
def test_each_gets_the_right_vectors_in_the_right_order(program: str, run: Run, embed: Any) -> None:
    items = WORDS if program in TEXTS_ALONE else MIXED
    ended = run(program, items)
    assert "error" not in ended, ended
    ours = np.array(ended["vectors"])
    theirs = np.array([embed(item) for item in items])
    if program == "clip_client_rank":  # the matches of the first item, best first
        units = theirs / np.linalg.norm(theirs, axis=1, keepdims=True)
        theirs = theirs[1:][np.argsort(-(units[1:] @ units[0]))]
    assert ours.shape == theirs.shape
    lengths = np.linalg.norm(ours, axis=1)
    cosines = (ours * theirs).sum(axis=1) / lengths / np.linalg.norm(theirs, axis=1)
    assert cosines.min() >= 0.99999
    if program not in RAW:
        assert np.abs(lengths - 1).max() <= 1e-4


@pytest.mark.parametrize("program", [program for program in ALL if program not in TEXTS_ALONE])
def test_a_broken_picture_is_the_clients_own_exception_with_our_words(program: str, run: Run, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(Path(APPLE["picture"]).read_bytes()[:300])
    ended = run(program, [{"text": "a red apple"}, {"picture": str(broken)}])
    assert ended["error"] != "ValueError"
    assert "the image cannot be decoded" in ended["message"]


@pytest.mark.parametrize("program", ALL)
def test_a_wrong_token_is_the_clients_own_exception(program: str, run: Run) -> None:
    ended = run(program, WORDS, token="wrong")
    # The other words are grpcio's, where a call ends while its client still sends.
    said = ("token", "internal error from core") if program.startswith("clip_client") else ("token",)
    assert any(words in ended["message"].lower() for words in said)


@pytest.mark.parametrize("program", ["openai_sync", "cohere_v2", "litellm_openai", "clip_client_strings"])
def test_another_model_is_refused_by_its_name_and_an_alias_is_not(program: str, run: Run) -> None:
    ended = run(program, WORDS, model="another-model")
    assert "no model 'another-model' here; this Flow serves 'emoji-tiny'" in ended["message"].replace("\\'", "'")
    assert len(run(program, WORDS, model="another-name")["vectors"]) == len(WORDS)


def test_clip_as_services_profile_is_made_of_the_routes(run: Run, tmp_path: Path) -> None:
    """It sends no token, whatever the client was given."""
    with clip_flow(tmp_path) as flow:
        assert "vectors" in run("clip_client_rank", MIXED, grpc=flow.grpc, profile=True)
