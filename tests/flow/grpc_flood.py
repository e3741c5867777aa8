"""Sends large gRPC messages from many concurrent callers, and cancels the calls.

It is a separate program, since grpc.aio does not end all calls that are cancelled while they send.

    python -m tests.flow.grpc_flood ADDRESS MESSAGES SECONDS [AFTER]

MESSAGES is the number of messages per call: 1 for a unary call, more for a stream. A call is cancelled AFTER so many
seconds (default 5).
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time

import grpc

CALLERS = 12
LARGE = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
SINGLE, STREAM = "/jina.JinaSingleDataRequestRPC/process_single_data", "/jina.JinaRPC/Call"


def field(number: int, payload: bytes) -> bytes:
    """Return a length-delimited field of a protobuf message."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def of_documents(payload: bytes) -> bytes:
    """Return a DataRequestProto with this DocumentArrayProto."""
    return field(4, field(1, payload))


def varint(value: int) -> bytes:
    encoded = b""
    while value > 0x7F:
        encoded += bytes([value & 0x7F | 0x80])
        value >>= 7
    return encoded + bytes([value])


async def ask(channel: grpc.aio.Channel, message: bytes, messages: int, after: float) -> None:
    if messages == 1:
        call = channel.unary_unary(SINGLE)(message, timeout=30)
    else:
        call = channel.stream_stream(STREAM)(iter([message] * messages), timeout=30)
    with contextlib.suppress(TimeoutError, asyncio.CancelledError):
        await asyncio.wait_for(call.code(), after)
    call.cancel()


async def main(address: str, messages: int, seconds: float, after: float) -> None:
    message = of_documents(field(1, field(2, bytes(31 << 20))))  # one document with a blob
    end = time.monotonic() + seconds

    async def ask_on() -> None:
        while time.monotonic() < end:
            async with grpc.aio.insecure_channel(address, LARGE) as channel:
                await ask(channel, message, messages, after)

    await asyncio.gather(*(ask_on() for _ in range(CALLERS)))


if __name__ == "__main__":
    address, messages, seconds, *more = sys.argv[1:]
    asyncio.run(main(address, int(messages), float(seconds), float(more[0]) if more else 5.0))
