"""Random captions of emoji, and which drawings may be mirrored, derived from their names."""

from __future__ import annotations

import re

import torch
from names import Emoji

TEMPLATE = "an emoji of {}"
_TEMPLATES = (
    "{}",
    "a picture of {}",
    "a drawing of {}",
    "a photo of {}",
    "a photo of a {}",
    "an icon of {}",
    "{} emoji",
)
# Names of emoji whose mirror images have another meaning.
_SIDED = re.compile(
    r"\b(left|right|leftwards|rightwards|clockwise|counterclockwise|o.clock|thirty|arrow|end|soon|"
    r"back|button|keycap|regional|flag|input|moon|sign|mark|symbol|facing|magnifying|play|reverse|"
    r"forward|abc|copyright|registered|zzz|100|hundred|sos|atm|calendar|division|plus|minus|"
    r"lira|clock|hand|fist|index|quarter)\b"
)


def sample_captions(emoji: list[Emoji], generator: torch.Generator) -> list[str]:
    """Return one random caption per emoji: most often the name in the query template."""
    chance = torch.rand(len(emoji), 3, generator=generator).tolist()
    return [_caption(item, *row) for item, row in zip(emoji, chance, strict=True)]


def _caption(item: Emoji, kind: float, template: float, word: float) -> str:
    if kind < 0.6:
        return TEMPLATE.format(item.label)
    form = _TEMPLATES[int(template * len(_TEMPLATES))]
    if kind < 0.85 or not item.keywords:
        return form.format(item.label)
    keyword = item.keywords[int(word * len(item.keywords))]
    # Many emoji share a keyword, so the name is often included too.
    return form.format(f"{item.label}, {keyword}")


def may_flip(emoji: list[Emoji]) -> torch.Tensor:
    """Return bool ``[emoji]``: whether a drawing can be mirrored without changing its meaning."""
    return torch.tensor([_SIDED.search(item.label.lower()) is None for item in emoji])
