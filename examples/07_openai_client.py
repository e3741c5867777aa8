"""Encode images with OpenAI's own client: images are sent as data URIs.

python examples/07_openai_client.py --host http://127.0.0.1:8000 cat.jpg dog.png
"""

import argparse
import base64
import mimetypes
from pathlib import Path

import numpy as np
from openai import OpenAI

PICTURES = Path(__file__).parent / "pictures" / "heldout"

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--host", default="http://127.0.0.1:8000", help="a running Flow (default: %(default)s)")
parser.add_argument("--token", default="none", help="token, if the gateway requires one")
parser.add_argument("pictures", nargs="*", type=Path, metavar="PICTURE", help="files (default: two committed pictures)")
arguments = parser.parse_args()
files = arguments.pictures or [PICTURES / "fox.png", PICTURES / "owl.png"]

client = OpenAI(base_url=f"{arguments.host}/v1", api_key=arguments.token)
model = client.models.list().data[0].id


def data_uri(file: Path) -> str:
    """Return the file as a data URI, which can be sent in JSON."""
    kind = mimetypes.guess_type(file)[0] or "image/png"
    return f"data:{kind};base64,{base64.b64encode(file.read_bytes()).decode()}"


answer = client.embeddings.create(model=model, input=[data_uri(file) for file in files])
for file, item in zip(files, answer.data, strict=True):
    print(f"{model}  {file.name:12} {np.array(item.embedding, dtype=np.float32).shape}")
