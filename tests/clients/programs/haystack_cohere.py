"""Haystack's Cohere embedders, of texts and of pictures."""

from haystack import Document
from haystack.utils import Secret
from haystack_integrations.components.embedders.cohere import CohereDocumentImageEmbedder, CohereTextEmbedder
from program import run


def encode(job):
    options = {
        "api_key": Secret.from_token(job["token"]),
        "model": job["model"],
        "api_base_url": job["http"],
    }
    texts = CohereTextEmbedder(**options)
    pictures = CohereDocumentImageEmbedder(**options, progress_bar=False)
    vectors = []
    for item in job["items"]:
        if "text" in item:
            vectors.append(texts.run(text=item["text"])["embedding"])
        else:
            document = Document(meta={"file_path": item["picture"]})
            vectors.append(pictures.run(documents=[document])["documents"][0].embedding)
    return vectors


run(encode)
