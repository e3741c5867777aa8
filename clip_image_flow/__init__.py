"""CLIP embeddings of images and texts.

    from clip_image_flow import ImageEncoder, TextEncoder

    images = ImageEncoder("emoji-tiny").encode([open("cat.jpg", "rb").read()])  # float32 (1, dim)
    texts = TextEncoder("emoji-tiny").encode(["a cat", "a dog"])  # float32 (2, dim)

| package or module | what it does |
|---|---|
| `serving` | the base class of the Executors: the only package that imports Jina and DocArray |
| `encoder`, `options` | the whole pipeline: images or texts -> embeddings |
| `fingerprint` | SHA-256 of everything that changes a vector |
| `batching` | items of many requests -> batches, fair between requests |
| `image` | an image file, array or URI -> the model's input |
| `text` | a text -> its tokens |
| `backends` | the inference engines |
| `towers` | one half of CLIP as the module that an engine runs |
| `models` | the name of a model -> its weights |
| `platform` | CPUs and memory of the machine or the container |

A request passes `serving.parameters` -> `serving.selection` -> `batching` (-> `image` or `text`) -> `backends`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clip_image_flow.encoder import ImageEncoder, TextEncoder

__all__ = ["ImageEncoder", "TextEncoder", "__version__"]


def __getattr__(name: str) -> Any:
    """Import the encoders on first access: decoding processes start without numpy and the models."""
    if name in ("ImageEncoder", "TextEncoder"):
        from clip_image_flow import encoder

        return getattr(encoder, name)
    if name == "__version__":
        from importlib.metadata import version

        return version("clip-image-flow")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
