"""Tokens of other families: those of `open_clip` and of transformers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clip_image_flow.errors import BadDocument, ModelError, TooLarge
from clip_image_flow.models import TextPreparation, tokenizer_files
from clip_image_flow.models.openclip.library import open_clip
from clip_image_flow.text.tokenizer_json import JsonTokenizer
from clip_image_flow.text.tokens import Text, tokenizer
from tests.unit.test_text_encoder import varied_texts
from tests.unit.tokenizer_folders import save_gemma, save_t5

CONTEXT = 16
OPEN_CLIPS = ("<start_of_text>", "<end_of_text>")
TEXTS = [*varied_texts(2000), "<start_of_text> a <end_of_text>", "<|startoftext|> a <|endoftext|>", "a <START_OF_TEXT>"]


@pytest.mark.parametrize("cleaning", ["lower", "whitespace", "canonicalize"])
def test_tokens_are_those_of_open_clips_tokenizer(cleaning: str) -> None:
    prepared = TextPreparation(cleaning=cleaning, special=OPEN_CLIPS)
    ours = tokenizer(prepared, 77, truncate=True, max_bytes=65536)
    theirs = open_clip.SimpleTokenizer(context_length=77, clean=cleaning)(TEXTS).numpy()
    assert (np.stack([ours(text) for text in TEXTS]) == theirs).all()


def json_tokenizer(folder: Path, *, truncate: bool = True, **changes: Any) -> JsonTokenizer:
    found = tokenizer_files.read(folder, "model")
    prepared = TextPreparation(tokenizer=found.path, cleaning="canonicalize", pad=found.pad, **changes)
    return JsonTokenizer(prepared, CONTEXT, truncate=truncate, max_bytes=1000)


@pytest.mark.parametrize("save", [save_gemma, save_t5])
def test_tokens_of_a_tokenizer_json_are_those_of_transformers(tmp_path: Path, save: Callable[[Path], Path]) -> None:
    from open_clip.tokenizer import HFTokenizer

    ours = json_tokenizer(save(tmp_path))
    theirs = HFTokenizer(str(tmp_path), context_length=CONTEXT, clean="canonicalize")(TEXTS).numpy()
    assert (np.stack([ours(text) for text in TEXTS]) == theirs).all()


def test_what_is_cut_is_told(tmp_path: Path) -> None:
    ours = json_tokenizer(save_gemma(tmp_path))
    short, long = Text("a cat"), Text("word " * 30)
    ours(short)
    assert ours(long)[-1] == 1  # the end of text is kept
    assert (short.truncated, long.truncated) == (False, True)


def test_what_may_not_be_cut_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BadDocument, match=f"more than the {CONTEXT - 1} tokens"):
        json_tokenizer(save_gemma(tmp_path), truncate=False)("word " * 30)


def test_what_is_too_long_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(TooLarge, match="more than 1000 bytes"):
        json_tokenizer(save_gemma(tmp_path))("ä" * 501)


def test_half_a_character_is_read(tmp_path: Path) -> None:
    assert json_tokenizer(save_gemma(tmp_path))("a cat \ud800").shape == (CONTEXT,)


def test_tokens_are_erased_where_the_model_wants_it(tmp_path: Path) -> None:
    ours = json_tokenizer(save_t5(tmp_path), erased=("</s>",))
    assert 1 not in ours("a cat")


def test_a_broken_tokenizer_is_named(tmp_path: Path) -> None:
    save_gemma(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match=r"tokenizer\.json cannot be read as a tokenizer"):
        json_tokenizer(tmp_path)


def test_a_token_that_is_missing_is_named(tmp_path: Path) -> None:
    save_gemma(tmp_path, pad_token="<nothing>")
    with pytest.raises(ModelError, match=r"tokenizer\.json has no token '<nothing>'"):
        json_tokenizer(tmp_path)
