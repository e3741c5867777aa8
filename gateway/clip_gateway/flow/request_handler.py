"""Answers requests of every protocol: checks them, and sends them through the Flow within their time limit.

Jina's handler sends a request through the topology. `serve` wraps it and never raises: an error is in the status header
of the answer, without stack traces and documents. HTTP turns it into a status code. gRPC leaves it there, since Jina's
Client sends all requests of one `post` on one stream, and a gRPC status would end all of them; gRPC status codes are
only for errors that reject a whole call.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Iterable, Sequence
from typing import Any

import grpc
from docarray import DocumentArray
from jina.serve.runtimes.gateway.request_handling import GatewayRequestHandler
from jina.types.request.data import DataRequest

from clip_gateway.caller import Caller
from clip_gateway.flow.counting import Limits
from clip_gateway.flow.executors import Executors
from clip_gateway.flow.messages import (
    check_ranked,
    document_count,
    drop_reserved,
    expected,
    forget_documents,
    parse,
    set_reserved,
    take_work,
)
from clip_gateway.flow.model import Models
from clip_gateway.flow.sending import PASSAGE, Hold, Passage, Sending
from clip_gateway.flow.slots import Slots
from clip_gateway.jina_internals import way_through
from clip_gateway.memory import Budget
from clip_gateway.observing.logs import LOG, request_line, took
from clip_gateway.observing.metrics import Metrics
from clip_gateway.problems import INTERNAL, OF_EXECUTORS, Problem, problem_of
from clip_gateway.settings import Settings
from clip_wire.endpoints import ALWAYS, DEFAULT, ENCODE, RANK
from clip_wire.errors import Expired, InternalError, Malformed, NotFound, TooLarge, Unavailable
from clip_wire.parameters import MODEL_NAME
from clip_wire.work import Work

_LONGEST_TARGET = 1024  # characters


class RequestHandler(GatewayRequestHandler):
    """Jina's request handler with checks, limits, and errors that name their cause.

    :param settings: settings of the gateway.
    """

    def __init__(self, *args: Any, settings: Settings, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.settings = settings
        self.limits = Limits.of(settings.max_documents)
        self.slots = Slots(settings.max_concurrent_requests)
        self.budget = Budget(settings.max_bytes_under_way)
        self.executors = Executors(self.streamer, _addresses(self.runtime_args.deployments_addresses))
        self.models = Models(self.executors, settings.model_aliases)
        self._metrics = Metrics(kwargs.get("metrics_registry"), settings.tls_certificate_file)
        self._metrics.watch(self.slots, self.budget, self.executors)
        self._floating: set[asyncio.Future[Any]] = set()
        self._sending = Sending(self.executors)
        self._send, self._finish = way_through(self.streamer)

    def hold(self) -> Hold:
        """Return a `Hold` for requests whose vectors belong together: in `async with`, one model makes all of them."""
        return Hold(self.executors.pins)

    async def serve(self, request: DataRequest, caller: Caller, hold: Hold | None = None) -> DataRequest:
        """Return the answer to a request; an error is in its status header.

        :param request: request to answer, which is changed.
        :param caller: caller with its deadline.
        :param hold: pins shared by requests whose answers are combined; by default, pins of this request alone.
        """
        try:
            asked = await self._check(request)
            endpoint = request.header.exec_endpoint
            deadline = min(caller.deadline, time.time() + self.settings.time_limit_seconds)
            set_reserved(request, caller.id, deadline, caller.expects)
            if hold:
                answer = await self._ask(request, deadline, asked, hold)
            else:
                async with self.hold() as own:
                    answer = await self._ask(request, deadline, asked, own)
            if answer is not request:  # it is, if no executor was called
                forget_documents(request)
            take_work(answer, took.get() or Work())
            answer = _clean(answer)
            if endpoint == RANK:
                check_ranked(answer)
            return answer
        except Problem as problem:
            return problem.answer(request)
        except Exception:  # a bug must not end other requests of the stream
            LOG.exception("a request failed")
            return Problem(InternalError, INTERNAL).answer(request)

    async def _check(self, request: DataRequest) -> list[str]:
        """Check a request, and return the names of the executors that it is for.

        :raises Problem: if the request is rejected.
        """
        if not parse(request, self.limits):
            raise Problem(Malformed, "the message is not a Jina DataRequest")
        asked = self.executors.names
        if wanted := request.header.target_executor:
            asked = _executors(wanted, asked)
            request.header.target_executor = f"(?:{'|'.join(map(re.escape, asked))})$"
        if self.executors.shutting_down:
            raise Problem(Unavailable, "this gateway is shutting down; try again, another one may answer")
        if reason := self.executors.agreement.reason:
            raise Problem(Unavailable, reason)
        if silent := await self.executors.still_silent(asked):
            raise self.executors.unavailable(silent)
        if _among(asked, self.executors.gone) and (gone := _among(asked, await self.executors.still_gone())):
            raise self.executors.unavailable(gone)
        await self._check_model(request)
        self._check_endpoint(request.header.exec_endpoint or DEFAULT)
        # docs_bytes is a pickle, and loading a pickle can execute code.
        if request.proto_with_data.data.WhichOneof("documents") == "docs_bytes":
            raise Problem(Malformed, "send documents as `docs`; `docs_bytes` is not read")
        self.check_count(document_count(request))
        return asked

    def check_count(self, count: int) -> None:
        """Check the number of documents of one request.

        :raises Problem: if there are too many.
        """
        if count > (most := self.settings.max_documents):
            raise Problem(TooLarge, f"{count} documents in one request; at most {most} are allowed: send several")

    async def _check_model(self, request: DataRequest) -> None:
        """Check the requested model, and remove its name from endpoints such as `/encode/MODEL`.

        :raises Problem: if another model is requested.
        """
        fields = request.proto.parameters.fields
        if MODEL_NAME in fields:
            await self.models.check(fields[MODEL_NAME].string_value)
        for endpoint in (ENCODE, RANK):
            if request.header.exec_endpoint.startswith(f"{endpoint}/"):
                await self.models.check(request.header.exec_endpoint.removeprefix(f"{endpoint}/"))
                request.header.exec_endpoint = endpoint

    def _check_endpoint(self, endpoint: str) -> None:
        if endpoint in ALWAYS or (known := self.executors.endpoints) is None or endpoint in known:
            return
        public = ", ".join(sorted(ALWAYS | {name for name in known if name.startswith("/")}))
        raise Problem(NotFound, f"no executor has the endpoint {endpoint[:100]!r}; there are {public}")

    async def _ask(self, request: DataRequest, deadline: float, asked: Sequence[str], hold: Hold) -> DataRequest:
        """Send the request through the Flow.

        :param request: checked request.
        :param deadline: Unix time in seconds.
        :param asked: names of the executors that it is for.
        :param hold: pins that answer it.
        :raises Problem: if there is no answer, or not in time.
        """
        passage = PASSAGE.set(Passage(hold, expected(request)))
        try:
            future, floating = self._send(request=request, return_type=DocumentArray)  # its tasks copy the context
        except ValueError as error:  # Jina converts the parameters here
            raise Problem(Malformed, "parameters: a number is not finite") from error
        finally:
            PASSAGE.reset(passage)
        if floating:  # floating executors, whose answer is not awaited
            self._floating.add(floating)
            floating.add_done_callback(self._floating.discard)
        # A timer, not asyncio.wait, which costs one more iteration of the event loop per request.
        loop = asyncio.get_running_loop()
        timer = loop.call_later(deadline - time.time(), future.cancel)
        try:
            return self._finish(await future)
        except asyncio.CancelledError:
            seconds = self.settings.time_limit_seconds
            problem = Problem(Expired, f"no answer within the time limit ({seconds:g} s, or what the caller set)")
            self._finish(problem.answer(request))  # else it stays pending in Jina's metrics
            if loop.time() < timer.when():  # cancelled by the caller, not by the timer
                raise
            raise problem from None
        except Exception as failure:
            raise await self._what_failed(failure, asked) from failure
        finally:
            timer.cancel()

    async def _what_failed(self, failure: Exception, asked: Sequence[str]) -> Exception:
        """Convert an exception of Jina's streamer to a `Problem`, if its cause is known."""
        if isinstance(failure, Problem):
            return failure
        code = failure.code() if isinstance(failure, grpc.aio.AioRpcError) else None
        if code == grpc.StatusCode.DEADLINE_EXCEEDED:
            return Problem(Expired, "an executor did not answer within timeout_send")
        # An executor that stops cancels its calls, which Jina does not report: so check which executors answer.
        missing = _among(asked, await self.executors.missing_now())
        if missing or code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.NOT_FOUND):
            LOG.warning("no answer from %s: %s", ", ".join(missing) or "an executor", code)
            return self.executors.unavailable(missing)
        return failure

    def ended(self, protocol: str, method: str, endpoint: str, status: int, error: str, started: float) -> None:
        """Count an answered request, and log it in the next iteration of the event loop, after its answer.

        :param protocol: `HTTP` or `gRPC`.
        :param method: HTTP method, or `post` or `call` for gRPC.
        :param endpoint: HTTP path, or endpoint of the Flow.
        :param status: HTTP status code.
        :param error: name of the error, or "".
        :param started: start time by `time.perf_counter()`.
        """
        seconds = time.perf_counter() - started
        loop = asyncio.get_running_loop()
        loop.call_soon(request_line, protocol, method, endpoint, status, error, seconds)
        self._metrics.ended(protocol, status, error, seconds)


# Name of an executor, or a prefix of it. Jina accepts any regular expression, and some of them take exponential time to
# match (catastrophic backtracking).
_NAME = re.compile(r"\^?([\w-]*)(\.\*|\$)?", re.ASCII)


def _executors(pattern: str, names: Sequence[str]) -> list[str]:
    """Return the executor names that a pattern matches.

    :param pattern: names or prefixes, separated by `|`.
    :param names: names of all executors.
    :raises Problem: if it is any other regular expression, or matches no name.
    """
    parts = [_NAME.fullmatch(part) for part in pattern.split("|")] if len(pattern) <= _LONGEST_TARGET else [None]
    if all(parts):
        found = [name for name in names for part in parts if part and _means(part, name)]
        if found:
            return list(dict.fromkeys(found))
    raise Problem(
        Malformed,
        f"targetExecutor names executors, with | between them and .* for the rest of a name, and is no other regular "
        f"expression; there are {', '.join(names)}",
    )


def _means(part: re.Match[str], name: str) -> bool:
    return name == part[1] if part[2] == "$" else name.startswith(part[1])


def _addresses(described: str) -> dict[str, list[str]]:
    """Return executor name -> gRPC addresses, from Jina's argument in JSON: a list, or one list per protocol."""
    found = json.loads(described)
    return {name: own.get("GRPC", []) if isinstance(own, dict) else own for name, own in found.items()}


def _among(asked: Sequence[str], names: Iterable[str]) -> list[str]:
    return [name for name in names if name in asked]


def _clean(answer: DataRequest) -> DataRequest:
    """Return the answer for the caller: errors without documents and stack traces, and no reserved parameters."""
    if problem := problem_of(answer, OF_EXECUTORS):
        if (name := answer.status.exception.name) not in OF_EXECUTORS:
            LOG.error("executor %s failed with %s; see its log", problem.executor, name)
        return problem.answer(answer)
    drop_reserved(answer)
    return answer
