"""Runs `jina flow --uses FILE` until standard input closes, and creates READY_FILE when the Flow is ready.

    python -m scripts.flow.process FILE READY_FILE

`running.py` starts this program. Standard input is a pipe from the parent, which closes even if the parent is killed by
SIGKILL, so no Flow outlives its parent.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path


def main(file: str, ready_file: str) -> None:
    from jina import Flow
    from jina.excepts import RuntimeFailToStart

    try:
        with Flow.load_config(file) as flow:
            Path(ready_file).touch()
            # Only now: Jina has forked its processes, and a fork in a process with threads can deadlock.
            threading.Thread(target=_end_with_parent, daemon=True).start()
            flow.block()
    except RuntimeFailToStart:  # Jina has logged the reason
        sys.exit(1)


def _end_with_parent() -> None:
    os.read(sys.stdin.fileno(), 1)
    os.kill(os.getpid(), signal.SIGINT)  # the signal of Ctrl-C: on others Jina does not stop its processes


if __name__ == "__main__":
    main(*sys.argv[1:])
