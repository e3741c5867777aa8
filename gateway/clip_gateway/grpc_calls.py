"""Jina's gRPC services, answered by `serve`.

Jina's Client sends all requests of one `post` on one stream, where a gRPC status would end the neighbours of a bad
request: errors stay in the status header of their own answer. gRPC statuses are for what refuses the whole call.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
from jina.proto import jina_pb2
from jina.serve.stream import RequestStreamer
from jina.types.request.data import DataRequest

from clip_gateway.caller import Caller, accept_id
from clip_gateway.limits import Stream
from clip_gateway.logs import request_id, request_line
from clip_gateway.problems import Problem, problem_of
from clip_gateway.request_handler import RequestHandler


class GrpcCalls(RequestHandler):
    """The servicer that Jina registers for its services."""

    async def stream(
        self, request_iterator: AsyncIterator[DataRequest], context: grpc.aio.ServicerContext, *_: Any, **__: Any
    ) -> AsyncIterator[DataRequest]:
        """All requests of one gRPC stream. One that is refused does not end the others."""
        metadata = dict(context.invocation_metadata() or ())
        caller = _open(context)
        prefetch = str(metadata.get("__prefetch__", ""))
        stream = Stream(self.slots, int(prefetch) if prefetch.isdecimal() else 0)

        async def answer_one(request: DataRequest) -> DataRequest:
            try:
                return await self._logged(request, caller)
            finally:
                stream.done(request)

        streamer = RequestStreamer(
            request_handler=lambda request, **_: (asyncio.ensure_future(answer_one(request)), None),
            result_handler=lambda answer: answer,
            logger=self.logger,
        )
        in_order = metadata.get("__results_in_order__") == "true"
        answered = 0
        async for answer in streamer.stream(stream.admit(request_iterator), results_in_order=in_order):
            answered += 1
            problem = problem_of(answer)
            if problem and problem.kind.grpc:  # of the whole call, but what is under way is still answered
                stream.refusal = problem
            else:
                yield answer
            if stream.refusal and answered == stream.admitted:
                break
        if stream.refusal:
            await _refuse(context, stream.refusal, caller)

    Call = stream

    async def process_single_data(self, request: DataRequest, context: grpc.aio.ServicerContext) -> DataRequest:
        """One request, one answer."""
        caller = _open(context)
        if not self.slots.take():
            await _refuse(context, self.slots.full(), caller)
        try:
            answer = await self._logged(request, caller)
        finally:
            self.slots.give()
        if (problem := problem_of(answer)) and problem.kind.grpc:
            await _refuse(context, problem, caller)
        return answer

    async def _logged(self, request: DataRequest, caller: Caller) -> DataRequest:
        started = time.perf_counter()
        request_id.set(caller.id)
        answer = await self.serve(request, caller)
        problem = problem_of(answer)
        endpoint = request.header.exec_endpoint or "/"
        request_line(
            "gRPC", "post", endpoint, problem.kind.status if problem else 200, problem.name if problem else "-", started
        )
        return answer

    async def stream_doc(self, _: Any, context: grpc.aio.ServicerContext) -> AsyncIterator[Any]:
        """Jina's streaming of one document, which no Executor of ours has."""
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "use jina.JinaRPC/Call")
        yield

    async def dry_run(self, *_: Any) -> jina_pb2.StatusProto:
        """Whether all executors answer now; `Client.is_flow_ready` asks this."""
        await self.executors.refresh()
        status = jina_pb2.StatusProto()
        if missing := self.executors.missing:
            problem = Problem("Unavailable", f"no answer from {', '.join(missing)}")
            status.CopyFrom(problem.answer(DataRequest()).status)
        return status

    async def endpoint_discovery(self, *_: Any) -> jina_pb2.EndpointsProto:
        """The endpoints of all executors, as far as they are known; Jina's own would wait for ever."""
        if self.executors.endpoints is None:
            await self.executors.refresh()
        return jina_pb2.EndpointsProto(endpoints=sorted(self.executors.endpoints or ()))


def _open(context: grpc.aio.ServicerContext) -> Caller:
    """What a gRPC call brings: its id, which it gets back at its end, and the time that the caller gives it."""
    sent = {key: value for key, value in context.invocation_metadata() or () if key == "x-request-id"}
    remaining = context.time_remaining()
    caller = Caller(
        accept_id(sent.get("x-request-id")),
        "gRPC",
        deadline=float("inf") if remaining is None else time.time() + remaining,
    )
    context.set_trailing_metadata((("x-request-id", caller.id),))
    return caller


async def _refuse(context: grpc.aio.ServicerContext, problem: Problem, caller: Caller) -> None:
    """End the call with a gRPC status."""
    seconds = problem.kind.retry_after
    metadata = (("x-request-id", caller.id), *((("retry-after", str(seconds)),) if seconds else ()))
    await context.abort(problem.kind.grpc or grpc.StatusCode.INTERNAL, problem.detail, metadata)
