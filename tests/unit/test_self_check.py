"""An engine that drifts while it serves is found out, and its process ends with the reason; a healthy one goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from clip_image_flow import ImageEncoder, TextEncoder
from clip_image_flow.errors import ConfigError, QueueFull
from clip_image_flow.serving.self_check import KNOWN, REFERENCES, SelfCheck
from tests.conftest import save_random_clip

LONG = 3600.0
Forward = Callable[[np.ndarray], np.ndarray]


@pytest.fixture(params=[ImageEncoder, TextEncoder])
def encoder(request: pytest.FixtureRequest, tiny_model: Path) -> Iterator[Any]:
    encoder = request.param(str(tiny_model))
    yield encoder
    encoder.close()


def checked(encoder: Any, seconds: float = LONG, **more: Any) -> tuple[SelfCheck, list[str]]:
    told: list[str] = []
    return SelfCheck(encoder, seconds, told.append, **more), told


def break_engine(encoder: Any, monkeypatch: pytest.MonkeyPatch, change: Forward) -> None:
    """From now on the engine's rows are changed."""
    forward = encoder._batcher._forward
    monkeypatch.setattr(encoder._batcher, "_forward", lambda batch: change(forward(batch)))


def test_a_healthy_engine_passes(encoder: Any) -> None:
    check, told = checked(encoder)
    assert [check.check() for _ in range(5)] == [""] * 5
    check.close()
    assert told == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: rows + 0.3 * np.abs(rows).max() * (np.arange(rows.shape[1]) % 2), "cosines of 2 reference items"),
        (lambda rows: -rows, "-1.000000"),
        (lambda rows: np.zeros_like(rows), "0.000000"),
        (lambda rows: np.tile(np.linspace(1, 2, rows.shape[1], dtype=np.float32), (len(rows), 1)), "cosines of 2"),
        (lambda rows: rows * np.nan, "values that are not finite"),
    ],
    ids=["drifts", "turns round", "gives zeros", "gives one vector for all", "gives no numbers"],
)
def test_an_engine_that_fails_is_found_out(
    encoder: Any, monkeypatch: pytest.MonkeyPatch, change: Forward, said: str
) -> None:
    check, told = checked(encoder, seconds=0.05)
    assert check.check() == ""
    break_engine(encoder, monkeypatch, change)
    end = time.monotonic() + 20
    while not told and time.monotonic() < end:
        time.sleep(0.01)
    assert said in told[0]
    check.close()
    assert len(told) == 1


def test_noise_within_the_precision_is_no_drift(encoder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    check, _ = checked(encoder)
    break_engine(encoder, monkeypatch, lambda rows: rows * (1 + 1e-4 * np.sin(np.arange(rows.shape[1]))))
    assert check.check() == ""
    check.close()


def test_a_full_queue_is_no_fault(encoder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    check, _ = checked(encoder)

    def full(*_: Any, **__: Any) -> None:
        raise QueueFull("the queue holds 8 of 8 items")

    monkeypatch.setattr(encoder, "submit", full)
    assert check.check() == ""
    check.close()


def test_it_goes_through_the_queue_that_requests_go_through(encoder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    check, _ = checked(encoder)
    forward = encoder._batcher._forward
    monkeypatch.setattr(encoder._batcher, "_forward", lambda batch: gate.wait(20) and forward(batch))
    first = encoder.submit([REFERENCES[encoder.info["modality"]][0]])[0]
    thread = threading.Thread(target=check.check)
    thread.start()
    assert not first.done()
    gate.set()
    thread.join(20)
    assert first.done()
    check.close()


@pytest.mark.parametrize("backend", ["torch", "openvino"])
@pytest.mark.parametrize("kind", [ImageEncoder, TextEncoder])
def test_the_embedded_model_gives_the_vectors_that_are_known_of_it(kind: Any, backend: str) -> None:
    encoder = kind("emoji-tiny", backend=backend)
    check, _ = checked(encoder)
    assert encoder.info["checkpoint"] in json.loads(KNOWN.read_text())
    check.close()
    encoder.close()


def test_a_model_that_gives_others_does_not_start(encoder: Any, tmp_path: Path) -> None:
    wrong = np.ones((2, 32)).tolist()
    known = tmp_path / "references.json"
    known.write_text(json.dumps({encoder.info["checkpoint"]: {encoder.info["modality"]: wrong}}))
    with pytest.raises(ConfigError, match="embeddings differ from the known ones: cosines"):
        checked(encoder, known=known)


def test_weights_that_give_no_numbers_do_not_start(tmp_path: Path) -> None:
    state = torch.load(save_random_clip(tmp_path / "model.pt"), weights_only=True)
    state["text_projection"][0, 0] = float("inf")
    torch.save(state, tmp_path / "broken.pt")
    encoder = TextEncoder(str(tmp_path / "broken.pt"), backend="torch")
    with pytest.raises(
        ConfigError, match="the model cannot be used: the model returned values that are not finite in fp32"
    ):
        checked(encoder)
    encoder.close()


PROGRAM = """
import sys, time
from clip_text import CLIPTextEncoder
from clip_wire import termination
termination.TERMINATION_LOG = termination.Path(sys.argv[2])
served = CLIPTextEncoder(sys.argv[1], self_check_seconds=0.1)
forward = served._encoder._batcher._forward
served._encoder._batcher._forward = lambda batch: -forward(batch)
time.sleep(20)
"""


def test_the_process_of_an_engine_that_drifts_ends_with_the_reason(tiny_model: Path, tmp_path: Path) -> None:
    log = tmp_path / "termination-log"
    log.touch()
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, str(tiny_model), str(log)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == os.EX_SOFTWARE, ended.stderr
    assert "the self-check failed, this process ends: cosines of 2 reference items" in ended.stderr
    found = "cosines of 2 reference items to their known embeddings are -1.0"
    assert log.read_text().startswith(f"the self-check failed: {found}")


@pytest.mark.parametrize("seconds", [-1, "often", None, float("nan")])
def test_seconds_that_make_no_sense_are_named(make_executor: Callable[..., Any], seconds: Any) -> None:
    with pytest.raises(ConfigError, match="self_check_seconds must be a number of at least 0"):
        make_executor(self_check_seconds=seconds)


def test_it_can_be_left_out(make_executor: Callable[..., Any]) -> None:
    assert make_executor(self_check_seconds=0)._self_check is None
