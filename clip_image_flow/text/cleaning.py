"""Text cleaning before tokenization: repair of encodings, lower case, removal of punctuation."""

from __future__ import annotations

import html
import re
import string
import unicodedata
from collections.abc import Callable
from functools import partial

import ftfy
from ftfy import fixes

from clip_image_flow.errors import BadDocument

_UNCHANGED = re.compile("[\\t\\n -%'-~]*")
"""What neither ftfy nor the decoding of HTML entities changes: printable ASCII without `&`."""
_MOST_LINES = 100  # that are repaired one by one, each of which takes some 10 us; the others are repaired together
_MOST_PASSES = 5
_FIXES: tuple[Callable[[str], str], ...] = (
    ftfy.fix_encoding,
    fixes.fix_c1_controls,
    fixes.fix_latin_ligatures,
    fixes.fix_character_width,
    fixes.uncurl_quotes,
    fixes.fix_line_breaks,
    fixes.fix_surrogates,
    fixes.remove_terminal_escapes,
    fixes.remove_control_chars,
    partial(unicodedata.normalize, "NFC"),
)
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_SPACE = re.compile(r"\s+")


def repaired(text: str) -> str:
    """`text` with encodings repaired and HTML entities decoded, as `clip.simple_tokenizer.basic_clean`.

    :raises BadDocument: encodings or entities are nested too deeply.
    """
    return html.unescape(html.unescape(_fixed(text))).strip()


def _fixed(text: str) -> str:
    """`ftfy.fix_text`, with a maximum of passes over a line, which ftfy repeats until a pass changes nothing.

    It decodes `&amp;amp;amp;` by one level in each pass, so that time would grow with the square of the text's length.
    """
    fixed, is_html = [], True
    for line in re.split("(?<=\n)", text, maxsplit=_MOST_LINES):
        is_html = is_html and "<" not in line  # ftfy does not decode entities after a tag
        fixed.append(line if _UNCHANGED.fullmatch(line) else _fixed_line(line, is_html))
    return "".join(fixed)


def _fixed_line(line: str, is_html: bool) -> str:
    all_fixes = (fixes.unescape_html, *_FIXES) if is_html else _FIXES
    for _ in range(_MOST_PASSES):
        before = line
        for fix in all_fixes:
            line = fix(line)
        if line == before:
            return line
    raise BadDocument(f"the text is encoded or escaped more than {_MOST_PASSES - 1} times over; decode it first")


def _whitespace(text: str) -> str:
    return " ".join(repaired(text).split())


def _lower(text: str) -> str:
    return _whitespace(text).lower()


def _canonicalize(text: str) -> str:
    return " ".join(repaired(text).replace("_", " ").translate(_NO_PUNCTUATION).lower().split())


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
