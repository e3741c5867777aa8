"""CLIP image embeddings: pictures in, vectors out.

    from clip_image_flow import ImageEncoder

    encoder = ImageEncoder("emoji-tiny")
    embeddings = encoder.encode([open("cat.jpg", "rb").read()])  # float32 (1, dim)

| room | what it does |
|---|---|
| `serving` | what every Executor does: the one room that knows Jina and DocArray |
| `encoder`, `options` | the steps put together: encoded pictures in, embeddings out |
| `batching` | items of many requests -> batches, fair between requests |
| `image` | a picture, however it comes -> what the model sees of it |
| `backends` | the engines |
| `towers` | a half of CLIP, as an engine is given it |
| `models` | the name of a model -> its weights |
| `platform` | CPUs and memory of the machine or the container |

A request goes one way: `serving.parameters` -> `serving.selection` -> `batching` (-> `image`) -> `backends`.
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
