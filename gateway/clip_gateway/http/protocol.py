"""Limits on HTTP/1.1 connections: silent, slow and wasteful ones are closed."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

# Chunks of less than 256 bytes. Parsing a chunk takes a microsecond, whatever its size.
_SMALL_CHUNK = re.compile(rb"\r\n[0-9a-fA-F]{1,2}\r\n")
_SMALL_CHUNKS = 64  # number of small chunks that one read may always have
_BYTES_A_CHUNK = 64  # minimum average size of further ones


class HttpProtocol(H11Protocol):
    """uvicorn's protocol, with time limits for headers and for reading responses."""

    header_seconds = 10.0
    """Time limit from opening a connection, or the first byte of a request, to the end of the headers."""
    unread_seconds = 60.0
    """Time limit for a client that does not read its response."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._headers_due: asyncio.TimerHandle | None = None
        self._reading_due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the time limit for headers."""
        super().connection_made(transport)
        self._headers_due = self.loop.call_later(self.header_seconds, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all time limits."""
        self._stop(self._headers_due)
        self._stop(self._reading_due)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Process received data, and reject bodies of tiny chunks."""
        before = self.cycle
        if self._is_idle() and self._headers_due is None:
            self._headers_due = self.loop.call_later(self.header_seconds, self.transport.abort)
        if len(data) > _SMALL_CHUNKS and self._wastes(data):
            self.send_400_response("The body has chunks of a few bytes: send larger ones.")
            return
        super().data_received(data)
        if self.cycle is not before:
            self._stop(self._headers_due)
            self._headers_due = None

    def pause_writing(self) -> None:
        """Start the time limit for a response that the client does not read."""
        super().pause_writing()
        self._reading_due = self.loop.call_later(self.unread_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop the time limit: the client reads again."""
        super().resume_writing()
        self._stop(self._reading_due)

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _wastes(self, data: bytes) -> bool:
        if self._is_idle() or (b"transfer-encoding", b"chunked") not in self.headers:
            return False
        return len(_SMALL_CHUNK.findall(data)) > _SMALL_CHUNKS + len(data) // _BYTES_A_CHUNK

    @staticmethod
    def _stop(timer: asyncio.TimerHandle | None) -> None:
        if timer:
            timer.cancel()
