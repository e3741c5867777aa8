"""What can be wrong with a request: a class each, with the HTTP status that it has.

The class name and the `args` (detail, document id, place) are what crosses the wire: Jina copies `type(e).__name__` and
`[str(a) for a in e.args]` into the status header, and the gateway finds the class by its name again.
"""

from __future__ import annotations

from typing import ClassVar


class RequestError(Exception):
    """A request that cannot be served as it is.

    :param detail: what is wrong and how to mend it.
    :param document_id: id of the document it is about, or "" when it is about the request.
    :param place: where in that document, such as "chunk 2", or "".
    :cvar status: of HTTP.
    :cvar title: the same for every error of this class.
    :cvar of_one_document: it may be about one document, without which the others can be served.
    :cvar retry_after: seconds after which the same request may pass, or None when it has to change first.
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
    """A parameter is unknown or its value is not allowed."""

    status = 400
    title = "Bad parameter"


class BadDocument(RequestError):
    """A document has no image to read where there should be one, or a broken one."""

    status = 400
    title = "Bad document"
    of_one_document = True


class TooLarge(RequestError):
    """An image, a request or a document is over a limit."""

    status = 413
    title = "Too large"
    of_one_document = True


class UnsupportedMedia(RequestError):
    """The bytes are in no format that is read here."""

    status = 415
    title = "Unsupported media type"
    of_one_document = True


class QueueFull(RequestError):
    """There is no room for the request now; the same request may pass later."""

    status = 429
    title = "The queue is full"
    retry_after = 1


class Expired(RequestError):
    """The time limit of the request passed before its turn came."""

    status = 504
    title = "Time limit passed"


class ModelChanged(RequestError):
    """The vectors would be made otherwise than the caller expects: another model, or another way to run it."""

    status = 409
    title = "Another model"


class NotFinite(RequestError):
    """The model gave numbers for an item that are infinite or none at all: a fault of weights or precision."""

    status = 500
    title = "Numbers that are not finite"
    of_one_document = True


class BadEncoding(RequestError):
    """The body is not what its Content-Encoding says."""

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
    """The path has no such method."""

    status = 405
    title = "Method not allowed"


class NotAcceptable(RequestError):
    """The answer comes in no media type that the caller accepts."""

    status = 406
    title = "Not acceptable"


class UploadTimeout(RequestError):
    """The body did not arrive within the time limit."""

    status = 408
    title = "Upload took too long"


class Malformed(RequestError):
    """The body or the message does not read as what it should be."""

    status = 422
    title = "Malformed request"


class TooManyRequests(RequestError):
    """The gateway has no room for the request now."""

    status = 429
    title = "Too many requests"
    retry_after = 1


class InternalError(RequestError):
    """A fault on our side, of which nothing else leaves the gateway: it may hold paths."""

    status = 500
    title = "Internal error"


class Unavailable(RequestError):
    """An executor does not answer, or the gateway is shutting down."""

    status = 503
    title = "Not available"
    retry_after = 2


OF_EXECUTORS = (BadParameter, BadDocument, TooLarge, UnsupportedMedia, QueueFull, Expired, NotFinite, ModelChanged)
"""What an Executor raises; the gateway raises these too, where it sees the same fault first."""

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
"""What the gateway alone raises; from an Executor such a name would be a fault."""
