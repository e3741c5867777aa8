"""`Content-Encoding`: a body's coding by name, and its bytes decoded step by step, so that none costs more than it may.

A kilobyte can decode to a megabyte, a megabyte to nothing at all after seconds of work. So whoever reads says how many
bytes there may be at a time, and the CPU time that decoding takes has to be worth its bytes.
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
_PIECE = 1 << 14  # bytes that zlib gets at a time: what it leaves over is copied each time
# Honest bodies decode at a hundred megabytes a second and more.
_CPU_SECONDS = 0.5
_BYTES_A_CPU_SECOND = 20 << 20


def coding_of(lines: Iterable[str]) -> str:
    """The coding of a body: `gzip`, `deflate`, or "" where it is not encoded.

    :param lines: the values of all lines of Content-Encoding.
    :raises Problem: it is another one, or several.
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
        f"Content-Encoding: {named!r} is not decoded here; send one of {_ACCEPTED}, or no such header",
        headers={"Accept-Encoding": _ACCEPTED},
    )


class Decoder:
    """Decodes one body, whose blocks are given when it is hungry.

    `deflate` is the zlib format, or bare deflate data as some clients send it; `gzip` may have several members.

    :param coding: `gzip` or `deflate`.
    :ivar hungry: nothing is left to take before another block was given.
    :ivar count: bytes taken so far.
    """

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._stream: zlib._Decompress | None = None
        self._members = 0  # that have ended
        self._block = memoryview(b"")
        self._left = b""  # by zlib, of what stood before the block
        self._seconds = 0.0
        self.hungry = True
        self.count = 0

    def give(self, block: bytes) -> None:
        """More of the body, when all before it was taken."""
        self._block = memoryview(block)
        self.hungry = not block

    def take(self, most: int) -> bytes:
        """The next bytes, `most` of them (at least 1) or fewer. It may take some milliseconds.

        :raises Problem: the body is broken, or takes too long.
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
        """The body has ended.

        :raises Problem: in the middle of what was encoded.
        """
        if self._stream or not self._members:
            raise self._broken("it is cut off")

    def _step(self, room: int) -> bytes:
        data = self._left
        if not data:
            data, self._block = bytes(self._block[:_PIECE]), self._block[_PIECE:]
        stream = self._stream = self._stream or self._begin(data)
        try:
            found = stream.decompress(data, room)
        except zlib.error as error:
            where = f" behind member {self._members}" if self._members else ""
            raise self._broken(f"{error}{where}") from error
        if stream.eof:
            self._left, self._stream = stream.unused_data, None
            self._members += 1
        else:
            self._left = stream.unconsumed_tail
        # Without input there may still be output, where there was no room for all of it.
        self.hungry = not self._left and not self._block and not (self._stream and len(found) == room)
        return found

    def _begin(self, data: bytes) -> zlib._Decompress:
        if self._coding == "gzip":
            return zlib.decompressobj(_GZIP)
        if self._members:
            raise self._broken("bytes follow its end")
        # The first byte of zlib names its method, 8; bare deflate data would begin with padding that nobody writes.
        return zlib.decompressobj(_ZLIB if data[0] & 15 == 8 else _RAW)

    def _check_time(self, seconds: float) -> None:
        if self._seconds + seconds > _CPU_SECONDS + self.count / _BYTES_A_CPU_SECOND:
            raise Problem(
                TooLarge,
                f"Content-Encoding: {self._coding}: decoding takes too long for the {self.count} bytes it has brought; "
                "encode the body anew, in one piece",
            )

    def _broken(self, why: str) -> Problem:
        detail = f"the body is not what Content-Encoding: {self._coding} says: {why}; send all of it, and nothing else"
        return Problem(BadEncoding, detail)
