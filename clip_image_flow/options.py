"""The options of an encoder, documented and checked once for all who take them."""

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
    """How an encoder runs. Each option is one of `ImageEncoder`, and of an Executor's `uses_with`.

    :param device: `cpu`, `cuda` or `cuda:N`.
    :param backend: see `clip_image_flow.backends`.
    :param precision: `fp32`, `bf16`, `fp16` (CUDA) or `int8` (OpenVINO); by default fp32 on the CPU, fp16 on CUDA.
    :param threads: CPU threads, of the model and of decoding each; by default what the process may use.
    :param cache_dir: folder of downloaded weights and converted models; by default CLIP_CACHE, else ~/.cache/clip.
    :param max_batch_size: most images in one forward pass, whatever a caller asks for; by default as many as make it
        faster, 12 to 32 on the CPU by precision and 128 on CUDA.
    :param decode: `exact`, the pixels of `clip` (of 255 levels one off here and there where the precision is not fp32),
        or `fast`: a large JPEG is decoded at a fraction of its size, for embeddings that are nearly the same;
        docs/speed.md has the difference.
    :param batch_wait_ms: milliseconds that a batch which is not full waits for more images, of use on a GPU.
    :param queue_size: most images waiting or running at any time.
    :param queue_bytes: most bytes of them; by default an eighth of the memory that the process may use.
    :param max_image_bytes: most bytes of one encoded image.
    :param max_image_pixels: most pixels of one image.
    :param max_decode_seconds: most seconds of CPU time that decoding and preparing one image may take.
    :param decode_memory: most bytes of memory that images being decoded may take, all together; by default a quarter of
        the memory that the process may use. One image gets 8 bytes for each of `max_image_pixels` at most.
    :param truncate: cut a text that has more tokens than the model takes; else it is an error.
    :param max_text_bytes: most bytes of one text in UTF-8.
    :param allowed_uris: prefixes of the URIs that are read, see `clip_image_flow.image.uris`.
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
        """Of all options."""
        return frozenset(option.name for option in dataclasses.fields(cls))

    @classmethod
    def of(cls, **options: Any) -> EncoderOptions:
        """These options; None stands for a default that follows from the machine."""
        measured = {option.name for option in dataclasses.fields(cls) if option.default_factory is not MISSING}
        return cls(**{name: value for name, value in options.items() if value is not None or name not in measured})


def _check_at_least_one(option: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"{option} must be a whole number of at least 1, not {value!r}")


def _check_number(option: str, value: Any, least: float, most: float) -> None:
    if type(value) not in (int, float) or not least <= value <= most:
        raise ConfigError(f"{option} must be a number from {least:g} to {most:g}, not {value!r}")
