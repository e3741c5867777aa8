"""Computes the fingerprint of a model half: SHA-256 of everything that changes its vectors.

Two vectors can be compared if their models have the same checkpoint; they have the same numbers if they have the same
fingerprint.

    python -m clip_image_flow.fingerprint ViT-B/32

A fingerprint is the SHA-256, in hex, of this JSON (sorted keys, no spaces):

| key | value |
|---|---|
| `kind` | the half of the model, `image` or `text` |
| `weights` | SHA-256 of the concatenated SHA-256 of the weight files |
| `prepared` | preprocessing of an item: see below, and for images the option `decode` |
| `precision` | `fp32`, `bf16`, `fp16` or `int8` |
| `calibration` | only with int8: SHA-256 of the list of its files' SHA-256 |

`prepared` of an image has the resizing, mean and std; that of a text has the tokenizer (by its SHA-256 if it is a file)
and the text cleaning. The weight files of OpenCLIP's models do not contain the architecture, so `weights` starts with
the JSON of architecture and preprocessing.

The fingerprint does not depend on the engine (torch, OpenVINO, their versions, the CPU), whose numbers differ by 1e-5
in fp32, nor on options that change no vector: batch sizes, limits, `truncate`.
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
"""Preprocessing of OpenAI's models."""
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
    """The fingerprint, 64 hex digits.

    :param kind: `image` or `text`.
    :param weights: fingerprint of the weights, see `Checkpoint.fingerprint`.
    :param prepared: preprocessing, see `ImagePreparation.described` and `TextPreparation.described`; by default
        OpenAI's.
    :param decode: see `EncoderOptions`; ignored for texts.
    :param calibration: SHA-256 of the int8 calibration in hex, "" for other precisions.
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
    parser.add_argument("model", help="as pretrained_model_name_or_path; its files must be on this machine")
    parser.add_argument("--precision", choices=_PRECISIONS, default="fp32", help="(%(default)s); for int8 see /info")
    parser.add_argument("--decode", choices=DECODE, default="exact", help="how images are decoded (%(default)s)")
    parser.add_argument("--cache-dir", help="as the Executor's option cache_dir (default: CLIP_CACHE)")
    options = parser.parse_args()
    checkpoint = models.resolve(options.model, options.cache_dir)
    weights = checkpoint.fingerprint()
    if weights is None:
        sys.exit(f"error: the files of {options.model!r} are not on this machine: start it once, or give their path")
    for kind in (IMAGE, TEXT):
        prepared = checkpoint.prepared(kind).described()
        found = fingerprint(kind, weights, options.precision, prepared=prepared, decode=options.decode)
        sys.stdout.write(f"{kind:<6} {found}\n")


if __name__ == "__main__":
    main()
