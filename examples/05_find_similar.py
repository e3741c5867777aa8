"""Find similar images: encode a folder, keep the vectors in memory, compare them by cosine.

python examples/05_find_similar.py --host grpc://127.0.0.1:51000 --folder holidays cat.jpg
"""

import argparse
import os
from pathlib import Path

import numpy as np
from docarray import Document, DocumentArray
from jina import Client

PICTURES = Path(__file__).parent / "pictures" / "heldout"

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--host", default="grpc://127.0.0.1:51000", help="a running Flow (default: %(default)s)")
parser.add_argument("--folder", type=Path, default=PICTURES, help="pictures to search (default: the committed ones)")
parser.add_argument(
    "picture", nargs="?", type=Path, default=PICTURES / "tiger-face.png", help="image to find similar ones of"
)
arguments = parser.parse_args()

# Jina sends telemetry for every Client unless this is set.
os.environ.setdefault("JINA_OPTOUT_TELEMETRY", "1")
client = Client(host=arguments.host)


def embed(files: list[Path]) -> np.ndarray:
    """Return unit vectors, float32 (n, dim), so that a dot product is the cosine."""
    docs = DocumentArray(Document(blob=file.read_bytes()) for file in files)
    encoded = client.post("/", docs, parameters={"normalize": True, "drop_image_content": True}, request_size=32)
    # The responses to the requests of one array may come in another order, so each document is looked up by its id.
    return np.stack([encoded[doc.id].embedding for doc in docs])


files = sorted(file for file in arguments.folder.iterdir() if file.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp"))
index = embed(files)  # np.save saves it; for millions of images, use a vector database
cosines = index @ embed([arguments.picture])[0]
print(f"most like {arguments.picture.name}, of {len(files)} pictures:")
for row in np.argsort(-cosines)[:6]:
    print(f"    {cosines[row]:.3f}  {files[row].name}")
