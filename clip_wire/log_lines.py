"""Format of log lines in the gateway and in Executors: text, or JSON for machines."""

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
"""Values of the environment variable LOG_FORMAT."""

# Request id of the current task, for every line that it logs, including those of Jina's loggers.
request_id: ContextVar[str] = ContextVar("request_id", default="")


def text_line(line: dict[str, Any]) -> str:
    """Return a line such as `2026-01-01T12:00:00.000Z INFO request HTTP POST /embed 200 - 12.5 ms id=...`."""
    known = line["request_id"]
    text = f"{_time(line['time'])} {line['level']} {line['message']}" + (f" id={known}" if known else "")
    # text of a caller must not begin a new line (log injection)
    text = text.replace("\r", "\\r").replace("\n", "\\n")
    return text + ("\n" + line["exception"].rstrip() if "exception" in line else "")


def json_line(line: dict[str, Any]) -> str:
    """Return an object: time, level, logger, message, request_id and, for a request, its status and times."""
    return json.dumps({key: _time(value) if key == "time" else value for key, value in line.items() if value != ""})


def _time(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds % 1 * 1000):03d}Z"


class Lines:
    """Writes the lines of 50 ms together: a write per request would slow down all requests.

    :param stream: output.
    :param as_json: whether lines are JSON objects, else text.
    """

    _SECONDS = 0.05

    def __init__(self, stream: TextIO, as_json: bool) -> None:
        self._stream = stream
        self._write = json_line if as_json else text_line
        self._waiting: list[str] = []

    def take(self, line: dict[str, Any]) -> None:
        """Write `line` within 50 ms; at once if no event loop runs."""
        self._waiting.append(self._write(line) + "\n")
        if len(self._waiting) == 1:
            try:
                asyncio.get_running_loop().call_later(self._SECONDS, self.flush)
            except RuntimeError:
                self.flush()

    def flush(self) -> None:
        """Write the waiting lines."""
        lines, self._waiting = self._waiting, []
        self._stream.write("".join(lines))
        self._stream.flush()


class LinesHandler(logging.Handler):
    """Writes records of `logging` in order with the lines of requests; warnings are written at once."""

    def __init__(self, lines: Lines) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; errors are reported by `logging`, and do not reach the code that logs."""
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
        """Write the waiting lines; `logging` calls it at the end of the process."""
        self._lines.flush()


def send_to_stdout(own: logging.Logger, log_format: str) -> Lines:
    """Send the lines of `own` to standard output; as JSON, those of Jina's loggers too.

    :param own: logger of the gateway or the Executor.
    :param log_format: one of `FORMATS`.
    :return: writer for lines that bypass `logging`, whose records cost more than everything else per request.
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
