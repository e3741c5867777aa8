"""Limits the content of a message, which is counted before it is parsed.

A document of two bytes becomes an object of a kilobyte. So the parts of a gRPC message are counted in its wire format
(https://protobuf.dev/programming-guides/encoding/), and those of a JSON body by its braces and commas.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from jina.proto import jina_pb2

from clip_gateway.problems import Problem
from clip_wire.errors import Malformed, TooLarge

_LONGEST = 4096  # maximum bytes of an id, a name, a key or any other string that is not content
_CONTENT = {"blob", "text", "uri", "buffer", "docs_bytes", "string_value"}  # fields that may be as long as the message
_DEEPEST = 64  # levels of nested messages; protobuf itself allows 100
_DOCUMENTS_A_ROOT = 8  # documents at any depth, per document that a request may have at its top level
_PARTS_A_ROOT = 64  # parts of any kind, per document: documents, tensors, entries of tags and their values
_FIELDS_A_PART = 4  # numbers and strings, per part
_JSON_VALUES = 1_000_000  # numbers, strings, lists and objects of one body; a tensor of 224 x 224 x 3 has 200,000


@dataclass(frozen=True)
class Limits:
    """Maximum content of one request.

    :param documents: maximum number of documents at any depth.
    :param parts: maximum number of parts: documents, tensors, entries of tags and parameters, and all other objects.
    """

    documents: int
    parts: int

    @classmethod
    def of(cls, max_documents: int) -> Limits:
        """Return limits in proportion to the maximum number of documents at the top level."""
        return cls(_DOCUMENTS_A_ROOT * max_documents, _PARTS_A_ROOT * max_documents)


DEFAULT_LIMITS = Limits.of(1024)


class _Kind:
    """Fields of one message type: number -> type of a nested message, or name of a string whose length is limited."""

    def __init__(self, name: str) -> None:
        self.is_document = name == "docarray.DocumentProto"
        self.is_tensor = name == "docarray.NdArrayProto"
        self.messages: dict[int, _Kind] = {}
        self.strings: dict[int, str] = {}


def _kind(descriptor: Descriptor, known: dict[str, _Kind]) -> _Kind:
    if descriptor.full_name not in known:
        kind = known[descriptor.full_name] = _Kind(descriptor.full_name)
        for field in descriptor.fields:
            if field.message_type:
                kind.messages[field.number] = _kind(field.message_type, known)
            elif field.type == FieldDescriptor.TYPE_STRING and field.name not in _CONTENT:
                kind.strings[field.number] = field.name
    return known[descriptor.full_name]


_REQUEST = _kind(jina_pb2.DataRequestProto.DESCRIPTOR, {})


def check_message(data: bytes, limits: Limits) -> bool:
    """Check that a serialized DataRequestProto is within the limits.

    It takes a microsecond per field, and stops at the first one over a limit; the content of bytes fields is skipped.

    :return: whether the message has tensors or embeddings.
    :raises Problem: if it has too many documents or parts, is nested too deeply, or has a string that is too long.
        Data that is not a message passes: the parser reports it.
    """
    with contextlib.suppress(IndexError):  # truncated: the parser reports it
        return _walk(data, limits)
    return False


def _walk(data: bytes, limits: Limits) -> bool:
    documents = parts = fields = position = 0
    has_tensors = False
    end, kind, messages = len(data), _REQUEST, _REQUEST.messages
    outer: list[tuple[int, _Kind]] = []
    while True:
        while position >= end:
            if not outer:
                return has_tensors
            end, kind = outer.pop()
            messages = kind.messages
        fields += 1
        key = data[position]  # most keys and lengths have one byte, which saves a function call
        position += 1
        if key > 0x7F:
            key, position = _varint(data, position - 1)
        wire_type = key & 7
        if wire_type == 2:
            length = data[position]
            position += 1
            if length > 0x7F:
                length, position = _varint(data, position - 1)
            number = key >> 3
            if number not in messages:
                if length > _LONGEST and number in kind.strings:
                    name = kind.strings[number]
                    raise Problem(TooLarge, f"a {name} has {length} bytes; at most {_LONGEST} are read")
                position += length
                continue
            parts += 1
            outer.append((end, kind))
            end, kind = min(position + length, end), messages[number]
            messages = kind.messages
            documents += kind.is_document
            has_tensors = has_tensors or kind.is_tensor
            if documents > limits.documents or parts > limits.parts or len(outer) > _DEEPEST:
                raise _over(limits, documents, parts)
        elif wire_type == 0:
            _, position = _varint(data, position)
        elif wire_type in (1, 5):
            position += 8 if wire_type == 1 else 4
        else:
            return has_tensors  # a group or an invalid wire type: the parser rejects it
        if fields > _FIELDS_A_PART * limits.parts:
            raise Problem(TooLarge, f"more than {_FIELDS_A_PART * limits.parts} fields in one request: send several")


def _over(limits: Limits, documents: int, parts: int) -> Problem:
    if documents > limits.documents:
        most = limits.documents
        return Problem(TooLarge, f"more than {most} documents, chunks and matches in one request: send several")
    if parts > limits.parts:
        return Problem(TooLarge, f"more than {limits.parts} tags, tensors and other parts in one request")
    return Problem(Malformed, f"the message is nested too deeply: more than {_DEEPEST} levels")


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """Return the varint at `position`, and the position after it."""
    value = shift = 0
    while shift < 70:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise IndexError  # a varint of 64 bits is not longer


_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)


def json_values(body: bytes) -> int:
    """Return the maximum number of values in a JSON body: numbers, strings, lists and objects."""
    return body.count(b",") + body.count(b"[") + body.count(b"{")


def check_json(body: bytes, limits: Limits) -> None:
    """Check that a JSON body is within the limits.

    :raises Problem: if it has too many objects or values.
    """
    if body.count(b"{") > limits.parts or json_values(body) > _JSON_VALUES:
        body = _STRING.sub(b"", body)  # braces and commas in strings do not count
    if (objects := body.count(b"{")) > limits.parts:
        raise Problem(TooLarge, f"the body has {objects} objects; at most {limits.parts} are read: send several")
    if (values := json_values(body)) > _JSON_VALUES:
        raise Problem(TooLarge, f"the body has {values} values; at most {_JSON_VALUES} are read: send images as blobs")


def check_documents(documents: list[Any], limits: Limits) -> None:
    """Check the number of documents at any depth, and the length of their ids.

    :param documents: documents as JSON values.
    :param limits: limits of a request.
    :raises Problem: if there are too many documents, or an id is too long.
    """
    count, waiting = 0, [documents]
    while waiting:
        for document in waiting.pop():
            count += 1
            if count > limits.documents:
                raise _over(limits, count, 0)
            if not isinstance(document, dict):
                continue  # invalid: DocArray reports it
            for name in ("id", "parent_id", "modality", "mime_type"):
                if isinstance(text := document.get(name), str) and len(text) > _LONGEST:
                    raise Problem(TooLarge, f"a {name} has {len(text)} characters; at most {_LONGEST} are read")
            waiting += [part for name in ("chunks", "matches") if isinstance(part := document.get(name), list)]
