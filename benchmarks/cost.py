"""Measure how the cost of an image grows with model and image size: CPU milliseconds of all cores, in process.

    python -m benchmarks.cost

CPU time can be added over cores, replicas and machines, and other programs on the machine affect it less than
wall-clock time.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from dataclasses import dataclass

import numpy as np
import torch

from benchmarks import measure
from benchmarks.pictures import FOLDER, jpegs
from clip_image_flow import ImageEncoder, backends, towers
from clip_image_flow.image.preparation import ImagePreparer
from clip_image_flow.image.preprocess import Square
from clip_image_flow.image.reader import ImageReader
from clip_image_flow.image.uris import UriReader
from clip_image_flow.models.openai_clip import VisionTransformer
from clip_image_flow.platform import cpus
from clip_image_flow.towers.image import ImageTower
from clip_wire.info import IMAGE

SIZES = ((320, 240), (640, 427), (1600, 1200), (4032, 3024))  # pixels


@dataclass(frozen=True)
class Tower:
    """The shape of one of OpenAI's image towers."""

    patch: int
    width: int
    layers: int
    resolution: int = 224
    dim: int = 512


TOWERS = {
    "ViT-B/32": Tower(32, 768, 12),
    "ViT-B/16": Tower(16, 768, 12),
    "ViT-L/14": Tower(14, 1024, 24, dim=768),
    "ViT-L/14@336px": Tower(14, 1024, 24, 336, 768),
}


def forward_pass(tower: Tower, batch: int, rounds: int) -> float:
    """Return the CPU milliseconds per image of one tower with random weights, in fp32."""
    torch.manual_seed(0)
    visual = VisionTransformer(
        input_resolution=tower.resolution,
        patch_size=tower.patch,
        width=tower.width,
        layers=tower.layers,
        heads=tower.width // 64,
        output_dim=tower.dim,
    )
    half = towers.Tower(IMAGE, lambda: ImageTower(visual.eval()), lambda: None, FOLDER)
    backend = backends.load("auto", half, device="cpu", precision="fp32", threads=cpus.available())
    pictures = np.zeros((batch, tower.resolution, tower.resolution, 3), dtype=np.uint8)
    turns = measure.repeat(lambda: backend.encode(pictures), rounds)
    return 1000 * statistics.median(turns.cpu_seconds) / batch


def preparing(size: tuple[int, int], decode: str, count: int, rounds: int) -> float:
    """Return the CPU milliseconds to decode and preprocess a JPEG of `size`, in pixels."""
    exact = decode == "exact"
    reader, files = ImageReader(1 << 25, 1 << 25, UriReader()), jpegs(count, size)
    prepare = ImagePreparer(reader, Square(224), exact=exact, at_least=None if exact else int(1.5 * 224))
    turns = measure.repeat(lambda: [prepare(file) for file in files], rounds)
    return 1000 * statistics.median(turns.cpu_seconds) / count


def main() -> int:
    """Measure and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(f"CPU ms an image; {measure.describe(measure.machine())}")
    models = {}
    for name, tower in TOWERS.items():
        models[name] = forward_pass(tower, 4 if "L" in name else 16, options.rounds)
        print(f"  forward pass of {name:<15} {models[name]:8.1f}", flush=True)
    images: dict[str, dict[str, float]] = {}
    for size in SIZES:
        label = f"{size[0]} x {size[1]}"
        count = 4 if size[0] > 2000 else 16
        images[label] = {decode: preparing(size, decode, count, options.rounds) for decode in ("exact", "fast")}
        print(
            f"  JPEG of {label:<12} exact {images[label]['exact']:6.1f}   fast {images[label]['fast']:6.1f}", flush=True
        )
    tiny = ImageEncoder("emoji-tiny", cache_dir=str(FOLDER))
    files = jpegs(64)
    turns = measure.repeat(lambda: tiny.encode(files), options.rounds)
    tiny.close()
    whole = 1000 * statistics.median(turns.cpu_seconds) / len(files)
    print(f"  emoji-tiny, all of it {whole:8.1f}")
    measure.save("cost", {"cpu_ms_forward_pass": models, "cpu_ms_jpeg": images, "cpu_ms_emoji_tiny": whole})
    return 0


if __name__ == "__main__":
    sys.exit(main())
