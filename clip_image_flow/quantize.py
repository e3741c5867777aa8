"""Quantizes a model to int8, calibrated with your own images and texts.

    python -m clip_image_flow.quantize ViT-B/32 ~/pictures --texts queries.txt

The image half is calibrated with images, the text half with the lines of a file; a half without calibration data is
skipped. NNCF (https://github.com/openvinotoolkit/nncf) does the post-training quantization; it is not a dependency:
`pip install nncf`. The int8 model is stored in the cache folder beside the conversion of the same weights, from where
`precision: int8` loads it. Every fourth image or text is held out of the calibration, for the cosine similarity of int8
and fp32 embeddings that is printed.
"""

from __future__ import annotations

import argparse
import logging
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from clip_image_flow import backends, models
from clip_image_flow.errors import ConfigError, RequestError
from clip_image_flow.image.preparation import ImagePreparer, square
from clip_image_flow.image.preprocess import Square
from clip_image_flow.image.reader import ImageReader
from clip_image_flow.image.uris import UriReader
from clip_image_flow.platform import cpus
from clip_image_flow.text.tokens import shortened, tokenizer
from clip_image_flow.towers import Tower, image_tower, text_tower

LEAST = 32
"""Minimum number of images or texts for a calibration."""
MOST = 400
"""Maximum number of images or texts; of more, evenly spaced ones are taken."""
T = TypeVar("T")

_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"}
logger = logging.getLogger(__name__)


def quantize(
    model: str, paths: Iterable[Path], *, cache_dir: str | None = None, threads: int | None = None
) -> np.ndarray:
    """Quantize the image half of `model` and store it in the cache.

    :param model: name or path, see `clip_image_flow.models`.
    :param paths: image files, or folders of them; of more than `MOST`, evenly spaced ones are taken.
    :param threads: number of CPU threads; by default the CPUs of the process.
    :return: cosine similarities of int8 and fp32, float32 (m,), of the held-out images.
    :raises ConfigError: NNCF or OpenVINO is not installed, there are too few images, or the cache is not writable.
    """
    files = _files(paths)
    tower = image_tower(model, cache_dir)
    return _calibrate(tower, lambda shape: _read(files, square(tower.prepared(), shape[0])), "pictures", threads)


def quantize_text(
    model: str, texts: Sequence[str], *, cache_dir: str | None = None, threads: int | None = None
) -> np.ndarray:
    """Quantize the text half of `model` and store it in the cache.

    :param texts: texts like those to encode; of more than `MOST`, evenly spaced ones are taken.
    :return: cosine similarities of int8 and fp32, float32 (m,), of the held-out texts.
    :raises ConfigError: as `quantize`.
    """
    taken = _evenly(texts)
    tower = text_tower(model, cache_dir)
    return _calibrate(tower, lambda shape: _tokens(taken, tower, shape[0]), "texts", threads)


def _calibrate(
    tower: Tower, read: Callable[[tuple[int, ...]], Iterator[np.ndarray]], what: str, threads: int | None
) -> np.ndarray:
    """Quantize one half, and return the cosine similarities of the held-out items.

    :param read: function from the shape of an item to the items.
    :param what: plural name of the items, for an error message.
    """
    try:
        # Before nncf: this import blocks openvino_telemetry, through which NNCF would report as well.
        from clip_image_flow.backends.openvino import conversion
    except ImportError as error:
        raise ConfigError(f"int8 runs on OpenVINO, which cannot be imported here: {error}") from error
    try:
        import nncf
    except ImportError as error:
        raise ConfigError(f"a calibration needs NNCF: pip install nncf ({error})") from error
    load = partial(backends.load, "openvino", tower, device="cpu", threads=threads or cpus.available())
    exact = load(precision="fp32")
    batches = [item[np.newaxis] for item in read(exact.item_shape)]
    if len(batches) < LEAST:
        raise ConfigError(f"{len(batches)} {what} can be read; a calibration needs at least {LEAST}")
    compared = batches[::4]
    calibration = [batch for i, batch in enumerate(batches) if i % 4]
    conversion.keep_int8(
        tower,
        nncf.quantize(
            conversion.fp32_model(tower),
            nncf.Dataset(calibration),
            subset_size=len(calibration),
            model_type=nncf.ModelType.TRANSFORMER,  # protects attention's sensitive operations; harmless for ResNets
            # Weights of 7 bits: sums of two products with 8 bits overflow on CPUs without VNNI (NNCF's documentation).
            advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.ENABLE),
        ),
    )
    rough = load(precision="int8")
    return _cosines(*(np.concatenate([one.encode(batch) for batch in compared]) for one in (exact, rough)))


def _tokens(texts: Iterable[str], tower: Tower, context: int) -> Iterator[np.ndarray]:
    """The tokens of each text, int32 (n,) with n up to `context`; logs and skips texts that cannot be tokenized."""
    prepare = tokenizer(tower.prepared(), context, truncate=True, max_bytes=1 << 16)
    for text in texts:
        try:
            row = prepare(text)[np.newaxis]
            yield (shortened(row) if prepare.shortens else row)[0]
        except RequestError as error:
            logger.warning("%r is skipped: %s", text[:40], error)


def _files(paths: Iterable[Path]) -> list[Path]:
    """The image files at `paths` and in the folders below, at most `MOST`."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(file for file in path.rglob("*") if file.suffix.lower() in _SUFFIXES and file.is_file())
        elif path.is_file():
            found.append(path)
        else:
            raise ConfigError(f"{path} is neither a file nor a folder")
    return _evenly(found)


def _evenly(found: Sequence[T]) -> list[T]:
    return list(found[:: max(1, math.ceil(len(found) / MOST))])


def _read(files: Iterable[Path], wanted: Square) -> Iterator[np.ndarray]:
    """The preprocessed image of each file, uint8 (n, n, 3); logs and skips files that cannot be decoded."""
    prepare = ImagePreparer(ImageReader(max_bytes=1 << 30, max_pixels=1 << 28, uris=UriReader()), wanted)
    for file in files:
        try:
            yield prepare(file.read_bytes())
        except (RequestError, OSError) as error:
            logger.warning("%s is skipped: %s", file, error)


def _cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.asarray((a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1))


def main() -> None:
    """Quantize a model, and print the cosine similarity of int8 and fp32."""
    parser = argparse.ArgumentParser(
        prog="python -m clip_image_flow.quantize", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("model", help="a name or path as in pretrained_model_name_or_path")
    parser.add_argument("pictures", type=Path, nargs="*", help=f"files or folders, {LEAST} pictures or more")
    parser.add_argument("--texts", type=Path, help=f"a file of UTF-8 with a text in each line, {LEAST} or more")
    parser.add_argument("--cache-dir", help="as the Executor's option cache_dir (default: CLIP_CACHE)")
    arguments = parser.parse_args()
    if not arguments.pictures and not arguments.texts:
        parser.error("give pictures, --texts, or both")
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    cosines = {}
    try:
        if arguments.pictures:
            cosines["pictures"] = quantize(arguments.model, arguments.pictures, cache_dir=arguments.cache_dir)
        if arguments.texts:
            texts = arguments.texts.read_text(encoding="utf-8").splitlines()
            cosines["texts"] = quantize_text(arguments.model, texts, cache_dir=arguments.cache_dir)
    except (ConfigError, OSError, UnicodeDecodeError) as error:
        sys.exit(f"error: {error}")
    folder = models.cache_directory(arguments.cache_dir) / "openvino"
    sys.stdout.write(f"{arguments.model} in int8 is kept in {folder}\n")
    for what, found in cosines.items():
        sys.stdout.write(
            f"cosine to fp32 of {len(found)} {what} that it was not calibrated with: "
            f"mean {found.mean():.4f}, least {found.min():.4f}\n"
        )


if __name__ == "__main__":
    main()
