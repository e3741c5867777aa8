"""What made a vector, in one name: two vectors can be compared where their models have one checkpoint, and are of the
same numbers where they have one fingerprint.

    python -m clip_image_flow.fingerprint ViT-B/32

A fingerprint is the SHA-256, in hex, of this JSON (sorted keys, no spaces):

| key | value |
|---|---|
| `kind` | the half of the model, `image` or `text` |
| `weights` | SHA-256 of the weights' files: of their SHA-256, one after the other |
| `prepared` | how an item becomes the model's input: `PREPARED`, and for images the option `decode` |
| `precision` | `fp32`, `bf16`, `fp16` or `int8` |
| `calibration` | of int8 alone: SHA-256 of the list of its files' SHA-256 |

What computes (torch, OpenVINO, their versions, the CPU) is not in it: in fp32 their numbers differ by 1e-5. Nor is what
changes no vector: batch sizes, limits, `truncate`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from typing import Any

from clip_image_flow import models
from clip_image_flow.models.normalisation import MEAN, STD
from clip_image_flow.options import DECODE
from clip_wire.info import IMAGE, TEXT

PREPARED: dict[str, dict[str, Any]] = {
    IMAGE: {"resize": "shortest side, bicubic", "crop": "centre", "mean": MEAN, "std": STD},
    TEXT: {"tokens": "CLIP's byte pair encoding, 49408 tokens", "case": "lower"},
}
_PRECISIONS = ("fp32", "bf16", "fp16")


def fingerprint(kind: str, weights: str, precision: str, *, decode: str = "exact", calibration: str = "") -> str:
    """The name of what makes a vector so, 64 hex digits.

    :param kind: `image` or `text`.
    :param weights: see `Checkpoint.fingerprint`.
    :param decode: see `EncoderOptions`; it changes pictures alone.
    :param calibration: of int8.
    """
    described = {
        "kind": kind,
        "weights": weights,
        "precision": precision,
        "prepared": PREPARED[kind] | ({"decode": decode} if kind == IMAGE else {}),
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
    weights = models.resolve(options.model, options.cache_dir).fingerprint()
    if weights is None:
        sys.exit(f"error: the files of {options.model!r} are not here: start it once, or name their path")
    for kind in (IMAGE, TEXT):
        found = fingerprint(kind, weights, options.precision, decode=options.decode)
        sys.stdout.write(f"{kind:<6} {found}\n")


if __name__ == "__main__":
    main()
