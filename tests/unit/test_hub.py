"""Repositories of the Hugging Face hub: fetched once into the cache, readable afterwards without a network."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from safetensors.torch import save

from clip_image_flow import models
from clip_image_flow.errors import ModelError
from tests.conftest import WebServer
from tests.unit.test_huggingface import DIM, PREPROCESSOR, VISION, random_tower, vision_weights

NAME = "acme/clip-tiny"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """What `snapshot_download` asks of the hub, for one repository."""

    def __init__(self, web: WebServer, files: dict[str, bytes]) -> None:
        self.web = web
        self.files = files
        web.otherwise = self.answer

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = urlsplit(handler.path).path
        resolved = f"/{NAME}/resolve/{COMMIT}/"
        if path in (f"/api/models/{NAME}", *(f"/api/models/{NAME}/revision/{known}" for known in ("main", COMMIT))):
            siblings = [{"rfilename": name} for name in self.files]
            self.send(handler, 200, json.dumps({"id": NAME, "sha": COMMIT, "siblings": siblings}).encode())
        elif path.startswith(f"/api/models/{NAME}/tree/"):
            entries = [
                {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                for name, data in self.files.items()
            ]
            self.send(handler, 200, json.dumps(entries).encode())
        elif path.startswith(resolved) and path.removeprefix(resolved) in self.files:
            data = self.files[path.removeprefix(resolved)]
            self.send(handler, 200, data, {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": COMMIT})
        else:
            of_a_revision = path.startswith(f"/api/models/{NAME}/revision/")
            self.send(handler, 404, b"{}", {"X-Error-Code": f"{'Revision' if of_a_revision else 'Repo'}NotFound"})

    def send(
        self, handler: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str] | None = None
    ) -> None:
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            handler.send_header(name, value)
        handler.end_headers()
        if handler.command == "GET":
            handler.wfile.write(body)

    @property
    def fetched(self) -> list[str]:
        """The files whose contents went out."""
        return [asked.rpartition("/")[2] for asked in self.web.asked if asked.startswith(f"GET /{NAME}/resolve")]


@pytest.fixture
def hub(web_server: WebServer, monkeypatch: pytest.MonkeyPatch) -> Hub:
    monkeypatch.setenv("HF_ENDPOINT", web_server.url)
    monkeypatch.delenv("CLIP_CACHE", raising=False)
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    files = {
        "config.json": json.dumps({"model_type": "clip", "vision_config": VISION}).encode(),
        "preprocessor_config.json": json.dumps(PREPROCESSOR).encode(),
        "model.safetensors": save(vision_weights(random_tower())),
        "pytorch_model.bin": b"a pickle",
        "README.md": b"# CLIP",
    }
    return Hub(web_server, files)


def test_a_repository_is_fetched_without_what_is_not_needed(hub: Hub, tmp_path: Path) -> None:
    model = models.load(NAME, str(tmp_path))
    assert (model.name, model.dim) == (NAME, DIM)
    assert sorted(hub.fetched) == ["config.json", "model.safetensors", "preprocessor_config.json"]


def test_its_files_are_fetched_once(hub: Hub, tmp_path: Path) -> None:
    models.load(NAME, str(tmp_path))
    hub.web.asked.clear()
    assert models.load(NAME, str(tmp_path)).dim == DIM
    assert hub.fetched == []


def test_the_environment_names_the_cache(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIP_CACHE", str(tmp_path / "cache"))
    models.load(NAME)
    assert len(list((tmp_path / "cache").rglob("model.safetensors"))) == 1


def test_without_network_a_full_cache_is_enough(hub: Hub, tmp_path: Path) -> None:
    models.load(NAME, str(tmp_path))
    hub.web.close()
    assert models.load(NAME, str(tmp_path)).dim == DIM


def test_without_network_and_cache_it_is_said_what_to_do(hub: Hub, tmp_path: Path) -> None:
    hub.web.close()
    began = time.monotonic()
    with pytest.raises(ModelError, match=f"model '{NAME}' is not in {tmp_path} and cannot be downloaded") as raised:
        models.load(NAME, str(tmp_path))
    assert "give its folder as pretrained_model_name_or_path" in str(raised.value)
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("prefix", ["", "hf-hub:"])
def test_a_revision_is_asked_for_by_name(hub: Hub, tmp_path: Path, prefix: str) -> None:
    with pytest.raises(ModelError, match=f"model '{prefix}{NAME}@v2': '{NAME}' has no revision 'v2'"):
        models.load(f"{prefix}{NAME}@v2", str(tmp_path))
    assert hub.fetched == []


def test_a_commit_that_is_in_the_cache_asks_nobody(hub: Hub, tmp_path: Path) -> None:
    name = f"{NAME}@{COMMIT}"
    assert models.load(name, str(tmp_path)).name == name
    assert models.resolve(name, str(tmp_path)).fingerprint()
    hub.web.asked.clear()
    assert models.load(name, str(tmp_path)).dim == DIM
    assert hub.web.asked == []


def test_an_unknown_repository_is_named(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="model 'acme/unknown': the hub has no such repository, or HF_TOKEN may not"):
        models.load("acme/unknown", str(tmp_path))
    assert hub.fetched == []


def test_a_repository_without_safetensors_is_named(hub: Hub, tmp_path: Path) -> None:
    del hub.files["model.safetensors"]
    with pytest.raises(ModelError, match=r"has no model\.safetensors; pickled weights are not supported"):
        models.load(NAME, str(tmp_path))
    assert "pytorch_model.bin" not in hub.fetched


def login_page(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    handler.wfile.write(b"<html>Log in to this network</html>")


def nonsense(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"not http at all\r\n\r\n")


def forbidden(handler: BaseHTTPRequestHandler) -> None:
    handler.send_error(403)


@pytest.mark.parametrize("answer", [login_page, nonsense, forbidden])
def test_something_else_than_the_hub_is_a_model_error(
    hub: Hub, tmp_path: Path, answer: Callable[[BaseHTTPRequestHandler], None]
) -> None:
    hub.web.otherwise = answer
    with pytest.raises(ModelError, match=f"model '{NAME}'"):
        models.load(NAME, str(tmp_path))
