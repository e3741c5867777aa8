"""An Executor reached directly, without the gateway, as a cluster without NetworkPolicy allows."""

from __future__ import annotations

import os
import pickle
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from docarray import Document
from jina.proto import jina_pb2
from PIL import Image

from scripts import ROOT
from scripts.processes import free_ports
from tests.conftest import encoded, photo
from tests.flow.cost import MIB, cost
from tests.flow.gateways import executor

DEFAULT_RECEIVE_BYTES = 4 << 20  # of a gRPC client


@dataclass
class Running:
    """A running Executor, and a plain gRPC client of its port."""

    process: subprocess.Popen[bytes]
    ask: Any


@pytest.fixture(scope="module")
def running(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("executor")
    config = folder / "config.yml"
    config.write_text(
        f"jtype: CLIPImageEncoder\nwith:\n  pretrained_model_name_or_path: {tiny_model}\n"
        f"py_modules: [{ROOT / 'executors' / 'clip_image' / 'clip_image.py'}]\n"
    )
    (port,) = free_ports(1)
    with (
        executor(port, folder / "executor.log", config) as process,
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        ask = channel.unary_unary(
            "/jina.JinaSingleDataRequestRPC/process_single_data",
            request_serializer=jina_pb2.DataRequestProto.SerializeToString,
            response_deserializer=jina_pb2.DataRequestProto.FromString,
        )
        yield Running(process, ask)


@pytest.fixture
def ask(running: Running) -> Any:
    """Asks the Executor."""
    return running.ask


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


def test_images_do_not_pile_up_until_the_garbage_collector_runs(running: Running) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (1000, 1000, 3), dtype=np.uint8)
    image = request(encoded(Image.fromarray(noise), "PNG"), drop_image_content=True)
    running.ask(image)
    with cost(running) as found:
        for _ in range(100):
            running.ask(image)
    assert found.over < 48 * MIB, f"{found.over / MIB} MiB"
