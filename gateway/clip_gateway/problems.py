"""What can be wrong with a request: the one map from an error's name to its status codes, and its body.

An Executor's error arrives as `exception.name` and `exception.args` (detail, document id, place) in Jina's status
header; the gateway's own errors are made of the same parts. A name that is not in the table is our fault: 500, and
nothing else of it leaves the gateway, since it may hold paths.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
from jina.proto import jina_pb2
from jina.types.request.data import DataRequest, Response


@dataclass(frozen=True)
class Kind:
    """How errors of one name are answered.

    :param status: of HTTP.
    :param title: the same for every error of this kind.
    :param retry_after: seconds after which the same request may pass, or None when it has to change first.
    :param grpc: what refuses a whole gRPC call; None where the error stands in the status header of one answer, since
        Jina's Client sends many requests on one stream.
    """

    status: int
    title: str
    retry_after: int | None = None
    grpc: grpc.StatusCode | None = None


# An Executor's errors, and the gateway's where it sees the same fault first.
OF_EXECUTORS = {
    "BadParameter": Kind(400, "Bad parameter"),
    "BadDocument": Kind(400, "Bad document"),
    "TooLarge": Kind(413, "Too large"),
    "UnsupportedMedia": Kind(415, "Unsupported media type"),
    "QueueFull": Kind(429, "The queue is full", retry_after=1),
    "Expired": Kind(504, "Time limit passed"),
}

KINDS = {
    **OF_EXECUTORS,
    "BadEncoding": Kind(400, "Bad content encoding"),
    "Unauthenticated": Kind(401, "No valid token", grpc=grpc.StatusCode.UNAUTHENTICATED),
    "NotFound": Kind(404, "Not found"),
    "MethodNotAllowed": Kind(405, "Method not allowed"),
    "NotAcceptable": Kind(406, "Not acceptable"),
    "UploadTimeout": Kind(408, "Upload took too long"),
    "Malformed": Kind(422, "Malformed request"),
    "TooManyRequests": Kind(429, "Too many requests", retry_after=1, grpc=grpc.StatusCode.RESOURCE_EXHAUSTED),
    "InternalError": Kind(500, "Internal error"),
    "Unavailable": Kind(503, "Not available", retry_after=2, grpc=grpc.StatusCode.UNAVAILABLE),
}


class Problem(Exception):
    """A request that is refused, or failed.

    :param name: a key of `KINDS`.
    :param detail: what is wrong and how to mend it.
    :param document_id: of the document it is about, or "".
    :param place: where in that document, such as "chunk 2", or "".
    :param executor: that found it, or "" for the gateway.
    :param headers: of the answer over HTTP.
    """

    def __init__(
        self,
        name: str,
        detail: str,
        document_id: str = "",
        place: str = "",
        executor: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(name, detail, document_id, place)
        self.name = name
        self.kind = KINDS[name]
        self.detail = detail
        self.document_id = document_id
        self.place = place
        self.executor = executor
        self.headers = dict(headers or {})

    def __str__(self) -> str:
        return self.description

    @property
    def description(self) -> str:
        """In one line, as the Executor's own errors describe themselves."""
        where = f"document {self.document_id!r}" + (f", {self.place}" if self.place else "")
        return f"{self.name}: " + (f"{where}: " if self.document_id else "") + self.detail

    def body(self, request_id: str) -> dict[str, Any]:
        """RFC 9457 problem details, beside Jina's status header, which Jina's Client reads."""
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
        """The same over gRPC: the answer to `request`, with the error in its status header and without documents."""
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


INTERNAL = "something is wrong on our side; the request id finds it in the logs"


def problem_of(answer: DataRequest, names: Container[str] = KINDS) -> Problem | None:
    """What went wrong, by the status header of an answer.

    :param names: that are known to whom the answer comes from; an error of any other name is our fault.
    """
    if answer.status.code != jina_pb2.StatusProto.ERROR:
        return None
    exception = answer.status.exception
    if exception.name not in names:
        return Problem("InternalError", INTERNAL, executor=exception.executor)
    detail, document_id, place = [*map(str, exception.args), "", "", ""][:3]
    return Problem(exception.name, detail, document_id, place, exception.executor)
