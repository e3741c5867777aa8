"""Resizes an image to the square input of a model, n pixels a side.

- `shortest`: the shorter side becomes n pixels and the centre is cropped, with the numbers of `clip`'s transform
  (https://github.com/openai/CLIP/blob/main/clip/clip.py, `_transform`);
- `squash`: both sides become n pixels, whatever the aspect ratio;
- `longest`: the longer side becomes n pixels and the rest is filled. The last two are those of
  `open_clip.image_transform`.

The result equals the reference before normalization, without torch. It is uint8, a quarter of the memory of float32;
the tower scales and normalizes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image

from clip_image_flow.image.pictures import Picture

if TYPE_CHECKING:
    import numpy as np

# A 1 x 60,000 image would be resized to 224 x 13 million before its centre is cropped. Above this many output pixels,
# only the centre is resized; below, the whole image, since Pillow rounds the edges of a box to float32.
_LARGEST_RESIZED = 1 << 25
_LARGEST_WHOLE = 1 << 23  # pixels up to which an image is rotated and converted as a whole
_FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


@dataclass(frozen=True)
class Square:
    """Input of a model, and how an image is resized to it.

    :param size: input size n, in pixels.
    :param resize: `shortest`, `squash` or `longest`.
    :param interpolation: `bicubic` or `bilinear`.
    :param fill: grey level, 0 to 255, beside an image whose longer side is resized to n.
    """

    size: int
    resize: str = "shortest"
    interpolation: str = "bicubic"
    fill: int = 0


def preprocess(image: Image.Image, square: Square, *, exact: bool = True) -> np.ndarray:
    """Resize and crop an image to the model's input.

    :param image: image of any size, in mode RGB.
    :param exact: whether pixels equal those of the model's own transform; if false, resizing an image that is cropped
        is a third faster, and a few pixels differ by one level of 255.
    :return: uint8 (n, n, 3), not normalized.
    """
    import numpy as np  # not at the top: decoding processes do not need it

    return np.asarray(to_square(Picture(image), square, exact=exact))


def to_square(picture: Picture, square: Square, *, exact: bool) -> Image.Image:
    """Resize an image to the model's input (n, n)."""
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
    """Return the memory in bytes that `to_square` needs in addition to the image; thin images need much more."""
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
    """Resize the part `box` of the image to `size`.

    Pillow resizes in two passes, with 8 bits in between: first each row, except for images twice as high as wide. So
    the first pass over a large image can work on strips, with exactly the same result. For very high images, a few
    values differ by one level.
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
