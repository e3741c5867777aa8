"""Reads names and keywords of emoji, and matches icon names to emoji."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packages import NAMES, STYLES, fetch, read_json

# Numbered alternatives such as "waving-hand-2" are further drawings of the same emoji.
_NUMBERED = re.compile(r"-\d+$")


@dataclass(frozen=True)
class Emoji:
    """One emoji: ``code`` is its normalised code point sequence, such as ``1f636-200d-1f32b``."""

    code: str
    label: str
    keywords: tuple[str, ...]
    is_flag: bool


def normalise(code: str) -> str:
    """Return a code point sequence in lower case, without the variation selector, which only some packages include.

    >>> normalise("2049-FE0F")
    '2049'
    """
    return "-".join(part for part in code.lower().split("-") if part != "fe0f")


def squash(name: str) -> str:
    """Return the letters and digits of a name, so that different spellings are equal.

    >>> squash("face with tears-of joy")
    'facewithtearsofjoy'
    """
    return re.sub(r"[^a-z0-9]", "", name.lower())


def load_emoji(cache: Path) -> list[Emoji]:
    """Read the emoji with their English labels and keywords, in the order of the package."""
    rows: list[dict[str, Any]] = read_json(fetch(NAMES, cache), "en/data.json")
    return [
        Emoji(
            normalise(row["hexcode"]),
            row["label"],
            tuple(row.get("tags", ())),
            row["label"].startswith("flag: "),
        )
        for row in rows
    ]


def load_aliases(emoji: list[Emoji], cache: Path) -> dict[str, int]:
    """Map squashed names to emoji indices; earlier sources of names win over later ones."""
    index = {item.code: i for i, item in enumerate(emoji)}
    aliases: dict[str, int] = {}
    for i, item in enumerate(emoji):
        aliases.setdefault(squash(item.label), i)
    for style in ("noto", "twemoji"):
        chars: dict[str, str] = read_json(fetch(STYLES[style], cache), "chars.json")
        for code, name in chars.items():
            if normalise(code) in index:
                aliases.setdefault(squash(name), index[normalise(code)])
    for i, item in enumerate(emoji):
        if "-" not in item.code:
            aliases.setdefault(squash(unicodedata.name(chr(int(item.code, 16)), "")), i)
    for shortcodes in ("cldr", "iamcal", "joypixels"):
        table = read_json(fetch(NAMES, cache), f"en/shortcodes/{shortcodes}.json")
        for code, value in table.items():
            for name in [value] if isinstance(value, str) else value:
                if normalise(code) in index:
                    aliases.setdefault(squash(name), index[normalise(code)])
    for i, item in enumerate(emoji):
        if item.is_flag:
            country = item.label.removeprefix("flag: ")
            aliases.setdefault(squash(f"flag for {country}"), i)
            aliases.setdefault(squash(country), i)
    aliases.pop("", None)
    return aliases


def match_icons(package: Path, emoji: list[Emoji], aliases: dict[str, int]) -> list[tuple[int, str]]:
    """Return ``(emoji index, icon name)`` for each icon of a package that is a known emoji.

    Code points are used where the package has them; icon names are matched otherwise.
    """
    icons: dict[str, Any] = read_json(package, "icons.json")["icons"]
    chars: dict[str, str] = read_json(package, "chars.json")
    if chars:
        index = {item.code: i for i, item in enumerate(emoji)}
        found = {(index[c], n) for c, n in _normalised(chars) if c in index and n in icons}
        return sorted(found)
    pairs: list[tuple[int, str]] = []
    for name in sorted(icons):
        i = aliases.get(squash(name), aliases.get(squash(_NUMBERED.sub("", name))))
        if i is not None:
            pairs.append((i, name))
    return pairs


def _normalised(chars: dict[str, str]) -> list[tuple[str, str]]:
    return [(normalise(code), name) for code, name in chars.items()]
