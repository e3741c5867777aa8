"""Jina's message, read once and whole: Jina would first read it without its documents, and later again with them."""

from __future__ import annotations

from google.protobuf.message import DecodeError
from jina.proto import jina_pb2
from jina.types.request.data import DataRequest


def parse(request: DataRequest) -> bool:
    """Whether `request`, as it came over gRPC, is a message; what is none becomes an empty one, to answer in."""
    if request.buffer is None:
        return True
    body = jina_pb2.DataRequestProto()
    try:
        body.ParseFromString(request.buffer)
    except DecodeError:
        request._pb_body = jina_pb2.DataRequestProto()
        return False  # and so again, for whoever asks next
    request._pb_body, request.buffer = body, None
    return True


def document_count(request: DataRequest) -> int:
    """The documents of a parsed request."""
    return len(request.data._content.docs.docs)
