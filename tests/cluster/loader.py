"""Sends an image, and optionally a text, repeatedly, and checks each response; runs in a pod of the gateway's image.

    python loader.py PICTURE GRPC_HOST HTTP_URL keep-alive|close [WORD]

Half of its callers use Jina's Client over gRPC, half HTTP: /embed for the image and /post for the text, over kept-alive
connections or one connection per call. A call is sent again after a pause, at most RETRIES times, if its connection was
closed or the status is 503, as docs/operations.md recommends to clients; other calls are not.

It ends when the file /tmp/stop exists, or after SECONDS. It prints a JSON line per call: its start, its duration, why
it was sent again, and what was wrong with the response.
"""

import asyncio
import json
import logging
import sys
import time
from pathlib import Path

import aiohttp
import numpy as np
from jina import Client, Document, DocumentArray
from jina.excepts import InternalNetworkError

SECONDS = 300
CALLERS = 6
PAUSE = 0.25  # seconds between the calls of one caller, so that the load stays below the capacity
RETRIES = 3
STOP = Path("/tmp/stop")


class Retry(Exception):
    """The call may be sent again."""


async def by_grpc(client: Client, **content: object) -> np.ndarray:
    try:
        async for docs in client.post("/", DocumentArray([Document(**content)])):
            return np.asarray(docs[0].embedding)
    except (InternalNetworkError, ConnectionError) as error:
        raise Retry(repr(error)) from error
    raise AssertionError("no answer")


async def by_http(session: aiohttp.ClientSession, url: str, data: bytes, kind: str) -> np.ndarray:
    try:
        async with session.post(url, data=data, headers={"Content-Type": kind}) as response:
            if response.status == 503:
                raise Retry("503")
            body = await response.json()
            assert response.status == 200, f"{response.status} {body}"
            return np.asarray((body["data"][0] if "data" in body else body)["embedding"])
    except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError) as error:
        raise Retry(repr(error)) from error


async def caller(name: str, send, right: np.ndarray, begin: float) -> None:
    while not STOP.exists() and time.time() < begin + SECONDS:
        started, reasons, wrong = time.time(), [], ""
        try:
            while True:
                try:
                    answer = await asyncio.wait_for(send(), 60)
                    break
                except Retry as error:
                    reasons.append(str(error))
                    if len(reasons) > RETRIES:
                        raise
                    await asyncio.sleep(0.2 * 2 ** len(reasons))
            cosine = float(answer @ right / np.linalg.norm(answer) / np.linalg.norm(right))
            assert answer.shape == right.shape, f"shape {answer.shape}"
            assert cosine > 0.9999, f"another embedding: cosine {cosine}"
        except Exception as error:  # any error is a wrong response
            wrong = repr(error)
        line = {"by": name, "at": started, "seconds": time.time() - started, "again": reasons, "wrong": wrong}
        print(json.dumps(line), flush=True)
        await asyncio.sleep(PAUSE)


async def main(picture_file: str, grpc_host: str, http_url: str, connection: str, word: str = "") -> None:
    logging.disable(logging.CRITICAL)  # Jina logs many lines per lost connection
    picture = Path(picture_file).read_bytes()
    # The Service is headless: round_robin over all its addresses distributes the calls over the gateways.
    # (Given to Client itself, Jina 3.34 passes on the options' names without their values.)
    client = Client(host=grpc_host, asyncio=True)
    client.args.grpc_channel_options = [("grpc.lb_policy_name", "round_robin")]
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=connection == "close")) as session:
        ways = {
            "grpc": lambda: by_grpc(client, blob=picture),
            "http": lambda: by_http(session, f"{http_url}/embed", picture, "image/png"),
        }
        right = dict.fromkeys(ways, await ways["http"]())
        if word:
            asked = json.dumps({"execEndpoint": "/", "data": [{"text": word}]}).encode()
            ways["word by grpc"] = lambda: by_grpc(client, text=word)
            ways["word by http"] = lambda: by_http(session, f"{http_url}/post", asked, "application/json")
            right |= dict.fromkeys(["word by grpc", "word by http"], await ways["word by http"]())
        print(json.dumps({"ready": True}), flush=True)
        begin = time.time()
        names = list(ways) * (CALLERS // 2)
        await asyncio.gather(*(caller(name, ways[name], right[name], begin) for name in names))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
