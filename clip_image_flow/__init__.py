"""CLIP embeddings: pictures and texts in, vectors out.

    from clip_image_flow import ImageEncoder, TextEncoder

    pictures = ImageEncoder("emoji-tiny").encode([open("cat.jpg", "rb").read()])  # float32 (1, dim)
    texts = TextEncoder("emoji-tiny").encode(["a cat", "a dog"])  # float32 (2, dim)

| room | what it does |
|---|---|
| `serving` | what every Executor does: the one room that knows Jina and DocArray |
| `encoder`, `options` | the steps put together: pictures or texts in, embeddings out |
| `fingerprint` | the name of what makes a vector so |
| `batching` | items of many requests -> batches, fair between requests |
| `image` | a picture, however it comes -> what the model sees of it |
| `text` | a text -> its tokens |
| `backends` | the engines |
| `towers` | a half of CLIP, as an engine is given it |
| `models` | the name of a model -> its weights |
| `platform` | CPUs and memory of the machine or the container |

A request goes one way: `serving.parameters` -> `serving.selection` -> `batching` (-> `image` or `text`) -> `backends`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clip_image_flow.encoder import ImageEncoder, TextEncoder

__all__ = ["ImageEncoder", "TextEncoder", "__version__"]


def __getattr__(name: str) -> Any:
    """What is imported when it is asked for: processes that decode pictures do without numpy and the models."""
    if name in ("ImageEncoder", "TextEncoder"):
        from clip_image_flow import encoder

        return getattr(encoder, name)
    if name == "__version__":
        from importlib.metadata import version

        return version("clip-image-flow")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
