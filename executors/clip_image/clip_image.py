"""CLIPImageEncoder: the Jina side of `clip_image_flow.ImageEncoder`, and nothing else."""

from typing import Any

from clip_image_flow import ImageEncoder
from clip_image_flow.serving.executor import EncoderExecutor
from clip_image_flow.serving.selection import select


class CLIPImageEncoder(EncoderExecutor):
    """Encodes the images of documents with CLIP.

    A document with chunks of modality `image` gets float32 (n, dim), a row per image chunk; one whose own content is an
    image gets (dim,); any other is left as it is.

    :param pretrained_model_name_or_path: an OpenAI name, `openai/clip-vit-...`, `emoji-tiny`, a `.pt` file, a Hugging
        Face directory or repository; see `clip_image_flow.models`.
    :param device: `cpu`, `cuda` or `cuda:N`.
    :param batch_size: most images in one forward pass. Per request too.
    :param traversal_paths: DocArray path to the documents to encode. Per request too.
    :param on_error: `raise` fails a request on its first bad document; `skip` encodes the others and puts the reason
        into the bad document's `tags["error"]`. Per request too.
    :param normalize: scale embeddings to unit length; OpenAI's own are not. Per request too.
    :param backend: `auto`, `openvino` or `torch`.
    :param precision: `fp32`, `bf16`, `fp16` or `int8`; by default fp32 on the CPU, fp16 on CUDA.
    :param threads: CPU threads; by default the CPU limit, shared out among the replicas on this machine.
    :param drop_image_content: clear the pictures of the documents that go back. Per request too.
    :param max_documents: most documents of one request that are looked at.
    :param options: the other options of `clip_image_flow.options.EncoderOptions`.
    :raises ConfigError: an option is unknown or not available here.
    """

    def __init__(
        self,
        pretrained_model_name_or_path: str = "ViT-B/32",
        device: str = "cpu",
        batch_size: int = 32,
        traversal_paths: str = "@r",
        on_error: str = "raise",
        normalize: bool = False,
        drop_image_content: bool = False,
        backend: str = "auto",
        precision: str | None = None,
        threads: int | None = None,
        max_documents: int = 1024,
        **options: Any,
    ) -> None:
        request_defaults = {
            "batch_size": batch_size,
            "traversal_paths": traversal_paths,
            "on_error": on_error,
            "normalize": normalize,
            "drop_image_content": drop_image_content,
        }
        options |= {"device": device, "backend": backend, "precision": precision, "threads": threads}
        super().__init__(
            ImageEncoder, select, pretrained_model_name_or_path, request_defaults, max_documents, **options
        )
