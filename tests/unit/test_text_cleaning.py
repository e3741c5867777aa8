"""Texts are cleaned and split as by `clip`, in time that grows with their length."""

from __future__ import annotations

import contextlib
import random
import time
from types import ModuleType

import pytest

from clip_image_flow.errors import BadDocument
from clip_image_flow.text.cleaning import repaired
from clip_image_flow.text.merging import merged
from clip_image_flow.text.tokens import ClipTokenizer, _clips_own

# Pieces of texts that ftfy or HTML entities change, some in two steps, and some that they do not.
PIECES = (
    *("a cat", "dogs\n", "é", "e\u0301", "Σ", "ﬁ", "Ａ", "’", "\ufffd", "\ud83d\ude00", "\udc00", " ", "\t", "\n"),
    *("\r\n", "\u2028", "\x85", "\x0b", "\x01", "\x1b[31m", "\u037e", "&", "<", ">", "<b>", ";", "amp;", "&amp;"),
    *("&AMP;", "&lt;", "&amp;amp;", "&eacute;", "&nbsp;", "&quot;", "&#38;", "&#x26;", "&#28;", "&#0;", "＆", "ï¼†"),
    *("Ã©", "Ãƒ©", "Â ", "â€™"),
)
ALPHABETS = ("a", "ab", "aeinst", "abcdefghijklmnopqrstuvwxyz", "éüß日本")
BYTES = 65_536  # of a text, at most, by default
# Texts of up to BYTES that took ftfy or byte pair encoding 0.4 to 300 s.
COSTLY = {
    "nested entities": "&" + "amp;" * 16_000,
    "an entity that ends in an entity": "&amp" + "&semi;" * 10_000,
    "nested wide characters": "&" + "#65286;" * 9_000,
    "nested encodings": "&#239;¼†" + "#239;¼†" * 6_500,
    "empty lines": "\n" * BYTES,
    "short lines": "é\n" * 21_000,
    "control characters": "\x01\n" * 32_000,
    "one word": "".join(random.Random(0).choices("abcdefghijklmnopqrstuvwxyz", k=BYTES)),
    "one word of one letter": "é" * 32_000,
}


@pytest.fixture(scope="module")
def clips_own() -> ModuleType:
    return _clips_own()


def test_a_text_is_repaired_as_by_clip(clips_own: ModuleType) -> None:
    chosen = random.Random(0)
    refused = 0
    for _ in range(5000):
        text = "".join(chosen.choices(PIECES, k=chosen.randint(1, 14)))
        try:
            assert repaired(text) == clips_own.basic_clean(text), repr(text)
        except BadDocument:
            refused += 1
    assert refused < 50


def test_lines_are_repaired_one_by_one_as_by_clip(clips_own: ModuleType) -> None:
    text = "".join(f"{number} d’été, dÃ©jÃ  vu &amp; more\n" for number in range(90))
    assert repaired(text) == clips_own.basic_clean(text)


def test_a_word_is_split_as_by_clip(clips_own: ModuleType) -> None:
    chosen, bpe = random.Random(0), clips_own.SimpleTokenizer()
    for _ in range(3000):
        letters = "".join(chosen.choices(chosen.choice(ALPHABETS), k=chosen.choice([1, 2, 3, 5, 8, 20, 60, 300])))
        word = "".join(bpe.byte_encoder[byte] for byte in letters.encode())
        assert merged(word, bpe.bpe_ranks) == bpe.bpe(word).split(" "), letters


@pytest.mark.parametrize("text", COSTLY.values(), ids=COSTLY)
def test_no_text_takes_long(text: str) -> None:
    assert len(text.encode()) <= BYTES + 8_000
    tokenize = ClipTokenizer(77, truncate=True, max_bytes=2 * BYTES)
    began = time.process_time()
    with contextlib.suppress(BadDocument):
        tokenize(text)
    assert time.process_time() - began < 1.0  # at most 0.2 s were measured


@pytest.mark.parametrize("levels", [1, 2, 3, 4, 5])
def test_entities_are_nested_a_few_times_at_most(levels: int) -> None:
    text = "&" + "amp;" * levels + "co"
    if levels <= 4:
        assert repaired(text) == "&co"
    else:
        with pytest.raises(BadDocument, match="encoded or escaped more than 4 times over; decode it first"):
            repaired(text)
