"""What the pixels of a file mean: which kinds are read, and how each becomes RGB.

Where there is a choice:

- EXIF orientation is applied, so a photograph stands as people see it;
- transparency is laid over white; a BMP that is transparent everywhere is not, its fourth byte means nothing;
- grey of 12, 16 and 32 bits keeps its highest 8, as Pillow does for 16-bit colour;
- palette, grey, CMYK and YCbCr become RGB by Pillow's conversion; colour profiles are not applied;
- of an animation the first frame counts.

What Pillow would show otherwise than viewers do is refused in words.

tests/unit/test_picture_kinds.py goes through the kinds, and asks a second reader.
"""

from __future__ import annotations

from collections.abc import Callable

from PIL import Image, ImageFile, ImageMath, ImageOps
from PIL.TiffImagePlugin import (
    BITSPERSAMPLE,
    COMPRESSION,
    EXTRASAMPLES,
    PHOTOMETRIC_INTERPRETATION,
    PLANAR_CONFIGURATION,
    SAMPLEFORMAT,
    SAMPLESPERPIXEL,
    YCBCRSUBSAMPLING,
    TiffImageFile,
)

from clip_image_flow.errors import BadDocument
from clip_image_flow.image.containers import Container

STRIP_PIXELS = 1 << 20  # of a picture that are worth having at a time


def check_kind(image: ImageFile.ImageFile, container: Container) -> None:
    """Pass when Pillow shows this kind of pixels as viewers do.

    :raises BadDocument: it does not.
    """
    if image.mode == "F":
        raise BadDocument("a picture of floating-point numbers has no stated range; save it with 8 bits a channel")
    if image.mode == "LAB":
        raise BadDocument("a picture in CIELab is not read; save it as RGB")
    if container.format == "PNG" and image.mode == "RGB" and "transparency" in image.info and container.depth == 16:
        raise BadDocument("a PNG of 16 bits a channel with a transparent colour is not read; save it with 8 bits")
    if container.format == "BMP" and container.depth == 16 and _bmp_has_alpha(container.data):
        raise BadDocument("a BMP of 16 bits a pixel with transparency is not read; save it with 32")
    if isinstance(image, TiffImageFile):
        _check_tiff(image)


def _check_tiff(image: TiffImageFile) -> None:
    """The same for a TIFF."""
    tags = image.tag_v2
    photometric, bands = tags.get(PHOTOMETRIC_INTERPRETATION), tags.get(SAMPLESPERPIXEL, 1)
    if 2 in tags.get(SAMPLEFORMAT, ()):
        raise BadDocument("a TIFF of signed numbers has no stated range; save it with 8 bits a channel")
    if tags.get(PLANAR_CONFIGURATION) == 2 and bands > 1:
        # Without ExtraSamples four planes of RGB may be anything.
        stated = photometric in (2, 5) and (EXTRASAMPLES in tags or (photometric, bands) != (2, 4))
        if not stated or bands != len(image.getbands()) or max(tags.get(BITSPERSAMPLE, (1,))) > 8:
            raise BadDocument("a TIFF of such planes is read interleaved only; save it as PlanarConfiguration 1")
    if photometric == 6 and tags.get(COMPRESSION) not in (6, 7) and tags.get(YCBCRSUBSAMPLING, (2, 2)) != (1, 1):
        raise BadDocument("a TIFF of subsampled YCbCr is read with JPEG compression only; save it as RGB")


def to_rgb(image: ImageFile.ImageFile, container: Container) -> Callable[[Image.Image], Image.Image]:
    """What turns the decoded `image`, or strips of it, into RGB."""
    if image.mode.startswith("I"):
        bits = 32 if image.mode == "I" else container.depth
        colour = image.info.get("transparency")
        return lambda strip: _grey(strip, bits, container.white_is_zero, colour)
    if container.format == "PNG" and image.mode == "L" and "transparency" in image.info:
        image.info["transparency"] *= 255 // ((1 << container.depth) - 1)
    if image.has_transparency_data and not (container.format == "BMP" and _is_all_clear(image)):
        return _over_white
    return plain


def _bmp_has_alpha(data: bytes) -> bool:
    """Whether some bits of a pixel are named as alpha: BITMAPV3INFOHEADER and later have a mask for it."""
    header, compression = (int.from_bytes(data[at : at + 4], "little") for at in (14, 30))
    return header >= 56 and compression == 3 and any(data[66:70])


def _is_all_clear(image: Image.Image) -> bool:
    """Whether every pixel of an RGBA image is transparent."""
    height = max(1, STRIP_PIXELS // image.width)
    strips = (image.crop((0, y, image.width, min(y + height, image.height))) for y in range(0, image.height, height))
    return not any(strip.getchannel("A").getextrema()[1] for strip in strips)


def plain(image: Image.Image) -> Image.Image:
    """Pillow's own conversion."""
    return image if image.mode == "RGB" else image.convert("RGB")


def _over_white(image: Image.Image) -> Image.Image:
    image = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image).convert("RGB")


def _grey(image: Image.Image, bits: int, white_is_zero: bool, colour: int | None) -> Image.Image:
    """The highest 8 bits of grey values.

    :param bits: of a value, 9 to 16, or 32.
    :param white_is_zero: they count down from white.
    :param colour: the value that is transparent; None where there is none.
    """
    values = image.convert("I")
    if bits == 32:
        grey = Image.frombytes("L", image.size, values.tobytes()[3::4])
    else:
        little_endian = values.point(lambda value: value * (1 << (16 - bits))).convert("I;16").tobytes()
        grey = Image.frombytes("L", image.size, little_endian[1::2])
    if white_is_zero:
        grey = ImageOps.invert(grey)
    if colour is not None:
        clear = ImageMath.lambda_eval(lambda bands: bands["values"] == colour, values=values)
        grey.paste(255, mask=clear.point(lambda value: value * 255).convert("L"))
    return grey.convert("RGB")
