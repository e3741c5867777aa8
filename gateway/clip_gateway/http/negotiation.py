"""Which of several media types an answer has, by the caller's `Accept` (RFC 9110, 12.5.1).

No library that is installed here does this: Starlette reads no `Accept`, and Werkzeug is not among the locked ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

# Quoted strings may hold commas and semicolons; one that does not end takes the rest. Possessive, so never slow.
_QUOTED = r'"(?:[^"\\]++|\\.)*+"?+'
_ENTRY = re.compile(rf'(?:[^,"]++|{_QUOTED})++', re.DOTALL)
_PART = re.compile(rf'(?:[^;"]++|{_QUOTED})++', re.DOTALL)
_NAME = r"[!#$%&'+.^_`|~0-9A-Za-z-]+"
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_RANGE = re.compile(rf"(\*|{_NAME})/(\*|{_NAME})")
_PARAMETER = re.compile(rf'({_TOKEN})=({_TOKEN}|"(?:[^"\\]|\\.)*")', re.DOTALL)
# As the standard has it, and without the first digit, as Java's HttpURLConnection writes it.
_WEIGHT = re.compile(r"0?\.[0-9]{1,3}|0\.?|1(\.0{0,3})?")


@dataclass(frozen=True)
class _Range:
    """`type/subtype`, lower-case or `*`, and its weight.

    :param is_plain: it has no parameters, which nothing that is offered here has either.
    """

    type: str
    subtype: str
    weight: float
    is_plain: bool

    @property
    def rank(self) -> tuple[bool, int, bool, float]:
        """Of several that hold an offer, the highest has the say."""
        return self.is_plain, (self.type != "*") + (self.subtype != "*"), self.weight == 0, self.weight

    def holds(self, offer: str) -> bool:
        type_, _, subtype = offer.partition("/")
        return self.type in ("*", type_) and self.subtype in ("*", subtype)


def choose(accept: Iterable[str], offers: Sequence[str]) -> str | None:
    """The offer that a caller likes best, the first of several; None where none is acceptable.

    The most precise range that holds an offer has the say, and weight 0 excludes it. Entries that do not read as media
    ranges are ignored; without any that do, everything is acceptable. Nothing here has parameters, so a range with
    some (`application/json;version=2`) counts only for what no other range holds, and
    where the caller would else get nothing.

    :param accept: the values of all lines of the header.
    :param offers: media types in lower case, the server's favourite first.
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
    best = max(offers, key=lambda offer: weights[offer])  # the first of those with the same weight
    return best if weights[best] else None


def _range(entry: str) -> _Range | None:
    """An entry of the header, None where it does not read as one."""
    name, *parts = (part.strip(" \t") for part in [*_PART.findall(entry), ""])
    types = _RANGE.fullmatch(name.lower())
    if not types or (types[1] == "*" and types[2] != "*"):
        return None
    is_plain = True
    for part in filter(None, parts):
        parameter = _PARAMETER.fullmatch(part)
        if parameter is None:
            return None
        if parameter[1].lower() == "q":  # what follows belongs to no media type
            weight = _WEIGHT.fullmatch(parameter[2])
            return _Range(types[1], types[2], float(weight[0]), is_plain) if weight else None
        # JSON has one charset, and many a client names it.
        is_plain = is_plain and parameter[1].lower() == "charset"
    return _Range(types[1], types[2], 1.0, is_plain)
