"""Jina's counters of bytes, kept out of the environment of the gateway and the Executors."""

from __future__ import annotations

from types import ModuleType, SimpleNamespace


def keep_out_of_environment(serializer: ModuleType) -> None:
    """Let `jina.proto.serializer` count in a dict instead of in environment variables, which no one reads there.

    Jina sets an environment variable for each message to the bytes so far, and glibc keeps every value that a variable
    ever had: 70 bytes of memory per message, which also fragment the rest.
    """
    vars(serializer)["os"] = SimpleNamespace(environ={})
