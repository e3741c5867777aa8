"""What `running.py` starts: `jina flow --uses FILE`, with a word when it is ready, until its standard input closes.

    python -m scripts.flow.process FILE READY_FILE

Standard input is a pipe from the parent. It closes however the parent ends, by SIGKILL too, so no Flow outlives it.
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
            # From here on, not before: Jina has forked its processes, and a fork beside threads can deadlock.
            threading.Thread(target=_end_with_parent, daemon=True).start()
            flow.block()
    except RuntimeFailToStart:  # Jina has logged why
        sys.exit(1)


def _end_with_parent() -> None:
    os.read(sys.stdin.fileno(), 1)
    os.kill(os.getpid(), signal.SIGINT)  # as Ctrl-C: the one way in which Jina takes its processes along


if __name__ == "__main__":
    main(*sys.argv[1:])
