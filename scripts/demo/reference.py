"""Encode images and texts with `clip` itself, as the demo's reference.

    python -m scripts.demo.reference MODEL OUTPUT.npz <<< '{"pictures": ["cat.jpg"], "texts": ["a cat"]}'

It uses `clip.load`, `clip`'s own preprocess, `encode_image` and `encode_text`; the library is only used to find the
weights. The output has the arrays `pictures` and `texts`, float32 (n, dim) each.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image

from clip_image_flow import models
from clip_image_flow.models.openai_clip import clip

_BATCH = 16


def main() -> None:
    """Read a request from standard input, and write the embeddings."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.demo.reference", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("model", help="model name or path, as in pretrained_model_name_or_path")
    parser.add_argument("output", help=".npz file to write")
    arguments = parser.parse_args()
    request = json.load(sys.stdin)
    try:
        name = _name_for_clip(arguments.model)
        model, transform = clip.load(name, device="cpu", download_root=str(models.cache_directory()))
    except (RuntimeError, ValueError, OSError) as error:
        sys.exit(f"clip cannot load {arguments.model!r}: {error}")
    with torch.inference_mode():
        pictures = [
            model.encode_image(torch.stack([transform(_on_white(path)) for path in batch]))
            for batch in _batches(request["pictures"])
        ]
        texts = [model.encode_text(clip.tokenize(batch)) for batch in _batches(request["texts"])]
    np.savez(arguments.output, pictures=torch.cat(pictures).numpy(), texts=torch.cat(texts).numpy())


def _name_for_clip(name: str) -> str:
    """Return the name of the model for `clip.load`."""
    name = models.HUGGING_FACE_NAMES.get(name, name)
    if name in clip.available_models():
        models.load(name)  # downloads it under a lock: the Flow starts at the same time and may download it too
    return str(models.EMBEDDED_FILE) if name == models.EMBEDDED else name


def _on_white(path: str) -> Image.Image:
    """Return the image in mode RGB, with transparency blended onto white as in the library."""
    with Image.open(path) as image:
        if not image.has_transparency_data:
            return image.convert("RGB")
        picture = image.convert("RGBA")
    white = Image.new("RGB", picture.size, "white")
    white.paste(picture, mask=picture.getchannel("A"))
    return white


def _batches(items: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(items), _BATCH):
        yield items[start : start + _BATCH]


if __name__ == "__main__":
    main()
