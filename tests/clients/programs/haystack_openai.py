"""Haystack's OpenAIDocumentEmbedder."""

from haystack import Document
from haystack.components.embedders import OpenAIDocumentEmbedder
from haystack.utils import Secret
from program import run


def encode(job):
    embedder = OpenAIDocumentEmbedder(
        api_key=Secret.from_token(job["token"]),
        model=job["model"],
        api_base_url=f"{job['http']}/v1",
        max_retries=0,
        progress_bar=False,
        raise_on_failure=True,
    )
    documents = [Document(content=item["text"]) for item in job["items"]]
    return [document.embedding for document in embedder.run(documents)["documents"]]


run(encode)
