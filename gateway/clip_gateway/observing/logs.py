"""Log lines with the request id, as text or as JSON; they never contain headers, tokens or images."""

from __future__ import annotations

import logging
import sys
import time
from contextvars import ContextVar

from clip_wire.log_lines import Lines, LinesHandler, json_line, request_id, send_to_stdout, text_line
from clip_wire.work import Work

__all__ = ["LOG", "Lines", "LinesHandler", "configure", "json_line", "request_id", "request_line", "text_line", "took"]

LOG = logging.getLogger("clip_gateway")

# Time that the current task's request has taken in the executors so far.
took: ContextVar[Work | None] = ContextVar("took", default=None)

_lines = Lines(sys.stdout, as_json=False)
_slow_seconds = float("inf")


def configure(log_format: str, slow_seconds: float = float("inf")) -> None:
    """Send the gateway's log lines to standard output; as JSON, those of Jina's loggers too.

    :param log_format: `text` or `json`.
    :param slow_seconds: duration in seconds above which the line of a request is a warning.
    """
    global _lines, _slow_seconds
    _lines, _slow_seconds = send_to_stdout(LOG, log_format), slow_seconds


def request_line(protocol: str, method: str, endpoint: str, status: int, error: str, seconds: float) -> None:
    """Write the line of a request, without `logging`, whose records cost more than everything else here.

    :param protocol: `HTTP` or `gRPC`.
    :param method: HTTP method, or `post` or `call` for gRPC.
    :param endpoint: HTTP path, or endpoint of the Flow.
    :param status: HTTP status code.
    :param error: name of the error, or "".
    :param seconds: duration of the request in seconds.
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
