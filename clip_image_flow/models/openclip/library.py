"""`open_clip`, imported beside whichever build of torchvision is there."""

from __future__ import annotations

from clip_image_flow.errors import ModelError
from clip_image_flow.models import openai_clip  # declares what a torchvision of another build lacks

try:
    import open_clip
except ImportError as error:
    raise ModelError(
        f"OpenCLIP's and SigLIP's models need open_clip: pip install 'clip-image-flow[openclip]' ({error})"
    ) from error

__all__ = ["open_clip", "openai_clip"]
