"""Compare the images/s of the library in one process with a plain loop over `clip`, and with a bare forward pass.

    python -m benchmarks.in_process

All encode the same 256 JPEGs of 640 x 427 with the same random ViT-B/32 weights. The plain loop opens, preprocesses and
encodes as in OpenAI's README, in batches of 32; the bare forward pass gets preprocessed images; the library does all of
it. They are measured alternately.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import statistics
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks import measure
from benchmarks.pictures import FOLDER, TWELVE_MEGAPIXELS, jpegs, random_vit_b_32
from clip_image_flow import ImageEncoder, backends
from clip_image_flow.errors import ConfigError
from clip_image_flow.image.preparation import ImagePreparer
from clip_image_flow.image.preprocess import Square
from clip_image_flow.image.reader import ImageReader
from clip_image_flow.image.uris import UriReader
from clip_image_flow.models.openai_clip import clip
from clip_image_flow.platform import cpus
from clip_image_flow.quantize import quantize
from clip_image_flow.towers import image_tower

BATCH = 32
LEAST = {"fp32": 2.3, "bf16": 3.8, "int8": 5.5, "fp32 of its forward pass": 0.88, "12 megapixels, decode: fast": 2.0}
LARGEST_DIFFERENCE = 1e-4  # per element, in fp32


def plainly(model: Any, transform: Callable[[Image.Image], torch.Tensor], files: list[bytes], batch: int) -> np.ndarray:
    """Encode as in the READMEs of `clip` and `open_clip`, `batch` images at a time; return float32 (n, dim)."""
    rows = []
    with torch.no_grad():
        for start in range(0, len(files), batch):
            images = [transform(Image.open(io.BytesIO(file))) for file in files[start : start + batch]]
            rows.append(model.encode_image(torch.stack(images)).numpy())
    return np.concatenate(rows)


def plain_loop(weights: Path) -> Callable[[list[bytes]], np.ndarray]:
    """Return a function that encodes images with `clip` as in its README: float32 (n, 512)."""
    torch.set_num_threads(cpus.available())
    model, transform = clip.load(str(weights), device="cpu")
    return lambda files: plainly(model, transform, files, BATCH)


def bare_forward_pass(weights: Path, precision: str, files: list[bytes]) -> Callable[[], None]:
    """Return a function that runs only the forward passes on preprocessed images, in batches of the best size."""
    options = {"device": "cpu", "precision": precision, "threads": cpus.available()}
    backend = backends.load("auto", image_tower(str(weights), str(FOLDER)), **options)  # type: ignore[arg-type]
    prepare = ImagePreparer(ImageReader(1 << 25, 1 << 25, UriReader()), Square(backend.item_shape[0]))
    pictures = np.stack([prepare(file) for file in files])

    def encode() -> None:
        for start in range(0, len(pictures), backend.best_batch_size):
            backend.encode(pictures[start : start + backend.best_batch_size])

    return encode


def calibrate(weights: Path, files: list[bytes]) -> None:
    """Quantize the model to int8, if NNCF is installed and the cache does not have it."""
    try:
        ImageEncoder(str(weights), precision="int8", cache_dir=str(FOLDER)).close()
    except ConfigError:
        if importlib.util.find_spec("nncf") is None:
            return
        folder = FOLDER / "calibration"
        folder.mkdir(parents=True, exist_ok=True)
        for i, file in enumerate(files[:100]):
            (folder / f"{i:03d}.jpg").write_bytes(file)
        quantize(str(weights), [folder], cache_dir=str(FOLDER))


def main() -> int:
    """Measure; the exit code is 1 if embeddings differ, or with --check if a ratio is below its minimum."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--large", type=int, default=24, help="number of 12-megapixel photographs")
    parser.add_argument("--rounds", type=int, default=3, help="rounds, after a warm-up round (%(default)s)")
    parser.add_argument("--check", action="store_true", help="fail when a ratio is below its floor")
    options = parser.parse_args()

    files, large, weights = jpegs(options.images), jpegs(options.large, TWELVE_MEGAPIXELS), random_vit_b_32()
    calibrate(weights, files)
    loop = plain_loop(weights)
    ways: dict[str, Callable[[], object]] = {"plain loop": partial(loop, files)}
    library: dict[str, ImageEncoder] = {}
    for precision in ("fp32", "bf16", "int8"):
        try:
            encoder = ImageEncoder(str(weights), precision=precision, cache_dir=str(FOLDER))
        except ConfigError as error:
            print(f"{precision} is not measured: {error}", file=sys.stderr)
            continue
        library[precision] = encoder
        ways[f"forward pass {precision}"] = bare_forward_pass(weights, precision, files)
        ways[f"library {precision}"] = partial(encoder.encode, files, batch_size=BATCH)
    fast = ImageEncoder(str(weights), decode="fast", cache_dir=str(FOLDER))
    ways["12 megapixels, exact"] = partial(library["fp32"].encode, large)
    ways["12 megapixels, fast"] = partial(fast.encode, large)

    turns = measure.take_turns(ways, options.rounds)
    difference = float(np.abs(library["fp32"].encode(files[:BATCH]) - loop(files[:BATCH])).max())
    for encoder in (*library.values(), fast):
        encoder.close()
    pairs = {p: ("plain loop", f"library {p}") for p in library}
    pairs |= {f"{p} of its forward pass": (f"forward pass {p}", f"library {p}") for p in library}
    pairs["12 megapixels, decode: fast"] = ("12 megapixels, exact", "12 megapixels, fast")
    ratios, cpu_ratios = (
        {name: measure.times_faster(getattr(turns[a], kind), getattr(turns[b], kind)) for name, (a, b) in pairs.items()}
        for kind in ("seconds", "cpu_seconds")
    )

    print(f"{options.images} JPEGs of 640 x 427, ViT-B/32 (random weights); {measure.describe(measure.machine())}")
    print(f"{'':<24} images/s  slowest  fastest   CPU ms an image")
    rates = {}
    for name, turn in turns.items():
        count = options.large if name.startswith("12") else options.images
        rates[name] = count / statistics.median(turn.seconds)
        slowest, fastest = count / max(turn.seconds), count / min(turn.seconds)
        cpu = 1000 * statistics.median(turn.cpu_seconds) / count
        print(f"{name:<24} {rates[name]:8.1f} {slowest:8.1f} {fastest:8.1f} {cpu:10.1f}")
    print("ratios, within one turn; to the plain loop unless said otherwise        clock    CPU")
    for name, ratio in ratios.items():
        aim = f"   (aim: {LEAST[name]})" if name in LEAST else ""
        print(f"  {name:<68} {ratio:6.2f} {cpu_ratios[name]:6.2f}{aim}")
    print(f"largest difference of an element in fp32: {difference:.1e}")
    figures = {"ratios": ratios, "cpu_ratios": cpu_ratios, "images_per_second": rates, "largest_difference": difference}
    measure.save("in_process", figures)
    low = [name for name, ratio in ratios.items() if ratio < LEAST.get(name, 0)]
    return measure.exit_code(difference > LARGEST_DIFFERENCE or bool(options.check and low), low, "the difference")


if __name__ == "__main__":
    sys.exit(main())
