"""The embedded model: small, in OpenAI's format, and it knows its emoji."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch

from clip_image_flow import ImageEncoder
from clip_image_flow.models import EMBEDDED, EMBEDDED_FILE
from clip_image_flow.models.openai_clip import clip

ROOT = Path(__file__).parents[2]
PICTURES = sorted((ROOT / "examples" / "pictures" / "heldout").glob("*.png"))


def test_it_is_small_enough_for_a_package() -> None:
    assert EMBEDDED_FILE.stat().st_size <= 16_000_000


def test_its_card_states_these_very_weights() -> None:
    card = (ROOT / "training" / "emoji_tiny" / "README.md").read_text(encoding="utf-8")
    assert hashlib.sha256(EMBEDDED_FILE.read_bytes()).hexdigest() in card


def test_clip_itself_loads_it_and_its_texts_find_pictures_in_a_style_it_never_saw() -> None:
    encoder = ImageEncoder(EMBEDDED)
    images = encoder.encode([path.read_bytes() for path in PICTURES])
    encoder.close()
    model, _ = clip.load(str(EMBEDDED_FILE), device="cpu")
    with torch.inference_mode():
        names = [f"an emoji of {path.stem.replace('-', ' ')}" for path in PICTURES]
        texts = model.encode_text(clip.tokenize(names)).numpy()
    images /= np.linalg.norm(images, axis=1, keepdims=True)
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    cosines = texts @ images.T
    ranks = (cosines > np.diag(cosines)[:, None]).sum(axis=1)
    assert (ranks < 5).mean() >= 0.7  # by chance 0.1
