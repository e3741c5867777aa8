"""Find pictures that look alike: embed a folder, keep the vectors in memory, compare by cosine.

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

# Jina reports every Client to its makers unless this is set.
os.environ.setdefault("JINA_OPTOUT_TELEMETRY", "1")
client = Client(host=arguments.host)


def embed(files: list[Path]) -> np.ndarray:
    """Unit vectors, float32 (n, dim), so that a dot product is the cosine."""
    docs = DocumentArray(Document(blob=file.read_bytes()) for file in files)
    encoded = client.post("/", docs, parameters={"normalize": True, "drop_image_content": True}, request_size=32)
    # The requests of one array may be answered out of order: look each document up by its id.
    return np.stack([encoded[doc.id].embedding for doc in docs])


files = sorted(file for file in arguments.folder.iterdir() if file.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp"))
index = embed(files)  # save it with np.save; for millions of pictures a vector database does the same
cosines = index @ embed([arguments.picture])[0]
print(f"most like {arguments.picture.name}, of {len(files)} pictures:")
for row in np.argsort(-cosines)[:6]:
    print(f"    {cosines[row]:.3f}  {files[row].name}")
