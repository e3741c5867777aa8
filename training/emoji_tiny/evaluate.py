"""Score weights on the held-out emoji style by text-to-image recall.

    python training/emoji_tiny/evaluate.py --at-least 0.14 0.36 0.50

Each query is "an emoji of NAME"; all held-out pictures are ranked by cosine similarity. With `--precision` the pictures
are encoded once more by the library in that precision, and recall may be no more than a point below.
"""

from __future__ import annotations

import argparse
import io
import sys
import warnings
from pathlib import Path

import numpy as np
import torch
from captions import TEMPLATE
from data import HeldOutSet, load_held_out_set
from packages import DEFAULT_CACHE, HELD_OUT, REPO_ROOT
from PIL import Image
from score import CUTS, recall
from tqdm import tqdm

with warnings.catch_warnings():
    # The package asks for a module that setuptools has marked as outdated.
    warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
    from clip_image_flow import ImageEncoder
    from clip_image_flow.models.openai_clip import clip

WEIGHTS = REPO_ROOT / "clip_image_flow" / "weights" / "emoji-tiny.pt"


POINT = 0.01


@torch.no_grad()
def evaluate(weights: Path, held_out: HeldOutSet, batch: int = 64) -> tuple[dict[int, float], torch.Tensor]:
    """Load weights as any caller would, with ``clip.load``, and return recall by cut.

    Also the texts' unit vectors ``[count, dims]``.
    """
    model, preprocess = clip.load(str(weights), device="cpu")
    model = model.float().eval()
    texts, images = [], []
    for start in tqdm(range(0, len(held_out.emoji), batch), "encoding"):
        rows = slice(start, start + batch)
        captions = [TEMPLATE.format(item.label) for item in held_out.emoji[rows]]
        pictures = [preprocess(_on_white(rgba)) for rgba in held_out.pictures[rows]]
        texts.append(model.encode_text(clip.tokenize(captions)))
        images.append(model.encode_image(torch.stack(pictures)))
    unit = torch.nn.functional.normalize
    units = unit(torch.cat(texts), dim=-1)
    return recall(units, unit(torch.cat(images), dim=-1)), units


def evaluate_precision(weights: Path, held_out: HeldOutSet, texts: torch.Tensor, precision: str) -> dict[int, float]:
    """Recall by cut of the pictures as the library encodes them in `precision`."""
    encoder = ImageEncoder(str(weights), precision=precision)
    files = []
    for rgba in held_out.pictures:
        file = io.BytesIO()
        _on_white(rgba).save(file, "BMP")
        files.append(file.getvalue())
    images = torch.from_numpy(encoder.encode(files))
    encoder.close()
    return recall(texts, torch.nn.functional.normalize(images, dim=-1))


def _on_white(rgba: np.ndarray) -> Image.Image:
    picture = Image.fromarray(np.ascontiguousarray(rgba))
    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, picture).convert("RGB")


def main() -> None:
    """Print the scores; exit with 1 if any is below its bar."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],  # type: ignore[union-attr]
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("weights", type=Path, nargs="?", default=WEIGHTS)
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE, help="data folder")
    parser.add_argument(
        "--at-least", type=float, nargs=3, default=(0.0, 0.0, 0.0), metavar=("R1", "R5", "R10"),
        help="lowest allowed recall@1, @5 and @10",
    )  # fmt: skip
    parser.add_argument("--precision", help="also in this precision of the library, such as int8")
    options = parser.parse_args()
    held_out = load_held_out_set(options.cache)
    scores, texts = evaluate(options.weights, held_out)
    print(f"{len(held_out.emoji)} emoji of {HELD_OUT.name} {HELD_OUT.version}")
    for cut in CUTS:
        print(f"recall@{cut}: {scores[cut]:.3f}")
    bars = dict(zip(CUTS, options.at_least, strict=True))
    missed = [f"recall@{cut} is below {bar}" for cut, bar in bars.items() if scores[cut] < bar]
    if options.precision:
        others = evaluate_precision(options.weights, held_out, texts, options.precision)
        for cut in CUTS:
            print(f"recall@{cut} in {options.precision}: {others[cut]:.3f}")
        missed += [f"recall@{cut} in {options.precision} is lower" for cut in CUTS if others[cut] < scores[cut] - POINT]
    if missed:
        sys.exit("; ".join(missed))


if __name__ == "__main__":
    main()
