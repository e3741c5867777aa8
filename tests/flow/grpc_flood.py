"""Sends large gRPC messages from many callers at once, and calls them off.

A program of its own, since grpc.aio does not end each call that was cancelled while it sent.

    python -m tests.flow.grpc_flood ADDRESS MESSAGES SECONDS [AFTER]

MESSAGES in a call, one: a single call, more: a stream. AFTER so many seconds a call is cancelled.
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
    """A length-delimited field of a protobuf message."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def of_documents(payload: bytes) -> bytes:
    """A DataRequestProto with this DocumentArrayProto."""
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
    message = of_documents(field(1, field(2, bytes(31 << 20))))  # one, with a blob
    end = time.monotonic() + seconds

    async def ask_on() -> None:
        while time.monotonic() < end:
            async with grpc.aio.insecure_channel(address, LARGE) as channel:
                await ask(channel, message, messages, after)

    await asyncio.gather(*(ask_on() for _ in range(CALLERS)))


if __name__ == "__main__":
    address, messages, seconds, *more = sys.argv[1:]
    asyncio.run(main(address, int(messages), float(seconds), float(more[0]) if more else 5.0))
