"""The gateway's `uses_with`, checked."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clip_gateway.memory import bytes_under_way, container_bytes

# Options of Jina's gateway; it adds those with a default to what was asked.
_OF_JINA = {
    "title",
    "description",
    "cors",
    "proxy",
    "uvicorn_kwargs",
    "grpc_server_options",
    "no_debug_endpoints",
    "no_crud_endpoints",
    "expose_endpoints",
    "expose_graphql_endpoint",
}


class SettingsError(ValueError):
    """A setting that makes no sense: the gateway does not start, and says what to mend."""


@dataclass(frozen=True)
class Settings:
    """What the operator chooses.

    :param tokens_file: bearer tokens, one a line, `#` begins a comment; None lets everybody in.
    :param tls_certificate_file: PEM, with the chain; with `tls_key_file` both protocols speak TLS.
    :param tls_key_file: PEM.
    :param max_body_bytes: of one HTTP body or gRPC message.
    :param memory_bytes: what there is of it; by default the limit of the container's cgroup, or the machine's memory.
    :param max_bytes_under_way: of all bodies, messages and unread answers together; by default what fits into memory.
    :param max_documents: of one request, at its top level.
    :param max_concurrent_requests: under way at the same time, over both protocols.
    :param time_limit_seconds: for one request, from its first byte to the answer.
    :param log_format: `text` or `json`; by default what the environment's LOG_FORMAT says, else `text`.
    :param slow_request_seconds: the log line of a request that takes longer is a warning.
    :param model_aliases: names that the served model answers to besides its own and its well-known spellings.
    :param keep_alive_seconds: that an HTTP connection may be idle; longer than what stands in front keeps its own.
    """

    tokens_file: str | None = None
    tls_certificate_file: str | None = None
    tls_key_file: str | None = None
    max_body_bytes: int = 32 * 2**20
    memory_bytes: int = field(default_factory=container_bytes)
    max_bytes_under_way: int = None  # type: ignore[assignment]  # follows from memory_bytes
    max_documents: int = 1024
    max_concurrent_requests: int = 128
    time_limit_seconds: float = 60.0
    log_format: str | None = None
    slow_request_seconds: float = 5.0
    model_aliases: Sequence[str] = ()
    keep_alive_seconds: float = 75.0

    def __post_init__(self) -> None:
        if self.max_bytes_under_way is None:
            object.__setattr__(self, "max_bytes_under_way", bytes_under_way(self.memory_bytes))
        for name in (
            "memory_bytes",
            "max_body_bytes",
            "max_bytes_under_way",
            "max_documents",
            "max_concurrent_requests",
        ):
            if type(value := getattr(self, name)) is not int or value < 1:
                raise SettingsError(f"{name} must be a whole number of at least 1, not {value!r}")
        for name in ("time_limit_seconds", "keep_alive_seconds", "slow_request_seconds"):
            seconds = getattr(self, name)
            if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < math.inf:
                raise SettingsError(f"{name} must be a number of seconds above 0, not {seconds!r}")
        if isinstance(self.model_aliases, str) or not all(isinstance(name, str) for name in self.model_aliases):
            raise SettingsError(f"model_aliases must be a list of names, not {self.model_aliases!r}")
        if (self.tls_certificate_file is None) != (self.tls_key_file is None):
            raise SettingsError("tls_certificate_file and tls_key_file belong together: set both or neither")
        for name in ("tokens_file", "tls_certificate_file", "tls_key_file"):
            if (value := getattr(self, name)) is not None and not Path(str(value)).is_file():
                raise SettingsError(f"{name}: no such file: {value}")
        if self.log_format is None:
            object.__setattr__(self, "log_format", os.environ.get("LOG_FORMAT") or "text")
        if self.log_format not in ("text", "json"):
            raise SettingsError(f"log_format (or LOG_FORMAT) must be text or json, not {self.log_format!r}")

    @classmethod
    def names(cls) -> list[str]:
        """Of all settings."""
        return [field.name for field in dataclasses.fields(cls)]

    @classmethod
    def take(cls, options: dict[str, Any], asked: Mapping[str, Any]) -> Settings:
        """The settings among `options`, which loses them; the rest is Jina's.

        :param asked: what `uses_with` holds, to find names that are nobody's.
        :raises SettingsError: a value makes no sense, or a name is unknown.
        """
        if unknown := asked.keys() - _OF_JINA - set(cls.names()):
            known = ", ".join(cls.names())
            raise SettingsError(f"uses_with: unknown option {min(unknown)!r}; there are {known}")
        return cls(**{name: options.pop(name) for name in cls.names() if name in options})
