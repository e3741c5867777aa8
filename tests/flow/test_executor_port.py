"""An Executor reached directly, without the gateway, as a cluster without NetworkPolicy allows."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from docarray import Document
from jina.proto import jina_pb2

from scripts import ROOT
from scripts.processes import free_ports
from tests.conftest import encoded, photo
from tests.flow.gateways import executor

DEFAULT_RECEIVE_BYTES = 4 << 20  # of a gRPC client


@pytest.fixture(scope="module")
def ask(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Asks the Executor's port, as a plain gRPC client."""
    folder = tmp_path_factory.mktemp("executor")
    config = folder / "config.yml"
    config.write_text(
        f"jtype: CLIPImageEncoder\nwith:\n  pretrained_model_name_or_path: {tiny_model}\n"
        f"py_modules: [{ROOT / 'executors' / 'clip_image' / 'clip_image.py'}]\n"
    )
    (port,) = free_ports(1)
    with executor(port, folder / "executor.log", config), grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel.unary_unary(
            "/jina.JinaSingleDataRequestRPC/process_single_data",
            request_serializer=jina_pb2.DataRequestProto.SerializeToString,
            response_deserializer=jina_pb2.DataRequestProto.FromString,
        )


class RunsAsCode:
    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.file),)


def request(*blobs: bytes, **parameters: Any) -> jina_pb2.DataRequestProto:
    made = jina_pb2.DataRequestProto()
    made.data.docs.docs.extend([Document(blob=blob).to_protobuf() for blob in blobs])
    made.parameters.update(parameters)
    return made


def test_a_pickle_is_refused_and_nothing_of_it_runs(ask: Any, tmp_path: Path) -> None:
    pickled = jina_pb2.DataRequestProto()
    pickled.data.docs_bytes = pickle.dumps(RunsAsCode(tmp_path / "it ran"))
    answer = ask(pickled)
    assert answer.header.status.exception.name == "BadDocument"
    assert "docs_bytes" in answer.header.status.description
    assert list(tmp_path.iterdir()) == []
    assert ask(request(encoded(photo()))).data.docs.docs[0].HasField("embedding")


def test_pictures_come_back_unless_they_are_dropped_and_overrun_a_plain_client(ask: Any) -> None:
    large = encoded(photo(1300, 1200), "BMP")
    assert len(large) > DEFAULT_RECEIVE_BYTES
    with pytest.raises(grpc.RpcError) as overrun:
        ask(request(large))
    assert overrun.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    (document,) = ask(request(large, drop_image_content=True)).data.docs.docs
    assert document.HasField("embedding")
    assert not document.blob
