"""Encode an image over HTTP: first with Jina's Client, then as plain JSON that any language can send.

python examples/02_http.py --host http://127.0.0.1:8000 cat.jpg
"""

import argparse
import base64
import json
import os
import urllib.request
from pathlib import Path

import numpy as np
from docarray import Document, DocumentArray
from jina import Client

PICTURE = Path(__file__).parent / "pictures" / "heldout" / "fox.png"

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--host", default="http://127.0.0.1:8000", help="a running Flow (default: %(default)s)")
parser.add_argument("picture", nargs="?", type=Path, default=PICTURE, help="a file (default: a committed picture)")
arguments = parser.parse_args()
blob = arguments.picture.read_bytes()

# Jina sends telemetry for every Client unless this is set.
os.environ.setdefault("JINA_OPTOUT_TELEMETRY", "1")
client = Client(host=arguments.host)
by_client = client.post("/", DocumentArray([Document(blob=blob)]))[0].embedding
print("Jina's Client:", by_client.shape, by_client[:4])

body = {"execEndpoint": "/", "data": [{"blob": base64.b64encode(blob).decode()}], "parameters": {"normalize": True}}
request = urllib.request.Request(
    f"{arguments.host}/post", json.dumps(body).encode(), headers={"Content-Type": "application/json"}
)
with urllib.request.urlopen(request) as response:
    answer = json.load(response)
by_json = np.array(answer["data"][0]["embedding"], dtype=np.float32)  # JSON has no float32
print("plain JSON, normalised:", by_json.shape, by_json[:4], "length", round(float(np.linalg.norm(by_json)), 4))
