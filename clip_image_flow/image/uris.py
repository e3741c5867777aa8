"""Reads the content of URIs that the operator allows.

By default only data URIs are allowed: other URIs are fetched by this machine, from this machine's network. Redirects
are not followed, since they may lead to addresses that are not allowed.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import re
import time
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from clip_image_flow.errors import BadDocument, ConfigError, TooLarge

_PORTS = {"http": 80, "https": 443}
_BLOCK = 1 << 16  # bytes
_SPACE = b" \t\r\n\f\v"
_BASE64 = bytes.maketrans(b"-_", b"+/")  # the URL-safe alphabet (RFC 4648, section 5)
_NO_ESCAPE = re.compile(rb"%(?![0-9a-fA-F]{2})")


class UriReader:
    """Reads URIs that begin with one of `allowed`.

    :param allowed: prefixes such as `data:`, `https://images.example.com/` (this scheme, host and port, and paths
        below it) or `file:///pictures/` (files below that directory, with links resolved).
    :param timeout: timeout of one whole fetch, in seconds.
    :raises ConfigError: if a prefix allows more than it seems to.
    """

    def __init__(self, allowed: Sequence[str] = ("data:",), timeout: float = 10.0) -> None:
        if isinstance(allowed, str):
            raise ConfigError(f"allowed_uris must be a list of prefixes, such as ['data:'], not {allowed!r}")
        self._allowed = [_prefix(prefix) for prefix in allowed]
        self._timeout = timeout
        self._opener = urllib.request.build_opener(_NoRedirects)

    def read(self, uri: str, max_bytes: int) -> bytes:
        """Return the content of `uri`.

        :param max_bytes: maximum size of the content, in bytes.
        :raises BadDocument: if the URI is not allowed, malformed, or not available.
        :raises TooLarge: if the content exceeds `max_bytes`.
        """
        if uri[:5].lower() == "data:":  # not parsed with urllib, which would copy the data and cache the copies
            return self._read_data(uri, max_bytes)
        try:
            parts = urlsplit(uri)
            allowed = any(_covers(prefix, parts) for prefix in self._allowed)
        except ValueError as error:
            raise BadDocument(f"the URI {_short(uri)} is malformed: {error}") from error
        if not allowed:
            raise _not_allowed(uri)
        try:
            return self._fetch(uri, max_bytes)
        except (OSError, ValueError, HTTPException) as error:
            raise BadDocument(f"the URI {_short(uri)} cannot be read: {error}") from error

    def _read_data(self, uri: str, max_bytes: int) -> bytes:
        if not any(prefix.scheme == "data" for prefix in self._allowed):
            raise _not_allowed(uri)
        data = _data(uri, max_bytes)
        if len(data) > max_bytes:
            raise TooLarge(f"the data URI holds {len(data)} bytes; at most {max_bytes} bytes are read")
        return data

    def _fetch(self, uri: str, max_bytes: int) -> bytes:
        deadline = time.monotonic() + self._timeout
        data = bytearray()
        with self._opener.open(uri, timeout=self._timeout) as source:
            while block := source.read1(_BLOCK):
                data += block
                if len(data) > max_bytes:
                    raise TooLarge(f"the content of {_short(uri)} has more than {max_bytes} bytes")
                if time.monotonic() > deadline:
                    raise TimeoutError(f"not complete after {self._timeout:g} s")
        return bytes(data)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


def _prefix(prefix: str) -> SplitResult:
    with contextlib.suppress(ValueError):  # an unclosed bracket, a port that is not a number
        parts = urlsplit(prefix)
        if parts.scheme == "data" or (parts.scheme in _PORTS and parts.hostname and _port(parts)):
            return parts
        if parts.scheme == "file" and not parts.netloc and parts.path.startswith("/"):
            return parts
    raise ConfigError(
        f"allowed_uris: {prefix!r} is not a valid prefix; "
        "use 'data:', 'https://HOST/', 'http://HOST/' or 'file:///FOLDER/'"
    )


def _covers(prefix: SplitResult, uri: SplitResult) -> bool:
    # A data URI that follows control characters is not one.
    if prefix.scheme != uri.scheme or uri.scheme == "data":
        return False
    if uri.scheme == "file":
        return not uri.netloc and _resolve(uri).is_relative_to(_resolve(prefix))
    same_host = prefix.hostname == uri.hostname and _port(prefix) == _port(uri)
    # The server may resolve a path with ".." (also as %2e%2e) to another place than this code.
    climbs = ".." in unquote(uri.path).split("/")
    return same_host and not climbs and (uri.path or "/").startswith(prefix.path or "/")


def _resolve(uri: SplitResult) -> Path:
    return Path(unquote(uri.path)).resolve()


def _port(uri: SplitResult) -> int:
    return uri.port or _PORTS[uri.scheme]


def _not_allowed(uri: str) -> BadDocument:
    return BadDocument(f"the URI {_short(uri)} is not allowed here; send the image's bytes as the document's blob")


def _data(uri: str, max_bytes: int) -> bytes:
    """Return the content of a data URI (RFC 2397).

    Base64 may have white space anywhere, no padding, and the URL-safe alphabet.
    """
    if len(uri) > 4 * max_bytes:  # percent-encoding triples the size, base64 adds a third: too large in any case
        raise TooLarge(f"the data URI has {len(uri)} characters; at most {max_bytes} bytes are read")
    head, comma, body = uri.partition(",")
    if not comma:
        raise BadDocument("the data URI has no comma between its media type and its data")
    try:
        raw = _unquoted(body.encode())
    except UnicodeEncodeError as error:
        raise BadDocument("the data URI contains a lone surrogate, which is not a character") from error
    if not head.rstrip().lower().endswith(";base64"):
        return raw
    raw = raw.translate(_BASE64, _SPACE).rstrip(b"=")
    try:
        return base64.b64decode(raw + b"=" * (-len(raw) % 4), validate=True)
    except binascii.Error as error:
        raise BadDocument(f"the data URI is not valid base64: {error}") from error


def _unquoted(data: bytes) -> bytes:
    """Return `data` without percent-encoding.

    `urllib` would create a list with 60 bytes per escape. Quoted-printable escapes differ only in one character, and
    are decoded in C.
    """
    if b"%" not in data:
        return data
    if wrong := _NO_ESCAPE.search(data):
        raise BadDocument(
            f"the data URI has a % at {wrong.start()} that begins no escape; write %25 for the sign itself"
        )
    return binascii.a2b_qp(data.replace(b"=", b"=3D").replace(b"%", b"="))


def _short(uri: str) -> str:
    return repr(uri if len(uri) <= 80 else uri[:77] + "...")
