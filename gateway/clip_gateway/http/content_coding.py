"""Decompresses request bodies by their `Content-Encoding`, in steps, with limits on size and CPU time.

A kilobyte can decompress to a megabyte, and a megabyte to nothing after seconds of work. So the reader sets the maximum
number of bytes of each step, and CPU time is limited in proportion to the output.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterable

from clip_gateway.problems import Problem
from clip_wire.errors import BadEncoding, TooLarge, UnsupportedMedia

_KNOWN = {"gzip": "gzip", "x-gzip": "gzip", "deflate": "deflate"}
_ACCEPTED = "gzip, deflate, identity"
_GZIP, _ZLIB, _RAW = 31, 15, -15  # `wbits` of zlib
_PIECE = 1 << 14  # bytes of input per call of zlib, which copies the unused rest each time
# Normal bodies decompress at a hundred megabytes per second and more.
_CPU_SECONDS = 0.5
_BYTES_A_CPU_SECOND = 20 << 20


def coding_of(lines: Iterable[str]) -> str:
    """Return the coding of a body: `gzip`, `deflate`, or "" for none.

    :param lines: values of all Content-Encoding headers.
    :raises Problem: if the coding is not supported, or there are several.
    """
    names = [name.strip(" \t").lower() for name in ",".join(lines).split(",")]
    codings = [_KNOWN.get(name, name) for name in names if name not in ("", "identity")]
    if not codings:
        return ""
    if codings[0] in _KNOWN and len(codings) == 1:
        return codings[0]
    named = ", ".join(codings)[:100]
    raise Problem(
        UnsupportedMedia,
        f"Content-Encoding: {named!r} is not supported; send one of {_ACCEPTED}, or omit the header",
        headers={"Accept-Encoding": _ACCEPTED},
    )


class Decoder:
    """Decompresses one body step by step.

    `deflate` is the zlib format, or raw deflate data as some clients send it; `gzip` may have several members.

    :param coding: `gzip` or `deflate`.
    :ivar hungry: whether `take` needs another block of input first.
    :ivar count: number of decompressed bytes so far.
    """

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._stream: zlib._Decompress | None = None
        self._members = 0  # number of complete members
        self._block = memoryview(b"")
        self._left = b""  # unused input of zlib, before `_block`
        self._seconds = 0.0
        self.hungry = True
        self.count = 0

    def give(self, block: bytes) -> None:
        """Add the next block of the body, after all output of the one before was taken."""
        self._block = memoryview(block)
        self.hungry = not block

    def take(self, most: int) -> bytes:
        """Return the next bytes. It may take a few milliseconds.

        :param most: maximum number of bytes, at least 1.
        :raises Problem: if the body is broken, or decompression takes too long.
        """
        found, room, began = [], most, time.thread_time()
        while room and not self.hungry:
            found.append(self._step(room))
            room -= len(found[-1])
            self.count += len(found[-1])
            self._check_time(time.thread_time() - began)
        self._seconds += time.thread_time() - began
        return b"".join(found)

    def finish(self) -> None:
        """Check that the body is complete.

        :raises Problem: if it is truncated.
        """
        if self._stream or not self._members:
            raise self._broken("it is truncated")

    def _step(self, room: int) -> bytes:
        data = self._left
        if not data:
            data, self._block = bytes(self._block[:_PIECE]), self._block[_PIECE:]
        stream = self._stream = self._stream or self._begin(data)
        try:
            found = stream.decompress(data, room)
        except zlib.error as error:
            where = f" after member {self._members}" if self._members else ""
            raise self._broken(f"{error}{where}") from error
        if stream.eof:
            self._left, self._stream = stream.unused_data, None
            self._members += 1
        else:
            self._left = stream.unconsumed_tail
        # If the output filled the room, there may be more output without further input.
        self.hungry = not self._left and not self._block and not (self._stream and len(found) == room)
        return found

    def _begin(self, data: bytes) -> zlib._Decompress:
        if self._coding == "gzip":
            return zlib.decompressobj(_GZIP)
        if self._members:
            raise self._broken("bytes follow its end")
        # The first byte of the zlib format has method 8; raw deflate data never begins like that in practice.
        return zlib.decompressobj(_ZLIB if data[0] & 15 == 8 else _RAW)

    def _check_time(self, seconds: float) -> None:
        if self._seconds + seconds > _CPU_SECONDS + self.count / _BYTES_A_CPU_SECOND:
            raise Problem(
                TooLarge,
                f"Content-Encoding: {self._coding}: decompression takes too long for its {self.count} bytes of output; "
                "compress the body again, in one piece",
            )

    def _broken(self, why: str) -> Problem:
        detail = f"the body is not valid for Content-Encoding: {self._coding}: {why}; send all of it, and nothing else"
        return Problem(BadEncoding, detail)
