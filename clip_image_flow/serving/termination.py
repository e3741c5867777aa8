"""The end of an Executor's process, with its reason in the pod's status."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import NoReturn

from clip_image_flow.errors import ConfigError
from clip_wire.termination import tell_the_pod


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
