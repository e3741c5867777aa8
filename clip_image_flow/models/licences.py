"""Weights that may not be used for everything: said where they are served.

What is not said here is not thereby allowed: a checkpoint's own card has the last word.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

CARD = "README.md"
_LONGEST = 1 << 16  # characters of a card that are looked at
_RESTRICTED = re.compile(r"(^|[-_ ])nc([-_ ]|$)|non-?commercial|research|apple-a(mlr|scl)", re.IGNORECASE)
# Families whose weights were published for research or without commercial use, by what their names have in them.
_FAMILIES = {
    r"MobileCLIP|(^|[-_/])mobileclip": "Apple's licence for research (apple-amlr, apple-ascl)",
    r"metaclip": "CC-BY-NC-4.0",
    r"nllb": "CC-BY-NC-4.0",
    r"(^|[-_:/])dfn\d|dfndr|DFN\d": "Apple's licence for research (apple-amlr)",
}


def restriction(name: str, folder: Path | None = None) -> str:
    """The licence of weights that may not be used commercially; "" where nothing says so.

    :param name: of the model.
    :param folder: where its card may lie, a README.md with its licence in front.
    """
    if folder and (licence := _of_card(folder / CARD)):
        return licence if _RESTRICTED.search(licence) else ""
    return next((licence for family, licence in _FAMILIES.items() if re.search(family, name)), "")


def _of_card(card: Path) -> str:
    """The licence that a card's front matter names, by `license_name` where it is none of the well-known."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        with card.open(encoding="utf-8") as file:
            front = file.read(_LONGEST).split("---", 2)
        if len(front) == 3 and not front[0].strip():
            lines = dict(re.findall(r"^(license(?:_name)?):\s*[\"']?([\w.-]+)", front[1], re.MULTILINE))
            return str(lines.get("license_name") or lines.get("license", ""))
    return ""
