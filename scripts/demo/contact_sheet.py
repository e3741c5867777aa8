"""Draws the demo's rankings: for each query a panel with the images that it found, best first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter, ImageFont

Box = tuple[int, int, int, int]  # left, top, width, height
Colour = tuple[int, int, int]

WIDTH = 2400
COLUMNS = 2
CARDS = 6  # images in a panel

_MARGIN = 96
_GUTTER = 44
_HEADER = 300
_FOOTER = 156
_PADDING = 36
_CAPTION = 78  # height of a panel's caption
_CARD_GAP = 18
_PANEL_WIDTH = (WIDTH - 2 * _MARGIN - (COLUMNS - 1) * _GUTTER) // COLUMNS
_CARD_WIDTH = (_PANEL_WIDTH - 2 * _PADDING - (CARDS - 1) * _CARD_GAP) // CARDS
_CARD_HEIGHT = _CARD_WIDTH + 44
_PANEL_HEIGHT = 2 * _PADDING + _CAPTION + _CARD_HEIGHT
_PICTURE = _CARD_WIDTH - 36

_INK: Colour = (38, 41, 56)
_FAINT: Colour = (128, 132, 150)
_PANEL: Colour = (255, 255, 255)
_RIGHT: Colour = (39, 166, 107)
_RIGHT_CARD: Colour = (231, 247, 238)
_TOP: Colour = (250, 246, 240)  # the background, from top to bottom
_BOTTOM: Colour = (234, 236, 248)
# Colours of panels: accent and card, pale enough for images of any colour.
_TINTS: tuple[tuple[Colour, Colour], ...] = (
    ((240, 128, 96), (253, 243, 239)),
    ((92, 130, 224), (240, 244, 253)),
    ((226, 164, 48), (253, 247, 234)),
    ((148, 108, 212), (246, 241, 252)),
)
_SMOOTH = 4  # factor by which shapes are drawn larger and scaled down, for smooth edges


@dataclass(frozen=True)
class Match:
    """One image that a query found."""

    picture: Path
    cosine: float
    right: bool


@dataclass(frozen=True)
class Ranking:
    """A query and its matches, best first; the first `CARDS` are shown."""

    query: str
    matches: Sequence[Match]


def size(rankings: int) -> tuple[int, int]:
    """Return width and height of the sheet in pixels."""
    rows = -(-rankings // COLUMNS)
    return WIDTH, _HEADER + rows * _PANEL_HEIGHT + max(0, rows - 1) * _GUTTER + _FOOTER


def draw(title: str, subtitle: str, rankings: Sequence[Ranking], footer: str) -> Image.Image:
    """Draw the sheet, in mode RGB, of `size(len(rankings))`."""
    sheet = _background(*size(len(rankings)))
    pen = ImageDraw.Draw(sheet)
    pen.text((_MARGIN - 4, 84), title, fill=_INK, font=_font(92))
    pen.text((_MARGIN, 206), subtitle, fill=_FAINT, font=_font(36))
    for i, ranking in enumerate(rankings):
        row, column = divmod(i, COLUMNS)
        left = _MARGIN + column * (_PANEL_WIDTH + _GUTTER)
        top = _HEADER + row * (_PANEL_HEIGHT + _GUTTER)
        accent, tint = _TINTS[(row + column * 2) % len(_TINTS)]  # neighbours differ
        _draw_panel(sheet, (left, top, _PANEL_WIDTH, _PANEL_HEIGHT), ranking, accent, tint)
    _draw_footer(sheet, footer)
    return sheet


def _draw_panel(sheet: Image.Image, box: Box, ranking: Ranking, accent: Colour, tint: Colour) -> None:
    left, top, _, _ = box
    _shadow(sheet, box, radius=40)
    _fill(sheet, box, 40, _PANEL)
    _fill(sheet, (left + _PADDING, top + _PADDING + 2, 10, 46), 5, accent)
    caption = _fitted(ranking.query, _font(42), _PANEL_WIDTH - 2 * _PADDING - 34)
    ImageDraw.Draw(sheet).text((left + _PADDING + 34, top + _PADDING + 25), caption, _INK, _font(42), anchor="lm")
    for i, match in enumerate(ranking.matches[:CARDS]):
        card_left = left + _PADDING + i * (_CARD_WIDTH + _CARD_GAP)
        _draw_card(sheet, (card_left, top + _PADDING + _CAPTION, _CARD_WIDTH, _CARD_HEIGHT), match, tint)


def _draw_card(sheet: Image.Image, box: Box, match: Match, tint: Colour) -> None:
    left, top, width, height = box
    _fill(sheet, box, 26, _RIGHT_CARD if match.right else tint)
    with Image.open(match.picture) as file:
        picture = file.convert("RGBA")
    picture.thumbnail((_PICTURE, _PICTURE), Image.Resampling.LANCZOS)
    x = left + (width - picture.width) // 2
    y = top + 18 + (_PICTURE - picture.height) // 2
    sheet.paste(picture, (x, y), picture)
    colour = _RIGHT if match.right else _FAINT
    middle = (left + width // 2, top + height - 31)
    ImageDraw.Draw(sheet).text(middle, f"{match.cosine:.2f}", colour, _font(28), anchor="mm")
    if match.right:
        _tick(sheet, (left + width - 32, top - 8, 40, 40))


def _draw_footer(sheet: Image.Image, footer: str) -> None:
    middle = sheet.height - _FOOTER // 2 + 6
    pen = ImageDraw.Draw(sheet)
    pen.text((_MARGIN, middle), footer, _FAINT, _font(30), anchor="lm")
    legend = "a right answer; the number is the cosine"
    pen.text((WIDTH - _MARGIN, middle), legend, _FAINT, _font(30), anchor="rm")
    _tick(sheet, (WIDTH - _MARGIN - round(_font(30).getlength(legend)) - 52, middle - 20, 40, 40))


def _background(width: int, height: int) -> Image.Image:
    """Draw a gradient from top to bottom."""
    ramp = Image.linear_gradient("L").resize((width, height))
    return Image.composite(Image.new("RGB", ramp.size, _BOTTOM), Image.new("RGB", ramp.size, _TOP), ramp)


def _shadow(sheet: Image.Image, box: Box, radius: int) -> None:
    """Draw a soft shadow slightly below `box`."""
    left, top, width, height = box
    blur = 22
    room = 3 * blur
    mask = Image.new("L", (width + 2 * room, height + 2 * room))
    mask.paste(_rounded(width, height, radius), (room, room))
    mask = mask.filter(ImageFilter.GaussianBlur(blur)).point(lambda value: value * 0.10)
    sheet.paste((60, 64, 110), (left - room, top - room + 14), mask)


def _fill(sheet: Image.Image, box: Box, radius: int, colour: Colour) -> None:
    """Draw a rounded rectangle with smooth edges."""
    left, top, width, height = box
    sheet.paste(colour, (left, top), _rounded(width, height, radius))


@cache
def _rounded(width: int, height: int, radius: int) -> Image.Image:
    """Return the mask of a rounded rectangle."""
    mask = Image.new("L", (width * _SMOOTH, height * _SMOOTH))
    box = (0, 0, mask.width - 1, mask.height - 1)
    ImageDraw.Draw(mask).rounded_rectangle(box, radius * _SMOOTH, fill=255)
    return mask.resize((width, height), Image.Resampling.BOX)


def _tick(sheet: Image.Image, box: Box) -> None:
    """Draw a tick in a disc with a thin white rim, which marks a correct match."""
    left, top, width, height = box
    _fill(sheet, box, width // 2, _PANEL)
    disc = (left + 3, top + 3, width - 6, height - 6)
    _fill(sheet, disc, disc[2] // 2, _RIGHT)
    mask = Image.new("L", (width * _SMOOTH, height * _SMOOTH))
    corners = [(0.30 * mask.width, 0.52 * mask.height), (0.44 * mask.width, 0.66 * mask.height)]
    corners.append((0.70 * mask.width, 0.37 * mask.height))
    ImageDraw.Draw(mask).line(corners, fill=255, width=4 * _SMOOTH, joint="curve")
    sheet.paste(_PANEL, (left, top), mask.resize((width, height), Image.Resampling.BOX))


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return Pillow's built-in font, so that the sheet is the same on every machine."""
    return ImageFont.load_default(size)


def _fitted(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """Return `text`, truncated with an ellipsis if it is wider than `width`."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text.rstrip() + "..."
