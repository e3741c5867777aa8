"""CLIP's own preprocessing: resize the shorter side to n pixels (bicubic), cut out the centre; the tower normalises.

The same numbers as `clip`'s transform (https://github.com/openai/CLIP/blob/main/clip/clip.py, `_transform`), without
torch, so that it can run in threads beside the model. What leaves here are bytes: a quarter of float32's memory, and
the network's module scales and normalises them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image

from clip_image_flow.image.pictures import Picture

if TYPE_CHECKING:
    import numpy as np

# A 1 x 60,000 picture would be resized to 224 x 13 million before its centre is cut out. From this many output pixels
# on, only the centre is resized; below, the whole, since Pillow rounds the edges of a box to float32.
_LARGEST_RESIZED = 1 << 25
_LARGEST_WHOLE = 1 << 23  # pixels, up to which a picture is turned and converted in one piece


def preprocess(image: Image.Image, size: int, *, exact: bool = True) -> np.ndarray:
    """What the model sees of a picture, before it is normalised.

    :param image: any size, mode RGB.
    :param size: the model's input size n, in pixels.
    :param exact: the pixels of `clip`; else the resizing is a third faster, and rare pixels are one level of 255 off.
    :return: uint8 (n, n, 3).
    """
    import numpy as np  # not above: what decodes pictures does without

    return np.asarray(resize_and_crop(Picture(image), size, exact=exact))


def resize_and_crop(picture: Picture, size: int, *, exact: bool) -> Image.Image:
    """The centre (size, size) of the picture whose shorter side is `size` pixels long."""
    width, height = picture.size
    # torchvision's Resize truncates the longer side; its CenterCrop rounds half to even, as round() does.
    if width <= height:
        resized = (size, int(size * height / width))
    else:
        resized = (int(size * width / height), size)
    left = round((resized[0] - size) / 2.0)
    top = round((resized[1] - size) / 2.0)
    if not exact or resized[0] * resized[1] > _LARGEST_RESIZED:
        across, down = width / resized[0], height / resized[1]
        return _resize(picture, (size, size), (left * across, top * down, (left + size) * across, (top + size) * down))
    return _resize(picture, resized, (0, 0, width, height)).crop((left, top, left + size, top + size))


def resizing_memory(width: int, height: int, size: int) -> int:
    """Bytes that `resize_and_crop` takes besides the picture: some megabytes, and many more for a thin one."""
    shorter, longer = sorted((width, height))
    resized = size * (size * longer // shorter)
    whole = width * height if width * height <= _LARGEST_WHOLE else 0
    return 4 * (whole + size * longer + (resized if resized <= _LARGEST_RESIZED else size * size))


def _resize(picture: Picture, size: tuple[int, int], box: tuple[float, float, float, float]) -> Image.Image:
    """The part `box` of the picture, `size` large.

    Pillow resizes in two passes, with 8 bits between them: rows first, each by itself, but for pictures twice as high
    as wide. So of a large picture the first pass may go strip by strip, with the same result to the bit; of a very high
    one values are one level off here and there.
    """
    height = picture.size[1]
    strip = picture.strip_height
    if strip >= height or picture.size[0] * height <= _LARGEST_WHOLE:
        return picture.whole().resize(size, Image.Resampling.BICUBIC, box=box)
    narrow = Image.new("RGB", (size[0], height))
    for top in range(0, height, strip):
        rows = picture.rows(top, min(top + strip, height))
        row_box = (box[0], 0, box[2], rows.height)
        narrow.paste(rows.resize((size[0], rows.height), Image.Resampling.BICUBIC, box=row_box), (0, top))
    return narrow.resize(size, Image.Resampling.BICUBIC, box=(0, box[1], size[0], box[3]))
