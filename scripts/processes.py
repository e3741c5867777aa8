"""Runs process groups on free ports, or a thread, in a context manager."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from scripts import ROOT


def free_ports(count: int) -> list[int]:
    """Return `count` ports of this machine that are free."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in sockets]


@contextlib.contextmanager
def process_group(
    command: Sequence[str], log: Path, environment: Mapping[str, str], folder: Path = ROOT
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `command` as a process group, which is killed at the end of the context.

    :param command: program and arguments.
    :param log: file to which the output is appended.
    :param environment: variables that override those of this process; HOME defaults to a new directory.
    :param folder: working directory of the command.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home, log.open("ab") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "HOME": home, "JINA_OPTOUT_TELEMETRY": "1", **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            kill(process)


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill the process group of `process`."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextlib.contextmanager
def repeated(step: Callable[[], object], pause: float) -> Iterator[None]:
    """Call `step` in a thread, again and again during the context, and at least once.

    :param pause: time between two calls, in seconds.
    """
    ended = threading.Event()

    def run() -> None:
        step()
        while not ended.wait(pause):
            step()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
