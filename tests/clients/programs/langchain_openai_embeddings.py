"""LangChain's OpenAIEmbeddings, which sends tokens unless check_embedding_ctx_length is False."""

from langchain_openai import OpenAIEmbeddings
from program import run


def encode(job):
    embeddings = OpenAIEmbeddings(
        model=job["model"],
        base_url=f"{job['http']}/v1",
        api_key=job["token"],
        check_embedding_ctx_length=False,
        max_retries=0,
    )
    return embeddings.embed_documents([item["text"] for item in job["items"]])


run(encode)
