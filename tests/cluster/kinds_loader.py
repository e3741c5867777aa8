"""Sends requests to each gateway repeatedly, and prints the model of each response; runs in a pod.

    python kinds_loader.py BODY URL [URL ...]

The pod has the gateway's image. The program ends when the file /tmp/stop exists, or after SECONDS. It prints a JSON
line per call: the gateway, the time of the response, the duration, the model and fingerprints, and what was wrong.
Requests are not retried. A response is also wrong if its vectors differ from earlier ones with the same fingerprints.
"""

import asyncio
import json
import sys
import time
from pathlib import Path

import aiohttp
import numpy as np

SECONDS = 400
CALLERS = 2  # per gateway
PAUSE = 0.05
STOP = Path("/tmp/stop")
known: dict[str, np.ndarray] = {}  # model and fingerprints -> vectors


async def ask(session: aiohttp.ClientSession, url: str, body: bytes) -> tuple[str, str]:
    """Return the model and fingerprints of the response, and what is wrong with it."""
    async with session.post(f"{url}/v1/embeddings", data=body) as response:
        answer = await response.json()
        if response.status != 200:
            return "", f"{response.status} {answer}"
    kind = f"{answer['model']} {answer['system_fingerprint']}"
    vectors = np.array([one["embedding"] for one in answer["data"]])
    cosines = (known.setdefault(kind, vectors) * vectors).sum(axis=1)
    return kind, "" if cosines.min() > 0.9999 else f"another vector: {cosines}"


async def caller(session: aiohttp.ClientSession, url: str, body: bytes, begin: float) -> None:
    while not STOP.exists() and time.time() < begin + SECONDS:
        started, kind = time.time(), ""
        try:
            kind, wrong = await asyncio.wait_for(ask(session, url, body), 60)
        except Exception as error:  # any error is a wrong response
            wrong = repr(error)
        came = time.time()
        line = {"gateway": url, "came": came, "seconds": came - started, "kind": kind, "wrong": wrong}
        print(json.dumps(line), flush=True)
        await asyncio.sleep(PAUSE)


async def main(file: str, *urls: str) -> None:
    body, begin = Path(file).read_bytes(), time.time()
    print(json.dumps({"ready": True}), flush=True)
    async with aiohttp.ClientSession(headers={"Content-Type": "application/json"}) as session:
        await asyncio.gather(*(caller(session, url, body, begin) for url in urls for _ in range(CALLERS)))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
