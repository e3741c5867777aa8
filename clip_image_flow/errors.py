"""What can go wrong, in the words the caller needs.

A `RequestError` is the caller's to mend. Its class name and its `args` are what crosses the wire (Jina copies
`type(e).__name__` and `[str(a) for a in e.args]` into the status header), so both are part of the contract: a gateway
maps the name to a status code and shows the args.
"""

from __future__ import annotations


class RequestError(Exception):
    """A request that cannot be served as it is.

    :param detail: what is wrong and how to mend it.
    :param document_id: id of the document it is about, or "" when it is about the request.
    :param place: where in that document, such as "chunk 2", or "".
    """

    def __init__(self, detail: str, document_id: str = "", place: str = "") -> None:
        super().__init__(detail, document_id, place)
        self.detail = detail
        self.document_id = document_id
        self.place = place

    def at(self, document_id: str, place: str = "") -> RequestError:
        """The same error, naming the document it is about."""
        return type(self)(self.detail, document_id, place)

    def __str__(self) -> str:
        if not self.document_id:
            return self.detail
        where = f"document {self.document_id!r}" + (f", {self.place}" if self.place else "")
        return f"{where}: {self.detail}"

    def __repr__(self) -> str:  # Jina shows this as the status' description
        return f"{type(self).__name__}: {self}"


class BadParameter(RequestError):
    """A parameter is unknown or its value is not allowed (HTTP 400)."""


class BadDocument(RequestError):
    """A document has no image to read where there should be one, or a broken one (HTTP 400)."""


class TooLarge(RequestError):
    """An image, a request or a document is over a limit (HTTP 413)."""


class UnsupportedMedia(RequestError):
    """The bytes are in no image format that is read here (HTTP 415)."""


class QueueFull(RequestError):
    """There is no room for the request now; the same request may pass later (HTTP 429)."""


class Expired(RequestError):
    """The time limit of the request passed before its turn came (HTTP 504)."""


class ConfigError(ValueError):
    """The encoder cannot be built as it was asked for: a start-up error, with what to do about it."""


class ModelError(ConfigError):
    """The model cannot be loaded: missing, unreachable, corrupt or of another architecture."""


class TakesLonger(Exception):
    """An item cannot be prepared in the time and memory that most items need: it goes where long ones wait."""
