"""cohere.ClientV2: inputs of texts and pictures."""

import cohere
from program import data_uri, run


def part(item):
    if "text" in item:
        return {"type": "text", "text": item["text"]}
    return {"type": "image_url", "image_url": {"url": data_uri(item["picture"])}}


def encode(job):
    client = cohere.ClientV2(api_key=job["token"], base_url=job["http"])
    inputs = [{"content": [part(item)]} for item in job["items"]]
    answer = client.embed(
        model=job["model"], input_type="search_document", inputs=inputs, embedding_types=["float"], truncate="END"
    )
    return answer.embeddings.float_


run(encode)
