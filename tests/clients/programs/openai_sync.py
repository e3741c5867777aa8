"""openai.OpenAI: texts, and pictures as data URIs; it asks for base64 by itself."""

import openai
from program import data_uri, run


def encode(job):
    client = openai.OpenAI(base_url=f"{job['http']}/v1", api_key=job["token"], max_retries=0)
    inputs = [item.get("text") or data_uri(item["picture"]) for item in job["items"]]
    answer = client.embeddings.create(model=job["model"], input=inputs)
    return [one.embedding for one in answer.data]


run(encode)
