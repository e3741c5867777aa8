"""`ClipGateway`, the class that Jina loads, with its options and one server per protocol."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from jina.enums import ProtocolType
from jina.proto import serializer
from jina.serve.runtimes.gateway.gateway import BaseGateway
from jina.serve.runtimes.servers import BaseServer
from jina.serve.runtimes.servers.composite import CompositeBaseServer

from clip_gateway.grpc.calls import GrpcCalls
from clip_gateway.grpc.server import GrpcServer
from clip_gateway.http.server import HttpServer
from clip_gateway.jina_internals import arguments_of_servers, describe_old_summaries, request_handler_of
from clip_gateway.memory import give_back_early
from clip_gateway.observing import logs
from clip_gateway.settings import Settings, SettingsError
from clip_gateway.tokens import Tokens
from clip_wire.environment import keep_out_of_environment

# By default, gRPC waits up to two minutes before it reconnects to an executor.
_CONNECT = {"grpc.initial_reconnect_backoff_ms": 100, "grpc.max_reconnect_backoff_ms": 500}


class ClipGateway(CompositeBaseServer, BaseGateway):
    """Jina's gateway for gRPC and HTTP, with correct status codes, health, limits, tokens and TLS.

    Its `uses_with` are the fields of `clip_gateway.settings.Settings`, and the options of Jina's own gateway.

    :raises SettingsError: if an option is invalid.
    """

    def __init__(self, **kwargs: Any) -> None:
        runtime = dict(kwargs.get("runtime_args") or {})
        runtime["grpc_channel_options"] = {**_CONNECT, **(runtime.get("grpc_channel_options") or {})}
        kwargs["runtime_args"] = runtime
        self._settings = Settings.take(kwargs, runtime.get("uses_with") or {})
        give_back_early()
        keep_out_of_environment(serializer)
        describe_old_summaries()
        super().__init__(**{**kwargs, "req_handler_cls": partial(GrpcCalls, settings=self._settings)})
        self._handler: GrpcCalls = request_handler_of(self)
        tokens = Tokens(self._settings.tokens_file, logs.LOG)
        self.servers: list[BaseServer] = []
        for server_kwargs in arguments_of_servers(self):
            if self._settings.tls_key_file:
                server_kwargs["ssl_keyfile"] = self._settings.tls_key_file
                server_kwargs["ssl_certfile"] = self._settings.tls_certificate_file
            self.servers.append(self._server(tokens, server_kwargs))
        logs.configure(str(self._settings.log_format), self._settings.slow_request_seconds)

    def _server(self, tokens: Tokens, kwargs: dict[str, Any]) -> BaseServer:
        protocol = kwargs["runtime_args"]["protocol"]
        if protocol == ProtocolType.GRPC:
            return GrpcServer(tokens, self._settings.max_body_bytes, **kwargs)
        if protocol == ProtocolType.HTTP:
            return HttpServer(tokens, self._settings, **kwargs)
        raise SettingsError(f"protocol: this gateway speaks GRPC and HTTP, not {protocol}")

    async def setup_server(self) -> None:
        """Start the servers, and watch the executors and the memory."""
        await super().setup_server()
        self._watches = [
            asyncio.create_task(self._handler.executors.watch(self._set_health)),
            asyncio.create_task(self._handler.guard.watch()),
        ]

    async def _set_health(self, name: str, answers: bool) -> None:
        for server in self.servers:
            if isinstance(server, GrpcServer):
                await server.set_health(name, answers)

    async def shutdown(self) -> None:
        """Reject new requests, finish those in flight, then stop."""
        self._handler.executors.shutting_down = True
        await self._handler.slots.drained(self._settings.time_limit_seconds)
        for watch in self._watches:
            watch.cancel()
        await super().shutdown()
