"""Parses Jina's message once: Jina itself parses it first without its documents, and later again with them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from jina.proto import jina_pb2
from jina.types.request.data import DataRequest

from clip_gateway.flow.counting import DEFAULT_LIMITS, Limits, check_message
from clip_gateway.jina_internals import set_message
from clip_gateway.problems import Problem, problem_of
from clip_wire.endpoints import SCORE
from clip_wire.errors import BadDocument, Malformed
from clip_wire.parameters import DEADLINE, EXPECT_FINGERPRINT, REQUEST_ID, RESULTS, SET_BY_THE_GATEWAY, is_reserved
from clip_wire.work import WORK, Work

# Names of NumPy's numeric types, short or long: `|u1`, `<f4`, `float32`.
_DTYPE = re.compile(r"[<>=|]?[biuf][1248]|u?int(8|16|32|64)|float(16|32|64)|bool")

_NOT_RANKED = (
    "nothing in this Flow encodes this document: send images and texts, and texts to a Flow that encodes them, such as "
    "flows/clip_flow.yml"
)


def parse(request: DataRequest, limits: Limits = DEFAULT_LIMITS) -> bool:
    """Parse a request from gRPC, and return whether it is a valid message; else it becomes an empty one.

    :param request: request that is parsed in place.
    :param limits: limits on its content.
    :raises Problem: if it exceeds a limit, or a tensor does not match its shape; it becomes an empty message too.
    """
    if request.buffer is None:
        return True
    set_message(request, jina_pb2.DataRequestProto())  # the buffer stays, so another call has the same result
    has_tensors = check_message(request.buffer, limits)
    body = jina_pb2.DataRequestProto()
    try:
        body.ParseFromString(request.buffer)
    except DecodeError:
        return False
    if has_tensors:
        check_tensors(body.data.docs.docs)
    set_message(request, body)
    request.buffer = None
    return True


def check_tensors(documents: Iterable[Any]) -> None:
    """Check the tensors and embeddings of documents, chunks and matches, and convert their class to NumPy's.

    An executor can then read them without the library that they were made with, such as torch.

    :param documents: documents as protobuf messages.
    :raises Problem: if one is not dense and numeric, or its bytes do not match its shape.
    """
    waiting = [documents]
    while waiting:
        for document in waiting.pop():
            for name in ("tensor", "embedding"):
                if document.HasField(name):
                    _check_tensor(getattr(document, name), document.id, name)
            waiting += [document.chunks, document.matches]


def _check_tensor(tensor: Any, document_id: str, name: str) -> None:
    dense = tensor.dense
    if tensor.HasField("sparse") or not _DTYPE.fullmatch(dense.dtype):
        raise Problem(Malformed, f"the {name} must be dense, and of numbers, not {dense.dtype[:40]!r}", document_id)
    size = math.prod(dense.shape) * np.dtype(dense.dtype).itemsize
    if size != len(dense.buffer):
        shape = tuple(dense.shape[:8])
        raise Problem(Malformed, f"the {name} of shape {shape} has {len(dense.buffer)} bytes, not {size}", document_id)
    tensor.cls_name = "numpy"


def documents_of(message: DataRequest) -> Any:
    """Return the documents of a parsed message as protobuf messages; converting them to DocArray's costs more."""
    return message.proto_with_data.data.docs.docs


def document_count(request: DataRequest) -> int:
    """Return the number of documents of a parsed request."""
    return len(documents_of(request))


def check_ranked(answer: DataRequest) -> None:
    """Check that every document with matches, and every match, is encoded and scored, or has an error.

    :raises Problem: if no executor of the Flow encodes one of them.
    """
    if problem_of(answer):
        return
    for document in documents_of(answer):
        if not document.matches or "error" in document.tags:
            continue
        for part in (document, *document.matches):
            ranked = part is document or SCORE in part.scores
            if not (part.HasField("embedding") and ranked) and "error" not in part.tags:
                raise Problem(BadDocument, _NOT_RANKED, part.id or document.id)


def made_by(answer: DataRequest) -> dict[str, str]:
    """Return fingerprint -> model of the executors that made the vectors of an answer, as they report them."""
    fields = answer.proto_wo_data.parameters.fields
    results = fields[RESULTS].struct_value.fields.values() if RESULTS in fields else ()
    said = [result.struct_value.fields for result in results]
    return {one["fingerprint"].string_value: one["model"].string_value for one in said if "fingerprint" in one}


def take_work(answer: DataRequest, took: Work) -> None:
    """Move the work that executors report from an answer to `took`."""
    fields = answer.proto_wo_data.parameters.fields
    for result in fields[RESULTS].struct_value.fields.values() if RESULTS in fields else ():
        said = result.struct_value.fields
        if WORK in said:
            numbers = [value.number_value for value in said[WORK].list_value.values]
            took.add(numbers, said["fingerprint"].string_value if "fingerprint" in said else "")
            del said[WORK]


def joined(fingerprints: Iterable[str]) -> str:
    """Return fingerprints as text, sorted, so that equal sets have equal texts."""
    return ", ".join(sorted(fingerprints))


def forget_documents(request: DataRequest) -> None:
    """Free the documents of an answered request; its header stays."""
    set_message(request, jina_pb2.DataRequestProto(header=request.proto_wo_data.header))


def set_reserved(request: DataRequest, request_id: str, deadline: float, expects: str = "") -> None:
    """Set the reserved parameters, and remove those that the caller has set.

    It changes the message itself: `DataRequest.parameters` converts it to a dict each time, which costs more.

    :param request: parsed request.
    :param request_id: request id for the logs of executors.
    :param deadline: Unix time in seconds at which the request times out.
    :param expects: comma-separated fingerprints from a header or metadata; "" keeps those of the parameters.
    """
    fields = request.proto.parameters.fields
    for key in [key for key in fields if is_reserved(key)]:
        del fields[key]
    fields[REQUEST_ID].string_value = request_id
    fields[DEADLINE].number_value = deadline
    if expects:
        fields[EXPECT_FINGERPRINT].string_value = expects


def expected(request: DataRequest) -> frozenset[str]:
    """Return the fingerprints that a request expects; an empty set accepts any."""
    fields = request.proto.parameters.fields
    named = fields[EXPECT_FINGERPRINT].string_value if EXPECT_FINGERPRINT in fields else ""
    return frozenset(filter(None, (name.strip().lower() for name in named.split(","))))


def drop_reserved(answer: DataRequest) -> None:
    """Remove the parameters of `set_reserved` from an answer; the results of executors stay."""
    fields = answer.proto_wo_data.parameters.fields
    for key in SET_BY_THE_GATEWAY:
        if key in fields:
            del fields[key]
