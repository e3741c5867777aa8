"""CLIPTextEncoder: the Jina side of `clip_image_flow.TextEncoder`, and nothing else."""

from clip_image_flow import TextEncoder
from clip_image_flow.serving.executor import EncoderExecutor
from clip_image_flow.serving.selection import select_texts


class CLIPTextEncoder(EncoderExecutor):
    """Encodes the texts of documents with CLIP.

    A document whose own content is a text, and no picture's caption, gets float32 (dim,); any other is left as it is.
    Where a text was cut to the model's context length, the document's `tags["truncated"]` says so. Options:
    `EncoderExecutor`.
    """

    encoder = TextEncoder
    select = staticmethod(select_texts)
