"""Implements Jina's gRPC services with `RequestHandler.serve`.

Jina's Client sends all requests of one `post` on one stream, and a gRPC status would end all of them. So the error of a
request is returned in the status header of its response; a gRPC status rejects a whole call.
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
from clip_gateway.observing.logs import request_id, took
from clip_gateway.problems import Problem, problem_of
from clip_wire.work import Work

_Answered = tuple[DataRequest, DataRequest]  # a request and its response


class GrpcCalls(RequestHandler):
    """The servicer of Jina's gRPC services."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._under_way: set[asyncio.Task[Any]] = set()  # strong references: asyncio keeps only weak ones
        self.guard = Guard(self.settings.memory_bytes, self.settings.max_body_bytes)

    async def stream(
        self, request_iterator: AsyncIterator[DataRequest], context: grpc.aio.ServicerContext, *_: Any
    ) -> AsyncIterator[DataRequest]:
        """Answer the requests of one gRPC stream as they finish; a request that fails does not end the others."""
        metadata = dict(context.invocation_metadata() or ())
        caller = _open(context, metadata)
        prefetch = str(metadata.get("__prefetch__", ""))
        stream = Stream(self.slots, int(prefetch) if prefetch.isdecimal() else 0, self.budget, self.limits)
        in_order = metadata.get("__results_in_order__") == "true"
        answers: asyncio.Queue[_Answered | asyncio.Task[_Answered] | None] = asyncio.Queue()

        async def answer(request: DataRequest) -> _Answered:
            started = time.perf_counter()
            took.set(Work())
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
                if problem and problem.grpc_status:  # rejects the call; requests in flight are still answered
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
        await reader  # raises the error that stopped reading, if any

    Call = stream

    async def single(
        self, request_iterator: AsyncIterator[DataRequest], context: grpc.aio.ServicerContext
    ) -> DataRequest:
        """Read the message of a unary call and answer it as `process_single_data` does."""
        try:
            request = await self.guard.first(request_iterator)
        except Problem as full:
            await _refuse(context, full, _open(context, dict(context.invocation_metadata() or ())))
        if request is None:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the call has no message")
        return await self.process_single_data(request, context)

    async def process_single_data(self, request: DataRequest, context: grpc.aio.ServicerContext) -> DataRequest:
        """Answer one request."""
        caller = _open(context, dict(context.invocation_metadata() or ()))
        holding = Holding(self.budget)
        try:
            holding.grow(len(request.buffer or b""))
        except Problem as full:
            request.buffer = None  # frees the message: the exception that ends the call may keep it alive for a while
            await _refuse(context, full, caller)
        if not self.slots.take():
            holding.release()
            request.buffer = None
            await _refuse(context, self.slots.full(), caller)
        took.set(Work())
        work = asyncio.create_task(self.serve(request, caller))
        self._under_way.add(work)
        work.add_done_callback(self._under_way.discard)
        # Slot and bytes are held until both have ended: the work, which continues when the caller cancels, and the
        # call, which lasts until the caller has read the response. gRPC keeps the callback until the garbage collector
        # runs, so it must not refer to the work, which has the message.
        ends = iter((False, True))

        def end(_: object) -> None:
            if next(ends):
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
        """Reject Jina's streaming of single documents, which no Executor here supports."""
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "use jina.JinaRPC/Call")
        yield

    async def dry_run(self, *_: Any) -> jina_pb2.StatusProto:
        """Return whether all executors respond and run the same checkpoint, for `Client.is_flow_ready`."""
        await self.executors.refresh()
        status = jina_pb2.StatusProto()
        if refusal := self.executors.refusal:
            status.CopyFrom(refusal.answer(DataRequest()).status)
        return status

    async def endpoint_discovery(self, *_: Any) -> jina_pb2.EndpointsProto:
        """Return the known endpoints of all executors; Jina's own implementation would wait forever."""
        if self.executors.endpoints is None:
            await self.executors.refresh()
        return jina_pb2.EndpointsProto(endpoints=sorted(self.executors.endpoints or ()))


def _open(context: grpc.aio.ServicerContext, metadata: Mapping[str, Any]) -> Caller:
    """Return the caller, with request id and deadline of the call; the id is returned in the trailing metadata."""
    remaining = context.time_remaining()
    deadline = float("inf") if remaining is None else time.time() + remaining
    expects = str(metadata.get("x-expect-fingerprint", ""))
    caller = Caller(accept_id(metadata.get("x-request-id")), "gRPC", deadline, expects)
    context.set_trailing_metadata((("x-request-id", caller.id),))
    request_id.set(caller.id)
    return caller


async def _refuse(context: grpc.aio.ServicerContext, problem: Problem, caller: Caller) -> None:
    """Abort the call with a gRPC status."""
    seconds = problem.kind.retry_after
    metadata = (("x-request-id", caller.id), *((("retry-after", str(seconds)),) if seconds else ()))
    await context.abort(problem.grpc_status or grpc.StatusCode.INTERNAL, problem.detail, metadata)
