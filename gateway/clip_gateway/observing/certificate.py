"""Reads the expiry of a certificate from its DER: the standard library parses only the certificates of peers."""

from __future__ import annotations

import contextlib
import ssl
from datetime import UTC, datetime
from pathlib import Path

_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
_SEQUENCE, _VERSION, _UTC_TIME = 0x30, 0xA0, 0x17  # tags of ASN.1


def expires(file: str) -> float | None:
    """Return the expiry of the first certificate in a PEM file, the server's own, in Unix time; None if unreadable."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        text = Path(file).read_text(encoding="ascii", errors="replace")
        first = text[text.index(_BEGIN) : text.index(_END) + len(_END)]
        return _not_after(ssl.PEM_cert_to_DER_cert(first + "\n"))
    return None


def _not_after(der: bytes) -> float:
    """Return the expiry of a certificate in DER, in Unix time.

    RFC 5280: Certificate {TBSCertificate {[version], serial, algorithm, issuer, validity {from, to}, ...}, ...}.

    :raises ValueError: if it is not a certificate; IndexError if it is truncated.
    """
    _, certificate, _ = _read(der)
    _, fields, _ = _read(certificate)
    tag, _, rest = _read(fields)
    for _ in range(3 if tag == _VERSION else 2):  # serial number, algorithm, issuer
        _, _, rest = _read(rest)
    tag, validity, _ = _read(rest)
    if tag != _SEQUENCE:
        raise ValueError("no validity where it should be")
    _, _, rest = _read(validity)
    tag, end, _ = _read(rest)
    form = "%y%m%d%H%M%SZ" if tag == _UTC_TIME else "%Y%m%d%H%M%SZ"
    return datetime.strptime(end.decode("ascii"), form).replace(tzinfo=UTC).timestamp()


def _read(data: bytes) -> tuple[int, bytes, bytes]:
    """Return the first value in DER: its tag, its content, and the bytes after it."""
    length, start = data[1], 2
    if length >= 0x80:  # long form: the low 7 bits count the bytes of the length
        start += length & 0x7F
        length = int.from_bytes(data[2:start], "big")
    return data[0], data[start : start + length], data[start + length :]
