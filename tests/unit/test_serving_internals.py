"""What the Executors take from inside of Jina is there, and does what it is for."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import jina
import pytest
from docarray import Document, DocumentArray
from jina.proto import jina_pb2, serializer
from jina.serve.monitoring import _SummaryDeprecated
from jina.types.request.data import DataRequest
from prometheus_client import CollectorRegistry, generate_latest

from clip_image_flow.errors import BadDocument
from clip_image_flow.serving.jina_internals import describe_old_summaries, refuse_bad_documents
from clip_wire.environment import keep_out_of_environment


class RunsAsCode:
    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.file),)


def test_jina_has_what_is_used_of_it() -> None:
    assert jina.__version__ == "3.34.0"
    assert isinstance(DataRequest._DataContent.docs, property)


def test_documents_in_a_pickle_are_refused_and_nothing_of_them_runs(tmp_path: Path) -> None:
    refuse_bad_documents()
    refuse_bad_documents()  # which changes nothing
    request = DataRequest(jina_pb2.DataRequestProto())
    request.data._content.docs_bytes = pickle.dumps(RunsAsCode(tmp_path / "it ran"))
    with pytest.raises(BadDocument, match="docs_bytes"):
        _ = request.docs
    assert list(tmp_path.iterdir()) == []


def test_documents_that_docarray_cannot_read_are_bad_documents() -> None:
    refuse_bad_documents()
    request = DataRequest(jina_pb2.DataRequestProto())
    request.data._content.docs.docs.add().tags["price"] = float("inf")
    with pytest.raises(BadDocument, match="the documents cannot be read: Fail to serialize Infinity"):
        _ = request.docs


def test_documents_as_they_should_be_are_read_and_written() -> None:
    refuse_bad_documents()
    request = DataRequest(jina_pb2.DataRequestProto())
    request.data.docs = DocumentArray([Document(id="a")])
    assert [doc.id for doc in request.docs] == ["a"]


def send_and_receive() -> None:
    serializer.DataRequestProto.FromString(serializer.DataRequestProto.SerializeToString(DataRequest()))


def test_jina_counts_the_bytes_of_messages_outside_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each value of an environment variable stays in memory."""
    monkeypatch.setattr(serializer, "os", os)
    monkeypatch.setattr(os, "environ", environment := {})
    send_and_receive()
    assert environment.keys() == {"JINA_GRPC_SEND_BYTES", "JINA_GRPC_RECV_BYTES"}
    environment.clear()
    keep_out_of_environment(serializer)
    send_and_receive()
    assert environment == {}


def test_jinas_metrics_of_two_names_have_a_help_text_each() -> None:
    describe_old_summaries()
    registry = CollectorRegistry()
    _SummaryDeprecated("new_bytes", "Bytes", namespace="jina", registry=registry, old_name="old_bytes").observe(3)
    text = generate_latest(registry).decode()
    assert "# HELP jina_new_bytes Bytes\n" in text
    assert "# HELP jina_old_bytes The old name of jina_new_bytes\n" in text
    assert "jina_new_bytes_sum 3.0\n" in text
    assert "jina_old_bytes_sum 3.0\n" in text
