"""The end of an Executor's process, with its reason in the pod's status."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from clip_image_flow.errors import ConfigError

# Kubernetes shows the content of this file in the pod's status as the reason of termination. Only pods have the file.
TERMINATION_LOG = Path("/dev/termination-log")


def end_process() -> NoReturn:
    """End the process, so that its supervisor restarts it: it would fail all requests while its probes succeed."""
    os._exit(os.EX_SOFTWARE)


@contextlib.contextmanager
def last_words() -> Iterator[None]:
    """Write a start-up error to the pod's status: Jina logs the error, but its process ends with success."""
    try:
        yield
    except ConfigError as error:
        tell_the_pod(str(error))
        raise


def tell_the_pod(reason: str) -> None:
    """Write the reason of termination."""
    with contextlib.suppress(OSError):
        if TERMINATION_LOG.exists():
            TERMINATION_LOG.write_text(reason[:4096], encoding="utf-8")  # Kubernetes keeps 4096 bytes
