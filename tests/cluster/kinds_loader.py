"""Runs in a pod of the gateway's image: asks each gateway for itself, again and again, and prints what made answers.

    python kinds_loader.py BODY URL [URL ...]

It ends when the file /tmp/stop appears, after SECONDS in any case, and prints a JSON line for each call: of which
gateway, when the answer came, how long it took, by which model and fingerprints, and what was wrong. Nothing is sent
twice. An answer is wrong, too, when its vectors are not those that the same fingerprints gave before.
"""

import asyncio
import json
import sys
import time
from pathlib import Path

import aiohttp
import numpy as np

SECONDS = 400
CALLERS = 2  # of each gateway
PAUSE = 0.05
STOP = Path("/tmp/stop")
known: dict[str, np.ndarray] = {}  # fingerprints -> their vectors


async def ask(session: aiohttp.ClientSession, url: str, body: bytes) -> tuple[str, str]:
    """What made the answer, and what is wrong with it."""
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
        except Exception as error:  # everything that is not a right answer counts
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
