"""CLIP image embeddings: pictures in, vectors out.

    from clip_image_flow import ImageEncoder

    encoder = ImageEncoder("emoji-tiny")
    embeddings = encoder.encode([open("cat.jpg", "rb").read()])  # float32 (1, dim)

One request's way through, a module a step: `parameters` -> `selection` -> `batcher` (-> `preparation` -> `decoding`) ->
`backends`. `encoder` puts the steps together; `models` knows where weights come from. Nothing here needs Jina.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clip_image_flow.encoder import ImageEncoder

__all__ = ["ImageEncoder", "__version__"]


def __getattr__(name: str) -> Any:
    """What is imported when it is asked for: processes that decode pictures do without numpy and the models."""
    if name == "ImageEncoder":
        from clip_image_flow.encoder import ImageEncoder

        return ImageEncoder
    if name == "__version__":
        from importlib.metadata import version

        return version("clip-image-flow")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
