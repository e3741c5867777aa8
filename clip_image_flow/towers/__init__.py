"""The two halves of CLIP, each as an engine is given it."""

from clip_image_flow.towers.of_model import image_tower, text_tower
from clip_image_flow.towers.tower import Tower

__all__ = ["Tower", "image_tower", "text_tower"]
