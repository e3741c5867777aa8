"""CLIPTextEncoder: the Jina Executor of `clip_image_flow.TextEncoder`."""

from clip_image_flow import TextEncoder
from clip_image_flow.serving.executor import EncoderExecutor
from clip_image_flow.serving.selection import select_texts


class CLIPTextEncoder(EncoderExecutor):
    """Encodes the texts of documents with CLIP.

    A document whose own content is a text, and not an image's caption, gets float32 (dim,); any other is unchanged. If
    a text was cut to the model's context length, `tags["truncated"]` of its document is true. Options: see
    `EncoderExecutor`.
    """

    encoder = TextEncoder
    select = staticmethod(select_texts)
