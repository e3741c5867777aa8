"""The Flow for words and pictures: embeddings, a killed pod under a load of both, and a word beside many pictures."""

from __future__ import annotations

import base64
import json
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from jina import Client, Document, DocumentArray

from clip_image_flow import ImageEncoder, TextEncoder
from tests.cluster.kube import FIGURES, RELEASE, Namespace
from tests.cluster.load import PICTURE, load

WORDS = ["a rocket", "avocado", "ein Gürteltier", "fox " * 100]
CLIENTS, PICTURES = 4, 250  # of each client
TEXTS = 2  # replicas of the text executor


@pytest.fixture(scope="module")
def release(namespace: Namespace) -> Namespace:
    namespace.install({"flow": "clip", "executors": {"text": {"replicas": TEXTS}}})
    return namespace


def test_the_flow_comes_up_and_passes_helm_test(release: Namespace) -> None:
    assert len(release.ready("encoder")) == 1
    assert len(release.ready("text")) == TEXTS
    assert "Succeeded" in release.helm("test", RELEASE)


def test_words_and_pictures_get_the_librarys_embeddings(release: Namespace) -> None:
    expected = [
        *_encoded(TextEncoder("emoji-tiny"), WORDS),
        *_encoded(ImageEncoder("emoji-tiny"), [PICTURE.read_bytes()]),
    ]
    with release.forward(f"service/{RELEASE}-gateway", 8080, 8081) as (grpc, http):
        for host in (f"grpc://127.0.0.1:{grpc}", f"http://127.0.0.1:{http}"):
            docs = DocumentArray([*(Document(text=word) for word in WORDS), Document(blob=PICTURE.read_bytes())])
            answer = np.array(Client(host=host).post("/", docs).embeddings)
            np.testing.assert_allclose(answer, expected, rtol=0, atol=1e-3 * np.abs(expected).max())


def _encoded(encoder: TextEncoder | ImageEncoder, contents: list[str] | list[bytes]) -> np.ndarray:
    rows = encoder.encode(contents)  # type: ignore[arg-type]
    encoder.close()
    return rows


def test_nothing_is_lost_when_a_text_executor_is_killed(release: Namespace) -> None:
    with load(release, word="a rocket") as result:
        pod = release.ready("text")[0].metadata.name
        release.kubectl("delete", "pod", pod, "--grace-period=0", "--force")
        release.wait_settled("text", TEXTS)
    FIGURES.append(f"a text executor is killed, words and pictures: {result.summary()}")
    assert len([call for call in result.calls if call["by"].startswith("word")]) > 50
    assert result.lost == []
    assert result.sent_again == []


def test_a_word_does_not_wait_for_a_thousand_pictures(release: Namespace) -> None:
    """Several clients' pictures are queued while another client sends words, one after the other."""
    picture = {"blob": base64.b64encode(PICTURE.read_bytes()).decode()}
    with release.forward(f"service/{RELEASE}-gateway", 8081) as (http,), ThreadPoolExecutor(CLIENTS) as pool:
        assert _answered(http, {"text": "a rocket"}) == 1
        begin = time.monotonic()
        waiting = [pool.submit(_answered, http, *PICTURES * [picture]) for _ in range(CLIENTS)]
        words = []
        while not all(one.done() for one in waiting):
            sent = time.monotonic()
            assert _answered(http, {"text": "a rocket"}) == 1
            words.append(time.monotonic() - sent)
        pictures = time.monotonic() - begin
        assert [one.result() for one in waiting] == CLIENTS * [PICTURES]
    FIGURES.append(
        f"{CLIENTS * PICTURES} pictures: {pictures:.1f} s; {len(words)} words beside them: "
        f"median {1000 * np.median(words):.0f} ms, longest {1000 * max(words):.0f} ms"
    )
    assert np.median(words) < pictures / 40
    assert max(words) < pictures / 4


def _answered(port: int, *documents: dict[str, str]) -> int:
    """How many of one request's documents come back with an embedding."""
    body = json.dumps({"execEndpoint": "/", "data": documents}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/post", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return sum(document["embedding"] is not None for document in json.load(answer)["data"])
