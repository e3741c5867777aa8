"""Errors of a request, with their HTTP status.

The class name and the `args` (detail, document id, place) are sent over the wire: Jina copies `type(e).__name__` and
`[str(a) for a in e.args]` into the status header, and the gateway looks up the class by its name.
"""

from __future__ import annotations

from typing import ClassVar


class RequestError(Exception):
    """Base class of errors that a request can get.

    :param detail: message with the cause and the fix.
    :param document_id: id of the document that has the error, or "" for an error of the whole request.
    :param place: position in that document, such as "chunk 2", or "".
    :cvar status: HTTP status code.
    :cvar title: short title, the same for all errors of this class.
    :cvar of_one_document: whether the error may concern one document, so that the others can be served.
    :cvar retry_after: seconds after which the same request can be retried, or None if it must be changed first.
    """

    status: ClassVar[int]
    title: ClassVar[str]
    retry_after: ClassVar[int | None] = None
    of_one_document: ClassVar[bool] = False

    def __init__(self, detail: str, document_id: str = "", place: str = "") -> None:
        super().__init__(detail, document_id, place)
        self.detail = detail
        self.document_id = document_id
        self.place = place

    def at(self, document_id: str, place: str = "") -> RequestError:
        """Return the same error with the document that it concerns."""
        return type(self)(self.detail, document_id, place)

    def __str__(self) -> str:
        if not self.document_id:
            return self.detail
        where = f"document {self.document_id!r}" + (f", {self.place}" if self.place else "")
        return f"{where}: {self.detail}"

    def __repr__(self) -> str:  # Jina shows this as the status' description
        return f"{type(self).__name__}: {self}"


class BadParameter(RequestError):
    """A parameter is unknown or its value is invalid."""

    status = 400
    title = "Bad parameter"


class BadDocument(RequestError):
    """A document has a missing or broken image, or another invalid content."""

    status = 400
    title = "Bad document"
    of_one_document = True


class TooLarge(RequestError):
    """An image, a document or a request exceeds a limit."""

    status = 413
    title = "Too large"
    of_one_document = True


class UnsupportedMedia(RequestError):
    """The bytes are in an unsupported format."""

    status = 415
    title = "Unsupported media type"
    of_one_document = True


class QueueFull(RequestError):
    """The queue is full; the request can be retried later."""

    status = 429
    title = "The queue is full"
    retry_after = 1


class Expired(RequestError):
    """The request timed out while it waited."""

    status = 504
    title = "Time limit passed"


class ModelChanged(RequestError):
    """The vectors would differ from those the caller expects: another model, or another configuration of it."""

    status = 409
    title = "Another model"


class NotFinite(RequestError):
    """The embedding of an item has infinite or NaN values, because of weights or precision."""

    status = 500
    title = "Numbers that are not finite"
    of_one_document = True


class BadEncoding(RequestError):
    """The body does not match its Content-Encoding."""

    status = 400
    title = "Bad content encoding"


class Unauthenticated(RequestError):
    """The call has no valid token."""

    status = 401
    title = "No valid token"


class NotFound(RequestError):
    """There is no such path, endpoint or model."""

    status = 404
    title = "Not found"


class MethodNotAllowed(RequestError):
    """The path does not support the method."""

    status = 405
    title = "Method not allowed"


class NotAcceptable(RequestError):
    """The response is not available in any media type that the caller accepts."""

    status = 406
    title = "Not acceptable"


class UploadTimeout(RequestError):
    """The body did not arrive within the time limit."""

    status = 408
    title = "Upload took too long"


class Malformed(RequestError):
    """The body or the message cannot be parsed."""

    status = 422
    title = "Malformed request"


class TooManyRequests(RequestError):
    """The gateway has reached its limit of requests or bytes."""

    status = 429
    title = "Too many requests"
    retry_after = 1


class InternalError(RequestError):
    """An unexpected error; its message stays in the log, since it may contain paths."""

    status = 500
    title = "Internal error"


class Unavailable(RequestError):
    """An executor does not respond, or the gateway is shutting down."""

    status = 503
    title = "Not available"
    retry_after = 2


OF_EXECUTORS = (BadParameter, BadDocument, TooLarge, UnsupportedMedia, QueueFull, Expired, NotFinite, ModelChanged)
"""Errors that an Executor raises; the gateway raises them too if it detects the same error first."""

OF_THE_GATEWAY = (
    BadEncoding,
    Unauthenticated,
    NotFound,
    MethodNotAllowed,
    NotAcceptable,
    UploadTimeout,
    Malformed,
    TooManyRequests,
    InternalError,
    Unavailable,
)
"""Errors that only the gateway raises; from an Executor, such a name would be a bug."""
