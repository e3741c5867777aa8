"""Access to request headers for middleware."""

from __future__ import annotations

from starlette.types import Scope


def last(scope: Scope, name: bytes) -> str | None:
    """Return the value of a header, the last one if it is repeated; None if it is missing.

    :param scope: ASGI scope of the request.
    :param name: header name in lower case.
    """
    return next((value.decode("latin-1") for key, value in reversed(scope["headers"]) if key == name), None)
