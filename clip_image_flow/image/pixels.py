"""Checks pixel formats and converts them to RGB.

- EXIF orientation is applied.
- Transparency is blended onto white; a fully transparent BMP is opaque, since its fourth byte has no meaning.
- Greyscale of 12, 16 and 32 bits keeps the highest 8 bits, as Pillow does for 16-bit colour.
- Palette, greyscale, CMYK and YCbCr are converted by Pillow; colour profiles are not applied.
- Of an animation, the first frame is used.

An image that Pillow would decode differently from image viewers is rejected, and the error says what to do.

tests/unit/test_picture_kinds.py tests all pixel formats, and compares with a second decoder.
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

STRIP_PIXELS = 1 << 20  # number of pixels that are converted at a time


def check_kind(image: ImageFile.ImageFile, container: Container) -> None:
    """Check that Pillow decodes this pixel format as image viewers do.

    :raises BadDocument: if it does not.
    """
    if image.mode == "F":
        raise BadDocument("floating-point pixels have no defined range; save the image with 8 bits per channel")
    if image.mode == "LAB":
        raise BadDocument("CIELab is not supported; save the image as RGB")
    if container.format == "PNG" and image.mode == "RGB" and "transparency" in image.info and container.depth == 16:
        raise BadDocument("a PNG of 16 bits a channel with a transparent colour is not supported; save it with 8 bits")
    if container.format == "BMP" and container.depth == 16 and _bmp_has_alpha(container.data):
        raise BadDocument("a BMP of 16 bits per pixel with transparency is not supported; save it with 32 bits")
    if isinstance(image, TiffImageFile):
        _check_tiff(image)


def _check_tiff(image: TiffImageFile) -> None:
    """Check the pixel format of a TIFF."""
    tags = image.tag_v2
    photometric, bands = tags.get(PHOTOMETRIC_INTERPRETATION), tags.get(SAMPLESPERPIXEL, 1)
    if 2 in tags.get(SAMPLEFORMAT, ()):
        raise BadDocument("a TIFF of signed numbers has no defined range; save it with 8 bits per channel")
    if tags.get(PLANAR_CONFIGURATION) == 2 and bands > 1:
        # Without ExtraSamples the fourth plane of RGB is undefined.
        stated = photometric in (2, 5) and (EXTRASAMPLES in tags or (photometric, bands) != (2, 4))
        if not stated or bands != len(image.getbands()) or max(tags.get(BITSPERSAMPLE, (1,))) > 8:
            raise BadDocument(
                "a TIFF with these planes is supported only interleaved; save it as PlanarConfiguration 1"
            )
    if photometric == 6 and tags.get(COMPRESSION) not in (6, 7) and tags.get(YCBCRSUBSAMPLING, (2, 2)) != (1, 1):
        raise BadDocument("a TIFF of subsampled YCbCr is supported only with JPEG compression; save it as RGB")


def to_rgb(image: ImageFile.ImageFile, container: Container) -> Callable[[Image.Image], Image.Image]:
    """Return the function that converts the decoded `image`, or strips of it, to RGB."""
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
    """Return whether a BMP has an alpha mask, as BITMAPV3INFOHEADER and later may."""
    header, compression = (int.from_bytes(data[at : at + 4], "little") for at in (14, 30))
    return header >= 56 and compression == 3 and any(data[66:70])


def _is_all_clear(image: Image.Image) -> bool:
    """Return whether all pixels of an RGBA image are transparent."""
    height = max(1, STRIP_PIXELS // image.width)
    strips = (image.crop((0, y, image.width, min(y + height, image.height))) for y in range(0, image.height, height))
    return not any(strip.getchannel("A").getextrema()[1] for strip in strips)


def plain(image: Image.Image) -> Image.Image:
    """Convert an image to RGB with Pillow's own conversion."""
    return image if image.mode == "RGB" else image.convert("RGB")


def _over_white(image: Image.Image) -> Image.Image:
    image = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image).convert("RGB")


def _grey(image: Image.Image, bits: int, white_is_zero: bool, colour: int | None) -> Image.Image:
    """Convert greyscale to RGB by keeping the highest 8 bits of each value.

    :param bits: bits per value, 9 to 16, or 32.
    :param white_is_zero: whether 0 is white.
    :param colour: transparent value, or None.
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
