"""Options of the gateway (`uses_with`), and their validation."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clip_gateway.memory import bytes_under_way, container_bytes

# Options of Jina's gateway, which adds those with a default value to `uses_with`.
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
    """An option is invalid: the gateway does not start, and the message says how to fix it."""


@dataclass(frozen=True)
class Settings:
    """Options of the gateway.

    :param tokens_file: file of bearer tokens, one per line, `#` begins a comment; None disables authentication.
    :param tls_certificate_file: PEM file of the certificate chain; with `tls_key_file`, both protocols use TLS.
    :param tls_key_file: PEM file of the private key.
    :param max_body_bytes: maximum size of one HTTP body or gRPC message, in bytes.
    :param memory_bytes: available memory in bytes; by default the container's cgroup limit, or the machine's memory.
    :param max_bytes_under_way: maximum size of all bodies, messages and unread answers together, in bytes; by default
        what fits into memory.
    :param max_documents: maximum number of documents of one request, at its top level.
    :param max_concurrent_requests: maximum number of requests in flight, over both protocols.
    :param time_limit_seconds: time limit of one request in seconds, from its first byte to the answer.
    :param log_format: `text` or `json`; by default the environment variable LOG_FORMAT, else `text`.
    :param slow_request_seconds: duration in seconds above which the log line of a request is a warning.
    :param model_aliases: names of the served model, in addition to its own and its well-known spellings.
    :param keep_alive_seconds: idle timeout of HTTP connections in seconds, longer than that of a proxy in front.
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
        """Return the names of all options."""
        return [field.name for field in dataclasses.fields(cls)]

    @classmethod
    def take(cls, options: dict[str, Any], asked: Mapping[str, Any]) -> Settings:
        """Remove the gateway's options from `options` and return them; the rest belongs to Jina.

        :param options: option name -> value, with those of Jina.
        :param asked: content of `uses_with`, in which unknown names are errors.
        :raises SettingsError: if a value is invalid, or a name is unknown.
        """
        if unknown := asked.keys() - _OF_JINA - set(cls.names()):
            known = ", ".join(cls.names())
            raise SettingsError(f"uses_with: unknown option {min(unknown)!r}; there are {known}")
        return cls(**{name: options.pop(name) for name in cls.names() if name in options})
