"""The demo's documents, and their way through the gateway with Jina's Client."""

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
    # Jina imports what imports pkg_resources, and a newcomer need not hear of that.
    warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
    from docarray import Document, DocumentArray
    from jina import Client
    from jina.excepts import BadClient, BadServer, InternalNetworkError

ALBUM = "album"
_TOGETHER = 16  # small pictures in one request


class EncodingError(RuntimeError):
    """The gateway refused a request or cannot be reached."""


@dataclass(frozen=True)
class Request:
    """Documents that travel together.

    :param name: what the table calls them.
    :param content: what they hold, for the table.
    :param rows: number of image chunks of each document, 0 where the document itself is the picture.
    """

    name: str
    content: str
    documents: DocumentArray
    rows: int = 0

    def shapes(self, dim: int) -> dict[str, tuple[int, ...]]:
        """Document id -> the shape of its embedding."""
        return {document.id: (self.rows, dim) if self.rows else (dim,) for document in self.documents}


@dataclass(frozen=True)
class Result:
    """The answer to one request: document id -> embedding, and how long it took from the call to the answer."""

    embeddings: dict[str, np.ndarray | None]
    seconds: float

    @property
    def milliseconds(self) -> float:
        """Of one document."""
        return 1000 * self.seconds / max(1, len(self.embeddings))


def requests(photographs: Sequence[Picture], held_out: Sequence[Picture]) -> list[Request]:
    """Each photograph as a document, all of them as the chunks of one more, and the small pictures many at a time."""
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
    """The texts in one request, each the id of its document too."""
    return Request(name, f"{len(texts)} texts", DocumentArray(Document(id=text, text=text) for text in texts))


def encode(host: str, requests: Sequence[Request], done: Callable[[int], object]) -> list[Result]:
    """Send the requests one after the other, so that each is timed alone.

    :param done: told the number of documents that have come back.
    :raises EncodingError: with what the gateway said.
    """
    os.environ.setdefault("JINA_OPTOUT_TELEMETRY", "1")  # Jina reports every Client to its makers unless this is set
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
    """The same for one picture, without Jina's Client: its file as it is."""
    kind = mimetypes.guess_type(picture.file)[0]
    return f"curl --data-binary @{picture.path} -H 'Content-Type: {kind}' {host}/embed"


def encode_plainly(host: str, picture: Picture) -> np.ndarray:
    """What that line sends and gets: float32 (dim,).

    :raises EncodingError: with what the gateway said.
    """
    kind = mimetypes.guess_type(picture.file)[0] or "application/octet-stream"
    request = urllib.request.Request(f"{host}/embed", picture.path.read_bytes(), {"Content-Type": kind})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return np.array(json.load(answer)["embedding"], dtype=np.float32)
    except OSError as error:
        raise EncodingError(f"{host}/embed did not answer {picture.file!r}: {error}") from error


def _float32(embedding: np.ndarray | None, host: str) -> np.ndarray | None:
    """JSON knows no float32: over HTTP the numbers arrive as float64, exactly. What comes over gRPC stays as it is."""
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
