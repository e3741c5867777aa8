"""A text -> CLIP's tokens: those of `clip.tokenize`, in time that is bounded for any text.

`clip` splits a text into words and each word by byte pair encoding, which takes time by the square of its length, and
keeps every word that it has ever seen. Here a text is read no further than its tokens fit, long words are refused, and
what is kept is forgotten now and then.
"""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np

from clip_image_flow.errors import BadDocument, TooLarge

_LONGEST_WORD = 1000  # bytes, which take 0.1 s at the worst
_MOST_KEPT = 100_000  # words


class Text(str):
    """A text of which can be told later whether it was cut."""

    truncated = False


class Tokenizer:
    """CLIP's byte pair encoding. Safe to use from many threads.

    :param context: tokens that the model takes, with those for the start and the end of text.
    :param truncate: cut a text that has more; else it is an error.
    :param max_bytes: most bytes of one text in UTF-8.
    """

    def __init__(self, context: int, *, truncate: bool, max_bytes: int) -> None:
        simple_tokenizer = _simple_tokenizer()
        self._context = context
        self._truncate = truncate
        self._max_bytes = max_bytes
        self._clean, self._joined = simple_tokenizer.basic_clean, simple_tokenizer.whitespace_clean
        self._bpe = simple_tokenizer.SimpleTokenizer()
        self._special = dict(self._bpe.cache)
        self._start, self._end = (self._bpe.encoder[f"<|{which}oftext|>"] for which in ("start", "end"))
        self._lock = threading.Lock()

    def __call__(self, text: str) -> np.ndarray:
        """The tokens of `text`, int32 (context,), zeros behind its end; a `Text` that is cut is told so.

        :raises TooLarge: the text has more bytes than any may have.
        :raises BadDocument: it has more tokens than fit and none may be cut, or a word that is too long.
        """
        if len(text) > self._max_bytes or len(text.encode("utf-8", "surrogatepass")) > self._max_bytes:
            raise TooLarge(f"the text has more than {self._max_bytes} bytes; send less of it")
        room = self._context - 2
        tokens: list[int] = []
        for token in self._tokens(text):
            if len(tokens) == room:
                if not self._truncate:
                    raise BadDocument(
                        f"the text has more than the {room} tokens that the model takes; shorten it, or have it cut "
                        "with the option truncate: true"
                    )
                if isinstance(text, Text):
                    text.truncated = True
                break
            tokens.append(token)
        row = np.zeros(self._context, np.int32)
        row[: len(tokens) + 2] = [self._start, *tokens, self._end]
        return row

    def _tokens(self, text: str) -> Iterator[int]:
        """One token after the other, as `SimpleTokenizer.encode` makes them."""
        cleaned = self._joined(self._clean(text)).lower()
        for match in self._bpe.pat.finditer(cleaned):
            word = match.group().encode("utf-8", "replace")
            if len(word) > _LONGEST_WORD:
                raise BadDocument(f"the text has a word of {len(word)} bytes; those of up to {_LONGEST_WORD} are read")
            yield from self._of_word("".join(self._bpe.byte_encoder[byte] for byte in word))

    def _of_word(self, word: str) -> list[int]:
        with self._lock:
            if len(self._bpe.cache) > _MOST_KEPT:
                self._bpe.cache = dict(self._special)
            parts = self._bpe.bpe(word).split(" ")
        return [self._bpe.encoder[part] for part in parts]


def _simple_tokenizer() -> ModuleType:
    """`clip.simple_tokenizer`, by its file: to import it from its package imports torch, some seconds and 200 MB."""
    package = importlib.util.find_spec("clip")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("clip, by whose byte pair encoding texts become tokens, is not installed")
    file = Path(package.origin).with_name("simple_tokenizer.py")
    spec = importlib.util.spec_from_file_location("clip.simple_tokenizer", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def shortened(rows: np.ndarray) -> np.ndarray:
    """Tokens (b, context) -> (b, n), without what stands behind the end of the longest text.

    n is a multiple of 8 where the context allows: engines prepare for each length anew.
    """
    longest = int(rows.argmax(axis=1).max()) + 1
    return np.ascontiguousarray(rows[:, : -(-longest // 8) * 8])
