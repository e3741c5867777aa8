"""The two halves of CLIP as modules that an engine runs."""

from clip_image_flow.towers.of_model import image_tower, text_tower
from clip_image_flow.towers.tower import Tower

__all__ = ["Tower", "image_tower", "text_tower"]
