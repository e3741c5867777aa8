"""The gRPC server: Jina's, with an interceptor that asks for a token, and the executors' names in its health."""

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
_LONGEST_MS = 3_600_000  # that a connection is used for new calls, and
_LAST_CALLS_MS = 60_000  # that those on it have left then; the chart's are far shorter
_SINGLE = "/jina.JinaSingleDataRequestRPC/process_single_data"
_OPEN = "/grpc.health.v1.Health/"

_Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]]


class GrpcServer(GRPCServer):
    """Jina's gRPC server.

    :param tokens: who may come in.
    :param max_body_bytes: of one message.
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
        # An answer that its caller does not read can be ended in no other way than with its connection.
        ages = {"grpc.max_connection_age_ms": _LONGEST_MS, "grpc.max_connection_age_grace_ms": _LAST_CALLS_MS}
        # The length is checked after a message was unpacked, whatever it grew to; pictures are compressed already.
        options = {"grpc.max_receive_message_length": max_body_bytes, "grpc.compression_enabled_algorithms_bitset": 1}
        # With probes of the bandwidth gRPC takes in megabytes of each call before anybody reads it; a message that is
        # being read arrives as fast without them.
        options["grpc.http2.bdp_probe"] = 0
        self.grpc_server_options = {**ages, **options, **dict(self.grpc_server_options or {})}

    async def setup_server(self) -> None:
        """Start; executors are not there until they have answered."""
        for name in self._handler.executors.names:
            await self.set_health(name, False)
        await super().setup_server()

    async def shutdown(self) -> None:
        """End; answers that are on their way are still delivered, which Jina's own end would cut off."""
        await self.server.stop(grace=_LAST_ANSWERS_SECONDS)
        await super().shutdown()

    async def set_health(self, name: str, answers: bool) -> None:
        """What `grpc.health.v1` says of an executor."""
        status = health_pb2.HealthCheckResponse
        await self.health_servicer.set(name, status.SERVING if answers else status.NOT_SERVING)


class SingleInterceptor(grpc.aio.ServerInterceptor):
    """Has unary calls read as streams of one message are, to which they are the same on the wire.

    :param handler: that reads them.
    """

    def __init__(self, handler: GrpcCalls) -> None:
        self._handler = handler

    async def intercept_service(
        self, continuation: _Continuation, details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler:
        """Jina's handler for the call, or ours for its single requests."""
        jinas = await continuation(details)
        if details.method != _SINGLE or jinas is None:
            return jinas
        return grpc.stream_unary_rpc_method_handler(
            self._handler.single, jinas.request_deserializer, jinas.response_serializer
        )


class TokenInterceptor(grpc.aio.ServerInterceptor):
    """Refuses calls without a valid token in their metadata, before a message is read; health is open.

    :param tokens: the valid ones.
    :param handler: told of what is refused.
    """

    def __init__(self, tokens: Tokens, handler: RequestHandler) -> None:
        self._tokens = tokens
        self._handler = handler

    async def intercept_service(
        self, continuation: _Continuation, details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler:
        """Jina's handler for the call, or one that refuses it."""
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
