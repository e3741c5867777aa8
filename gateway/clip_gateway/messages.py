"""Jina's message, read once and whole: Jina would first read it without its documents, and later again with them."""

from __future__ import annotations

from google.protobuf.message import DecodeError
from jina.proto import jina_pb2
from jina.types.request.data import DataRequest

from clip_gateway.counting import DEFAULT_LIMITS, Limits, check_message


def parse(request: DataRequest, limits: Limits = DEFAULT_LIMITS) -> bool:
    """Whether `request`, as it came over gRPC, is a message; what is none becomes an empty one, to answer in.

    :raises Problem: it holds more than it may; it becomes an empty one too.
    """
    if request.buffer is None:
        return True
    request._pb_body = jina_pb2.DataRequestProto()  # and so again, for whoever asks next
    check_message(request.buffer, limits)
    body = jina_pb2.DataRequestProto()
    try:
        body.ParseFromString(request.buffer)
    except DecodeError:
        return False
    request._pb_body, request.buffer = body, None
    return True


def document_count(request: DataRequest) -> int:
    """The documents of a parsed request."""
    return len(request.data._content.docs.docs)


def is_reserved(key: str) -> bool:
    """Parameters with such names are set by the gateway, or by Jina, and by nobody else."""
    return key.startswith("__") and key.endswith("__")


def set_reserved(request: DataRequest, request_id: str, deadline: float) -> None:
    """Set what the executors are told, and drop what the caller had under reserved names.

    This works on the message itself: as a dict, which `DataRequest.parameters` makes of it each time, it costs more.
    """
    fields = request.proto.parameters.fields
    for key in [key for key in fields if is_reserved(key)]:
        del fields[key]
    fields["__request_id__"].string_value = request_id
    fields["__deadline__"].number_value = deadline


def drop_reserved(answer: DataRequest) -> None:
    """Take out of an answer what `set_reserved` put in; the executors' results stay."""
    fields = answer.proto_wo_data.parameters.fields
    for key in ("__request_id__", "__deadline__"):
        if key in fields:
            del fields[key]
