"""cohere.ClientV2: texts and images by themselves; the bits of `ubinary` must be the signs of `float`."""

import cohere
import numpy as np
from program import data_uri, run


def encode(job):
    client = cohere.ClientV2(api_key=job["token"], base_url=job["http"])
    vectors = []
    for item in job["items"]:
        own = {"texts": [item["text"]]} if "text" in item else {"images": [data_uri(item["picture"])]}
        answer = client.embed(
            model=job["model"], input_type="search_query", embedding_types=["float", "ubinary", "binary", "int8"], **own
        )
        [vector] = answer.embeddings.float_
        bits = np.packbits(np.array(vector) >= 0)
        assert (bits == np.array(answer.embeddings.ubinary[0])).all()
        assert (bits.astype(int) - 128 == np.array(answer.embeddings.binary[0])).all()
        assert np.abs(np.array(answer.embeddings.int8[0]) / 127 - vector).max() <= 0.5 / 127 + 1e-6
        vectors.append(vector)
    return vectors


run(encode)
