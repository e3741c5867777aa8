"""Reads multipart/form-data, as browsers and `requests` send it."""

from __future__ import annotations

import sys
from collections import Counter

from python_multipart.exceptions import FormParserError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from clip_gateway.http.messages import media_type
from clip_gateway.http.schemas.body import as_uri
from clip_gateway.http.schemas.item import Item
from clip_gateway.problems import Problem
from clip_wire.errors import BadDocument, BadParameter, Malformed
from clip_wire.info import IMAGE, TEXT

_FIELDS = (IMAGE, TEXT)


class _InMemory(MultiPartParser):
    """Starlette's parser without files on disk: the size of the body is already limited and counted."""

    spool_max_size = sys.maxsize
    is_whole = False

    def on_end(self) -> None:
        """Record that the last boundary was read."""
        self.is_whole = True


def is_form(request: Request) -> bool:
    """Return whether the body is multipart/form-data."""
    return media_type(request) == "multipart/form-data"


async def read_form(request: Request, most: int) -> list[Item]:
    """Return the fields `image` and `text` in order; an `image` without a file name is a data URI or base64.

    :param request: HTTP request with a form.
    :param most: maximum number of files, and of other fields.
    :raises Problem: if the form is invalid, or a field is empty or unknown.
    """
    parser = _InMemory(request.headers, request.stream(), max_files=most, max_fields=most, max_part_size=sys.maxsize)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise Problem(Malformed, f"the form cannot be read: {error.message}") from error
    except FormParserError as error:
        raise Problem(Malformed, f"the form cannot be read: {str(error)[:200]}") from error
    except KeyError as error:  # a missing parameter of the Content-Type
        raise Problem(
            Malformed, "the form has no boundary in its Content-Type; let your client set the header"
        ) from error
    if not parser.is_whole:
        raise Problem(Malformed, "the form cannot be read: it is cut off before its last boundary")
    items: list[Item] = []
    seen: Counter[str] = Counter()
    for name, value in form.multi_items():
        if name not in _FIELDS:
            raise Problem(BadParameter, f"unknown field {name[:100]!r}; there are {', '.join(_FIELDS)}")
        place = f"{name}[{seen[name]}]"
        seen[name] += 1
        content = await value.read() if isinstance(value, UploadFile) else value
        if not content:
            raise Problem(BadDocument, f"the field {name} is empty", place)
        if name == TEXT:
            items.append(Item(place, TEXT, _text(content, place)))
        else:
            items.append(Item(place, IMAGE, content if isinstance(content, bytes) else as_uri(content)))
    if not items:
        raise Problem(BadDocument, "the form has no field image and no field text: curl -F image=@cat.jpg")
    return items


def _text(content: str | bytes, place: str) -> str:
    try:
        return content.decode() if isinstance(content, bytes) else content
    except UnicodeDecodeError as error:
        raise Problem(Malformed, f"this is not UTF-8 text: {error.reason} at byte {error.start}", place) from error
