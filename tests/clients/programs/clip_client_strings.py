"""clip-as-service's client: strings, names of pictures among them; a model by its name; coroutines."""

import asyncio

from clip_client import Client
from program import run


def encode(job):
    client = Client(job["grpc"], credential={"Authorization": f"Bearer {job['token']}"})
    strings = [item.get("text") or item["picture"] for item in job["items"]]
    plain = client.encode(strings)
    named = client.encode(strings, parameters={"model_name": job["model"]})
    awaited = asyncio.run(client.aencode(strings, parameters={"model_name": job["model"]}))
    assert abs(plain - named).max() < 1e-5
    assert abs(plain - awaited).max() < 1e-5
    return plain


run(encode)
