"""Preprocessing in strips: the same numbers as of the whole image, with less memory."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from clip_image_flow.image import pictures
from clip_image_flow.image import preprocess as preprocess_module
from clip_image_flow.image.pictures import open_picture
from clip_image_flow.image.preprocess import Square, to_square
from tests.conftest import encoded, photo

SIZE = 64  # pixels
STRIPS = {
    **{mode: (mode, "PNG") for mode in ("RGB", "L", "LA", "RGBA", "P", "1", "I;16")},
    "CMYK": ("CMYK", "JPEG"),
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", STRIPS)
@pytest.mark.parametrize("exact", [True, False])
def test_strips_change_no_bit_where_bits_count(
    kind: str, orientation: int, exact: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    mode, format = STRIPS[kind]
    image = photo(200, 131)
    if mode in ("LA", "RGBA"):
        image.putalpha(Image.linear_gradient("L").resize(image.size))
        image = image.convert(mode)
    elif mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257 + 3)
    else:
        image = image.convert(mode)
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(image, format, exif=exif)
    results = []
    for strip, whole in ((1 << 30, 1 << 30), (2000, 0)):
        monkeypatch.setattr(pictures, "STRIP_PIXELS", strip)
        monkeypatch.setattr(preprocess_module, "_LARGEST_WHOLE", whole)
        with open_picture(data, 50_000_000) as picture:
            results.append([np.asarray(picture.whole()), np.asarray(to_square(picture, Square(SIZE), exact=exact))])
    for whole, strips in zip(*results, strict=True):
        if exact:
            assert np.array_equal(whole, strips)
        elif kind != "1":  # noise of black and white is what rounding between two passes shows most in
            assert np.abs(whole.astype(int) - strips).mean() <= 1
