"""The headers of a request, as middleware reads them."""

from __future__ import annotations

from starlette.types import Scope


def last(scope: Scope, name: bytes) -> str | None:
    """The value of a header, the last one where a caller sends several; None where it sends none.

    :param name: in lower case.
    """
    return next((value.decode("latin-1") for key, value in reversed(scope["headers"]) if key == name), None)
