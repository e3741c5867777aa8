"""OpenAI's names: fetched once into a cache, checked, and each failure said readably."""

from __future__ import annotations

import hashlib
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from filelock import FileLock

from clip_image_flow import models
from clip_image_flow.errors import ModelError
from clip_image_flow.models.openai_clip import clip
from tests.conftest import WebServer
from tests.unit.hubs import login_page, nonsense

# `clip` itself warns of a file that it fetches again.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")


class Store:
    """OpenAI's server, with random weights for ViT-B/32."""

    def __init__(self, web: WebServer, weights: bytes) -> None:
        self.web = web
        self.weights = weights
        self.path = f"/clip/models/{hashlib.sha256(weights).hexdigest()}/ViT-B-32.pt"
        web.answers[self.path] = weights

    @property
    def downloads(self) -> int:
        return len(self.web.asked)


@pytest.fixture
def store(web_server: WebServer, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    store = Store(web_server, tiny_model.read_bytes())
    monkeypatch.setitem(clip.clip._MODELS, "ViT-B/32", web_server.url + store.path)
    monkeypatch.delenv("CLIP_CACHE", raising=False)
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    return store


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "cache"


@pytest.mark.parametrize("name", ["ViT-B/32", "openai/clip-vit-base-patch32"])
def test_a_model_is_fetched_once(store: Store, cache: Path, name: str) -> None:
    for _ in range(2):
        model = models.load(name, str(cache))
        assert (model.name, model.dim) == (name, 32)
    assert store.downloads == 1
    assert (cache / "ViT-B-32.pt").read_bytes() == store.weights


def test_both_names_share_one_file(store: Store, cache: Path) -> None:
    models.load("ViT-B/32", str(cache))
    models.load("openai/clip-vit-base-patch32", str(cache))
    assert store.downloads == 1


def test_every_alias_names_a_model_that_clip_has() -> None:
    assert set(models.HUGGING_FACE_NAMES.values()) <= set(clip.available_models())


def test_the_environment_names_the_cache(store: Store, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIP_CACHE", str(cache))
    models.load("ViT-B/32")
    assert (cache / "ViT-B-32.pt").is_file()
    assert store.downloads == 1


def test_the_option_comes_before_the_environment(
    store: Store, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLIP_CACHE", str(tmp_path / "other"))
    models.load("ViT-B/32", str(cache))
    assert store.downloads == 1
    assert not (tmp_path / "other").exists()


def test_without_either_it_is_clips_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CLIP_CACHE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert models.cache_directory() == tmp_path / ".cache" / "clip"


@pytest.mark.parametrize("content", [b"", b"half a file"], ids=["empty", "half"])
def test_a_corrupt_file_in_the_cache_is_fetched_again(store: Store, cache: Path, content: bytes) -> None:
    cache.mkdir(parents=True)
    (cache / "ViT-B-32.pt").write_bytes(content)
    assert models.load("ViT-B/32", str(cache)).dim == 32
    assert store.downloads == 1


def test_what_does_not_have_the_checksum_is_not_loaded(store: Store, cache: Path) -> None:
    store.web.answers[store.path] = b"something else"
    with pytest.raises(ModelError, match=r"model 'ViT-B/32': .*checksum.*; delete .*ViT-B-32.pt and retry"):
        models.load("ViT-B/32", str(cache))


def test_after_a_failure_the_next_start_recovers(store: Store, cache: Path) -> None:
    store.web.answers[store.path] = b"something else"
    with pytest.raises(ModelError):
        models.load("ViT-B/32", str(cache))
    store.web.answers[store.path] = store.weights
    assert models.load("ViT-B/32", str(cache)).dim == 32


def short(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000000")
    handler.end_headers()
    handler.wfile.write(bytes(1000))


def unavailable(handler: BaseHTTPRequestHandler) -> None:
    handler.send_error(503)


@pytest.mark.parametrize("answer", [short, login_page, nonsense, unavailable, None])
def test_a_server_that_does_not_give_the_file_is_a_model_error(store: Store, cache: Path, answer: object) -> None:
    if answer:
        store.web.answers[store.path] = answer
    else:
        del store.web.answers[store.path]
    with pytest.raises(ModelError, match="model 'ViT-B/32'"):
        models.load("ViT-B/32", str(cache))


def test_without_network_it_is_said_what_to_do(store: Store, cache: Path) -> None:
    store.web.close()
    with pytest.raises(ModelError) as raised:
        models.load("ViT-B/32", str(cache))
    for told in (str(cache), "refused", store.web.url + store.path, "emoji-tiny"):
        assert told in str(raised.value)


def test_without_network_a_full_cache_is_enough(store: Store, cache: Path) -> None:
    models.load("ViT-B/32", str(cache))
    store.web.close()
    assert models.load("ViT-B/32", str(cache)).dim == 32


def test_a_cache_that_cannot_be_made_is_a_model_error(store: Store, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ModelError, match=f"is not in {tmp_path}/file/cache"):
        models.load("ViT-B/32", str(tmp_path / "file" / "cache"))


def test_a_full_cache_that_cannot_be_locked_is_read(store: Store, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models.load("ViT-B/32", str(cache))

    def read_only(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(FileLock, "acquire", read_only)
    assert models.load("ViT-B/32", str(cache)).dim == 32
    assert store.downloads == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="to root, nothing is read-only")
@pytest.mark.parametrize("full", [True, False])
def test_a_read_only_cache(store: Store, cache: Path, full: bool) -> None:
    cache.mkdir(parents=True)
    if full:
        (cache / "ViT-B-32.pt").write_bytes(store.weights)
    cache.chmod(0o555)
    try:
        if full:
            assert models.load("ViT-B/32", str(cache)).dim == 32
            assert store.downloads == 0
        else:
            with pytest.raises(ModelError, match="Permission denied"):
                models.load("ViT-B/32", str(cache))
    finally:
        cache.chmod(0o755)


def test_replicas_that_share_a_cache_fetch_it_once(store: Store, cache: Path) -> None:
    with ThreadPoolExecutor(3) as replicas:
        loaded = list(replicas.map(lambda _: models.load("ViT-B/32", str(cache)).dim, range(3)))
    assert loaded == [32, 32, 32]
    assert store.downloads == 1


def test_the_time_limit_of_connections_is_put_back(store: Store, cache: Path) -> None:
    before = socket.getdefaulttimeout()
    models.load("ViT-B/32", str(cache))
    assert socket.getdefaulttimeout() == before
