"""Handle images that cannot be read, and set options of one request.

python examples/04_skip_bad_pictures.py --host grpc://127.0.0.1:51000
"""

import argparse
import os
from pathlib import Path

import numpy as np
from docarray import Document, DocumentArray
from jina import Client
from jina.excepts import BadServer

PICTURES = Path(__file__).parent / "pictures" / "heldout"

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--host", default="grpc://127.0.0.1:51000", help="a running Flow (default: %(default)s)")
arguments = parser.parse_args()

# Jina sends telemetry for every Client unless this is set.
os.environ.setdefault("JINA_OPTOUT_TELEMETRY", "1")
client = Client(host=arguments.host)

fox = (PICTURES / "fox.png").read_bytes()
docs = DocumentArray(
    [
        Document(id="whole", blob=fox),
        Document(id="truncated", blob=fox[: len(fox) // 2]),
        Document(id="not a picture", blob=b"hello"),
    ]
)

# By default the whole request is rejected if one document is invalid. The Client raises BadServer; its argument is the
# response.
for parameters in ({}, {"batch_size": 0}):
    try:
        client.post("/", docs, parameters=parameters)
    except BadServer as error:
        print(f"refused: {error.args[0].status.description}")

# With `on_error: skip` the valid documents are encoded, and the invalid ones have the reason in their tags.
for doc in client.post("/", docs, parameters={"on_error": "skip", "batch_size": 8, "normalize": True}):
    if doc.embedding is None:
        print(f"{doc.id}: {doc.tags['error']}")
    else:
        print(f"{doc.id}: {doc.embedding.shape}, length {np.linalg.norm(doc.embedding):.4f}")
