"""Errors of requests, with the classes of `clip_wire.errors`, and their representation over HTTP and gRPC.

An Executor's error arrives as `exception.name` and `exception.args` (detail, document id, place) in Jina's status
header; the gateway's own errors have the same parts. Any other name means a bug: the answer is a 500 without details,
since they may contain paths.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import grpc
from jina.proto import jina_pb2
from jina.types.request.data import DataRequest, Response

from clip_wire import errors
from clip_wire.errors import InternalError, RequestError, TooManyRequests, Unauthenticated, Unavailable

OF_EXECUTORS: dict[str, type[RequestError]] = {kind.__name__: kind for kind in errors.OF_EXECUTORS}
KINDS: dict[str, type[RequestError]] = {
    **OF_EXECUTORS,
    **{kind.__name__: kind for kind in errors.OF_THE_GATEWAY},
}

# Errors that reject a whole gRPC call. Any other error is in the status header of its own answer, since Jina's Client
# sends many requests on one stream.
GRPC_STATUS: dict[type[RequestError], grpc.StatusCode] = {
    Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    TooManyRequests: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Unavailable: grpc.StatusCode.UNAVAILABLE,
}


class Problem(Exception):
    """The error of a request that is rejected or failed.

    :param kind: error class of `clip_wire.errors`.
    :param detail: message with the cause and the fix.
    :param document_id: id of the document that has the error, or "".
    :param place: position in that document, such as "chunk 2", or "".
    :param executor: name of the executor that raised it, or "" for the gateway.
    :param headers: additional headers of the HTTP answer.
    """

    def __init__(
        self,
        kind: type[RequestError],
        detail: str,
        document_id: str = "",
        place: str = "",
        executor: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(kind, detail, document_id, place)
        self.kind = kind
        self.name = kind.__name__
        self.detail = detail
        self.document_id = document_id
        self.place = place
        self.executor = executor
        self.headers = dict(headers or {})

    def __str__(self) -> str:
        return self.description

    @property
    def grpc_status(self) -> grpc.StatusCode | None:
        """Status code that rejects the whole gRPC call; None if the error is in the status header of one answer."""
        return GRPC_STATUS.get(self.kind)

    @property
    def description(self) -> str:
        """The error in one line, in the format of an Executor's errors."""
        return repr(self.kind(*self._arguments))

    def body(self, request_id: str) -> dict[str, Any]:
        """Return problem details (RFC 9457), plus the status header that Jina's Client reads."""
        described = {
            "type": f"urn:clip-image-flow:problem:{self.name}",
            "title": self.kind.title,
            "status": self.kind.status,
            "detail": self.detail,
            "document_id": self.document_id,
            "place": self.place,
            "request_id": request_id,
        }
        exception = {"name": self.name, "args": self._arguments, "stacks": [], "executor": self.executor}
        status = {"code": jina_pb2.StatusProto.ERROR, "description": self.description, "exception": exception}
        return {
            **{key: value for key, value in described.items() if value != ""},
            "header": {"requestId": request_id, "status": status},
        }

    def answer(self, request: DataRequest) -> Response:
        """Return the answer to `request` over gRPC, with the error in its status header and without documents."""
        answer = Response()
        header = answer.proto.header
        header.CopyFrom(request.header)
        header.status.Clear()
        header.status.code = jina_pb2.StatusProto.ERROR
        header.status.description = self.description
        header.status.exception.name = self.name
        header.status.exception.args.extend(self._arguments)
        header.status.exception.executor = self.executor
        return answer

    @property
    def _arguments(self) -> list[str]:
        return [self.detail, self.document_id, self.place]


INTERNAL = "internal error; find it in the logs by its request id"


def problem_of(answer: DataRequest, kinds: Mapping[str, type[RequestError]] = KINDS) -> Problem | None:
    """Return the error in the status header of an answer, or None.

    :param answer: answer of the gateway or an executor.
    :param kinds: error name -> class, of the errors that its sender can raise; any other name means a bug.
    """
    if answer.status.code != jina_pb2.StatusProto.ERROR:
        return None
    exception = answer.status.exception
    if exception.name not in kinds:
        return Problem(InternalError, INTERNAL, executor=exception.executor)
    detail, document_id, place = [*map(str, exception.args), "", "", ""][:3]
    return Problem(kinds[exception.name], detail, document_id, place, exception.executor)
