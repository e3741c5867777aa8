"""Wraps the private names of Jina that the gateway uses, with reasons; a test checks that the pinned Jina has them.

No other module of this package uses a name of Jina that begins with an underscore; ruff (SLF001) enforces that.
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
"""Sends a request through the topology; returns the future of its answer, and one of floating executors or None."""
Finish = Callable[[Any], DataRequest]
"""Converts the result of the future to the answer, and counts it."""


def set_message(request: DataRequest, message: jina_pb2.DataRequestProto) -> None:
    """Replace the message of a request by a parsed one.

    Jina parses it first without documents and later again with them, and has no setter for a parsed message. `_data` is
    a view of the old message.
    """
    request._pb_body = message
    request._data = None


async def endpoints_of(streamer: GatewayStreamer, executor: str, seconds: float) -> frozenset[str]:
    """Return the endpoints of an executor, asked over the connections of requests.

    Jina's public `get_endpoints` belongs to its clients and opens new connections, which does not test these.

    :param streamer: Jina's streamer, with its connections.
    :param executor: name of the executor.
    :param seconds: timeout in seconds.
    :raises Exception: if there is no answer.
    """
    answer, _ = await streamer._connection_pool.send_discover_endpoint(executor, timeout=seconds)
    return frozenset(answer.endpoints)


async def results_of(streamer: GatewayStreamer, executor: str, endpoint: str, seconds: float) -> dict[str, Any]:
    """Return replica -> result of an endpoint of one executor; empty if the endpoint fails.

    Jina's public `streamer.Call` and `process_single_data` go through the topology, and `executor[...].post` raises a
    TypeError where a connection fails.

    :param streamer: Jina's streamer, with its connections.
    :param executor: name of the executor.
    :param endpoint: endpoint such as `/info`.
    :param seconds: timeout in seconds.
    :raises Exception: if there is no answer.
    """
    request = DataRequest()
    request.header.request_id = ""  # not the request of a caller
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
    """Let `decide(jinas, error=..., ...)` decide whether a failed call to an executor is retried: None means yes.

    Jina has only a number of retries (`retries`), and does not distinguish a call that has reached an executor from one
    that has not. `jinas` is Jina's own decision.
    """
    pool = streamer._connection_pool
    pool._handle_aiorpcerror = partial(decide, pool._handle_aiorpcerror)


def decide_calls(streamer: GatewayStreamer, decide: Callable[..., Awaitable[Any]]) -> None:
    """Let `decide(jinas, requests=..., deployment=..., ...)` make each call to an executor.

    Jina retries a call that failed, and accepts every answer; it cannot retry on another replica because of an answer.
    `jinas` is Jina's own method.
    """
    pool = streamer._connection_pool
    pool.send_requests_once = partial(decide, pool.send_requests_once)


def way_through(streamer: GatewayStreamer) -> tuple[Send, Finish]:
    """Return the two functions with which Jina's streamer processes a request.

    The public `process_single_data` creates a stream for each request; after a timeout, the request would stay pending
    in Jina's metrics forever.
    """
    requests = streamer._streamer
    return requests._request_handler, requests._result_handler


def describe_old_summaries() -> None:
    """Export Jina's metrics with two names as two metrics, each with a help text; see `clip_wire.old_names`."""
    _SummaryDeprecated.collect = _both_names


def _both_names(summary: Any) -> list[Metric]:
    (metric,) = Summary.collect(summary)
    return apart(metric, summary._old_name)


def request_handler_of(server: BaseServer) -> Any:
    """Return the request handler of a server, which Jina passes only to the servers of a gateway."""
    return server._request_handler


def arguments_of_servers(gateway: CompositeBaseServer) -> list[dict[str, Any]]:
    """Return the arguments for the server of each protocol.

    Jina's public `CompositeServer` creates servers of Jina's own classes from them.
    """
    found: list[dict[str, Any]] = gateway._server_kwargs
    return found
