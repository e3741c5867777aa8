"""What made a vector, in one name: two vectors can be compared where their models have one checkpoint, and are of the
same numbers where they have one fingerprint.

    python -m clip_image_flow.fingerprint ViT-B/32

A fingerprint is the SHA-256, in hex, of this JSON (sorted keys, no spaces):

| key | value |
|---|---|
| `kind` | the half of the model, `image` or `text` |
| `weights` | SHA-256 of the weights' files: of their SHA-256, one after the other |
| `prepared` | how an item becomes the model's input: see below, and for images the option `decode` |
| `precision` | `fp32`, `bf16`, `fp16` or `int8` |
| `calibration` | of int8 alone: SHA-256 of the list of its files' SHA-256 |

`prepared` of a picture says how it is resized, its mean and std; of a text, its tokenizer (by its SHA-256 where it is a
file) and how the text is cleaned. Of OpenCLIP's models the architecture stands in no file of weights, so the JSON of
architecture and preprocessing comes first in `weights`.

What computes (torch, OpenVINO, their versions, the CPU) is not in it: in fp32 their numbers differ by 1e-5. Nor is what
changes no vector: batch sizes, limits, `truncate`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Mapping
from typing import Any

from clip_image_flow import models
from clip_image_flow.options import DECODE
from clip_wire.info import IMAGE, TEXT

PREPARED: dict[str, dict[str, Any]] = {
    IMAGE: models.ImagePreparation().described(),
    TEXT: models.TextPreparation().described(),
}
"""How OpenAI's models want it."""
_PRECISIONS = ("fp32", "bf16", "fp16")


def fingerprint(
    kind: str,
    weights: str,
    precision: str,
    *,
    prepared: Mapping[str, Any] | None = None,
    decode: str = "exact",
    calibration: str = "",
) -> str:
    """The name of what makes a vector so, 64 hex digits.

    :param kind: `image` or `text`.
    :param weights: see `Checkpoint.fingerprint`.
    :param prepared: see `ImagePreparation.described` and `TextPreparation.described`; by default OpenAI's.
    :param decode: see `EncoderOptions`; it changes pictures alone.
    :param calibration: of int8.
    """
    described = {
        "kind": kind,
        "weights": weights,
        "precision": precision,
        "prepared": dict(prepared or PREPARED[kind]) | ({"decode": decode} if kind == IMAGE else {}),
        **({"calibration": calibration} if calibration else {}),
    }
    return hashlib.sha256(json.dumps(described, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def main() -> None:
    """Print the fingerprints of both halves of a model."""
    parser = argparse.ArgumentParser(
        prog="python -m clip_image_flow.fingerprint", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("model", help="a name or path as in pretrained_model_name_or_path; its files must be here")
    parser.add_argument("--precision", choices=_PRECISIONS, default="fp32", help="(%(default)s); of int8 see /info")
    parser.add_argument("--decode", choices=DECODE, default="exact", help="of pictures (%(default)s)")
    parser.add_argument("--cache-dir", help="as the Executor's option cache_dir; by default CLIP_CACHE")
    options = parser.parse_args()
    checkpoint = models.resolve(options.model, options.cache_dir)
    weights = checkpoint.fingerprint()
    if weights is None:
        sys.exit(f"error: the files of {options.model!r} are not here: start it once, or name their path")
    for kind in (IMAGE, TEXT):
        prepared = checkpoint.prepared(kind).described()
        found = fingerprint(kind, weights, options.precision, prepared=prepared, decode=options.decode)
        sys.stdout.write(f"{kind:<6} {found}\n")


if __name__ == "__main__":
    main()
