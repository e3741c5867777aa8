"""CLIPImageEncoder: the Jina Executor of `clip_image_flow.ImageEncoder`."""

from clip_image_flow import ImageEncoder
from clip_image_flow.serving.executor import EncoderExecutor
from clip_image_flow.serving.selection import select_images


class CLIPImageEncoder(EncoderExecutor):
    """Encodes the images of documents with CLIP.

    A document with chunks of modality `image` gets float32 (n, dim), a row per image chunk; one whose own content is an
    image gets (dim,); any other is unchanged. Options: see `EncoderExecutor`.
    """

    encoder = ImageEncoder
    select = staticmethod(select_images)
