"""What a log line looks like, in the gateway and in Executors: as text, or as JSON for machines."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
import traceback
from contextvars import ContextVar
from typing import Any, TextIO

FORMATS = ("text", "json")
"""The environment's LOG_FORMAT."""

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


class LinesHandler(logging.Handler):
    """What is logged, among the lines of the requests; warnings are written at once."""

    def __init__(self, lines: Lines) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record. What cannot be written is an error of the log, not of what is logged."""
        try:
            self._take(record)
        except Exception:
            self.handleError(record)

    def _take(self, record: logging.LogRecord) -> None:
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


def send_to_stdout(own: logging.Logger, log_format: str) -> Lines:
    """Send the lines of `own` to standard output, one a line; as JSON, those of Jina's loggers too.

    :param log_format: one of `FORMATS`.
    :return: what writes them, for lines that go around `logging`, whose records cost more than all else that is done.
    """
    lines = Lines(sys.stdout, log_format == "json")
    handler = LinesHandler(lines)
    own.handlers, own.propagate = [handler], False
    own.setLevel(logging.INFO)
    if log_format == "json":
        for logger in logging.Logger.manager.loggerDict.values():
            if isinstance(logger, logging.Logger) and logger.handlers and not logger.propagate:
                logger.handlers = [handler]
    return lines
