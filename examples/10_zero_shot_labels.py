"""Label an image without training: the endpoint `/rank` returns the probability of each label.

python examples/10_zero_shot_labels.py --host grpc://127.0.0.1:51000 cat.jpg "a photo of a cat" "a photo of a dog"
"""

import argparse
import os
from pathlib import Path

from docarray import Document, DocumentArray
from jina import Client

PICTURE = Path(__file__).parent / "pictures" / "heldout" / "fox.png"
LABELS = ["an emoji of a fox", "an emoji of an owl", "an emoji of a frog", "an emoji of a rocket"]

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--host", default="grpc://127.0.0.1:51000", help="a running Flow (default: %(default)s)")
parser.add_argument("picture", nargs="?", type=Path, default=PICTURE, help="a file (default: a committed picture)")
parser.add_argument("labels", nargs="*", default=LABELS, metavar="LABEL", help=f"(default: {LABELS})")
arguments = parser.parse_args()

# Jina sends telemetry for every Client unless this is set.
os.environ.setdefault("JINA_OPTOUT_TELEMETRY", "1")
client = Client(host=arguments.host)

# The image is the document, and the labels are its matches. Each of them can be an image or a text.
picture = Document(
    blob=arguments.picture.read_bytes(), matches=DocumentArray(Document(text=label) for label in arguments.labels)
)
(ranked,) = client.post("/rank", DocumentArray([picture]), parameters={"drop_image_content": True})

# The matches are returned sorted. Their probabilities are computed as in CLIP: the softmax of the cosines times its
# logit scale.
print(f"{arguments.picture.name}:")
for match in ranked.matches:
    probability, cosine = match.scores["clip_score"].value, match.scores["clip_score_cosine"].value
    print(f"    {probability:6.1%}  cosine {cosine:.3f}  {match.text}")
