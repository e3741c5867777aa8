"""What runs behind the gateway: by whom a modality is encoded, and whether all run one checkpoint."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from clip_gateway.flow import checkpoints
from clip_gateway.flow.checkpoints import disagreement, read
from clip_gateway.flow.model import Model, of_each_modality
from clip_wire import termination
from clip_wire.info import Info, public_name


@pytest.mark.parametrize(
    ("name", "public"),
    [
        ("emoji-tiny", "emoji-tiny"),
        ("ViT-B/32", "ViT-B/32"),
        ("openai/clip-vit-base-patch32", "openai/clip-vit-base-patch32"),
        ("/models/private/mine.pt", "mine.pt"),
        ("/models/folder/", "folder"),
    ],
)
def test_a_model_file_goes_by_its_last_name(name: str, public: str) -> None:
    assert public_name(name) == public


def info(model: str, modality: str = "image", checkpoint: str = "", dim: int = 0) -> Info:
    return {"model": model, "dim": dim, "modality": modality, "checkpoint": checkpoint}


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ({}, {}),
        ({"ranker/rep-0": {"rank": 1}, "ranker/rep-1": None}, {}),
        ({"encoder/rep-0": {"model": "a", "dim": 32.0}}, info("a", dim=32)),
        ({"text": {"model": "a", "modality": "text", "checkpoint": "c0ffee"}}, info("a", "text", "c0ffee")),
    ],
)
def test_an_executor_says_what_it_runs(results: dict[str, Any], expected: Info) -> None:
    assert read(results) == expected


A, B = info("a", "image"), info("b", "text")


@pytest.mark.parametrize(
    ("infos", "expected"),
    [
        ({"named": {}, "other": {}}, {"image": Model("named")}),
        ({"encoder": info("/a/mine.pt", dim=32)}, {"image": Model("mine.pt", 32)}),
        ({"ranker": {}, "encoder": A}, {"image": Model("a")}),
        ({"one": A, "two": A}, {"image": Model("a")}),
        ({"encoder": A, "text": B}, {"image": Model("a", target="encoder$"), "text": Model("b", target="text$")}),
        (
            {"text": B, "encoder": A, "index": {}},
            {"text": Model("b", target="text$|index$"), "image": Model("a", target="encoder$|index$")},
        ),
    ],
)
def test_a_request_of_one_modality_goes_past_what_encodes_another(
    infos: dict[str, Info], expected: dict[str, Model]
) -> None:
    assert of_each_modality(infos) == expected


ONE, OTHER = "1" * 64, "2" * 64


@pytest.mark.parametrize(
    "infos",
    [
        {},
        {"encoder": info("a", "image", ONE, 8)},
        {"encoder": info("a", "image", ONE, 8), "text": info("/other/name.pt", "text", ONE, 8)},
        {"encoder": info("a", "image", ONE, 8), "text": info("b", "text", "", 9), "ranker": {}},
    ],
)
def test_executors_of_one_checkpoint_agree(infos: dict[str, Info]) -> None:
    assert disagreement(infos) == ""


@pytest.mark.parametrize("other", [info("/models/b.pt", "text", OTHER, 8), info("/models/b.pt", "text", ONE, 9)])
def test_executors_of_two_checkpoints_are_named(other: Info) -> None:
    reason = disagreement({"encoder": info("a", "image", ONE, 8), "text": other})
    assert f"encoder runs 'a' ({ONE[:12]}, dim 8), text runs 'b.pt' ({other['checkpoint'][:12]}," in reason


def test_the_reason_is_logged_once_and_told_where_an_operator_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    told = tmp_path / "termination-log"
    told.touch()
    monkeypatch.setattr(termination, "TERMINATION_LOG", told)
    monkeypatch.setattr(checkpoints.LOG, "propagate", True)
    infos = {"encoder": info("a", "image", ONE), "text": info("b", "text", OTHER)}
    agreement = checkpoints.Agreement()
    for _ in range(3):
        agreement.look(infos, started=True)
    assert told.read_text() == agreement.reason == disagreement(infos)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    agreement.look({**infos, "text": infos["encoder"]}, started=True)
    assert (told.read_text(), agreement.reason) == ("", "")


@pytest.mark.parametrize(("was_ready", "code"), [(False, 1), (True, 0)])
def test_a_gateway_that_has_never_been_ready_ends(was_ready: bool, code: int) -> None:
    program = f"""
from clip_gateway.flow import checkpoints
checkpoints.PATIENCE_SECONDS = 0
one, other = ({{"model": "a", "dim": 1, "checkpoint": name}} for name in "ab")
agreement = checkpoints.Agreement()
agreement.look({{"encoder": one}}, started={was_ready})
for _ in range(2):
    agreement.look({{"encoder": one, "text": other}}, started=True)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60, check=False)
    assert ended.returncode == code, ended.stderr
