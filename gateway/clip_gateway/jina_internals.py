"""Every private name of Jina that the gateway uses, each with its reason; a test says that the pinned Jina has them.

Nothing else in this package touches a name of Jina's that begins with an underscore, and ruff (SLF001) sees to that.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from jina.proto import jina_pb2
from jina.serve.monitoring import _SummaryDeprecated
from jina.serve.runtimes.gateway.streamer import GatewayStreamer
from jina.serve.runtimes.servers import BaseServer
from jina.serve.runtimes.servers.composite import CompositeBaseServer
from jina.types.request.data import DataRequest
from prometheus_client import Metric, Summary

from clip_wire.old_names import apart
from clip_wire.parameters import RESULTS

Send = Callable[..., Any]
"""Sends a request through the topology: a future of its answer, and one of what nobody waits for, or None."""
Finish = Callable[[Any], DataRequest]
"""Makes the answer of what the future brought, and counts it."""


def set_message(request: DataRequest, message: jina_pb2.DataRequestProto) -> None:
    """Have `request` hold `message` whole.

    Jina parses by itself, first without documents and later again with them, and has no setter for what was parsed
    elsewhere. `_data` is a view of the message before.
    """
    request._pb_body = message
    request._data = None


async def endpoints_of(streamer: GatewayStreamer, executor: str, seconds: float) -> frozenset[str]:
    """The endpoints that an Executor announces, asked over the connections that requests take.

    Jina's public `get_endpoints` is of its clients and opens connections of its own, which says nothing about these.
    """
    answer, _ = await streamer._connection_pool.send_discover_endpoint(executor, timeout=seconds)
    return frozenset(answer.endpoints)


async def results_of(streamer: GatewayStreamer, executor: str, endpoint: str, seconds: float) -> dict[str, Any]:
    """What an endpoint of one Executor returns, by replica; empty where it is an error.

    Jina's public `streamer.Call` and `process_single_data` go through the topology, and `executor[...].post` raises a
    TypeError where a connection fails.

    :raises Exception: there was no answer.
    """
    request = DataRequest()
    request.header.request_id = ""  # no caller's
    request.header.exec_endpoint = endpoint
    pool = streamer._connection_pool
    outcome = await pool.send_requests_once(
        requests=[request], deployment=executor, head=True, endpoint=endpoint, timeout=seconds, retries=0
    )
    if isinstance(outcome, Exception):
        raise outcome
    answer, _ = outcome
    return dict(answer.parameters.get(RESULTS, {}))


def decide_retries(streamer: GatewayStreamer, decide: Callable[..., Awaitable[Any]]) -> None:
    """Have `decide(jinas, error=..., ...)` say whether a failed call to an executor is made again: None is yes.

    Jina has a number of tries alone (`retries`), and no way to tell a call that has reached an executor from one that
    has not. `jinas` is what decides otherwise.
    """
    pool = streamer._connection_pool
    pool._handle_aiorpcerror = partial(decide, pool._handle_aiorpcerror)


def decide_calls(streamer: GatewayStreamer, decide: Callable[..., Awaitable[Any]]) -> None:
    """Have `decide(jinas, requests=..., deployment=..., ...)` make each call of a request to an executor.

    Jina retries a call that failed, and takes every answer; it has no way to send one elsewhere for what the answer
    says. `jinas` is what makes the call otherwise.
    """
    pool = streamer._connection_pool
    pool.send_requests_once = partial(decide, pool.send_requests_once)


def way_through(streamer: GatewayStreamer) -> tuple[Send, Finish]:
    """What Jina's streamer does with one request, by its two halves.

    The public `process_single_data` makes a stream of one for each request, and cannot be ended by a time limit without
    Jina's metrics taking the request as under way for ever.
    """
    requests = streamer._streamer
    return requests._request_handler, requests._result_handler


def describe_old_summaries() -> None:
    """Have Jina's metrics of two names be two metrics, each with its help text; see `clip_wire.old_names`."""
    _SummaryDeprecated.collect = _both_names


def _both_names(summary: Any) -> list[Metric]:
    (metric,) = Summary.collect(summary)
    return apart(metric, summary._old_name)


def request_handler_of(server: BaseServer) -> Any:
    """The handler of a server's requests, which Jina hands to every server of a gateway and to nobody else."""
    return server._request_handler


def arguments_of_servers(gateway: CompositeBaseServer) -> list[dict[str, Any]]:
    """The arguments for the server of each protocol.

    Jina's public `CompositeServer` makes servers of Jina's own classes of them.
    """
    found: list[dict[str, Any]] = gateway._server_kwargs
    return found
