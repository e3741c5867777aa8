"""Text cleaning before tokenization: repair of encodings, lower case, removal of punctuation."""

from __future__ import annotations

import html
import re
import string
from collections.abc import Callable

import ftfy

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_SPACE = re.compile(r"\s+")


def _repaired(text: str) -> str:
    """`text` with encodings repaired and HTML entities decoded, as `clip.simple_tokenizer.basic_clean`."""
    return html.unescape(html.unescape(ftfy.fix_text(text))).strip()


def _whitespace(text: str) -> str:
    return " ".join(_repaired(text).split())


def _lower(text: str) -> str:
    return _whitespace(text).lower()


def _canonicalize(text: str) -> str:
    return " ".join(_repaired(text).replace("_", " ").translate(_NO_PUNCTUATION).lower().split())


def _siglip(text: str) -> str:
    return _SPACE.sub(" ", text.lower().translate(_NO_PUNCTUATION)).strip()


CLEAN: dict[str, Callable[[str], str]] = {
    "whitespace": _whitespace,
    "lower": _lower,
    "canonicalize": _canonicalize,
    "siglip": _siglip,
    "lowercase": str.lower,
}
"""Cleaning functions by their names in `clip_image_flow.models.preparation.CLEANINGS`: the first three are those of
`open_clip.tokenizer`, the others those of transformers' SiglipTokenizer and Siglip2Tokenizer."""
