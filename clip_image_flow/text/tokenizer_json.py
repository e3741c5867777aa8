"""Tokenizes texts by a tokenizer.json, with the package `tokenizers`: SigLIP and other model families."""

from __future__ import annotations

import numpy as np
from tokenizers import Tokenizer

from clip_image_flow.errors import ModelError
from clip_image_flow.models import TextPreparation
from clip_image_flow.text.cleaning import CLEAN
from clip_image_flow.text.tokens import check_size, tell_truncated


class JsonTokenizer:
    """Tokenizes as transformers' AutoTokenizer with `padding="max_length"`. Safe to use from many threads.

    :param prepared: preprocessing with a tokenizer.json.
    :param context: see `clip_image_flow.text.tokens.tokenizer`.
    :param truncate: see there.
    :param max_bytes: see there.
    :raises ModelError: the file cannot be read, or lacks the tokens that `prepared` names.
    """

    def __init__(self, prepared: TextPreparation, context: int, *, truncate: bool, max_bytes: int) -> None:
        self.shortens = prepared.shortens
        self._context = context
        self._truncate = truncate
        self._max_bytes = max_bytes
        self._clean = CLEAN[prepared.cleaning]
        self._file = prepared.tokenizer
        try:
            self._tokenizer = Tokenizer.from_file(str(self._file))
        except Exception as error:  # the package raises nothing narrower
            raise ModelError(f"{self._file} cannot be read as a tokenizer: {error}") from error
        self._pad = self._id(prepared.pad)
        self._erased = [self._id(token) for token in prepared.erased]
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(context)
        self._room = context - self._tokenizer.num_special_tokens_to_add(False)

    def __call__(self, text: str) -> np.ndarray:
        """See `clip_image_flow.text.tokens.Tokenizer`; the rest of the row is filled with the padding token."""
        check_size(text, self._max_bytes)
        # The package takes no lone surrogates: they are replaced, as in encoding to UTF-8.
        encoding = self._tokenizer.encode(self._clean(text).encode("utf-8", "replace").decode())
        if encoding.overflowing:
            tell_truncated(text, self._room, truncate=self._truncate)
        row = np.full(self._context, self._pad, np.int32)
        row[: len(encoding.ids)] = encoding.ids
        if self._erased:
            row[np.isin(row, self._erased)] = 0
        return row

    def _id(self, token: str | None) -> int:
        number: int | None = None if token is None else self._tokenizer.token_to_id(token)
        if number is None:
            raise ModelError(f"{self._file} has no token {token!r}")
        return number
