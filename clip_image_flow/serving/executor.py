"""The base class of Jina Executors that serve an encoder."""

# No `from __future__ import annotations` here: Jina reads the annotations of endpoints and warns about strings.

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, NoReturn

import numpy as np
from docarray import Document, DocumentArray
from jina import Executor, requests
from jina.proto import serializer

from clip_image_flow import __version__
from clip_image_flow.encoder import ImageEncoder, TextEncoder, unit_length
from clip_image_flow.errors import BadParameter, ConfigError, ModelChanged, RequestError, bare
from clip_image_flow.options import EncoderOptions
from clip_image_flow.platform import cpus
from clip_image_flow.serving.garbage import Garbage
from clip_image_flow.serving.jina_internals import call_around_requests, describe_old_summaries, refuse_bad_documents
from clip_image_flow.serving.logs import RequestLog
from clip_image_flow.serving.metrics import Metrics
from clip_image_flow.serving.observer import Asked, ServingObserver
from clip_image_flow.serving.parameters import EncodeParameters, not_negative, positive_integer
from clip_image_flow.serving.ranking import rank
from clip_image_flow.serving.selection import SelectedItem, Selection
from clip_image_flow.serving.self_check import Failures, SelfCheck
from clip_image_flow.serving.termination import end_process, last_words
from clip_image_flow.serving.tracing import Traces
from clip_wire.endpoints import DEFAULT, INFO, RANK
from clip_wire.environment import keep_out_of_environment
from clip_wire.info import MadeBy, public_name
from clip_wire.termination import tell_the_pod
from clip_wire.work import WORK

_FROM_JINA = {"metas", "requests", "runtime_args", "workspace", "dynamic_batching"}
_RANKED = "@r,m"  # documents and their matches


class EncoderExecutor(Executor):
    """Encodes the documents of requests.

    A subclass sets the encoder and the selection of documents. Options about the other modality have no effect, so that
    the Executors of a Flow can share their options.

    :param pretrained_model_name_or_path: `emoji-tiny`, a name of OpenAI's or OpenCLIP's, a file, a folder, or a Hugging
        Face repository; see `clip_image_flow.models`.
    :param device: `cpu`, `cuda` or `cuda:N`.
    :param batch_size: maximum number of items in one forward pass; default of the request parameter.
    :param traversal_paths: DocArray path to the documents to encode; default of the request parameter.
    :param on_error: `raise` to fail a request on its first bad document; `skip` to encode the others and put the reason
        into the bad document's `tags["error"]`; default of the request parameter.
    :param normalize: whether to scale embeddings to unit length, which OpenAI's are not; default of the request
        parameter.
    :param drop_image_content: whether to clear the images of returned documents; default of the request parameter.
    :param backend: `auto`, `openvino` or `torch`.
    :param precision: `fp32`, `bf16`, `fp16` or `int8`; by default fp32 on the CPU, fp16 on CUDA.
    :param threads: number of CPU threads; by default the CPU limit divided by the replicas on this machine.
    :param max_documents: maximum number of documents of one request.
    :param self_check_seconds: seconds between two self-checks of the vectors, which end the process on drift; 0 for
        none.
    :param options: other options of `clip_image_flow.options.EncoderOptions` and of every Executor.
    :raises ConfigError: an option is unknown or not available.
    """

    encoder: ClassVar[type[ImageEncoder] | type[TextEncoder]]
    select: ClassVar[Callable[..., Selection]]
    """Function from (documents, traversal paths, maximum number of documents) to the items to encode."""

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
        self_check_seconds: float = 60,
        **options: Any,
    ) -> None:
        super().__init__(**{key: options.pop(key) for key in _FROM_JINA & options.keys()})
        refuse_bad_documents()
        call_around_requests()
        keep_out_of_environment(serializer)
        describe_old_summaries()
        # Jina logs the exceptions of endpoints with a traceback of 10 kB, which client errors do not need.
        logging.getLogger(getattr(self.runtime_args, "name", None) or __name__).addFilter(_without_traceback)
        options |= {"device": device, "backend": backend, "precision": precision, "threads": threads}
        request_defaults = {
            "batch_size": batch_size,
            "traversal_paths": traversal_paths,
            "on_error": on_error,
            "normalize": normalize,
            "drop_image_content": drop_image_content,
        }
        with last_words():
            try:
                self._defaults = EncodeParameters().override(request_defaults)
                self._max_documents = positive_integer("max_documents", max_documents)
                seconds = not_negative("self_check_seconds", self_check_seconds)
            except RequestError as error:
                raise ConfigError(f"uses_with: {error}") from error
            if unknown := options.keys() - EncoderOptions.names():
                name = type(self).__name__
                raise ConfigError(f"uses_with: unknown option {min(unknown)!r}; see the parameters of {name}")
            if options.get("threads") is None:
                replicas = getattr(self.runtime_args, "replicas", None) or 1
                options["threads"] = max(1, cpus.available() // replicas)
            name = getattr(self.runtime_args, "name", None) or type(self).__name__
            self._log = RequestLog(name)
            registry = getattr(self.runtime_args, "metrics_registry", None)
            metrics = Metrics(registry, self.encoder.modality) if registry else None
            self._traces = Traces(self.tracer, self.encoder.modality) if self.tracer else None
            observer = ServingObserver(metrics, self._traces)
            self._encoder = self.encoder(
                pretrained_model_name_or_path, on_death=end_process, observer=observer, **options
            )
            failures = Failures(name)
            self._self_check = SelfCheck(self._encoder, seconds, partial(_drifted, failures)) if seconds else None
            if metrics:
                metrics.serving(self._encoder, failures.count)
        self._started = time.time()
        info = self._encoder.info
        self._made_by: MadeBy = {"model": public_name(info["model"])}
        if "fingerprint" in info:
            self._made_by["fingerprint"] = info["fingerprint"]
        self._garbage = Garbage()
        self.logger.info("serving %s", info)

    @requests
    async def encode(
        self,
        docs: DocumentArray | None = None,
        parameters: dict[str, Any] | None = None,
        tracing_context: Any = None,
        **_: Any,
    ) -> dict[str, Any] | None:
        """Set the embeddings of `docs` at the traversal paths.

        :param parameters: `traversal_paths`, `batch_size`, `on_error`, `normalize`, `drop_image_content`.
        :raises RequestError: a client error; its class says what to change.
        """
        return await self._answer(DEFAULT, docs, self._defaults.override(parameters), tracing_context)

    @requests(on=RANK)
    async def rank(
        self,
        docs: DocumentArray | None = None,
        parameters: dict[str, Any] | None = None,
        tracing_context: Any = None,
        **_: Any,
    ) -> dict[str, Any] | None:
        """Set the embeddings of `docs` and of their matches, and score and sort the matches.

        :param parameters: as for `encode`; the traversal paths are always those of documents and matches.
        :raises RequestError: a client error.
        """
        options = replace(self._defaults.override(parameters), traversal_paths=_RANKED)
        if (scale := self._encoder.logit_scale) is None:
            raise BadParameter(f"the weights of {self._encoder.info['model']!r} have no logit scale to rank with")
        made_by = await self._answer(RANK, docs, options, tracing_context)
        if docs:
            rank(docs, scale, self._encoder.logit_bias)
        return made_by

    async def _answer(
        self, endpoint: str, docs: DocumentArray | None, options: EncodeParameters, context: Any
    ) -> dict[str, Any] | None:
        """Encode, and return what made the vectors, if there are any; Jina puts it into the answer's `__results__`.

        The answer to a gateway, which sets a request id, also contains the timings for its log.
        """
        began = time.perf_counter()
        asked, count, error = Asked(context), 0, ""
        try:
            count = await self._encode(docs, options, asked) if docs else 0
        except asyncio.CancelledError:
            error = "Cancelled"
            raise
        except RequestError as failure:
            error = repr(failure)
            raise bare(failure) from None
        except Exception as failure:
            error = repr(failure)
            raise
        finally:
            work = asked.work(count)
            if count:
                work.fingerprints.append(self._made_by.get("fingerprint", ""))
            self._log.line(options.request_id, endpoint, error, time.perf_counter() - began, work)
            if self._traces and asked.last:
                self._traces.request(context, asked.last, asked.batch)
        if not count:
            return None
        return {**self._made_by, WORK: work.numbers()} if options.request_id else {**self._made_by}

    async def _encode(self, docs: DocumentArray, options: EncodeParameters, asked: Asked) -> int:
        """Encode `docs`, and return the number of encoded items."""
        selection = type(self).select(docs, options.traversal_paths, self._max_documents)
        own = self._made_by.get("fingerprint", "")
        if selection.items and options.expect_fingerprint and own not in options.expect_fingerprint:
            raise self._other_than(", ".join(options.expect_fingerprint))
        contents: list[Any] = [item.content for item in selection.items]
        futures = self._encoder.submit(contents, batch_size=options.batch_size, deadline=options.deadline, caller=asked)
        try:
            # In order: of several bad documents the error names the first one, whichever failed first.
            outcomes = [
                await _outcome(future, item, options) for future, item in zip(futures, selection.items, strict=True)
            ]
        finally:
            for future in futures:  # after an error the rest is cancelled
                future.cancel()
        selection.write(outcomes)
        if options.drop_image_content:
            selection.drop_images()
        return len(outcomes)

    def refusal(self, pinned: str) -> ModelChanged | None:
        """The error that refuses a request before its documents are parsed, or None.

        :param pinned: comma-separated fingerprints, see `clip_wire.parameters.PINNED`.
        """
        own = self._made_by.get("fingerprint", "")
        return self._other_than(pinned) if own and own not in pinned else None

    def answered(self, count: int) -> None:
        """Free the documents of earlier requests, if there are many bytes of them.

        :param count: size of the answered request, in bytes.
        """
        self._garbage.add(count)

    def _other_than(self, expected: str) -> ModelChanged:
        own = self._made_by.get("fingerprint") or "weights without a fingerprint"
        return ModelChanged(
            f"vectors are made by {own} here, the model {self._made_by['model']!r}; the request expects {expected}"
        )

    @requests(on=INFO)
    async def info(self, docs: DocumentArray | None = None, **_: Any) -> dict[str, Any]:
        """Describe the running model, in the parameters' `__results__` and in the tags of an added document."""
        info = {**self._encoder.info, "version": __version__, "started": self._started}
        if docs is not None:
            docs.append(Document(tags=info))
        return info

    def close(self) -> None:
        """Finish queued items, and end the threads."""
        if self._self_check:
            self._self_check.close()
        self._encoder.close()


def _drifted(failures: Failures, wrong: str) -> NoReturn:
    """End a process that computes wrong vectors, with the reason in the log and in the pod's status."""
    failures.add()
    logging.getLogger(__name__).critical("the self-check failed, this process ends: %s", wrong)
    tell_the_pod(f"the self-check failed: {wrong}")
    end_process()


def _without_traceback(record: logging.LogRecord) -> bool:
    """Whether to log the record: for a `RequestError` the endpoint has already written the request's line."""
    return not (record.exc_info and isinstance(record.exc_info[1], RequestError))


async def _outcome(
    future: Future[np.ndarray], item: SelectedItem, options: EncodeParameters
) -> np.ndarray | RequestError:
    """The embedding of one item, or with `on_error: skip` its error."""
    try:
        embedding = future.result() if future.done() else await asyncio.wrap_future(future)
    except RequestError as error:
        if not error.of_one_document:
            raise
        named = bare(error).at(item.document_id, item.place)
        if options.on_error == "skip":
            return named
        raise named from None
    return unit_length(embedding) if options.normalize else embedding
