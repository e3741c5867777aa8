"""Draws SVG icons, unchanged and in variants of their style.

The model must recognise emoji in a style that it was not trained on. Each training icon is therefore
drawn several times: unchanged, with its gradients flattened, with each of its colours shifted,
with an outline added, and with its dark outlines and some of its details removed.
"""

from __future__ import annotations

import colorsys
import io
import random
import re
from typing import Any

import numpy as np
import numpy.typing as npt
import resvg_py
from PIL import Image

_HEX = re.compile(r"#(?:[0-9a-fA-F]{6}|[0-9a-fA-F]{3})\b")
_GRADIENT = re.compile(r"<(linearGradient|radialGradient)\b([^>]*?)(?:/>|>(.*?)</\1>)", re.DOTALL)
_STOP = re.compile(r"stop-color=\"(#[0-9a-fA-F]{3,6})\"")
_ID = re.compile(r"\bid=\"([^\"]+)\"")
_HREF = re.compile(r"href=\"#([^\"]+)\"")
_STROKE = re.compile(r"\bstroke=\"(#[0-9a-fA-F]{3,6})\"")
_SHAPE = re.compile(r"<(?:path|circle|ellipse|rect|polygon)\b[^>]*/>")
_DEFS = re.compile(r"<(defs|clipPath|mask)\b.*?</\1>", re.DOTALL)

Rgb = tuple[float, float, float]


def icon_svg(icon_set: dict[str, Any], name: str, body: str | None = None) -> str:
    """Return the SVG document of one icon; ``body`` replaces the icon's own drawing."""
    icon = icon_set["icons"][name]
    width = icon.get("width", icon_set.get("width", 16))
    height = icon.get("height", icon_set.get("height", 16))
    left, top = icon.get("left", 0), icon.get("top", 0)
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{left} {top} {width} {height}">{body or icon["body"]}</svg>'
    )


def draw(svg: str, side: int) -> npt.NDArray[np.uint8]:
    """Draw an SVG document on a transparent square; return uint8 ``[side, side, 4]`` (RGBA)."""
    png = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=side, height=side))
    picture = Image.open(io.BytesIO(png)).convert("RGBA")
    if picture.size != (side, side):
        square = Image.new("RGBA", (side, side))
        square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
        picture = square
    return np.asarray(picture)


def flatten_gradients(body: str) -> str:
    """Replace each gradient by the mean colour of its stops."""
    stops: dict[str, list[Rgb]] = {}
    parents: dict[str, str] = {}
    for _, attributes, inner in _GRADIENT.findall(body):
        found = _ID.search(attributes)
        if found is None:
            continue
        stops[found[1]] = [_to_rgb(colour) for colour in _STOP.findall(inner)]
        parent = _HREF.search(attributes)
        if parent is not None:
            parents[found[1]] = parent[1]
    for name in stops:
        colours = stops[name] or stops.get(parents.get(name, ""), [])
        if colours:
            mean = (sum(channel) / len(colours) for channel in zip(*colours, strict=True))
            body = body.replace(f"url(#{name})", _to_hex(tuple(mean)))  # type: ignore[arg-type]
    return body


def shift_colours(body: str, rng: random.Random) -> str:
    """Shift each distinct colour of a drawing by a separate random amount."""
    shifted: dict[str, str] = {}

    def replace(match: re.Match[str]) -> str:
        colour = match[0].lower()
        if colour not in shifted:
            hue, saturation, value = colorsys.rgb_to_hsv(*_to_rgb(colour))
            hue = (hue + rng.gauss(0, 0.03)) % 1
            saturation = min(1.0, saturation * rng.uniform(0.7, 1.4))
            value = min(1.0, max(0.0, value * rng.uniform(0.75, 1.25) + rng.gauss(0, 0.03)))
            shifted[colour] = _to_hex(colorsys.hsv_to_rgb(hue, saturation, value))
        return shifted[colour]

    return _HEX.sub(replace, body)


def add_outline(body: str, extent: float, rng: random.Random) -> str:
    """Add a thin outline to each shape without a stroke."""
    colour = rng.choice(["#222", "#000", "#45413c", "#fff", "#5d4037", "#263238"])
    width = extent * rng.uniform(0.008, 0.025)
    return f'<g stroke="{colour}" stroke-width="{width:.3f}" stroke-linejoin="round">{body}</g>'


def remove_outlines(body: str) -> str:
    """Remove dark strokes, which are outlines rather than parts of the object."""
    return _STROKE.sub(lambda m: 'stroke="none"' if max(_to_rgb(m[1])) < 0.4 else m[0], body)


def drop_details(body: str, share: float, rng: random.Random) -> str:
    """Remove a random share of the shapes, except the first one.

    A drawing with definitions or more than six groups is returned unchanged.
    """
    kept: list[str] = _DEFS.findall(body)
    if kept or body.count("<g") > 6:
        return body
    first = True

    def replace(match: re.Match[str]) -> str:
        nonlocal first
        drop = not first and rng.random() < share
        first = False
        return "" if drop else match[0]

    return _SHAPE.sub(replace, body)


def _varied(body: str, extent: float, rng: random.Random) -> list[str]:
    flat = flatten_gradients(body)
    return [
        body,
        flat,
        shift_colours(flat, rng),
        add_outline(shift_colours(flat, rng), extent, rng),
        drop_details(remove_outlines(shift_colours(flat, rng)), 0.15, rng),
    ]


VARIANTS = 5


def draw_variants(icon_set: dict[str, Any], name: str, side: int, seed: int) -> npt.NDArray[np.uint8]:
    """Draw one icon in each style variant; return uint8 ``[VARIANTS, side, side, 4]``."""
    icon = icon_set["icons"][name]
    extent = float(icon.get("width", icon_set.get("width", 16)))
    bodies = _varied(icon["body"], extent, random.Random(f"{seed} {name}"))
    plain = draw(icon_svg(icon_set, name), side)
    return np.stack([_draw_or(plain, icon_svg(icon_set, name, body), side) for body in bodies])


def _draw_or(fallback: npt.NDArray[np.uint8], svg: str, side: int) -> npt.NDArray[np.uint8]:
    """Draw an SVG document; return ``fallback`` if that fails or the drawing is empty."""
    try:
        picture = draw(svg, side)
    except ValueError:
        return fallback
    return picture if int(picture[..., 3].sum()) * 3 > int(fallback[..., 3].sum()) else fallback


def _to_rgb(colour: str) -> Rgb:
    digits = colour.lstrip("#")
    if len(digits) == 3:
        digits = "".join(digit * 2 for digit in digits)
    red, green, blue = (int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4))
    return red, green, blue


def _to_hex(rgb: Rgb) -> str:
    return "#" + "".join(f"{round(255 * channel):02x}" for channel in rgb)
