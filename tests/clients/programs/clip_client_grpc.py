"""clip-as-service's client over gRPC: documents of texts and pictures."""

from clip_client import Client
from docarray import Document, DocumentArray
from program import run


def encode(job):
    client = Client(job["grpc"], credential={"Authorization": f"Bearer {job['token']}"})
    documents = DocumentArray(
        Document(text=item["text"]) if "text" in item else Document(uri=item["picture"]) for item in job["items"]
    )
    encoded = client.encode(documents)
    assert not any(document.blob for document in encoded if document.text)
    return encoded.embeddings


run(encode)
