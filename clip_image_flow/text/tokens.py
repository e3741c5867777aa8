"""Tokenizes texts: for CLIP with the tokens of `clip.tokenize`, in bounded time for any text.

`clip` repairs a text and splits a word in times that grow with the squares of their lengths, and caches every word for
ever. Here times grow with lengths (see `cleaning` and `merging`), tokenization stops at the context length, long words
are not cached, and the cache is emptied when it is full.
"""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from clip_image_flow.errors import BadDocument, TooLarge
from clip_image_flow.models import Preparation, TextPreparation
from clip_image_flow.text.cleaning import CLEAN, repaired
from clip_image_flow.text.merging import merged

_LONGEST_KEPT = 64  # bytes
_MOST_KEPT = 100_000  # words
_CLIPS = TextPreparation()


def _clips_own() -> ModuleType:
    """Import `clip.simple_tokenizer` alone: `import clip` imports torch, which a converted model does not need."""
    package: Any = importlib.util.find_spec("clip")
    file = Path(package.origin).with_name("simple_tokenizer.py")
    spec: Any = importlib.util.spec_from_file_location(f"{__name__}.clips_own", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Text(str):
    """A text that records whether it was truncated."""

    truncated = False


class Tokenizer(Protocol):
    """Tokenizes a text. Safe to use from many threads.

    :param shortens: see `clip_image_flow.models.TextPreparation`.
    """

    shortens: bool

    def __call__(self, text: str) -> np.ndarray:
        """The tokens of `text`, int32 (context,); sets `truncated` of a `Text` that is cut.

        :raises TooLarge: the text is larger than `max_bytes`.
        :raises BadDocument: the text has too many tokens and `truncate` is false, or is encoded many times over.
        """
        ...


def tokenizer(prepared: Preparation, context: int, *, truncate: bool, max_bytes: int) -> Tokenizer:
    """The tokenizer of a model.

    :param prepared: preprocessing of the model's texts.
    :param context: the model's context length in tokens, with those for the start and the end of text.
    :param truncate: whether a text with more tokens is cut; else it is an error.
    :param max_bytes: maximum size of one text in UTF-8, in bytes.
    """
    assert isinstance(prepared, TextPreparation)
    if prepared.tokenizer:
        from clip_image_flow.text.tokenizer_json import JsonTokenizer

        return JsonTokenizer(prepared, context, truncate=truncate, max_bytes=max_bytes)
    return ClipTokenizer(context, truncate=truncate, max_bytes=max_bytes, prepared=prepared)


def check_size(text: str, max_bytes: int) -> None:
    """Check that `text` has at most `max_bytes` in UTF-8.

    :raises TooLarge: the text has more.
    """
    if len(text) > max_bytes or len(text.encode("utf-8", "surrogatepass")) > max_bytes:
        raise TooLarge(f"the text has more than {max_bytes} bytes; shorten it")


def tell_truncated(text: str, room: int, *, truncate: bool) -> None:
    """Set `truncated` of a `Text` that is cut.

    :param room: maximum number of tokens without those for the start and the end.
    :raises BadDocument: `truncate` is false.
    """
    if not truncate:
        raise BadDocument(
            f"the text has more than the {room} tokens that the model takes; shorten it, or set the option "
            "truncate: true"
        )
    if isinstance(text, Text):
        text.truncated = True


class ClipTokenizer:
    """CLIP's byte pair encoding. Safe to use from many threads.

    :param context: the model's context length in tokens, with those for the start and the end of text.
    :param truncate: whether a text with more tokens is cut; else it is an error.
    :param max_bytes: maximum size of one text in UTF-8, in bytes.
    :param prepared: text cleaning, and the special tokens for the start and the end of text.
    """

    def __init__(self, context: int, *, truncate: bool, max_bytes: int, prepared: TextPreparation = _CLIPS) -> None:
        self.shortens = prepared.shortens
        self._context = context
        self._truncate = truncate
        self._max_bytes = max_bytes
        clips_own = _clips_own()
        self._bpe = clips_own.SimpleTokenizer()
        if (prepared.cleaning, prepared.special) == (_CLIPS.cleaning, _CLIPS.special):
            self._clean: Callable[[str], str] = lambda text: clips_own.whitespace_clean(repaired(text)).lower()
        else:
            self._clean = CLEAN[prepared.cleaning]
            self._rename(clips_own, _CLIPS.special, prepared.special)
        self._special = {name: [self._bpe.encoder[name]] for name in prepared.special}
        self._kept = dict(self._special)  # words -> tokens
        self._start, self._end = (self._bpe.encoder[name] for name in prepared.special)
        self._lock = threading.Lock()

    def _rename(self, clips_own: ModuleType, before: tuple[str, str], after: tuple[str, str]) -> None:
        """Rename the special tokens for the start and the end of text."""
        pattern = self._bpe.pat.pattern
        for old, new in zip(before, after, strict=True):
            self._bpe.encoder[new] = self._bpe.encoder.pop(old)
            pattern = pattern.replace(clips_own.re.escape(old), clips_own.re.escape(new))
        self._bpe.pat = clips_own.re.compile(pattern, clips_own.re.IGNORECASE)

    def __call__(self, text: str) -> np.ndarray:
        """See `Tokenizer`; the rest of the row is filled with zeros."""
        check_size(text, self._max_bytes)
        room = self._context - 2
        tokens: list[int] = []
        for token in self._tokens(text):
            if len(tokens) == room:
                tell_truncated(text, room, truncate=self._truncate)
                break
            tokens.append(token)
        row = np.zeros(self._context, np.int32)
        row[: len(tokens) + 2] = [self._start, *tokens, self._end]
        return row

    def _tokens(self, text: str) -> Iterator[int]:
        """Yield the tokens of `SimpleTokenizer.encode`, one at a time."""
        for match in self._bpe.pat.finditer(self._clean(text)):
            word = match.group().encode("utf-8", "replace")
            yield from self._of_word("".join(self._bpe.byte_encoder[byte] for byte in word))

    def _of_word(self, word: str) -> list[int]:
        tokens = self._kept.get(word)
        if tokens is None:
            tokens = [self._bpe.encoder[part] for part in merged(word, self._bpe.bpe_ranks)]
            if len(word) <= _LONGEST_KEPT:
                with self._lock:
                    if len(self._kept) > _MOST_KEPT:
                        self._kept = dict(self._special)
                    self._kept[word] = tokens
        return tokens


def shortened(rows: np.ndarray) -> np.ndarray:
    """Cut tokens (b, context) to (b, n), where n is the length of the longest text.

    n is rounded up to a multiple of 8 within the context: engines prepare their kernels for each new length.
    """
    longest = int(rows.argmax(axis=1).max()) + 1
    return np.ascontiguousarray(rows[:, : -(-longest // 8) * 8])
