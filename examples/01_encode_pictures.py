"""Encode images over gRPC: files in, embeddings out.

python examples/01_encode_pictures.py --host grpc://127.0.0.1:51000 cat.jpg dog.png
"""

import argparse
import os
from pathlib import Path

from docarray import Document, DocumentArray
from jina import Client

PICTURES = Path(__file__).parent / "pictures" / "heldout"

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--host", default="grpc://127.0.0.1:51000", help="a running Flow (default: %(default)s)")
parser.add_argument("pictures", nargs="*", type=Path, metavar="PICTURE", help="files (default: the committed pictures)")
arguments = parser.parse_args()

# Jina sends telemetry for every Client unless this is set.
os.environ.setdefault("JINA_OPTOUT_TELEMETRY", "1")
client = Client(host=arguments.host)

# Files are sent as blobs: sending decoded tensors would take forty times as long over HTTP.
files = arguments.pictures or sorted(PICTURES.glob("*.png"))
docs = DocumentArray(Document(id=file.name, blob=file.read_bytes()) for file in files)

# `/` is the Executor's default endpoint. A large array is sent in several requests, and their responses may come in
# another order: the ids identify the documents.
encoded = client.post("/", docs, parameters={"drop_image_content": True}, request_size=32)

for doc in encoded:
    first = ", ".join(f"{value:+.3f}" for value in doc.embedding[:4])
    print(f"{doc.id:40} {doc.embedding.dtype} {doc.embedding.shape}  [{first}, ...]")
