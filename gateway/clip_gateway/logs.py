"""Log lines that name their request: as text, or as JSON for machines. Never a header, a token or an image."""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
from contextvars import ContextVar

LOG = logging.getLogger("clip_gateway")

# The id of the request that the running task serves, for every line that is logged on its way, Jina's lines too.
request_id: ContextVar[str] = ContextVar("request_id", default="")

_FIELDS = ("protocol", "method", "endpoint", "status", "error", "ms")


def configure(log_format: str) -> None:
    """Send our lines to standard output, one a line; as JSON, those of Jina's loggers too.

    :param log_format: `text` or `json`.
    """
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    handler.addFilter(_name_request)
    LOG.handlers, LOG.propagate = [handler], False
    LOG.setLevel(logging.INFO)
    if log_format == "json":
        for logger in logging.Logger.manager.loggerDict.values():
            if isinstance(logger, logging.Logger) and logger.handlers and not logger.propagate:
                logger.handlers = [handler]


def request_line(protocol: str, method: str, endpoint: str, status: int, error: str, seconds: float) -> None:
    """The one line of a request.

    :param error: its name, or "".
    """
    values = (protocol, method, endpoint[:200], status, error or "-", round(1000 * seconds, 1))
    LOG.info("request %s %s %s %s %s %s ms", *values, extra=dict(zip(_FIELDS, values, strict=True)))


def _name_request(record: logging.LogRecord) -> bool:
    record.request_id = request_id.get()
    return True


class TextFormatter(logging.Formatter):
    """`2026-01-01T12:00:00.000Z INFO request HTTP POST /embed 200 12.5 ms id=...`"""

    def format(self, record: logging.LogRecord) -> str:
        known = getattr(record, "request_id", "")
        text = f"{_time(record)} {record.levelname} {record.getMessage()}" + (f" id={known}" if known else "")
        # what a caller sent must not begin a line of its own
        text = text.replace("\r", "\\r").replace("\n", "\\n")
        return text + ("\n" + "".join(traceback.format_exception(*record.exc_info)) if record.exc_info else "")


class JsonFormatter(logging.Formatter):
    """An object a line: time, level, logger, message, request_id and, for a request, what happened to it."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": getattr(record, "request_id", ""),
            **{field: getattr(record, field) for field in _FIELDS if hasattr(record, field)},
        }
        if record.exc_info:
            line["exception"] = "".join(traceback.format_exception(*record.exc_info))
        return json.dumps({key: value for key, value in line.items() if value != ""})


def _time(record: logging.LogRecord) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"
