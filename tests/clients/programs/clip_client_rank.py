"""clip-as-service's client: the embedding of each match of `rank`, best first, and a profile."""

import asyncio

from clip_client import Client
from docarray import Document
from program import run


def document(item):
    return Document(text=item["text"]) if "text" in item else Document(uri=item["picture"])


def encode(job):
    client = Client(job["grpc"], credential={"Authorization": f"Bearer {job['token']}"})
    root, *matches = job["items"]

    def question():
        found = document(root)
        found.matches = [document(match) for match in matches]
        return found

    [ranked] = client.rank([question()])
    [awaited] = asyncio.run(client.arank([question()]))
    for one in (ranked, awaited):
        scores = [match.scores["clip_score"].value for match in one.matches]
        assert scores == sorted(scores, reverse=True)
        assert abs(sum(scores) - 1) < 1e-5
        assert one.matches[0].scores["clip_score"].op_name == "softmax"
        assert one.matches[0].scores["clip_score_cosine"].op_name == "cosine"
        assert not any(match.blob for match in one.matches)
    if "profile" in job:
        assert client.profile()["Roundtrip"] > 0
    return [match.embedding for match in ranked.matches]


run(encode)
