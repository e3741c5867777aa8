"""CLIP image embeddings: pictures in, vectors out.

    from clip_image_flow import ImageEncoder

    encoder = ImageEncoder("emoji-tiny")
    embeddings = encoder.encode([open("cat.jpg", "rb").read()])  # float32 (1, dim)

One request's way through, a module a step: `parameters` -> `selection` -> `batcher` (-> `images` -> `preprocess`) ->
`backends`. `encoder` puts the steps together; `models` knows where weights come from. Nothing here needs Jina.
"""

from importlib.metadata import version

from clip_image_flow.encoder import ImageEncoder

__all__ = ["ImageEncoder", "__version__"]
__version__ = version("clip-image-flow")
