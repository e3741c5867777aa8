"""Selects the media type of a response by the `Accept` header (RFC 9110, 12.5.1).

No installed library does this: Starlette does not parse `Accept`, and Werkzeug is not a dependency.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

# Quoted strings may contain commas and semicolons; an unclosed one takes the rest. Possessive quantifiers never
# backtrack.
_QUOTED = r'"(?:[^"\\]++|\\.)*+"?+'
_ENTRY = re.compile(rf'(?:[^,"]++|{_QUOTED})++', re.DOTALL)
_PART = re.compile(rf'(?:[^;"]++|{_QUOTED})++', re.DOTALL)
_NAME = r"[!#$%&'+.^_`|~0-9A-Za-z-]+"
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_RANGE = re.compile(rf"(\*|{_NAME})/(\*|{_NAME})")
_PARAMETER = re.compile(rf'({_TOKEN})=({_TOKEN}|"(?:[^"\\]|\\.)*")', re.DOTALL)
# As in the standard, and without the leading digit, as Java's HttpURLConnection sends it.
_WEIGHT = re.compile(r"0?\.[0-9]{1,3}|0\.?|1(\.0{0,3})?")


@dataclass(frozen=True)
class _Range:
    """A media range: `type/subtype` in lower case, each maybe `*`, with its weight.

    :param is_plain: whether it has no parameters, as all offers here.
    """

    type: str
    subtype: str
    weight: float
    is_plain: bool

    @property
    def rank(self) -> tuple[bool, int, bool, float]:
        """Precedence among the ranges that match an offer: the highest rank decides."""
        return self.is_plain, (self.type != "*") + (self.subtype != "*"), self.weight == 0, self.weight

    def holds(self, offer: str) -> bool:
        type_, _, subtype = offer.partition("/")
        return self.type in ("*", type_) and self.subtype in ("*", subtype)


def choose(accept: Iterable[str], offers: Sequence[str]) -> str | None:
    """Return the offer with the highest weight, the first of equal ones; None if none is acceptable.

    The most specific range that matches an offer decides, and weight 0 excludes the offer. Entries that are not valid
    media ranges are ignored; without a valid one, everything is acceptable. No offer has parameters, so a range with
    parameters (`application/json;version=2`) is used only if no offer is acceptable otherwise.

    :param accept: values of all `Accept` headers.
    :param offers: media types in lower case, the server's default first.
    """
    ranges = [found for entry in _ENTRY.findall(",".join(accept)) if (found := _range(entry))]
    if not ranges:
        return offers[0]
    plain = [one for one in ranges if one.is_plain]
    return _best(plain, offers) or _best(ranges, offers)


def _best(ranges: list[_Range], offers: Sequence[str]) -> str | None:
    weights = {}
    for offer in offers:
        holding = [one for one in ranges if one.holds(offer)]
        weights[offer] = max(holding, key=lambda one: one.rank).weight if holding else 0.0
    best = max(offers, key=lambda offer: weights[offer])  # the first of equal weights
    return best if weights[best] else None


def _range(entry: str) -> _Range | None:
    """Parse an entry of the header; None if it is not a valid media range."""
    name, *parts = (part.strip(" \t") for part in [*_PART.findall(entry), ""])
    types = _RANGE.fullmatch(name.lower())
    if not types or (types[1] == "*" and types[2] != "*"):
        return None
    is_plain = True
    for part in filter(None, parts):
        parameter = _PARAMETER.fullmatch(part)
        if parameter is None:
            return None
        if parameter[1].lower() == "q":  # parameters after the weight do not belong to the media type
            weight = _WEIGHT.fullmatch(parameter[2])
            return _Range(types[1], types[2], float(weight[0]), is_plain) if weight else None
        # JSON has only one charset, which many clients send.
        is_plain = is_plain and parameter[1].lower() == "charset"
    return _Range(types[1], types[2], 1.0, is_plain)
