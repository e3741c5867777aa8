"""Search a folder of images by text: the Flow encodes both, and the cosine is the similarity.

python examples/09_search_by_words.py --host grpc://127.0.0.1:51000 holidays "a dog on a beach" "a red car"
"""

import argparse
import os
from pathlib import Path

from docarray import Document, DocumentArray
from jina import Client

PICTURES = Path(__file__).parent / "pictures"
QUERIES = ["a red apple", "a smiling face", "a sailboat"]

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--host", default="grpc://127.0.0.1:51000", help="a running Flow (default: %(default)s)")
parser.add_argument("--best", type=int, default=5, metavar="N", help="pictures to print (default: %(default)s)")
parser.add_argument("folder", nargs="?", type=Path, default=PICTURES, help="pictures (default: the committed ones)")
parser.add_argument("words", nargs="*", default=QUERIES, metavar="WORDS", help=f"(default: {QUERIES})")
arguments = parser.parse_args()

# Jina sends telemetry for every Client unless this is set.
os.environ.setdefault("JINA_OPTOUT_TELEMETRY", "1")
client = Client(host=arguments.host)

# The images in the folder and its subfolders. Files that are not images are skipped, and images are not sent back.
files = sorted(
    file for file in arguments.folder.rglob("*") if file.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp")
)
if not files:
    parser.error(f"no pictures in {arguments.folder}")
docs = DocumentArray(Document(uri=str(file.relative_to(arguments.folder)), blob=file.read_bytes()) for file in files)
answer = client.post("/", docs, parameters={"on_error": "skip", "drop_image_content": True}, request_size=32)
pictures = DocumentArray(doc for doc in answer if doc.embedding is not None)

# The queries: each is a document with a text.
queries = client.post("/", DocumentArray(Document(text=words) for words in arguments.words))

# They are compared here, in memory; for millions of images, use a vector database.
queries.match(pictures, metric="cosine", limit=arguments.best)
for query in queries:
    print(f"{query.text}, among {len(pictures)} pictures:")
    for match in query.matches:
        print(f"    {1 - match.scores['cosine'].value:.3f}  {match.uri}")  # DocArray's score is the distance
