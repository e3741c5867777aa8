"""The two halves of a model behind one gateway: one of them away, or of another checkpoint."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from docarray import Document
from jina import Client

from scripts import ROOT
from scripts.processes import free_ports, kill
from tests.conftest import encoded, photo, save_random_clip
from tests.flow.asking import IMAGE, check_problem, embeddings, send, uri
from tests.flow.gateways import NOT_SERVING, SERVING, Gateway, executor, gateway, wait_for

TEXT = {"Content-Type": "text/plain"}
PICTURE = encoded(photo(60, 60, seed=1))
FOX = uri(photo(48, 48, seed=3))


@contextlib.contextmanager
def half(kind: str, model: Path, port: int, folder: Path) -> Iterator[Any]:
    """One executor of the clip Flow, as a process of its own."""
    uses = folder / f"{kind}-{model.stem}.yml"
    uses.write_text(
        f"jtype: CLIP{kind.capitalize()}Encoder\n"
        f"with: {{pretrained_model_name_or_path: {model}}}\n"
        f"py_modules: [{ROOT / 'executors' / f'clip_{kind}' / f'clip_{kind}.py'}]\n"
    )
    with executor(port, folder / f"{kind}-{model.stem}.log", uses) as process:
        yield process


def embed(running: Gateway, headers: dict[str, str], data: bytes) -> int:
    return send(running.http, "/embed", data=data, headers=headers).status_code


def test_a_life_of_two_halves(tiny_model: Path, tmp_path: Path) -> None:
    """One story, since starting an executor takes seconds: both, one killed, one of another model, the other killed."""
    ports = free_ports(2)
    other = save_random_clip(tmp_path / "other.pt", seed=7)
    with contextlib.ExitStack() as stack:
        running = stack.enter_context(
            gateway({"encoder": ports[0], "text": ports[1]}, tmp_path / "gateway.log", {"time_limit_seconds": 20})
        )

        def until(condition: Any) -> None:
            wait_for(condition, running.log, running.process)

        encoder = stack.enter_context(half("image", tiny_model, ports[0], tmp_path))
        with half("text", tiny_model, ports[1], tmp_path) as text:
            until(lambda: running.status("/startupz") == 200)
            assert (embed(running, IMAGE, PICTURE), embed(running, TEXT, b"a fox")) == (200, 200)
            assert send(running.http, **embeddings("a fox", FOX)).status_code == 200
            kill(text)

            for _ in range(5):
                assert embed(running, IMAGE, PICTURE) == 200
                assert send(running.http, **embeddings(FOX)).status_code == 200
            for lost in (embeddings("a fox"), embeddings(FOX, "a fox"), embeddings("a fox", FOX)):
                check_problem(send(running.http, **lost), 503, "Unavailable", "no answer from text; try again")
            assert running.status("/readyz") == 503

        with half("text", other, ports[1], tmp_path):
            until(lambda: "reason" in requests.get(running.http + "/readyz", timeout=10).json())
            for path in ("/readyz", "/startupz"):
                answer = requests.get(running.http + path, timeout=10)
                assert answer.status_code == 503
                assert "encoder runs 'tiny.pt'" in answer.json()["reason"]
                assert "text runs 'other.pt'" in answer.json()["reason"]
            reason = answer.json()["reason"]
            check_problem(send(running.http, "/embed", data=PICTURE, headers=IMAGE), 503, "Unavailable", reason)
            for protocol in ("grpc", "http"):
                with pytest.raises(ConnectionError):
                    Client(host=getattr(running, protocol)).post("/", Document(text="a fox"))
                assert not Client(host=getattr(running, protocol)).is_flow_ready()
            until(lambda: running.health("encoder") == NOT_SERVING)
            assert running.status("/healthz") == 200
            assert running.log_text().count(reason) == 1

        with half("text", tiny_model, ports[1], tmp_path):
            until(lambda: running.status("/readyz") == 200)
            until(lambda: running.health("encoder") == running.health("text") == SERVING)
            assert running.status("/startupz") == 200
            assert send(running.http, **embeddings("a fox", FOX)).status_code == 200
            kill(encoder)

            assert embed(running, TEXT, b"a fox") == 200
            assert embed(running, IMAGE, PICTURE) == 503
