"""Log lines that name their request: as text, or as JSON for machines. Never a header, a token or an image."""

from __future__ import annotations

import logging
import sys
import time
from contextvars import ContextVar

from clip_wire.log_lines import Lines, LinesHandler, json_line, request_id, send_to_stdout, text_line
from clip_wire.work import Work

__all__ = ["LOG", "Lines", "LinesHandler", "configure", "json_line", "request_id", "request_line", "text_line", "took"]

LOG = logging.getLogger("clip_gateway")

# What the request that the running task serves has taken so far, in the executors.
took: ContextVar[Work | None] = ContextVar("took", default=None)

_lines = Lines(sys.stdout, as_json=False)
_slow_seconds = float("inf")


def configure(log_format: str, slow_seconds: float = float("inf")) -> None:
    """Send our lines to standard output, one a line; as JSON, those of Jina's loggers too.

    :param log_format: `text` or `json`.
    :param slow_seconds: the line of a request that takes longer is a warning.
    """
    global _lines, _slow_seconds
    _lines, _slow_seconds = send_to_stdout(LOG, log_format), slow_seconds


def request_line(protocol: str, method: str, endpoint: str, status: int, error: str, seconds: float) -> None:
    """The one line of a request. It goes around `logging`, whose records cost more than all else that is done here.

    :param error: its name, or "".
    """
    ms, endpoint = round(1000 * seconds, 1), endpoint[:200]
    slow = seconds > _slow_seconds
    work = took.get() or Work()
    message = f"{'slow ' * slow}request {protocol} {method} {endpoint} {status} {error or '-'} {ms} ms"
    _lines.take(
        {
            "time": time.time(),
            "level": "WARNING" if slow else "INFO",
            "logger": "clip_gateway",
            "message": f"{message}, {work}" if work.items else message,
            "request_id": request_id.get(),
            "protocol": protocol,
            "method": method,
            "endpoint": endpoint,
            "status": status,
            "error": error,
            "ms": ms,
            **work.fields(),
        }
    )
