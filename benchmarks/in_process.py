"""Images/s of the library against a plain loop with `clip`, in one process and one run.

    python -m benchmarks.in_process

Both encode the same 256 JPEGs of 640 x 427 with the same random ViT-B/32 weights in batches of 32: the plain loop
opens, preprocesses and encodes as OpenAI's README does; the library goes its own way. They take turns, so that a
machine whose speed drifts is fair to both; the ratio is that of the medians.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageEnhance
from sklearn.datasets import load_sample_images
from torch import nn
from tqdm import tqdm

from clip_image_flow import ImageEncoder, cpus
from clip_image_flow.openai_clip import clip

BATCH = 32
MINIMUM = 1.0  # library / plain loop


def jpegs(count: int, size: tuple[int, int] = (640, 427)) -> list[bytes]:
    """Photographs, each cut and lit differently, as JPEG files of about 90 kB."""
    photographs = [Image.fromarray(pixels) for pixels in load_sample_images().images]
    random = np.random.default_rng(0)
    files = []
    for i in range(count):
        left, top = random.uniform(0, 0.2, 2) * size
        box = (left, top, left + 0.8 * size[0], top + 0.8 * size[1])
        picture = photographs[i % len(photographs)].resize(size, Image.Resampling.BICUBIC, box=box)
        picture = ImageEnhance.Brightness(picture).enhance(random.uniform(0.7, 1.2))
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=90)
        files.append(buffer.getvalue())
    return files


def save_random_weights(path: Path) -> None:
    """A ViT-B/32 in OpenAI's format with random weights."""
    torch.manual_seed(0)
    random_clip: nn.Module = clip.model.CLIP(512, 224, 12, 768, 32, 77, 49408, 512, 8, 12)
    torch.save(random_clip.half().state_dict(), path)


def plain_loop(path: Path) -> Callable[[list[bytes]], np.ndarray]:
    """`clip` as its README uses it: float32 (n, 512)."""
    model, preprocess = clip.load(str(path), device="cpu")

    def encode(files: list[bytes]) -> np.ndarray:
        rows = []
        with torch.no_grad():
            for start in range(0, len(files), BATCH):
                images = [preprocess(Image.open(io.BytesIO(file))) for file in files[start : start + BATCH]]
                rows.append(model.encode_image(torch.stack(images)).numpy())
        return np.concatenate(rows)

    return encode


def main() -> int:
    """Measure; the exit code is 1 when the ratio is below `--at-least` or the embeddings differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3, help="turns of each, after one that does not count")
    parser.add_argument("--at-least", type=float, default=MINIMUM, help="ratio below which the run fails")
    parser.add_argument("--json", type=Path, help="where the figures go")
    options = parser.parse_args()

    files = jpegs(options.images)
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "vit-b-32.pt"
        save_random_weights(weights)
        torch.set_num_threads(cpus.available())
        encoder = ImageEncoder(str(weights))
        ways: dict[str, Callable[[list[bytes]], np.ndarray]] = {
            "plain loop": plain_loop(weights),
            "library": partial(encoder.encode, batch_size=BATCH),
        }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    results = {}
    with tqdm(total=(options.rounds + 1) * len(ways), unit="run", disable=not sys.stderr.isatty()) as progress:
        for turn in range(options.rounds + 1):
            for name, encode in ways.items():
                begin = time.perf_counter()
                results[name] = encode(files)
                if turn:
                    seconds[name].append(time.perf_counter() - begin)
                progress.update()
    encoder.close()

    rates = {name: options.images / statistics.median(values) for name, values in seconds.items()}
    ratio = rates["library"] / rates["plain loop"]
    difference = float(np.abs(results["library"] - results["plain loop"]).max())
    machine = f"{cpus.available()} CPUs ({platform.machine()}), torch {torch.__version__}"
    print(f"{options.images} JPEGs of 640 x 427, ViT-B/32 (random weights), batches of {BATCH}; {machine}")
    for name, rate in rates.items():
        slowest, fastest = options.images / max(seconds[name]), options.images / min(seconds[name])
        print(f"  {name:<11} {rate:6.1f} images/s   ({slowest:.1f} to {fastest:.1f})")
    print(f"  ratio       {ratio:6.2f}            largest difference of an element {difference:.1e}")
    if options.json:
        figures = {"machine": machine, "load": os.getloadavg()[0], "images_per_second": rates, "ratio": ratio}
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    if difference > 1e-5 or ratio < options.at_least:
        print(f"expected a ratio of at least {options.at_least} and a difference of at most 1e-05", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
