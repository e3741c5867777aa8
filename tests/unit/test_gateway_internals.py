"""Jina's private names: all of them in one module, and there in the Jina that is installed."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import jina
import pytest
from jina.serve.monitoring import _SummaryDeprecated
from jina.serve.networking import GrpcConnectionPool
from jina.serve.runtimes.gateway.streamer import GatewayStreamer
from jina.serve.runtimes.servers import BaseServer
from jina.serve.runtimes.servers.composite import CompositeBaseServer
from jina.serve.stream import RequestStreamer
from jina.types.request.data import DataRequest

from clip_gateway import jina_internals

NAMES = {
    "_connection_pool": GatewayStreamer,
    "_data": DataRequest,
    "_handle_aiorpcerror": GrpcConnectionPool,
    "_old_name": _SummaryDeprecated,
    "_pb_body": DataRequest,
    "_request_handler": (BaseServer, RequestStreamer),
    "_result_handler": RequestStreamer,
    "_server_kwargs": CompositeBaseServer,
    "_streamer": GatewayStreamer,
}
HELD_BY = [(name, kind) for name, kinds in NAMES.items() for kind in (kinds if isinstance(kinds, tuple) else (kinds,))]


def private_names(path: Path) -> set[str]:
    """The private attributes of anything but `self` and `cls` that a module uses."""
    return {
        node.attr
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and not node.attr.startswith("__")
        and not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"))
    }


def test_these_are_all_names_that_are_used() -> None:
    assert private_names(Path(jina_internals.__file__)) == NAMES.keys()


@pytest.mark.parametrize(("name", "kind"), HELD_BY, ids=[f"{kind.__name__}.{name}" for name, kind in HELD_BY])
def test_jina_has_them(name: str, kind: type) -> None:
    assert jina.__version__ == "3.34.0"
    assert hasattr(kind, name) or re.search(rf"self\.{name}(:| =)", inspect.getsource(kind))


def test_no_other_module_overrides_a_private_name_of_jinas_servers() -> None:
    from clip_gateway.gateway import ClipGateway
    from clip_gateway.grpc.calls import GrpcCalls
    from clip_gateway.grpc.server import GrpcServer
    from clip_gateway.http.server import HttpServer

    for ours in (ClipGateway, GrpcServer, HttpServer, GrpcCalls):
        jinas = {name for base in ours.__mro__ if base.__module__.startswith("jina.") for name in vars(base)}
        own = {name for base in ours.__mro__ if base.__module__.startswith("clip_gateway") for name in vars(base)}
        assert {name for name in own & jinas if name.startswith("_") and not name.startswith("__")} <= {
            "_abc_impl",
            "_registered_class",
        }
