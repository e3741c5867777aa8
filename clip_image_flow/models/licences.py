"""Detects weights whose licence forbids commercial use, for a warning at start-up.

The absence of a warning is no permission: the checkpoint's model card is authoritative.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

CARD = "README.md"
_LONGEST = 1 << 16  # maximum number of characters read from a card
_RESTRICTED = re.compile(r"(^|[-_ ])nc([-_ ]|$)|non-?commercial|research|apple-a(mlr|scl)", re.IGNORECASE)
# Families whose weights were published for research or non-commercial use, by a pattern of their names.
_FAMILIES = {
    r"MobileCLIP|(^|[-_/])mobileclip": "Apple's licence for research (apple-amlr, apple-ascl)",
    r"metaclip": "CC-BY-NC-4.0",
    r"nllb": "CC-BY-NC-4.0",
    r"(^|[-_:/])dfn\d|dfndr|DFN\d": "Apple's licence for research (apple-amlr)",
}


def restriction(name: str, folder: Path | None = None) -> str:
    """The licence of weights that is known to forbid commercial use; else "".

    :param name: name of the model.
    :param folder: folder that may contain the model card, a README.md whose front matter names the licence.
    """
    if folder and (licence := _of_card(folder / CARD)):
        return licence if _RESTRICTED.search(licence) else ""
    return next((licence for family, licence in _FAMILIES.items() if re.search(family, name)), "")


def _of_card(card: Path) -> str:
    """The licence in a card's front matter, from `license_name` if there is one; "" if none is named."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        with card.open(encoding="utf-8") as file:
            front = file.read(_LONGEST).split("---", 2)
        if len(front) == 3 and not front[0].strip():
            lines = dict(re.findall(r"^(license(?:_name)?):\s*[\"']?([\w.-]+)", front[1], re.MULTILINE))
            return str(lines.get("license_name") or lines.get("license", ""))
    return ""
