"""litellm.embedding with the provider openai."""

import litellm
from program import data_uri, run

litellm.suppress_debug_info = True


def encode(job):
    inputs = [item.get("text") or data_uri(item["picture"]) for item in job["items"]]
    answer = litellm.embedding(
        model=f"openai/{job['model']}", input=inputs, api_base=f"{job['http']}/v1", api_key=job["token"], max_retries=0
    )
    return [one["embedding"] for one in answer.data]


run(encode)
