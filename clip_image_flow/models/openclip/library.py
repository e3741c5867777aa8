"""Imports `open_clip` with any installed build of torchvision."""

from __future__ import annotations

from clip_image_flow.errors import ModelError
from clip_image_flow.models import openai_clip  # declares operators that another build of torchvision lacks

try:
    import open_clip
except ImportError as error:
    raise ModelError(
        f"OpenCLIP's and SigLIP's models need open_clip: pip install 'clip-image-flow[openclip]' ({error})"
    ) from error

__all__ = ["open_clip", "openai_clip"]
