"""A picture -> a square of n pixels a side, as the model wants it; the tower normalises.

- `shortest`: the shorter side becomes n pixels long, and the centre is cut out. The same numbers as `clip`'s transform
  (https://github.com/openai/CLIP/blob/main/clip/clip.py, `_transform`);
- `squash`: both sides become n pixels long;
- `longest`: the longer side does, and the rest is filled. The last two are those of `open_clip.image_transform`.

All without torch, so that it can run in threads beside the model. What leaves here are bytes: a quarter of float32's
memory, and the network's module scales and normalises them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image

from clip_image_flow.image.pictures import Picture

if TYPE_CHECKING:
    import numpy as np

# A 1 x 60,000 picture would be resized to 224 x 13 million before its centre is cut out. From this many output pixels
# on, only the centre is resized; below, the whole, since Pillow rounds the edges of a box to float32.
_LARGEST_RESIZED = 1 << 25
_LARGEST_WHOLE = 1 << 23  # pixels, up to which a picture is turned and converted in one piece
_FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


@dataclass(frozen=True)
class Square:
    """What a picture is to become.

    :param size: n, pixels a side.
    :param resize: `shortest`, `squash` or `longest`.
    :param interpolation: `bicubic` or `bilinear`.
    :param fill: the grey level, 0 to 255, beside a picture that is resized by its longest side.
    """

    size: int
    resize: str = "shortest"
    interpolation: str = "bicubic"
    fill: int = 0


def preprocess(image: Image.Image, square: Square, *, exact: bool = True) -> np.ndarray:
    """What the model sees of a picture, before it is normalised.

    :param image: any size, mode RGB.
    :param exact: the pixels of the model's own transform; else the resizing of a picture that is cut is a third faster,
        and rare pixels are one level of 255 off.
    :return: uint8 (n, n, 3).
    """
    import numpy as np  # not above: what decodes pictures does without

    return np.asarray(to_square(Picture(image), square, exact=exact))


def to_square(picture: Picture, square: Square, *, exact: bool) -> Image.Image:
    """The picture as a square."""
    size, resample = square.size, _FILTERS[square.interpolation]
    width, height = picture.size
    if square.resize == "squash":
        return _resize(picture, (size, size), (0, 0, width, height), resample)
    if square.resize == "longest":
        # As timm's ResizeKeepRatio has it, and OpenCLIP's CenterCropOrPad.
        longest = max(height / size, width / size)
        inner = (max(1, round(width / longest)), max(1, round(height / longest)))
        canvas = Image.new("RGB", (size, size), (square.fill,) * 3)
        canvas.paste(
            _resize(picture, inner, (0, 0, width, height), resample), ((size - inner[0]) // 2, (size - inner[1]) // 2)
        )
        return canvas
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
        return _resize(picture, (size, size), box, resample)
    return _resize(picture, resized, (0, 0, width, height), resample).crop((left, top, left + size, top + size))


def resizing_memory(width: int, height: int, size: int) -> int:
    """Most bytes that `to_square` takes besides the picture: some megabytes, and many more for a thin one."""
    shorter, longer = sorted((width, height))
    resized = size * (size * longer // shorter)
    whole = width * height if width * height <= _LARGEST_WHOLE else 0
    return 4 * (whole + size * longer + (resized if resized <= _LARGEST_RESIZED else size * size))


def _resize(
    picture: Picture,
    size: tuple[int, int],
    box: tuple[float, float, float, float],
    resample: Image.Resampling,
) -> Image.Image:
    """The part `box` of the picture, `size` large.

    Pillow resizes in two passes, with 8 bits between them: rows first, each by itself, but for pictures twice as high
    as wide. So of a large picture the first pass may go strip by strip, with the same result to the bit; of a very high
    one values are one level off here and there.
    """
    height = picture.size[1]
    strip = picture.strip_height
    if strip >= height or picture.size[0] * height <= _LARGEST_WHOLE:
        return picture.whole().resize(size, resample, box=box)
    narrow = Image.new("RGB", (size[0], height))
    for top in range(0, height, strip):
        rows = picture.rows(top, min(top + strip, height))
        row_box = (box[0], 0, box[2], rows.height)
        narrow.paste(rows.resize((size[0], rows.height), resample, box=row_box), (0, top))
    return narrow.resize(size, resample, box=(0, box[1], size[0], box[3]))
