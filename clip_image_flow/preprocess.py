"""CLIP's own preprocessing: resize the shorter side to n pixels (bicubic), cut out the centre; a backend normalises.

The same numbers as `clip`'s transform (https://github.com/openai/CLIP/blob/main/clip/clip.py, `_transform`), without
torch, so that it can run in threads beside the model. What leaves here are bytes: a quarter of float32's memory, and
the engines scale and normalise them as part of the network.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

# What backends normalise with: mean and standard deviation of red, green and blue, in units of full intensity, from the
# same `_transform`.
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)

# A 1 x 50,000,000 picture would be resized to 224 x 11 billion before its centre is cut out. From this many output
# pixels on, only the centre is resized; below, the whole, since Pillow rounds the edges of a box to float32.
_LARGEST_RESIZED = 1 << 25


def preprocess(image: Image.Image, size: int, *, exact: bool = True) -> np.ndarray:
    """What the model sees of a picture, before it is normalised.

    :param image: any size, mode RGB.
    :param size: the model's input size n, in pixels.
    :param exact: the pixels of `clip`; else the resizing is a third faster, and rare pixels are one level of 255 off.
    :return: uint8 (n, n, 3).
    """
    return np.asarray(_resize_and_crop(image, size, exact))


def _resize_and_crop(image: Image.Image, size: int, exact: bool) -> Image.Image:
    """The centre (size, size) of the picture whose shorter side is `size` pixels long."""
    width, height = image.size
    # torchvision's Resize truncates the longer side; its CenterCrop rounds half to even, as round() does.
    if width <= height:
        resized = (size, int(size * height / width))
    else:
        resized = (int(size * width / height), size)
    left = round((resized[0] - size) / 2.0)
    top = round((resized[1] - size) / 2.0)
    if not exact or resized[0] * resized[1] > _LARGEST_RESIZED:
        across, down = width / resized[0], height / resized[1]
        box = (left * across, top * down, (left + size) * across, (top + size) * down)
        return image.resize((size, size), Image.Resampling.BICUBIC, box=box)
    if image.size != resized:
        image = image.resize(resized, Image.Resampling.BICUBIC)
    return image.crop((left, top, left + size, top + size))
