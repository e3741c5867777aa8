"""Jina's gRPC server with token authentication, and with the executors in its health service."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import grpc
from grpc_health.v1 import health_pb2
from jina.serve.runtimes.servers.grpc import GRPCServer

from clip_gateway.caller import accept_id
from clip_gateway.flow.request_handler import RequestHandler
from clip_gateway.grpc.calls import GrpcCalls
from clip_gateway.jina_internals import request_handler_of
from clip_gateway.observing.logs import request_id
from clip_gateway.problems import Problem
from clip_gateway.tokens import Tokens

_LAST_ANSWERS_SECONDS = 1.0
_LONGEST_MS = 3_600_000  # maximum age of a connection; the chart sets a much shorter one
_LAST_CALLS_MS = 60_000  # grace period for the calls on it
_SINGLE = "/jina.JinaSingleDataRequestRPC/process_single_data"
_OPEN = "/grpc.health.v1.Health/"

_Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]]


class GrpcServer(GRPCServer):
    """Jina's gRPC server with authentication, limits and health of executors.

    :param tokens: valid tokens.
    :param max_body_bytes: maximum size of one message, in bytes.
    """

    grpc_tracing_server_interceptors: Sequence[Any] | None
    grpc_server_options: dict[str, Any] | None

    def __init__(self, tokens: Tokens, max_body_bytes: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._handler: GrpcCalls = request_handler_of(self)
        own: list[grpc.aio.ServerInterceptor] = [SingleInterceptor(self._handler)]
        if tokens.asked_for:
            own.insert(0, TokenInterceptor(tokens, self._handler))
        self.grpc_tracing_server_interceptors = [*(self.grpc_tracing_server_interceptors or []), *own]
        # A response that the client does not read can only be dropped by closing its connection.
        ages = {"grpc.max_connection_age_ms": _LONGEST_MS, "grpc.max_connection_age_grace_ms": _LAST_CALLS_MS}
        # Compression is off: gRPC checks the size only after decompression; images are already compressed.
        options = {"grpc.max_receive_message_length": max_body_bytes, "grpc.compression_enabled_algorithms_bitset": 1}
        # With bandwidth probes, gRPC buffers megabytes of each call before it is read; without them, messages that are
        # being read arrive as fast.
        options["grpc.http2.bdp_probe"] = 0
        self.grpc_server_options = {**ages, **options, **dict(self.grpc_server_options or {})}

    async def setup_server(self) -> None:
        """Start the server; executors are NOT_SERVING until they have responded."""
        for name in self._handler.executors.names:
            await self.set_health(name, False)
        await super().setup_server()

    async def shutdown(self) -> None:
        """Stop the server after responses in flight are sent, which Jina's own shutdown would cut off."""
        await self.server.stop(grace=_LAST_ANSWERS_SECONDS)
        await super().shutdown()

    async def set_health(self, name: str, answers: bool) -> None:
        """Set the status of an executor in `grpc.health.v1`."""
        status = health_pb2.HealthCheckResponse
        await self.health_servicer.set(name, status.SERVING if answers else status.NOT_SERVING)


class SingleInterceptor(grpc.aio.ServerInterceptor):
    """Handles unary calls as streams of one message, which are the same on the wire.

    :param handler: servicer that reads the message.
    """

    def __init__(self, handler: GrpcCalls) -> None:
        self._handler = handler

    async def intercept_service(
        self, continuation: _Continuation, details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler:
        """Return Jina's handler for the call, or for unary requests that of `handler`."""
        jinas = await continuation(details)
        if details.method != _SINGLE or jinas is None:
            return jinas
        return grpc.stream_unary_rpc_method_handler(
            self._handler.single, jinas.request_deserializer, jinas.response_serializer
        )


class TokenInterceptor(grpc.aio.ServerInterceptor):
    """Rejects calls without a valid token in their metadata, before a message is read; health needs no token.

    :param tokens: valid tokens.
    :param handler: request handler that logs and counts rejected calls.
    """

    def __init__(self, tokens: Tokens, handler: RequestHandler) -> None:
        self._tokens = tokens
        self._handler = handler

    async def intercept_service(
        self, continuation: _Continuation, details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler:
        """Return Jina's handler for the call, or one that rejects it."""
        if details.method.startswith(_OPEN):
            return await continuation(details)
        metadata = dict(details.invocation_metadata or ())
        try:
            self._tokens.check(metadata.get("authorization"))
        except Problem as problem:
            refusal = problem
        else:
            return await continuation(details)

        async def refuse(_: Any, context: grpc.aio.ServicerContext) -> None:
            sent = metadata.get("x-request-id")
            known = accept_id(sent if isinstance(sent, str) else None)
            request_id.set(known)
            self._handler.ended("gRPC", "call", details.method, refusal.kind.status, refusal.name, time.perf_counter())
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, refusal.detail, (("x-request-id", known),))

        return grpc.stream_stream_rpc_method_handler(refuse)
