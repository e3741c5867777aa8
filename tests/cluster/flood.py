"""Sends the most expensive requests without a pause, and small ones at the same time; runs in a pod.

    python flood.py SECONDS HTTP_URL GRPC_ADDRESS

The pod has the gateway's image. The directory of this file has `picture` and hostile files by name. It prints a JSON
line per call: its kind, its start, its duration and how it ended. A small request is sent again after status 429 or
503, as by a real client; a separate process sends them, since one that sends large bodies sees responses late.
"""

import asyncio
import json
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import aiohttp
import grpc

FOLDER = Path(__file__).parent
CALLERS = 1  # per kind of flood
MIB = 1 << 20
TRIES = 8


def varint(value: int) -> bytes:
    encoded = b""
    while value > 0x7F:
        encoded += bytes([value & 0x7F | 0x80])
        value >>= 7
    return encoded + bytes([value])


def field(number: int, payload: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def message(document: bytes) -> bytes:
    return field(4, field(1, field(1, document)))


async def small(session: aiohttp.ClientSession, url: str) -> str:
    for i in range(TRIES):
        try:
            async with session.post(f"{url}/embed", data=PICTURE, headers={"Content-Type": "image/png"}) as answer:
                await answer.read()
                if answer.status not in (429, 503):
                    return str(answer.status)
        except (aiohttp.ClientConnectionError, TimeoutError):
            pass
        await asyncio.sleep(0.02 * 2**i)
    return "given up"


async def upload(session: aiohttp.ClientSession, url: str, data: bytes, kind: str = "image/png") -> str:
    try:
        async with session.post(url, data=data, headers={"Content-Type": kind}) as answer:
            await answer.read()
            return str(answer.status)
    except (aiohttp.ClientError, TimeoutError) as error:
        return type(error).__name__


async def by_grpc(address: str, data: bytes, cancelled_after: float = 0.0) -> str:
    options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    try:
        async with grpc.aio.insecure_channel(address, options) as channel:
            call = channel.unary_unary("/jina.JinaSingleDataRequestRPC/process_single_data")(data, timeout=30)
            if cancelled_after:
                await asyncio.sleep(cancelled_after)
                call.cancel()
            await call
            return "answered"
    except asyncio.CancelledError:
        return "cancelled"
    except grpc.aio.AioRpcError as error:
        return error.code().name


async def repeat(kind: str, until: float, ask, pause: float = 0.0) -> None:
    while time.time() < until:
        began = time.time()
        end = await ask()
        print(json.dumps({"kind": kind, "at": began, "seconds": time.time() - began, "end": end}), flush=True)
        await asyncio.sleep(pause if end not in ("429", "RESOURCE_EXHAUSTED") else max(pause, 0.05))


async def main(role: str, seconds: str, url: str, address: str) -> None:
    timeout = aiohttp.ClientTimeout(30)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as session:
        end = time.time() + float(seconds)
        if role != "flood":
            await asyncio.gather(*(repeat(role, end, lambda: small(session, url), 0.1) for _ in range(3)))
            return
        floods = {
            file.name: partial(upload, session, f"{url}/embed", file.read_bytes())
            for file in FOLDER.iterdir()
            if file.name not in ("picture", "flood.py") and file.is_file()
        }
        many = b'{"data":[' + 1_000_000 * b"{}," + b"{}]}"
        floods["upload"] = partial(upload, session, f"{url}/embed", bytes(31 * MIB))
        floods["photograph"] = partial(upload, session, f"{url}/embed", bytes(4 * MIB))
        floods["json documents"] = partial(upload, session, f"{url}/post", many, "application/json")
        large = message(field(2, bytes(31 * MIB)))
        floods["grpc upload"] = partial(by_grpc, address, large)
        floods["grpc cancelled"] = partial(by_grpc, address, large, 0.2)
        floods["grpc documents"] = partial(by_grpc, address, field(4, field(1, 5_000_000 * b"\x0a\x00")))
        await asyncio.gather(*(repeat(kind, end, ask) for kind, ask in floods.items() for _ in range(CALLERS)))


def start(role: str, seconds: str, *where: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-W", "ignore", __file__, role, seconds, *where])


if __name__ == "__main__":
    PICTURE = (FOLDER / "picture").read_bytes()
    if len(sys.argv) == 5:
        asyncio.run(main(*sys.argv[1:]))
    else:
        seconds, *where = sys.argv[1:]
        start("quiet", "5", *where).wait()
        both = [start(role, seconds, *where) for role in ("flood", "small")]
        sys.exit(max(process.wait() for process in both))
