"""Measure the text-to-image recall of weights, served by the Flow, on the held-out emoji style.

    python training/emoji_tiny/evaluate.py --at-least 0.14 0.36 0.50

Each query is "an emoji of NAME"; all held-out images are ranked by cosine similarity. Queries and images are encoded by
flows/clip_flow.yml, which this program starts. With `--precision` the images are also encoded by the library in that
precision, and recall may be at most one percentage point lower.
"""

from __future__ import annotations

import argparse
import io
import os
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

sys.path.append(str(REPO_ROOT))  # for `scripts`, which is not installed
with warnings.catch_warnings():
    # Hides a warning about a dependency of Jina that imports pkg_resources.
    warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
    from docarray import Document, DocumentArray
    from jina import Client

    from clip_image_flow import ImageEncoder
    from clip_image_flow.encoder import unit_length
    from clip_image_flow.models import EMBEDDED_FILE
    from scripts.flow.names import SERVED_FLOW
    from scripts.flow.running import FlowError, running_flow
    from scripts.processes import free_ports

POINT = 0.01


def encode_by_flow(weights: Path, texts: list[str], files: list[bytes], log: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Encode texts and images with a Flow; return unit vectors ``[count, dims]`` of each.

    :param weights: model that the Flow serves.
    :param texts: texts to encode.
    :param files: image files to encode.
    :param log: file for the Flow's log.
    :raises FlowError: if the Flow does not start.
    """
    ports = dict(zip(("CLIP_GRPC_PORT", "CLIP_HTTP_PORT"), map(str, free_ports(2)), strict=True))
    environment = {**os.environ, **ports, "FLOW": str(SERVED_FLOW), "CLIP_MODEL": str(weights)}
    with log.open("wb") as output, running_flow(environment, output) as flow:
        client = Client(host=flow.grpc)

        def encode(docs: DocumentArray) -> torch.Tensor:
            parameters = {"normalize": True, "drop_image_content": True}
            answer = client.post("/", docs, parameters=parameters, request_size=64, show_progress=True)
            return torch.from_numpy(np.stack([answer[doc.id].embedding for doc in docs]))

        return (
            encode(DocumentArray(Document(text=text) for text in texts)),
            encode(DocumentArray(Document(blob=file) for file in files)),
        )


def encode_by_library(weights: Path, files: list[bytes], precision: str) -> torch.Tensor:
    """Encode images with the library in `precision`; return unit vectors ``[count, dims]``."""
    encoder = ImageEncoder(str(weights), precision=precision)
    embeddings = encoder.encode(files)
    encoder.close()
    return torch.from_numpy(np.stack([unit_length(embedding) for embedding in embeddings]))


def files_of(held_out: HeldOutSet) -> list[bytes]:
    """Return the images as PNG files with transparency."""
    files = []
    for rgba in held_out.pictures:
        file = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(rgba)).save(file, "PNG", compress_level=1)
        files.append(file.getvalue())
    return files


def main() -> None:
    """Print the recall; the exit code is 1 if one is below its minimum."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],  # type: ignore[union-attr]
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("weights", type=Path, nargs="?", default=EMBEDDED_FILE)
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE, help="data folder")
    parser.add_argument(
        "--at-least", type=float, nargs=3, default=(0.0, 0.0, 0.0), metavar=("R1", "R5", "R10"),
        help="lowest allowed recall@1, @5 and @10",
    )  # fmt: skip
    parser.add_argument("--precision", help="also evaluate this precision of the library, such as int8")
    options = parser.parse_args()
    held_out = load_held_out_set(options.cache)
    queries, files = [TEMPLATE.format(item.label) for item in held_out.emoji], files_of(held_out)
    log = options.cache / "flow.log"
    try:
        texts, pictures = encode_by_flow(options.weights, queries, files, log)
    except FlowError as error:
        sys.exit(f"{error}: {log}")
    scores = recall(texts, pictures)
    print(f"{len(held_out.emoji)} emoji of {HELD_OUT.name} {HELD_OUT.version}")
    for cut in CUTS:
        print(f"recall@{cut}: {scores[cut]:.3f}")
    bars = dict(zip(CUTS, options.at_least, strict=True))
    missed = [f"recall@{cut} is below {bar}" for cut, bar in bars.items() if scores[cut] < bar]
    if options.precision:
        others = recall(texts, encode_by_library(options.weights, files, options.precision))
        for cut in CUTS:
            print(f"recall@{cut} in {options.precision}: {others[cut]:.3f}")
        missed += [f"recall@{cut} in {options.precision} is lower" for cut in CUTS if others[cut] < scores[cut] - POINT]
    if missed:
        sys.exit("; ".join(missed))


if __name__ == "__main__":
    main()
