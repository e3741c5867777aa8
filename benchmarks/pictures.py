"""The images and the weights that the benchmarks share; the weights are created once, in .cache/bench."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageEnhance
from sklearn.datasets import load_sample_images
from torch import nn

from clip_image_flow.models.openai_clip import clip

FOLDER = Path(__file__).parents[1] / ".cache" / "bench"
SIZE = (640, 427)  # pixels
TWELVE_MEGAPIXELS = (4032, 3024)


def jpegs(count: int, size: tuple[int, int] = SIZE) -> list[bytes]:
    """Return different photographs of `size` pixels as JPEG files, about 90 kB each at 640 x 427."""
    photographs = [Image.fromarray(pixels) for pixels in load_sample_images().images]
    random = np.random.default_rng(0)
    files = []
    for i in range(count):
        photograph = photographs[i % len(photographs)]
        width, height = photograph.size
        left, top = random.uniform(0, 0.2, 2) * photograph.size
        picture = photograph.resize(
            size, Image.Resampling.BICUBIC, box=(left, top, left + 0.8 * width, top + 0.8 * height)
        )
        picture = ImageEnhance.Brightness(picture).enhance(random.uniform(0.7, 1.2))
        if size != SIZE:  # enlarged images are smoother than photographs
            noise = random.normal(0, 4, (size[1], size[0], 1))
            picture = Image.fromarray(np.clip(np.asarray(picture) + noise, 0, 255).astype(np.uint8))
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=90)
        files.append(buffer.getvalue())
    return files


def random_vit_b_32() -> Path:
    """Return the file of a ViT-B/32 in OpenAI's format with random weights, which is as fast as the real one."""
    path = FOLDER / "vit-b-32.pt"
    if not path.is_file():
        FOLDER.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(0)
        random_clip: nn.Module = clip.model.CLIP(512, 224, 12, 768, 32, 77, 49408, 512, 8, 12)
        unfinished = path.with_suffix(".part")
        torch.save(random_clip.half().state_dict(), unfinished)
        unfinished.rename(path)
    return path
