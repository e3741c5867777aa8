"""Encodes the demo's documents through the gateway with Jina's Client."""

from __future__ import annotations

import json
import mimetypes
import os
import time
import urllib.request
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from scripts.demo.pictures import Picture

with warnings.catch_warnings():
    # Hides a warning about a dependency of Jina that imports pkg_resources.
    warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
    from docarray import Document, DocumentArray
    from jina import Client
    from jina.excepts import BadClient, BadServer, InternalNetworkError

ALBUM = "album"
_TOGETHER = 16  # small images per request


class EncodingError(RuntimeError):
    """The gateway rejected a request or is not reachable."""


@dataclass(frozen=True)
class Request:
    """Documents of one request.

    :param name: name of the request in the table.
    :param content: description of the content in the table.
    :param documents: documents to encode.
    :param rows: number of image chunks per document, 0 if the documents themselves are encoded.
    """

    name: str
    content: str
    documents: DocumentArray
    rows: int = 0

    def shapes(self, dim: int) -> dict[str, tuple[int, ...]]:
        """Return document id -> expected shape of its embedding."""
        return {document.id: (self.rows, dim) if self.rows else (dim,) for document in self.documents}


@dataclass(frozen=True)
class Result:
    """The response to one request: document id -> embedding, and the time from call to response in seconds."""

    embeddings: dict[str, np.ndarray | None]
    seconds: float

    @property
    def milliseconds(self) -> float:
        """Milliseconds per document."""
        return 1000 * self.seconds / max(1, len(self.embeddings))


def requests(photographs: Sequence[Picture], held_out: Sequence[Picture]) -> list[Request]:
    """Return requests with one photograph each, one with all of them as chunks, and batches of small images."""
    made = [Request(p.file, _describe(p), DocumentArray([_document(p)])) for p in photographs]
    chunks = DocumentArray(Document(modality="image", blob=p.path.read_bytes()) for p in photographs)
    chunks.insert(1, Document(modality="text", text="chunks that are not images get no row"))
    album = Document(id=ALBUM, chunks=chunks)
    made.append(Request(ALBUM, f"these {len(photographs)} as chunks", DocumentArray([album]), len(photographs)))
    for batch in _batches(held_out):
        made.append(
            Request(
                f"{batch[0].file} ...", f"{len(batch)} of {_describe(batch[0])}", DocumentArray(map(_document, batch))
            )
        )
    return made


def text_request(name: str, texts: Sequence[str]) -> Request:
    """Return a request with all texts; each text is also the id of its document."""
    return Request(name, f"{len(texts)} texts", DocumentArray(Document(id=text, text=text) for text in texts))


def encode(host: str, requests: Sequence[Request], done: Callable[[int], object]) -> list[Result]:
    """Send the requests one after the other, to measure the time of each.

    :param host: address of the gateway.
    :param requests: requests to send.
    :param done: callback with the number of documents of each finished request.
    :raises EncodingError: with the gateway's error.
    """
    os.environ.setdefault("JINA_OPTOUT_TELEMETRY", "1")  # Jina sends telemetry for every Client unless this is set
    client = Client(host=host)
    results = []
    for request in requests:
        started = time.perf_counter()
        try:
            answer = client.post("/", request.documents, parameters={"drop_image_content": True})
        except BadServer as error:
            raise EncodingError(f"{host} refused {request.name!r}: {error.args[0].status.description}") from error
        except (BadClient, InternalNetworkError, OSError, ValueError) as error:
            raise EncodingError(f"{host} did not answer {request.name!r}: {error}") from error
        seconds = time.perf_counter() - started
        embeddings = {document.id: _float32(document.embedding, host) for document in answer}
        results.append(Result(embeddings, seconds))
        done(len(request.documents))
    return results


def curl_line(host: str, picture: Picture) -> str:
    """Return the curl command that encodes one image."""
    kind = mimetypes.guess_type(picture.file)[0]
    return f"curl --data-binary @{picture.path} -H 'Content-Type: {kind}' {host}/embed"


def encode_plainly(host: str, picture: Picture) -> np.ndarray:
    """Encode one image with the HTTP request of `curl_line`: float32 (dim,).

    :raises EncodingError: with the gateway's error.
    """
    kind = mimetypes.guess_type(picture.file)[0] or "application/octet-stream"
    request = urllib.request.Request(f"{host}/embed", picture.path.read_bytes(), {"Content-Type": kind})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return np.array(json.load(answer)["embedding"], dtype=np.float32)
    except OSError as error:
        raise EncodingError(f"{host}/embed did not answer {picture.file!r}: {error}") from error


def _float32(embedding: np.ndarray | None, host: str) -> np.ndarray | None:
    """Convert embeddings from HTTP to float32: JSON has no float32, so the numbers arrive, exactly, as float64."""
    if embedding is None or not host.startswith("http"):
        return embedding
    return np.asarray(embedding, dtype=np.float32)


def _document(picture: Picture) -> Document:
    return Document(id=picture.file, blob=picture.path.read_bytes())


def _describe(picture: Picture) -> str:
    with Image.open(picture.path) as image:
        return f"{image.width} x {image.height}"


def _batches(pictures: Sequence[Picture]) -> Iterator[Sequence[Picture]]:
    for start in range(0, len(pictures), _TOGETHER):
        yield pictures[start : start + _TOGETHER]
