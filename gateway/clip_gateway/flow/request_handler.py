"""A request's way through the Flow, the same for every protocol: checked, within its time, with an answer that is true.

Jina's handler sends a request through the topology; around it stands `serve`, which never raises: what went wrong is in
the answer's status header, without stacks and without documents. HTTP turns that into a status code. gRPC leaves it
there, since Jina's Client sends all requests of one `post` on one stream and a gRPC status would end its neighbours;
gRPC codes are for what refuses the whole call.
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
    """Jina's handler, telling the truth.

    :param settings: its limits.
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
        """What requests have in common whose vectors belong together: in `async with`, one model makes all of them."""
        return Hold(self.executors.pins)

    async def serve(self, request: DataRequest, caller: Caller, hold: Hold | None = None) -> DataRequest:
        """The answer to `request`; what went wrong stands in its status header.

        :param hold: of requests that are answered together.
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
            if answer is not request:  # as it is where no executor has been asked
                forget_documents(request)
            take_work(answer, took.get() or Work())
            answer = _clean(answer)
            if endpoint == RANK:
                check_ranked(answer)
            return answer
        except Problem as problem:
            return problem.answer(request)
        except Exception:  # a fault of ours must not end the requests beside it
            LOG.exception("a request failed")
            return Problem(InternalError, INTERNAL).answer(request)

    async def _check(self, request: DataRequest) -> list[str]:
        """The executors that the request is for, when it may go on.

        :raises Problem: it may not.
        """
        if not parse(request, self.limits):
            raise Problem(Malformed, "this is no Jina DataRequest")
        asked = self.executors.names
        if wanted := request.header.target_executor:
            asked = _executors(wanted, asked)
            request.header.target_executor = f"(?:{'|'.join(map(re.escape, asked))})$"
        if self.executors.shutting_down:
            raise Problem(Unavailable, "this gateway is shutting down; try again, another one may answer")
        if reason := self.executors.agreement.reason:
            raise Problem(Unavailable, reason)
        if _among(asked, self.executors.silent) and (silent := await self.executors.still_silent(asked)):
            raise self.executors.unavailable(silent)
        if _among(asked, self.executors.gone) and (gone := _among(asked, await self.executors.still_gone())):
            raise self.executors.unavailable(gone)
        await self._check_model(request)
        self._check_endpoint(request.header.exec_endpoint or DEFAULT)
        # docs_bytes is a pickle, which would run as code where it is read.
        if request.proto_with_data.data.WhichOneof("documents") == "docs_bytes":
            raise Problem(Malformed, "send documents as `docs`; `docs_bytes` is not read")
        self.check_count(document_count(request))
        return asked

    def check_count(self, count: int) -> None:
        """Pass when one request may have this many documents.

        :raises Problem: they are too many.
        """
        if count > (most := self.settings.max_documents):
            raise Problem(TooLarge, f"{count} documents in one request; at most {most} are allowed: send several")

    async def _check_model(self, request: DataRequest) -> None:
        """Pass when the model that is asked for is the one here; its name leaves the endpoint, as in `/encode/MODEL`.

        :raises Problem: another model is asked for.
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

        :param asked: the executors that it is for.
        :raises Problem: no answer in time, or none at all.
        """
        passage = PASSAGE.set(Passage(hold, expected(request)))
        try:
            future, floating = self._send(request=request, return_type=DocumentArray)  # its tasks take it along
        except ValueError as error:  # Jina reads the parameters here
            raise Problem(Malformed, "parameters: a number is not finite") from error
        finally:
            PASSAGE.reset(passage)
        if floating:  # executors whose answer nobody waits for
            self._floating.add(floating)
            floating.add_done_callback(self._floating.discard)
        # A timer, not asyncio.wait: that would cost the loop one more turn for each request.
        loop = asyncio.get_running_loop()
        timer = loop.call_later(deadline - time.time(), future.cancel)
        try:
            return self._finish(await future)
        except asyncio.CancelledError:
            seconds = self.settings.time_limit_seconds
            problem = Problem(Expired, f"no answer within the time limit ({seconds:g} s, or what the caller set)")
            self._finish(problem.answer(request))  # Jina's metrics count neither a cancelled request nor its end
            if loop.time() < timer.when():  # it was not the timer: nobody waits for the answer any more
                raise
            raise problem from None
        except Exception as failure:
            raise await self._what_failed(failure, asked) from failure
        finally:
            timer.cancel()

    async def _what_failed(self, failure: Exception, asked: Sequence[str]) -> Exception:
        """What Jina's streamer raised, as a problem where it is one."""
        if isinstance(failure, Problem):
            return failure
        code = failure.code() if isinstance(failure, grpc.aio.AioRpcError) else None
        if code == grpc.StatusCode.DEADLINE_EXCEEDED:
            return Problem(Expired, "an executor did not answer within timeout_send")
        # An executor that ends while it works cancels its calls, and Jina has no word for that: so look who is there.
        missing = _among(asked, await self.executors.missing_now())
        if missing or code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.NOT_FOUND):
            LOG.warning("no answer from %s: %s", ", ".join(missing) or "an executor", code)
            return self.executors.unavailable(missing)
        return failure

    def ended(self, protocol: str, method: str, endpoint: str, status: int, error: str, started: float) -> None:
        """Log and count a request that has its answer, as soon as that is on its way.

        :param error: its name, or "".
        :param started: by `time.perf_counter()`.
        """
        seconds = time.perf_counter() - started
        loop = asyncio.get_running_loop()
        loop.call_soon(request_line, protocol, method, endpoint, status, error, seconds)
        self._metrics.ended(protocol, status, error, seconds)


# What may stand for an executor: its name or the beginning of it. Jina takes any regular expression, and some of those
# take longer than the universe has existed.
_NAME = re.compile(r"\^?([\w-]*)(\.\*|\$)?", re.ASCII)


def _executors(pattern: str, names: Sequence[str]) -> list[str]:
    """The names that `pattern` means.

    :raises Problem: it is another kind of regular expression, or means nobody.
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
    """The addresses of each executor's replicas, by gRPC, from Jina's argument: a list, or one for each protocol."""
    found = json.loads(described)
    return {name: own.get("GRPC", []) if isinstance(own, dict) else own for name, own in found.items()}


def _among(asked: Sequence[str], names: Iterable[str]) -> list[str]:
    return [name for name in names if name in asked]


def _clean(answer: DataRequest) -> DataRequest:
    """The answer as the caller may see it: an error without documents and stacks, parameters without ours."""
    if problem := problem_of(answer, OF_EXECUTORS):
        if (name := answer.status.exception.name) not in OF_EXECUTORS:
            LOG.error("executor %s failed with %s; its log says more", problem.executor, name)
        return problem.answer(answer)
    drop_reserved(answer)
    return answer
