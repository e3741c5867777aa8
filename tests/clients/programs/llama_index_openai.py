"""LlamaIndex' OpenAIEmbedding, which has an address to set."""

from llama_index.embeddings.openai import OpenAIEmbedding
from program import run


def encode(job):
    embedding = OpenAIEmbedding(
        model_name=job["model"], api_base=f"{job['http']}/v1", api_key=job["token"], max_retries=0
    )
    return embedding.get_text_embedding_batch([item["text"] for item in job["items"]])


run(encode)
