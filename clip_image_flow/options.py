"""The options of an encoder, documented and validated in one place."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, field
from typing import Any

from clip_image_flow.errors import ConfigError
from clip_image_flow.platform import cpus, memory

DECODE = ("exact", "fast")
_WHOLE_NUMBERS = (
    "threads",
    "queue_size",
    "queue_bytes",
    "max_image_bytes",
    "max_image_pixels",
    "decode_memory",
    "max_text_bytes",
)


@dataclass(frozen=True, kw_only=True)
class EncoderOptions:
    """How an encoder runs. All options are keyword arguments of the encoders, and keys of an Executor's `uses_with`.

    :param device: `cpu`, `cuda` or `cuda:N`.
    :param backend: `auto`, `openvino` or `torch`, see `clip_image_flow.backends`.
    :param precision: `fp32`, `bf16`, `fp16` (CUDA) or `int8` (OpenVINO); by default fp32 on the CPU, fp16 on CUDA.
    :param threads: number of CPU threads for the model, and as many for decoding; by default the CPUs of the process.
    :param cache_dir: folder of downloaded weights and converted models; by default CLIP_CACHE, else ~/.cache/clip.
    :param max_batch_size: maximum number of items in one forward pass, even if a request's `batch_size` is larger; by
        default the size beyond which throughput does not rise, 12 to 32 on the CPU by precision and 128 on CUDA.
    :param decode: `exact` for the pixels of `clip` (if the precision is not fp32, some are off by one of 255 levels),
        or `fast` to decode large JPEGs at a fraction of their size, for embeddings that are nearly the same;
        docs/speed.md has the difference.
    :param batch_wait_ms: milliseconds that an incomplete batch waits for more items; useful on a GPU.
    :param queue_size: maximum number of items that are queued or running.
    :param queue_bytes: maximum size of these items, in bytes; by default an eighth of the memory of the process.
    :param max_image_bytes: maximum size of one encoded image, in bytes.
    :param max_image_pixels: maximum number of pixels of one image.
    :param max_decode_seconds: maximum CPU time to decode and prepare one image, in seconds.
    :param decode_memory: maximum memory of all images that are being decoded, in bytes; by default a quarter of the
        memory of the process. One image gets at most 8 bytes for each of `max_image_pixels`.
    :param truncate: whether a text with more tokens than the model's context length is cut; else it is an error.
    :param max_text_bytes: maximum size of one text in UTF-8, in bytes.
    :param allowed_uris: prefixes of the URIs that may be read, see `clip_image_flow.image.uris`.
    :raises ConfigError: an option has a value that is not allowed.
    """

    device: str = "cpu"
    backend: str = "auto"
    precision: str | None = None
    threads: int = field(default_factory=lambda: cpus.available())
    cache_dir: str | None = None
    decode: str = "exact"
    max_batch_size: int | None = None
    batch_wait_ms: float = 0
    queue_size: int = 2048
    queue_bytes: int = field(default_factory=lambda: memory.available() // 8)
    max_image_bytes: int = 20 * 1024 * 1024
    max_image_pixels: int = 50_000_000
    max_decode_seconds: float = 2.0
    decode_memory: int = field(default_factory=lambda: memory.available() // 4)
    truncate: bool = True
    max_text_bytes: int = 65536
    allowed_uris: Sequence[str] = ("data:",)

    def __post_init__(self) -> None:
        for name in _WHOLE_NUMBERS:
            _check_at_least_one(name, getattr(self, name))
        if self.max_batch_size is not None:
            _check_at_least_one("max_batch_size", self.max_batch_size)
        if not isinstance(self.truncate, bool):
            raise ConfigError(f"truncate must be true or false, not {self.truncate!r}")
        if self.decode not in DECODE:
            raise ConfigError(f"decode must be one of {', '.join(DECODE)}, not {self.decode!r}")
        _check_number("batch_wait_ms", self.batch_wait_ms, 0, 1000)
        _check_number("max_decode_seconds", self.max_decode_seconds, 0.1, 60)

    @classmethod
    def names(cls) -> frozenset[str]:
        """Names of all options."""
        return frozenset(option.name for option in dataclasses.fields(cls))

    @classmethod
    def of(cls, **options: Any) -> EncoderOptions:
        """Options with these values; None selects a default that depends on the machine."""
        measured = {option.name for option in dataclasses.fields(cls) if option.default_factory is not MISSING}
        return cls(**{name: value for name, value in options.items() if value is not None or name not in measured})


def _check_at_least_one(option: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"{option} must be a whole number of at least 1, not {value!r}")


def _check_number(option: str, value: Any, least: float, most: float) -> None:
    if type(value) not in (int, float) or not least <= value <= most:
        raise ConfigError(f"{option} must be a number from {least:g} to {most:g}, not {value!r}")
