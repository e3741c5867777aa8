"""TextEncoder gives the numbers of `clip`, and a named error or an embedding to every text."""

from __future__ import annotations

import random
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from clip_image_flow import ImageEncoder, TextEncoder, models
from clip_image_flow.errors import BadDocument, ConfigError, ModelError, NotFinite, RequestError, TooLarge
from clip_image_flow.models.openai_clip import clip, convert_weights
from clip_image_flow.text import tokens
from clip_image_flow.text.tokens import ClipTokenizer, shortened
from tests.conftest import save_random_clip

BACKENDS = ["torch", "openvino"]
# Text halves by the options of `clip.model.CLIP`; their image halves are small.
SHAPES: dict[str, dict[str, Any]] = {
    "tiny": {},
    "of ViT-B/32": {
        "embed_dim": 512,
        "transformer_width": 512,
        "transformer_heads": 8,
        "transformer_layers": 12,
    },
    "of ViT-L/14": {
        "embed_dim": 768,
        "transformer_width": 768,
        "transformer_heads": 12,
        "transformer_layers": 12,
    },
    "of RN50": {
        "embed_dim": 1024,
        "image_resolution": 224,
        "vision_layers": (3, 4, 6, 3),
        "vision_patch_size": None,
        "transformer_width": 512,
        "transformer_heads": 8,
        "transformer_layers": 12,
    },
    "emoji-tiny": {},
}
WORDS = ["a", "photo", "of", "the", "red", "dog", "cat", "house", "in", "park", "with", "big", "small", "blue", "tree"]
HOSTILE = {
    "nothing": "",
    "blanks": " \t\n ",
    "null characters": "\x00 a \x00",
    "a lone surrogate": "a \ud800 cat",
    "right to left": "חתול שחור \u202e cat",
    "emoji": "👩‍👩‍👧‍👦 🏳️‍🌈 🎉" * 20,
    "marks upon marks": "e" + "\u0301" * 300,
    "the end of text": "a <|endoftext|> cat <|startoftext|>",
    "entities": "&amp;lt;b&amp;gt; &#128512;",
    "many words": "word " * 10_000,
    "one long word": "q" * 20_000,
    "a megabyte": "x" * 1_000_000,
}


def of_length(count: int, seed: int = 0) -> str:
    """A text of `count` tokens, with those for its start and end."""
    chosen = random.Random(seed)
    return " ".join(chosen.choice(WORDS) for _ in range(count - 2))


TEXTS = [of_length(count) for count in (2, 3, 8, 9, 16, 40, 76, 77, 100)]


def clips_own(path: Path, texts: list[str]) -> np.ndarray:
    """What `clip` makes of texts in fp32 on the CPU."""
    model: nn.Module = clip.model.build_model(torch.load(path, weights_only=True)).float().eval()
    with torch.inference_mode():
        return np.asarray(model.encode_text(clip.tokenize(texts, truncate=True)))


@pytest.fixture(params=SHAPES)
def checkpoint(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == models.EMBEDDED:
        return models.EMBEDDED_FILE
    return save_random_clip(tmp_path / "model.pt", **SHAPES[request.param])


@pytest.fixture(scope="module")
def encoder(tiny_model: Path) -> Iterator[TextEncoder]:
    encoder = TextEncoder(str(tiny_model))
    yield encoder
    encoder.close()


@pytest.mark.parametrize("backend", BACKENDS)
def test_embeddings_are_those_of_clip(checkpoint: Path, backend: str) -> None:
    encoder = TextEncoder(str(checkpoint), backend=backend)
    expected = clips_own(checkpoint, TEXTS)
    assert expected.std(axis=0).max() > 1e-2
    assert np.abs(encoder.encode(TEXTS) - expected).max() <= 1e-5
    for i, text in enumerate(TEXTS):
        assert np.abs(encoder.encode([text]) - expected[i]).max() <= 1e-5
    encoder.close()


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_embedded_model_has_both_halves(backend: str) -> None:
    with_words, with_pictures = TextEncoder("emoji-tiny", backend=backend), ImageEncoder("emoji-tiny", backend=backend)
    assert with_words.info["fingerprint"] != with_pictures.info["fingerprint"]
    assert with_words.info == {
        "fingerprint": with_words.info["fingerprint"],
        "model": "emoji-tiny",
        "checkpoint": with_pictures.info["checkpoint"],
        "dim": with_pictures.info["dim"],
        "context_length": 77,
        "modality": "text",
        "backend": backend,
        "precision": "fp32",
    }
    with_words.close()
    with_pictures.close()


def test_what_is_kept_of_both_halves_goes_by_names_of_its_own(tiny_model: Path, tmp_path: Path) -> None:
    for kind in (TextEncoder, ImageEncoder):
        for _ in range(2):
            encoder = kind(str(tiny_model), backend="openvino", cache_dir=str(tmp_path))
            encoder.close()
    assert sorted(file.name.partition("-")[0] for file in (tmp_path / "openvino").iterdir()) == ["image", "text"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_length_up_to_the_context_gives_the_numbers_of_clip(tiny_model: Path, backend: str) -> None:
    texts = [of_length(count, seed=count) for count in range(2, 78)]
    expected = clips_own(tiny_model, texts)
    encoder = TextEncoder(str(tiny_model), backend=backend)
    for batch_size in (1, 7, 32, 76):
        assert np.abs(encoder.encode(texts, batch_size=batch_size) - expected).max() <= 1e-5
    encoder.close()


def test_no_text_changes_another_ones_embedding(encoder: TextEncoder) -> None:
    together = encoder.encode(TEXTS)
    alone = np.concatenate([encoder.encode([text]) for text in TEXTS])
    assert np.abs(together - alone).max() <= 1e-5


def test_no_texts_are_no_embeddings(encoder: TextEncoder) -> None:
    assert encoder.encode([]).shape == (0, 32)


@pytest.mark.parametrize("kind", HOSTILE)
def test_any_text_gets_an_embedding_or_a_named_error(encoder: TextEncoder, kind: str) -> None:
    try:
        [embedding] = encoder.encode([HOSTILE[kind]])
    except RequestError as error:
        assert error.of_one_document  # noqa: PT017
    else:
        assert np.isfinite(embedding).all()
    assert np.isfinite(encoder.encode(["a cat"])).all()


def test_every_character_gets_an_embedding(encoder: TextEncoder) -> None:
    one_of_each_block = [chr(code) for code in range(0, sys.maxunicode + 1, 0x80)]
    assert np.isfinite(encoder.encode(one_of_each_block[:2000])).all()
    assert np.isfinite(encoder.encode(one_of_each_block[2000:4000])).all()


def test_a_long_text_is_an_error_where_none_is_cut(tiny_model: Path) -> None:
    encoder = TextEncoder(str(tiny_model), truncate=False)
    assert encoder.encode([of_length(77)]).shape == (1, 32)
    with pytest.raises(BadDocument, match="more than the 75 tokens that the model takes"):
        encoder.encode([of_length(78)])
    encoder.close()


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("x" * 101, TooLarge, "more than 100 bytes"),
        ("é" * 51, TooLarge, "more than 100 bytes"),
        ("\ud800" * 34, TooLarge, "more than 100 bytes"),
    ],
)
def test_a_text_has_a_limit_in_bytes(tiny_model: Path, text: str, error: type[RequestError], words: str) -> None:
    encoder = TextEncoder(str(tiny_model), max_text_bytes=100)
    with pytest.raises(error, match=words):
        encoder.encode([text])
    encoder.close()


@pytest.mark.parametrize("options", [{"truncate": "yes"}, {"max_text_bytes": 0}])
def test_an_option_that_makes_no_sense_is_named(tiny_model: Path, options: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        TextEncoder(str(tiny_model), **options)


def test_a_checkpoint_without_a_text_half_is_named(tmp_path: Path) -> None:
    state = torch.load(save_random_clip(tmp_path / "model.pt"), weights_only=True)
    torch.save({name: value for name, value in state.items() if name != "text_projection"}, tmp_path / "half.pt")
    with pytest.raises(ModelError, match="is not CLIP"):
        TextEncoder(str(tmp_path / "half.pt"))


def varied_texts(count: int) -> Iterator[str]:
    """Words, punctuation, numbers and characters of all scripts, in all mixtures."""
    chosen = random.Random(0)
    letters = [chr(code) for code in range(0x3000) if unicodedata.category(chr(code)) != "Cs"]
    pieces = [
        *WORDS,
        "It's",
        "they'LL",
        "(1,000.50)",
        "#!?",
        "naïve",
        "ß",
        "ﬁ",
        "İ",
        "\u00a0",
        "a&b &lt;",
        "𝔘𝔫𝔦",
        "日本語",
    ]
    for _ in range(count):
        parts = [
            chosen.choice(pieces) if chosen.random() < 0.6 else "".join(chosen.choices(letters, k=chosen.randint(1, 4)))
            for _ in range(chosen.randint(0, 30))
        ]
        yield chosen.choice([" ", "", "  ", "\n"]).join(parts)


def test_tokens_are_those_of_clip() -> None:
    ours = ClipTokenizer(77, truncate=True, max_bytes=65536)
    texts = list(varied_texts(5000))
    theirs = clip.tokenize(texts, truncate=True).numpy()
    assert (np.stack([ours(text) for text in texts]) == theirs).all()


def test_words_that_were_seen_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "_MOST_KEPT", 10)
    ours = ClipTokenizer(77, truncate=True, max_bytes=65536)
    for text in varied_texts(200):
        assert (ours(text) == clip.tokenize(text, truncate=True).numpy()[0]).all()
    assert len(ours._kept) <= 12


@pytest.mark.parametrize(("longest", "length"), [(2, 8), (8, 8), (9, 16), (72, 72), (73, 77), (77, 77)])
def test_rows_are_as_long_as_the_longest_text_needs(longest: int, length: int) -> None:
    ours = ClipTokenizer(77, truncate=True, max_bytes=65536)
    rows = np.stack([ours("a"), ours(of_length(longest))])
    assert shortened(rows).shape == (2, length)
    assert (shortened(rows) == rows[:, :length]).all()


def test_weights_in_fp16_as_a_gpu_has_them_give_nearly_the_same(tiny_model: Path) -> None:
    text = models.resolve(str(tiny_model)).load_text()
    rows = torch.from_numpy(np.stack([ClipTokenizer(77, truncate=True, max_bytes=65536)(of_length(20))]))
    with torch.inference_mode():
        whole = text(rows)
        convert_weights(text)
        half = text(rows)
    assert half.dtype == torch.float16
    assert torch.cosine_similarity(whole, half.float()).min() > 0.999


@pytest.mark.parametrize(("precision", "advice"), [("fp32", "in fp32$"), ("bf16", "in bf16; use precision: fp32$")])
def test_weights_that_give_no_numbers_are_told(tiny_model: Path, tmp_path: Path, precision: str, advice: str) -> None:
    state = torch.load(tiny_model, weights_only=True)
    state["text_projection"][0, 0] = float("inf")
    torch.save(state, tmp_path / "broken.pt")
    encoder = TextEncoder(str(tmp_path / "broken.pt"), backend="torch", precision=precision)
    with pytest.raises(NotFinite, match=f"values that are not finite {advice}"):
        encoder.encode(["a cat"])
    encoder.close()
