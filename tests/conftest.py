"""Fixtures that all tests share: models, images, Executors, a web server."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from clip_image_flow import ImageEncoder
from clip_image_flow.models.openai_clip import clip


def save_random_clip(path: Path, seed: int = 0, **changes: Any) -> Path:
    """Write a checkpoint in OpenAI's format with random weights; return its path.

    :param path: file to write.
    :param seed: seed of the weights.
    :param changes: arguments of `clip.model.CLIP`; by default a ViT of 64 pixels and 32 dimensions.
    """
    torch.manual_seed(seed)
    shape = {
        "embed_dim": 32,
        "image_resolution": 64,
        "vision_layers": 2,
        "vision_width": 64,
        "vision_patch_size": 16,
        "context_length": 77,
        "vocab_size": 49408,
        "transformer_width": 64,
        "transformer_heads": 1,
        "transformer_layers": 1,
    }
    torch.save(clip.model.CLIP(**{**shape, **changes}).state_dict(), path)
    return path


@pytest.fixture(scope="session", autouse=True)
def cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Use a new cache directory for each test run, so that converted models of earlier runs are not used."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLIP_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of a random CLIP whose forward pass takes a millisecond."""
    return save_random_clip(tmp_path_factory.mktemp("models") / "tiny.pt")


@pytest.fixture(scope="session")
def vit_b_32(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of a random CLIP with ViT-B/32's image tower; its text tower, which no test runs, is small."""
    return save_random_clip(
        tmp_path_factory.mktemp("models") / "vit-b-32.pt",
        embed_dim=512,
        image_resolution=224,
        vision_layers=12,
        vision_width=768,
        vision_patch_size=32,
    )


@pytest.fixture(scope="session")
def encoder(tiny_model: Path) -> ImageEncoder:
    return ImageEncoder(str(tiny_model))


def photo(width: int = 90, height: int = 60, seed: int = 0) -> Image.Image:
    """Return an image with structure: smooth colours and some noise."""
    y, x = np.mgrid[0:height, 0:width]
    waves = np.stack([np.sin(x / 7 + seed), np.cos(y / 5 + seed), np.sin((x + y) / 11)], axis=-1)
    noise = np.random.default_rng(seed).normal(0, 12, waves.shape)
    return Image.fromarray(np.clip(128 + 90 * waves + noise, 0, 255).astype(np.uint8))


def encoded(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    """Return `image` as the bytes of a file."""
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


@pytest.fixture
def make_executor(tiny_model: Path) -> Iterator[Callable[..., Any]]:
    """Return a function that creates Executors in this process: (class, **uses_with) -> Executor.

    By default it is the image encoder, with the tiny model.
    """
    from clip_image import CLIPImageEncoder

    made = []

    def make(kind: Callable[..., Any] = CLIPImageEncoder, **uses_with: Any) -> Any:
        made.append(kind(**{"pretrained_model_name_or_path": str(tiny_model), **uses_with}))
        return made[-1]

    yield make
    for executor in made:
        executor.close()


@pytest.fixture(scope="session")
def clip_embeddings() -> Callable[[Path, list[Image.Image]], np.ndarray]:
    """Return a function that encodes RGB images with `clip` in one batch: (model path, images) -> float32 (n, dim)."""

    def embed(model_path: Path, images: list[Image.Image]) -> np.ndarray:
        model, transform = clip.load(str(model_path), device="cpu")
        with torch.inference_mode():
            return model.encode_image(torch.stack([transform(image) for image in images])).numpy()

    return embed


class WebServer:
    """A web server on this machine.

    :ivar answers: path -> body of a response with status 200, or a function that sends the response.
    :ivar otherwise: function that sends the response for any other path, by default 404.
    :ivar asked: requests so far, such as "GET /cat.jpg".
    """

    def __init__(self) -> None:
        self.otherwise: Callable[[BaseHTTPRequestHandler], None] = lambda handler: handler.send_error(404)
        self.answers: dict[str, bytes | Callable[[BaseHTTPRequestHandler], None]] = {}
        self.asked: list[str] = []
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                web.asked.append(f"{self.command} {self.path}")
                answer = web.answers.get(self.path, web.otherwise)
                if callable(answer):
                    answer(self)
                else:
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(answer)))
                    self.end_headers()
                    if self.command == "GET":
                        self.wfile.write(answer)

            do_HEAD = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

            def handle_error(self, *_: object) -> None:
                pass  # some tests close connections early

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        """Stop the server: further connections are refused."""
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def web_server() -> Iterator[WebServer]:
    server = WebServer()
    yield server
    server.close()
