"""Authentication by bearer tokens from a file, which is read again when it changes."""

from __future__ import annotations

import hashlib
import hmac
import logging
from pathlib import Path

from clip_gateway.problems import Problem
from clip_gateway.settings import SettingsError
from clip_wire.errors import Unauthenticated


class Tokens:
    """The valid tokens: one per line of a file; blank lines and lines that begin with `#` are skipped.

    Several tokens allow rotation without downtime: add the new one, move the callers, remove the old one. Only hashes
    are kept in memory.

    :param file: path of the file; None disables authentication.
    :param log: logger for changes of the file.
    :raises SettingsError: if the file cannot be read or has no token.
    """

    def __init__(self, file: str | None, log: logging.Logger) -> None:
        self._file = Path(file) if file else None
        self._log = log
        self._state: object = None
        self._hashes: list[bytes] = []
        if self._file:
            try:
                self._read(self._file)
            except (OSError, ValueError) as error:
                raise SettingsError(f"tokens_file: {error}") from error
            if not self._hashes:
                raise SettingsError(f"tokens_file: no token in {self._file}; write one a line, or omit the option")

    @property
    def asked_for(self) -> bool:
        """Whether requests need a token."""
        return self._file is not None

    def check(self, authorization: str | bytes | None) -> None:
        """Check the value of an Authorization header.

        :param authorization: value of the header, or None if it is missing.
        :raises Problem: if it has no valid token.
        """
        if self._file is None:
            return
        self._refresh(self._file)
        value = authorization.encode() if isinstance(authorization, str) else authorization or b""
        scheme, _, token = value.strip().partition(b" ")
        if scheme.lower() != b"bearer" or not token.strip():
            raise Problem(Unauthenticated, "send a token: 'Authorization: Bearer TOKEN'")
        asked = _hash(token.strip())
        # All hashes are compared, so that the time does not depend on which one is equal.
        if not sum([hmac.compare_digest(asked, known) for known in self._hashes]):
            raise Problem(Unauthenticated, "this token is not valid, or no longer valid")

    def _refresh(self, file: Path) -> None:
        """Read the file again if it changed; if it cannot be read, the last tokens stay valid."""
        try:
            if _state(file) != self._state:
                self._read(file)
                self._log.info("tokens_file has changed: %d tokens", len(self._hashes))
        except (OSError, ValueError) as error:
            if self._state is not None:
                self._log.error("tokens_file cannot be read, its last tokens stay valid: %s", error)
            self._state = None  # logs the error once, and reads the file again each time

    def _read(self, file: Path) -> None:
        state = _state(file)
        lines = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines()]
        self._hashes = [_hash(line.encode()) for line in lines if line and not line.startswith("#")]
        self._state = state


def _state(file: Path) -> tuple[int, int, int]:
    """Return values that change when the file is written or replaced; links are followed, as a mounted Secret needs."""
    status = file.stat()
    return status.st_mtime_ns, status.st_size, status.st_ino


def _hash(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()
