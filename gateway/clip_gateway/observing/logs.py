"""Log lines that name their request: as text, or as JSON for machines. Never a header, a token or an image."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
import traceback
from contextvars import ContextVar
from typing import Any, TextIO

LOG = logging.getLogger("clip_gateway")

# The id of the request that the running task serves, for every line that is logged on its way, Jina's lines too.
request_id: ContextVar[str] = ContextVar("request_id", default="")


def text_line(line: dict[str, Any]) -> str:
    """`2026-01-01T12:00:00.000Z INFO request HTTP POST /embed 200 - 12.5 ms id=...`"""
    known = line["request_id"]
    text = f"{_time(line['time'])} {line['level']} {line['message']}" + (f" id={known}" if known else "")
    # what a caller sent must not begin a line of its own
    text = text.replace("\r", "\\r").replace("\n", "\\n")
    return text + ("\n" + line["exception"].rstrip() if "exception" in line else "")


def json_line(line: dict[str, Any]) -> str:
    """An object: time, level, logger, message, request_id and, for a request, what happened to it."""
    return json.dumps({key: _time(value) if key == "time" else value for key, value in line.items() if value != ""})


def _time(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds % 1 * 1000):03d}Z"


class Lines:
    """Writes the lines of a twentieth of a second together: a write for each request would slow all of them.

    :param as_json: an object a line, else text.
    """

    _SECONDS = 0.05

    def __init__(self, stream: TextIO, as_json: bool) -> None:
        self._stream = stream
        self._write = json_line if as_json else text_line
        self._waiting: list[str] = []

    def take(self, line: dict[str, Any]) -> None:
        """Write `line` soon; at once where no event loop runs."""
        self._waiting.append(self._write(line) + "\n")
        if len(self._waiting) == 1:
            try:
                asyncio.get_running_loop().call_later(self._SECONDS, self.flush)
            except RuntimeError:
                self.flush()

    def flush(self) -> None:
        """Write what waits."""
        lines, self._waiting = self._waiting, []
        self._stream.write("".join(lines))
        self._stream.flush()


_lines = Lines(sys.stdout, as_json=False)


def configure(log_format: str) -> None:
    """Send our lines to standard output, one a line; as JSON, those of Jina's loggers too.

    :param log_format: `text` or `json`.
    """
    global _lines
    _lines = Lines(sys.stdout, log_format == "json")
    handler = LinesHandler(_lines)
    LOG.handlers, LOG.propagate = [handler], False
    LOG.setLevel(logging.INFO)
    if log_format == "json":
        for logger in logging.Logger.manager.loggerDict.values():
            if isinstance(logger, logging.Logger) and logger.handlers and not logger.propagate:
                logger.handlers = [handler]


class LinesHandler(logging.Handler):
    """What is logged, among the lines of the requests; warnings are written at once."""

    def __init__(self, lines: Lines) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record."""
        line = {
            "time": record.created,
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": request_id.get(),
        }
        if record.exc_info:
            line["exception"] = "".join(traceback.format_exception(*record.exc_info))
        self._lines.take(line)
        if record.levelno >= logging.WARNING:
            self.flush()

    def flush(self) -> None:
        """Write what waits; `logging` asks for that at the end of the process."""
        self._lines.flush()


def request_line(protocol: str, method: str, endpoint: str, status: int, error: str, seconds: float) -> None:
    """The one line of a request. It goes around `logging`, whose records cost more than all else that is done here.

    :param error: its name, or "".
    """
    ms, endpoint = round(1000 * seconds, 1), endpoint[:200]
    _lines.take(
        {
            "time": time.time(),
            "level": "INFO",
            "logger": "clip_gateway",
            "message": f"request {protocol} {method} {endpoint} {status} {error or '-'} {ms} ms",
            "request_id": request_id.get(),
            "protocol": protocol,
            "method": method,
            "endpoint": endpoint,
            "status": status,
            "error": error,
            "ms": ms,
        }
    )
