"""Encodes the images and texts of one HTTP request on their executors."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jina.types.request.data import DataRequest
from starlette.requests import Request

from clip_gateway.flow.messages import documents_of
from clip_gateway.flow.model import Model
from clip_gateway.flow.request_handler import RequestHandler
from clip_gateway.http.messages import ask, embeddings
from clip_gateway.http.schemas.item import Item
from clip_gateway.problems import Problem
from clip_wire.endpoints import DEFAULT
from clip_wire.errors import BadDocument, NotFound
from clip_wire.info import TEXT


async def encode(
    handler: RequestHandler,
    request: Request,
    items: Sequence[Item],
    parameters: Mapping[str, Any],
) -> list[np.ndarray]:
    """Return the embedding of each item, in the same order. Images and texts are encoded in parallel.

    :param handler: request handler of the gateway.
    :param request: HTTP request.
    :param items: images and texts to encode.
    :param parameters: request parameters of the Flow.
    :raises Problem: the first error, without waiting for the rest.
    """
    handler.check_count(len(items))
    if not items:
        return []
    known = await handler.models.known()
    for item in items:
        if item.modality not in known:
            await _refuse(item, handler)
    places: dict[str, list[int]] = {}
    for i, item in enumerate(items):
        places.setdefault(item.modality, []).append(i)
    requests = [to_request([items[i] for i in own], known[modality], parameters) for modality, own in places.items()]
    if len(requests) == 1:
        return embeddings(await ask(handler, request, requests[0]))
    try:
        async with handler.hold() as hold, asyncio.TaskGroup() as group:
            tasks = [group.create_task(ask(handler, request, one, hold)) for one in requests]
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    found: dict[int, np.ndarray] = {}
    for own, task in zip(places.values(), tasks, strict=True):
        found.update(zip(own, embeddings(task.result()), strict=True))
    return [found[i] for i in range(len(items))]


async def _refuse(item: Item, handler: RequestHandler) -> None:
    """Raise the reason why no executor encodes this item.

    :raises Problem: always.
    """
    try:
        await handler.models.current(item.modality)
    except Problem as problem:
        if problem.kind is not NotFound:
            raise
        wanted = "; send a data URI of an image (data:image/jpeg;base64,...)" if item.modality == TEXT else ""
        raise Problem(BadDocument, problem.detail + wanted, item.id) from None


def to_request(items: Sequence[Item], model: Model, parameters: Mapping[str, Any]) -> DataRequest:
    """Return the message that makes `model` encode these items.

    :raises Problem: if the content of an item cannot be sent.
    """
    request = DataRequest()
    request.header.exec_endpoint = DEFAULT
    request.header.target_executor = model.target
    if parameters:
        request.parameters = parameters
    documents = documents_of(request)
    for item in items:
        add(documents, item)
    return request


def add(documents: Any, item: Item) -> Any:
    """Add an item to the documents of a message, and return its document.

    :raises Problem: if the content of the item cannot be sent.
    """
    kind = "blob" if isinstance(item.content, bytes) else "text" if item.modality == TEXT else "uri"
    try:
        return documents.add(id=item.id, **{kind: item.content})
    except ValueError as error:
        wrong = "this is not valid Unicode: it contains a lone surrogate"
        raise Problem(BadDocument, wrong, item.id) from error
