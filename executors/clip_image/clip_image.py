"""CLIPImageEncoder: the Jina side of `clip_image_flow`, and nothing else."""

# No `from __future__ import annotations` here: Jina reads the annotations of endpoints and warns about strings.

import asyncio
import contextlib
import inspect
import logging
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
from docarray import Document, DocumentArray
from jina import Executor, requests

from clip_image_flow import ImageEncoder, __version__, cpus
from clip_image_flow.encoder import unit_length
from clip_image_flow.errors import BadDocument, ConfigError, RequestError, TooLarge, UnsupportedMedia
from clip_image_flow.parameters import EncodeParameters, positive_integer
from clip_image_flow.selection import SelectedImage, select
from clip_wire.endpoints import INFO

# What a container writes here stands in its pod's status as the reason for its end. Only pods have such a file.
TERMINATION_LOG = Path("/dev/termination-log")
_FROM_JINA = {"metas", "requests", "runtime_args", "workspace", "dynamic_batching"}


class CLIPImageEncoder(Executor):
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
    :param max_documents: most documents of one request that are looked at.
    :param options: `cache_dir`, `decode`, `max_batch_size`, `batch_wait_ms`, `queue_size`, `queue_bytes`,
        `max_image_bytes`, `max_image_pixels`, `max_decode_seconds`, `decode_memory` and `allowed_uris` of
        `clip_image_flow.ImageEncoder`.
    :raises ConfigError: an option is unknown or not to be had here.
    """

    def __init__(
        self,
        pretrained_model_name_or_path: str = "ViT-B/32",
        device: str = "cpu",
        batch_size: int = 32,
        traversal_paths: str = "@r",
        on_error: str = "raise",
        normalize: bool = False,
        backend: str = "auto",
        precision: str | None = None,
        threads: int | None = None,
        max_documents: int = 1024,
        **options: Any,
    ) -> None:
        super().__init__(**{key: options.pop(key) for key in _FROM_JINA & options.keys()})
        # Jina logs what an endpoint raises, with a traceback of 10 kB: not what a caller can mend.
        logging.getLogger(getattr(self.runtime_args, "name", None) or __name__).addFilter(_without_traceback)
        request_defaults = {
            "batch_size": batch_size,
            "traversal_paths": traversal_paths,
            "on_error": on_error,
            "normalize": normalize,
        }
        with _last_words():
            try:
                self._defaults = EncodeParameters().override(request_defaults)
                self._max_documents = positive_integer("max_documents", max_documents)
            except RequestError as error:
                raise ConfigError(f"uses_with: {error}") from error
            known = inspect.signature(ImageEncoder).parameters.keys() - {"model"}  # which has a name of its own here
            if unknown := options.keys() - known:
                raise ConfigError(f"uses_with: unknown option {min(unknown)!r}; see the parameters of CLIPImageEncoder")
            replicas = getattr(self.runtime_args, "replicas", None) or 1
            self._encoder = ImageEncoder(
                pretrained_model_name_or_path,
                device=device,
                backend=backend,
                precision=precision,
                threads=max(1, cpus.available() // replicas) if threads is None else threads,
                **options,
            )
        self.logger.info("serving %s", self._encoder.info)

    @requests
    async def encode(
        self, docs: DocumentArray | None = None, parameters: dict[str, Any] | None = None, **_: Any
    ) -> None:
        """Set the embeddings of `docs` at the traversal paths.

        :param parameters: `traversal_paths`, `batch_size`, `on_error`, `normalize`.
        :raises RequestError: what the caller can mend; its class says how.
        """
        options = self._defaults.override(parameters)
        began = time.perf_counter()
        try:
            images = await self._encode(docs, options) if docs else 0
        except RequestError as error:
            self.logger.info("request %s: %r", options.request_id, error)
            raise
        milliseconds = 1000 * (time.perf_counter() - began)
        self.logger.debug("request %s: %d images in %.1f ms", options.request_id, images, milliseconds)

    async def _encode(self, docs: DocumentArray, options: EncodeParameters) -> int:
        """Encode and return how many images there were."""
        selection = select(docs, options.traversal_paths, self._max_documents)
        futures = self._encoder.submit(
            [image.content for image in selection.images], batch_size=options.batch_size, deadline=options.deadline
        )
        try:
            outcomes = await asyncio.gather(
                *(_outcome(future, image, options) for future, image in zip(futures, selection.images, strict=True))
            )
        finally:
            for future in futures:  # after an error nobody waits for the rest
                future.cancel()
        selection.write(outcomes)
        return len(outcomes)

    @requests(on=INFO)
    async def info(self, docs: DocumentArray | None = None, **_: Any) -> dict[str, Any]:
        """What runs here: in the parameters' `__results__`, as Jina returns it, and as one more document's tags."""
        info = {**self._encoder.info, "version": __version__}
        if docs is not None:
            docs.append(Document(tags=info))
        return info

    def close(self) -> None:
        """Finish what is queued and end the threads."""
        self._encoder.close()


def _without_traceback(record: logging.LogRecord) -> bool:
    """Whether to log it: a `RequestError` has its one line already, written by the endpoint."""
    return not (record.exc_info and isinstance(record.exc_info[1], RequestError))


@contextlib.contextmanager
def _last_words() -> Iterator[None]:
    """Tell a start-up error where an operator looks: Jina logs it, and then ends as if all had been well."""
    try:
        yield
    except ConfigError as error:
        with contextlib.suppress(OSError):
            if TERMINATION_LOG.exists():
                TERMINATION_LOG.write_text(str(error)[:4096], encoding="utf-8")  # no more is kept
        raise


async def _outcome(
    future: Future[np.ndarray], image: SelectedImage, options: EncodeParameters
) -> np.ndarray | RequestError:
    """The embedding of one image, or with `on_error: skip` what is wrong with it."""
    try:
        embedding = await asyncio.wrap_future(future)
    except (BadDocument, TooLarge, UnsupportedMedia) as error:
        named = error.at(image.document_id, image.place)
        if options.on_error == "skip":
            return named
        raise named from error
    return unit_length(embedding) if options.normalize else embedding
