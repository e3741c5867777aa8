"""Make a model's int8 form, calibrated with pictures of your own.

    python -m clip_image_flow.quantize ViT-B/32 ~/pictures

Post-training quantization by NNCF (https://github.com/openvinotoolkit/nncf), which is an extra: `pip install nncf`. The
result is kept in the cache folder beside the conversion of the same weights, where `precision: int8` finds it. Every
fourth picture is not calibrated with but compared: what is printed is the cosine between int8's and fp32's embeddings.
"""

from __future__ import annotations

import argparse
import logging
import math
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from clip_image_flow import backends, models
from clip_image_flow.encoder import image_tower
from clip_image_flow.errors import ConfigError, RequestError
from clip_image_flow.image.preparation import ImagePreparer
from clip_image_flow.image.reader import ImageReader
from clip_image_flow.image.uris import UriReader
from clip_image_flow.platform import cpus

LEAST_PICTURES = 32
MOST_PICTURES = 400
_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"}
logger = logging.getLogger(__name__)


def quantize(
    model: str, paths: Iterable[Path], *, cache_dir: str | None = None, threads: int | None = None
) -> np.ndarray:
    """Calibrate `model` and keep its int8 form in the cache.

    :param model: see `clip_image_flow.models`.
    :param paths: pictures, or folders of them; of many, `MOST_PICTURES` are taken evenly.
    :return: cosines between int8 and fp32, float32 (m,), of the pictures that were not calibrated with.
    :raises ConfigError: NNCF or OpenVINO is not installed, there are too few pictures, or the cache cannot be written.
    """
    try:
        # First of the two: it keeps openvino_telemetry, through which NNCF would report as well, from being imported.
        from clip_image_flow.backends import openvino_backend
    except ImportError as error:
        raise ConfigError(f"int8 runs on OpenVINO, which cannot be imported here: {error}") from error
    try:
        import nncf
    except ImportError as error:
        raise ConfigError(f"a calibration needs NNCF: pip install nncf ({error})") from error
    threads = threads or cpus.available()
    source = image_tower(model, cache_dir)
    exact = backends.load("openvino", source, device="cpu", precision="fp32", threads=threads)
    pictures = list(_read(_files(paths), exact.item_shape[0]))
    if len(pictures) < LEAST_PICTURES:
        raise ConfigError(f"{len(pictures)} pictures can be read there; a calibration needs at least {LEAST_PICTURES}")
    compared = pictures[::4]
    calibration = [picture[np.newaxis] for i, picture in enumerate(pictures) if i % 4]
    openvino_backend.keep_int8(
        source,
        nncf.quantize(
            openvino_backend.fp32_model(source),
            nncf.Dataset(calibration),
            subset_size=len(calibration),
            model_type=nncf.ModelType.TRANSFORMER,  # keeps what attention is sensitive to; does convolutions no harm
        ),
    )
    rough = backends.load("openvino", source, device="cpu", precision="int8", threads=threads)
    return _cosines(*(np.concatenate([one.encode(p[np.newaxis]) for p in compared]) for one in (exact, rough)))


def _files(paths: Iterable[Path]) -> list[Path]:
    """The pictures at `paths` and in the folders below, no more than `MOST_PICTURES`."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(file for file in path.rglob("*") if file.suffix.lower() in _SUFFIXES and file.is_file())
        elif path.is_file():
            found.append(path)
        else:
            raise ConfigError(f"{path} is no file and no folder")
    return found[:: max(1, math.ceil(len(found) / MOST_PICTURES))]


def _read(files: Iterable[Path], size: int) -> Iterator[np.ndarray]:
    """Each file as the model sees it, uint8 (size, size, 3); those that cannot be read are named and skipped."""
    prepare = ImagePreparer(ImageReader(max_bytes=1 << 30, max_pixels=1 << 28, uris=UriReader()), size)
    for file in files:
        try:
            yield prepare(file.read_bytes())
        except (RequestError, OSError) as error:
            logger.warning("%s is skipped: %s", file, error)


def _cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.asarray((a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1))


def main() -> None:
    """Calibrate, and say how near the result is."""
    parser = argparse.ArgumentParser(
        prog="python -m clip_image_flow.quantize", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("model", help="a name or path as in pretrained_model_name_or_path")
    parser.add_argument("pictures", type=Path, nargs="+", help=f"files or folders, {LEAST_PICTURES} pictures or more")
    parser.add_argument("--cache-dir", help="as the Executor's option cache_dir; by default CLIP_CACHE")
    arguments = parser.parse_args()
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    try:
        cosines = quantize(arguments.model, arguments.pictures, cache_dir=arguments.cache_dir)
    except ConfigError as error:
        sys.exit(f"error: {error}")
    sys.stdout.write(
        f"{arguments.model} in int8 is kept in {models.cache_directory(arguments.cache_dir) / 'openvino'}\n"
        f"cosine to fp32 of {len(cosines)} pictures that it was not calibrated with: "
        f"mean {cosines.mean():.4f}, least {cosines.min():.4f}\n"
    )


if __name__ == "__main__":
    main()
