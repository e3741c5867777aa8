"""Measure models of each family on this machine's CPUs, and compare the library with `open_clip` itself.

    python -m benchmarks.families [ARCHITECTURE ...]

Each model has random weights, in the file layout of a real checkpoint: its computation takes the same time as with the
real weights. All encode the same JPEGs of 640 x 427. `open_clip` opens, preprocesses and encodes as in its README; the
bare forward pass gets preprocessed images; the library does all of it. They are measured alternately. CPU milliseconds
are the sum over all cores: halve them for two idle cores. Memory is the resident memory of a process that has loaded
both towers from cached conversions, after some images and texts.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from benchmarks import measure
from benchmarks.in_process import plainly
from benchmarks.pictures import FOLDER, jpegs
from clip_image_flow import ImageEncoder, backends
from clip_image_flow.errors import ConfigError
from clip_image_flow.image.preparation import ImagePreparer, square
from clip_image_flow.image.reader import ImageReader
from clip_image_flow.image.uris import UriReader
from clip_image_flow.models.openclip.library import open_clip
from clip_image_flow.platform import cpus
from clip_image_flow.quantize import LEAST as LEAST_CALIBRATION
from clip_image_flow.quantize import quantize
from clip_image_flow.towers import image_tower, text_tower

FAMILIES = (
    "ViT-B-32",
    "ViT-B-16",
    "ViT-L-14",
    "RN50",
    "convnext_base",
    "EVA02-B-16",
    "MobileCLIP2-S0",
    "MobileCLIP2-S2",
    "PE-Core-B-16",
    "ViT-B-32-SigLIP2-256",
    "ViT-B-16-SigLIP2",
    "ViT-L-16-SigLIP2-256",
)
LEAST = {"open_clip": 1.3, "forward": 0.9}
_BATCH = 16
_WORDS = 8  # tokens of a query

_MEMORY = """
import sys
import numpy as np
from clip_image_flow import backends
from clip_image_flow.towers import image_tower, text_tower
from clip_image_flow.platform import cpus

for make in (image_tower, text_tower):
    backend = backends.load(
        "openvino", make(sys.argv[1], sys.argv[2]), device="cpu", precision=sys.argv[3], threads=cpus.available()
    )
    for _ in range(3):
        backend.encode(np.zeros((8, *backend.item_shape), backend.item_dtype))
    globals()[make.__name__] = backend
status = open("/proc/self/status").read()
print(int(status.split("VmRSS:")[1].split()[0]) // 1024)
"""


def checkpoint(architecture: str) -> Path:
    """Return a directory in OpenCLIP's layout with random weights; it is created once."""
    folder = FOLDER / "families" / architecture
    if not (folder / "open_clip_config.json").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(0)
        model = random_model(architecture)
        save_file(
            {name: value.contiguous() for name, value in model.state_dict().items()},
            folder / "open_clip_model.safetensors",
        )
        tags = open_clip.list_pretrained_tags_by_model(architecture)
        pretrained = open_clip.get_pretrained_cfg(architecture, tags[-1]) if tags else {}
        keys = ("mean", "std", "interpolation", "resize_mode")
        config = {
            "model_cfg": open_clip.get_model_config(architecture),
            "preprocess_cfg": {key: pretrained[key] for key in keys if key in pretrained},
        }
        (folder / "open_clip_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def random_model(architecture: str) -> Any:
    """Return `open_clip`'s model with noise on each weight: some networks are initialized with nearly zero output."""
    config = open_clip.get_model_config(architecture)
    whole = open_clip.CustomTextCLIP if config.pop("custom_text", False) else open_clip.CLIP
    model = whole(**config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.01)
    return model


def forward(backend: backends.Backend, items: np.ndarray) -> None:
    """Run only the forward passes, in batches of the backend's best size."""
    for start in range(0, len(items), backend.best_batch_size):
        backend.encode(items[start : start + backend.best_batch_size])


def calibrated(folder: Path, files: list[bytes]) -> None:
    """Quantize the image tower to int8, if the cache does not have it."""
    try:
        backends.load("openvino", image_tower(str(folder), str(FOLDER)), device="cpu", precision="int8", threads=1)
    except ConfigError:
        pictures = FOLDER / "families" / "calibration"
        pictures.mkdir(parents=True, exist_ok=True)
        for i, file in enumerate(files[: 2 * LEAST_CALIBRATION]):
            (pictures / f"{i:03d}.jpg").write_bytes(file)
        quantize(str(folder), [pictures], cache_dir=str(FOLDER))


def memory(folder: Path, precision: str) -> int:
    """Return the resident memory, in MB, of a process that has loaded both towers from cached conversions."""
    command = [sys.executable, "-W", "ignore", "-c", _MEMORY, str(folder), str(FOLDER), precision]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def of_family(architecture: str, files: list[bytes], rounds: int, precisions: list[str]) -> dict[str, Any]:
    """Measure one architecture; return all of its figures."""
    folder = checkpoint(architecture)
    model, transform = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    threads = cpus.available()
    torch.set_num_threads(threads)
    tower = image_tower(str(folder), str(FOLDER))
    ways: dict[str, Callable[[], object]] = {"open_clip": partial(plainly, model.eval(), transform, files, _BATCH)}
    dims: dict[str, Any] = {}
    encoders: list[ImageEncoder] = []
    for precision in precisions:
        if precision == "int8":
            calibrated(folder, files)
        load = partial(backends.load, "openvino", device="cpu", threads=threads)
        backend = load(tower, precision=precision)
        size = backend.item_shape[0]
        dims |= {"dim": backend.dim, "pixels": size}
        prepare = ImagePreparer(ImageReader(1 << 25, 1 << 25, UriReader()), square(tower.prepared(), size))
        pictures = np.stack([prepare(file) for file in files])
        ways[f"forward {precision}"] = partial(forward, backend, pictures)
        encoders.append(ImageEncoder(str(folder), precision=precision, cache_dir=str(FOLDER)))
        ways[f"library {precision}"] = partial(encoders[-1].encode, files, batch_size=_BATCH)
        if precision != "int8":
            text = load(text_tower(str(folder), str(FOLDER)), precision=precision)
            shortens = not open_clip.get_model_config(architecture)["text_cfg"].get("no_causal_mask")
            tokens = np.full((1, _WORDS if shortens else text.item_shape[0]), 2, text.item_dtype)
            ways[f"one text {precision}"] = partial(text.encode, tokens)
    turns = measure.take_turns(ways, rounds)
    ours = encoders[0].encode(files[:_BATCH])
    theirs = plainly(model, transform, files[:_BATCH], _BATCH)
    cosine = (ours * theirs).sum(axis=1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)
    for encoder in encoders:
        encoder.close()
    counts = {name: 1 if name.startswith("one text") else len(files) for name in turns}
    return {
        **dims,
        "million_weights": round(sum(p.numel() for p in model.parameters()) / 1e6),
        "ms": {n: round(1000 * statistics.median(t.seconds) / counts[n], 2) for n, t in turns.items()},
        "cpu_ms": {n: round(1000 * statistics.median(t.cpu_seconds) / counts[n], 2) for n, t in turns.items()},
        "times_open_clip": {
            p: round(measure.times_faster(turns["open_clip"].seconds, turns[f"library {p}"].seconds), 2)
            for p in precisions
        },
        "of_forward_pass": {
            p: round(measure.times_faster(turns[f"forward {p}"].seconds, turns[f"library {p}"].seconds), 2)
            for p in precisions
        },
        "least_cosine": float(cosine.min()),
        "mb": {p: memory(folder, p) for p in precisions if p != "int8"},
    }


def kept() -> dict[str, dict[str, Any]]:
    """Return the figures of earlier runs: architecture -> figures."""
    file = measure.RESULTS / "families.json"
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return {name: of for name, of in found.items() if name != "machine"}


def table(figures: dict[str, dict[str, Any]]) -> str:
    """Return the figures as a Markdown table."""
    names = "architecture, pixels, dim, weights (M), fp32, bf16, int8, a text, MB, to open_clip, to the forward pass"
    columns = names.split(", ")
    rows = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for name, of in figures.items():
        ms = [of["cpu_ms"].get(way) for way in ("forward fp32", "forward bf16", "forward int8", "one text fp32")]
        cells = [f"`{name}`", of["pixels"], of["dim"], of["million_weights"]]
        cells += ["" if one is None else f"{one:.0f}" for one in ms]
        cells += [
            of["mb"].get("fp32", ""),
            f"{of['times_open_clip']['fp32']:.1f}",
            f"{of['of_forward_pass']['fp32']:.2f}",
        ]
        rows.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(rows)


def main() -> int:
    """Measure; the exit code is 1 if embeddings differ, or with --check if a ratio is below its minimum."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("architectures", nargs="*", default=FAMILIES, help=f"names of OpenCLIP ({', '.join(FAMILIES)})")
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3, help="rounds, after a warm-up round (%(default)s)")
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16", "int8"])
    parser.add_argument("--check", action="store_true", help="fail when a ratio is below its floor")
    options = parser.parse_args()
    files = jpegs(options.images)
    figures: dict[str, dict[str, Any]] = {}
    for architecture in options.architectures:
        figures[architecture] = of_family(architecture, files, options.rounds, options.precisions)
        print(f"{architecture}: {json.dumps(figures[architecture])}", flush=True)
        measure.save("families", {**kept(), **figures})  # here, since a long run may be interrupted
    print(f"{options.images} JPEGs of 640 x 427, random weights; {measure.describe(measure.machine())}")
    print(table(figures))
    low = [
        f"{name} to {what}"
        for name, of in figures.items()
        for what, key in (("open_clip", "times_open_clip"), ("forward", "of_forward_pass"))
        if of[key].get("fp32", LEAST[what]) < LEAST[what]
    ]
    wrong = any(of["least_cosine"] < 0.99999 for of in figures.values())
    return measure.exit_code(wrong or bool(options.check and low), low, "the difference")


if __name__ == "__main__":
    sys.exit(main())
