"""Jina's gRPC services, answered by `serve`.

Jina's Client sends all requests of one `post` on one stream, where a gRPC status would end the neighbours of a bad
request: errors stay in the status header of their own answer. gRPC statuses are for what refuses the whole call.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc
from jina.proto import jina_pb2
from jina.types.request.data import DataRequest

from clip_gateway.caller import Caller, accept_id
from clip_gateway.flow.messages import joined, made_by
from clip_gateway.flow.request_handler import RequestHandler
from clip_gateway.grpc.guard import Guard
from clip_gateway.grpc.stream import Stream
from clip_gateway.memory import Holding
from clip_gateway.observing.logs import request_id
from clip_gateway.problems import Problem, problem_of

_Answered = tuple[DataRequest, DataRequest]  # a request and its answer


class GrpcCalls(RequestHandler):
    """The servicer that Jina registers for its services."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._under_way: set[asyncio.Task[Any]] = set()  # asyncio itself would let them be collected
        self.guard = Guard(self.settings.memory_bytes, self.settings.max_body_bytes)

    async def stream(
        self, request_iterator: AsyncIterator[DataRequest], context: grpc.aio.ServicerContext, *_: Any
    ) -> AsyncIterator[DataRequest]:
        """All requests of one gRPC stream, answered as they are done. One that is refused does not end the others."""
        metadata = dict(context.invocation_metadata() or ())
        caller = _open(context, metadata)
        prefetch = str(metadata.get("__prefetch__", ""))
        stream = Stream(self.slots, int(prefetch) if prefetch.isdecimal() else 0, self.budget, self.limits)
        in_order = metadata.get("__results_in_order__") == "true"
        answers: asyncio.Queue[_Answered | asyncio.Task[_Answered] | None] = asyncio.Queue()

        async def answer(request: DataRequest) -> _Answered:
            started = time.perf_counter()
            try:
                found = await self.serve(request, caller)
            finally:
                stream.answered(request)
            if not in_order:
                answers.put_nowait((request, found))
            self._ended(request, found, started)
            return request, found

        async def read() -> None:
            async for request in stream.admit(self.guard.paced(request_iterator)):
                task = asyncio.create_task(answer(request))
                self._under_way.add(task)
                task.add_done_callback(self._under_way.discard)
                if in_order:
                    answers.put_nowait(task)

        def shed(problem: Problem) -> None:
            stream.refusal = problem
            reader.cancel()

        reader = asyncio.create_task(read())
        reader.add_done_callback(lambda _: answers.put_nowait(None))
        reading = self.guard.reading(shed)
        answered = 0
        try:
            while not (answered == stream.admitted and (reader.done() or stream.refusal)):
                if (item := await answers.get()) is None:
                    continue
                request, found = await item if isinstance(item, asyncio.Task) else item
                answered += 1
                problem = problem_of(found)
                if problem and problem.grpc_status:  # of the whole call, but what is under way is still answered
                    stream.refusal = problem
                else:
                    yield found
                stream.done(request)
        finally:
            self.guard.ended(reading)
            reader.cancel()
            stream.close()
        if stream.refusal:
            await _refuse(context, stream.refusal, caller)
        await reader  # raises what ended it, if that was not the stream's end

    Call = stream

    async def single(
        self, request_iterator: AsyncIterator[DataRequest], context: grpc.aio.ServicerContext
    ) -> DataRequest:
        """The same as `process_single_data`, which Jina calls with a message that was read; this reads it itself."""
        try:
            request = await self.guard.first(request_iterator)
        except Problem as full:
            await _refuse(context, full, _open(context, dict(context.invocation_metadata() or ())))
        if request is None:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the call has no message")
        return await self.process_single_data(request, context)

    async def process_single_data(self, request: DataRequest, context: grpc.aio.ServicerContext) -> DataRequest:
        """One request, one answer."""
        caller = _open(context, dict(context.invocation_metadata() or ()))
        holding = Holding(self.budget)
        try:
            holding.grow(len(request.buffer or b""))
        except Problem as full:
            request.buffer = None  # it is no longer needed, and what ends a call may be held for some time
            await _refuse(context, full, caller)
        if not self.slots.take():
            holding.release()
            request.buffer = None
            await _refuse(context, self.slots.full(), caller)
        # Slot and bytes are held until both have ended: the work, which goes on when the caller hangs up, and the call,
        # which goes on until the caller has read its answer.
        work = asyncio.create_task(self.serve(request, caller))
        self._under_way.add(work)
        ends = iter((False, True))

        def end(_: object) -> None:
            if next(ends):
                self._under_way.discard(work)
                holding.release()
                self.slots.give()

        work.add_done_callback(end)
        context.add_done_callback(end)
        answer = await asyncio.shield(work)
        if made := made_by(answer):
            context.set_trailing_metadata((("x-request-id", caller.id), ("x-model-fingerprint", joined(made))))
        self._ended(request, answer, caller.started)
        if (problem := problem_of(answer)) and problem.grpc_status:
            await _refuse(context, problem, caller)
        return answer

    def _ended(self, request: DataRequest, answer: DataRequest, started: float) -> None:
        problem = problem_of(answer)
        status, name = (problem.kind.status, problem.name) if problem else (200, "")
        self.ended("gRPC", "post", request.header.exec_endpoint or "/", status, name, started)

    async def stream_doc(self, _: Any, context: grpc.aio.ServicerContext) -> AsyncIterator[Any]:
        """Jina's streaming of one document, which no Executor of ours has."""
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "use jina.JinaRPC/Call")
        yield

    async def dry_run(self, *_: Any) -> jina_pb2.StatusProto:
        """Whether all executors answer now and run one checkpoint; `Client.is_flow_ready` asks this."""
        await self.executors.refresh()
        status = jina_pb2.StatusProto()
        if refusal := self.executors.refusal:
            status.CopyFrom(refusal.answer(DataRequest()).status)
        return status

    async def endpoint_discovery(self, *_: Any) -> jina_pb2.EndpointsProto:
        """The endpoints of all executors, as far as they are known; Jina's own would wait for ever."""
        if self.executors.endpoints is None:
            await self.executors.refresh()
        return jina_pb2.EndpointsProto(endpoints=sorted(self.executors.endpoints or ()))


def _open(context: grpc.aio.ServicerContext, metadata: Mapping[str, Any]) -> Caller:
    """Who calls, by the id in its metadata, which it gets back at the end, and with the time that it gives us."""
    remaining = context.time_remaining()
    deadline = float("inf") if remaining is None else time.time() + remaining
    expects = str(metadata.get("x-expect-fingerprint", ""))
    caller = Caller(accept_id(metadata.get("x-request-id")), "gRPC", deadline, expects)
    context.set_trailing_metadata((("x-request-id", caller.id),))
    request_id.set(caller.id)
    return caller


async def _refuse(context: grpc.aio.ServicerContext, problem: Problem, caller: Caller) -> None:
    """End the call with a gRPC status."""
    seconds = problem.kind.retry_after
    metadata = (("x-request-id", caller.id), *((("retry-after", str(seconds)),) if seconds else ()))
    await context.abort(problem.grpc_status or grpc.StatusCode.INTERNAL, problem.detail, metadata)
