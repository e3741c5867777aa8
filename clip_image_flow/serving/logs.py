"""Logs one line per request of an Executor, in the gateway's format: endpoint, error and timings."""

from __future__ import annotations

import logging
import os
import time

from clip_image_flow.errors import ConfigError
from clip_wire.log_lines import FORMATS, request_id, send_to_stdout
from clip_wire.work import Work

LOG = logging.getLogger("clip_executor")


class RequestLog:
    """Writes the lines, in the format of the environment variable LOG_FORMAT.

    :param executor: name of the Executor in the Flow.
    :raises ConfigError: LOG_FORMAT is neither `text` nor `json`.
    """

    def __init__(self, executor: str) -> None:
        self._executor = executor
        log_format = os.environ.get("LOG_FORMAT") or "text"
        if log_format not in FORMATS:
            raise ConfigError(f"LOG_FORMAT must be {' or '.join(FORMATS)}, not {log_format!r}")
        self._lines = send_to_stdout(LOG, log_format)

    def line(self, known: str, endpoint: str, error: str, seconds: float, work: Work) -> None:
        """Write the line of one request.

        :param known: request id, set by the gateway or the caller.
        :param endpoint: Jina endpoint of the request.
        :param error: error as `NAME: DETAIL`, or "".
        :param seconds: duration of the request.
        :param work: number of items and their timings.
        """
        request_id.set(known)
        ms = round(1000 * seconds, 1)
        name, _, detail = error.partition(": ")
        message = f"request {self._executor} {endpoint} {error[:500] or '-'} {ms} ms"
        self._lines.take(
            {
                "time": time.time(),
                "level": "INFO",
                "logger": LOG.name,
                "message": f"{message}, {work}" if work.items else message,
                "request_id": known,
                "executor": self._executor,
                "endpoint": endpoint,
                "error": name[:100],
                "detail": detail[:400],
                "ms": ms,
                **work.fields(),
            }
        )
