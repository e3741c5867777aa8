"""Encode a document of text and images: it gets a row per image chunk, or each chunk gets a vector.

python examples/03_chunks.py --host grpc://127.0.0.1:51000
"""

import argparse
import os
from pathlib import Path

from docarray import Document, DocumentArray
from jina import Client

PICTURES = Path(__file__).parent / "pictures" / "heldout"

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--host", default="grpc://127.0.0.1:51000", help="a running Flow (default: %(default)s)")
arguments = parser.parse_args()

# Jina sends telemetry for every Client unless this is set.
os.environ.setdefault("JINA_OPTOUT_TELEMETRY", "1")
client = Client(host=arguments.host)


def page() -> Document:
    """Return a page with two images and a line of text between them."""
    fox, owl = ((PICTURES / f"{name}.png").read_bytes() for name in ("fox", "owl"))
    chunks = [
        Document(modality="image", blob=fox),
        Document(modality="text", text="met an owl"),
        Document(modality="image", blob=owl),
    ]
    return Document(id="page", chunks=DocumentArray(chunks))


# The root documents, which is the default; the chunks, where texts get vectors like images; both.
for path in ("@r", "@c", "@r,c"):
    doc = client.post("/", DocumentArray([page()]), parameters={"traversal_paths": path})[0]
    print(f"traversal_paths {path!r}")
    print("    page         ", None if doc.embedding is None else doc.embedding.shape)
    for chunk in doc.chunks:
        print(f"    chunk {chunk.modality:7}", None if chunk.embedding is None else chunk.embedding.shape)
