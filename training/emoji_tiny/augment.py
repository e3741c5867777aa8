"""Augmentation of whole batches of RGBA drawings, as tensor operations."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812 - the usual name of this module

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


def augment(rgba: torch.Tensor, side: int, may_flip: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return RGBA drawings with random changes, normalised as model input.

    :param rgba: uint8 ``[batch, height, width, 4]``.
    :param side: side of the returned images, in pixels.
    :param may_flip: bool ``[batch]``: drawings whose meaning does not depend on left and right.
    :param generator: source of the random changes.
    :return: float32 ``[batch, 3, side, side]``, normalised like CLIP's input.
    """
    picture = rgba.permute(0, 3, 1, 2).float().div_(255)
    # Premultiplied, so that interpolation does not mix the colours of transparent pixels into edges.
    picture[:, :3] *= picture[:, 3:]
    picture = _warp(picture, side, may_flip, generator)
    alpha = picture[:, 3:].clamp(0, 1)
    colour = _jitter(picture[:, :3] / alpha.clamp_min(1e-3), generator)
    batch = len(picture)
    composited = colour * alpha + _background(batch, generator) * (1 - alpha)
    composited = _erase(_blur(composited, generator), generator)
    return normalise(composited.clamp_(0, 1))


def plain(rgba: torch.Tensor, side: int) -> torch.Tensor:
    """Composite uint8 ``[batch, h, w, 4]`` on white; return normalised ``[batch, 3, side, side]``."""
    picture = rgba.permute(0, 3, 1, 2).float().div_(255)
    alpha = picture[:, 3:]
    white = picture[:, :3] * alpha + (1 - alpha)
    if white.shape[-1] != side:
        white = F.interpolate(white, (side, side), mode="bicubic", antialias=True).clamp_(0, 1)
    return normalise(white)


def normalise(rgb: torch.Tensor) -> torch.Tensor:
    """Normalise ``[batch, 3, h, w]`` in 0..1 by CLIP's channel means and deviations."""
    return (rgb - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def _uniform(low: float, high: float, size: tuple[int, ...], g: torch.Generator) -> torch.Tensor:
    return torch.rand(size, generator=g) * (high - low) + low


def _chance(probability: float, batch: int, g: torch.Generator) -> torch.Tensor:
    return torch.rand(batch, generator=g) < probability


def _warp(picture: torch.Tensor, side: int, may_flip: torch.Tensor, g: torch.Generator) -> torch.Tensor:
    """Rotate, scale, stretch, shear, shift and flip ``[batch, 4, h, w]``."""
    batch = len(picture)
    angle = torch.randn(batch, generator=g) * math.radians(9)
    scale = torch.exp(_uniform(-0.15, 0.3, (batch,), g))
    stretch = torch.exp(torch.randn(batch, generator=g) * 0.1)
    shear = torch.randn(batch, generator=g) * 0.1
    flip = torch.where(_chance(0.5, batch, g) & may_flip, -1.0, 1.0)
    shift = torch.randn(batch, 2, generator=g) * 0.06
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    theta = torch.stack(
        [
            torch.stack([cos * stretch * flip, -sin + shear, shift[:, 0]], 1),
            torch.stack([sin * flip, cos / stretch, shift[:, 1]], 1),
        ],
        1,
    )
    grid = F.affine_grid(theta, [batch, 4, side, side], align_corners=False)
    if picture.shape[-1] >= 2 * side:
        picture = F.avg_pool2d(picture, picture.shape[-1] // side)
    return F.grid_sample(picture, grid, align_corners=False)


def _jitter(colour: torch.Tensor, g: torch.Generator) -> torch.Tensor:
    """Vary gamma, contrast, brightness, saturation and hue of ``[batch, 3, h, w]``."""
    batch = len(colour)
    colour = colour.clamp(1e-3, 1)
    gamma = torch.exp(torch.randn(batch, 3, 1, 1, generator=g) * 0.12)
    gamma = gamma * torch.exp(torch.randn(batch, 1, 1, 1, generator=g) * 0.25)
    colour = colour**gamma
    matrix = _colour_matrix(batch, g)
    colour = torch.einsum("bij,bjhw->bihw", matrix, colour)
    contrast = _uniform(0.7, 1.2, (batch, 1, 1, 1), g)
    brightness = torch.randn(batch, 1, 1, 1, generator=g) * 0.06
    colour = ((colour - 0.5) * contrast + 0.5 + brightness).clamp(0, 1)
    levels = torch.where(_chance(0.15, batch, g), 4.0, 255.0).view(batch, 1, 1, 1)
    return torch.round(colour * levels) / levels


def _colour_matrix(batch: int, g: torch.Generator) -> torch.Tensor:
    """Return random hue rotations and saturation changes as matrices ``[batch, 3, 3]``."""
    wild = _chance(0.15, batch, g)
    hue = torch.randn(batch, generator=g) * torch.where(wild, 1.0, 0.12)
    saturation = _uniform(0.5, 1.5, (batch,), g)
    saturation = torch.where(_chance(0.08, batch, g), torch.zeros(batch), saturation)
    luma = torch.tensor([0.299, 0.587, 0.114])
    grey = luma.expand(3, 3)
    # A rotation about the grey axis (Rodrigues' formula), which does not change greys.
    axis = 1 / math.sqrt(3)
    cross = torch.tensor([[0.0, -axis, axis], [axis, 0.0, -axis], [-axis, axis, 0.0]])
    cos, sin = torch.cos(hue).view(-1, 1, 1), torch.sin(hue).view(-1, 1, 1)
    rotation = cos * torch.eye(3) + sin * cross + (1 - cos) / 3
    keep = saturation.view(-1, 1, 1)
    return keep * rotation + (1 - keep) * (grey @ rotation)


def _background(batch: int, g: torch.Generator) -> torch.Tensor:
    """Return background colours ``[batch, 3, 1, 1]``: mostly white, otherwise a random one."""
    colour = torch.rand(batch, 3, 1, 1, generator=g)
    white = _chance(0.7, batch, g).view(batch, 1, 1, 1)
    return torch.where(white, torch.ones(()), colour)


def _blur(picture: torch.Tensor, g: torch.Generator) -> torch.Tensor:
    """Blur or sharpen ``[batch, 3, h, w]`` by a random amount."""
    amount = _uniform(-0.5, 1.0, (len(picture), 1, 1, 1), g)
    smooth = F.avg_pool2d(picture, 3, 1, 1, count_include_pad=False)
    return picture + amount * (smooth - picture)


def _erase(picture: torch.Tensor, g: torch.Generator) -> torch.Tensor:
    """Cover a random rectangle of some images of ``[batch, 3, h, w]`` with one colour."""
    batch, _, height, width = picture.shape
    centre = torch.rand(batch, 2, generator=g)
    half = _uniform(0.05, 0.2, (batch, 2), g) * _chance(0.3, batch, g).view(batch, 1)
    rows = ((torch.arange(height) + 0.5) / height).view(1, height)
    columns = ((torch.arange(width) + 0.5) / width).view(1, width)
    inside_rows = (rows - centre[:, :1]).abs() < half[:, :1]
    inside_columns = (columns - centre[:, 1:]).abs() < half[:, 1:]
    mask = (inside_rows.unsqueeze(2) & inside_columns.unsqueeze(1)).unsqueeze(1)
    return torch.where(mask, torch.rand(batch, 3, 1, 1, generator=g), picture)
