"""Encode images in your own process: the library without Jina; no Flow is needed.

python examples/06_without_jina.py --model emoji-tiny cat.jpg dog.png
"""

import argparse
import os
from pathlib import Path

from clip_image_flow import ImageEncoder

PICTURES = Path(__file__).parent / "pictures" / "heldout"

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--host", help="ignored: accepted so that all the examples are called alike")
parser.add_argument("--model", default=os.environ.get("CLIP_MODEL", "emoji-tiny"), help="(default: %(default)s)")
parser.add_argument("pictures", nargs="*", type=Path, metavar="PICTURE", help="files (default: the committed pictures)")
arguments = parser.parse_args()

encoder = ImageEncoder(arguments.model)
print(encoder.info)

files = arguments.pictures or sorted(PICTURES.glob("*.png"))
embeddings = encoder.encode([file.read_bytes() for file in files], batch_size=32)
print(f"{len(files)} pictures -> {embeddings.dtype} {embeddings.shape}")
encoder.close()
