"""openai.AsyncOpenAI, an item a request, all at the same time."""

import asyncio

import openai
from program import data_uri, run


async def encode_all(job):
    client = openai.AsyncOpenAI(base_url=f"{job['http']}/v1", api_key=job["token"], max_retries=0)

    async def one(item):
        answer = await client.embeddings.create(model=job["model"], input=item.get("text") or data_uri(item["picture"]))
        return answer.data[0].embedding

    return await asyncio.gather(*map(one, job["items"]))


run(lambda job: asyncio.run(encode_all(job)))
