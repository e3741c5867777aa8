"""The routes for people without Jina's Client: curl, the `openai` package, and what the OpenAPI page shows."""

from __future__ import annotations

import base64
import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
import requests
from PIL import Image

from scripts import ROOT
from scripts.flow.running import RunningFlow
from tests.conftest import encoded, photo
from tests.flow.asking import IMAGE, send, uri

PICTURES = [photo(90 + 10 * i, 60, seed=i) for i in range(3)]
HOST = "http://127.0.0.1:8000"  # in the docs
FOX = ROOT / "examples" / "pictures" / "heldout" / "fox.png"


@pytest.fixture(scope="module")
def reference(tiny_model: Path, clip_embeddings: Callable[[Path, list[Image.Image]], np.ndarray]) -> np.ndarray:
    """What `clip` makes of PICTURES: (3, 32)."""
    return clip_embeddings(tiny_model, PICTURES)


@pytest.fixture(scope="module")
def client(flow: RunningFlow) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{flow.http}/v1", api_key="none", max_retries=0)


def test_embed(flow: RunningFlow, reference: np.ndarray) -> None:
    answer = send(flow.http, "/embed", data=encoded(PICTURES[0]), headers=IMAGE).json()
    assert answer.keys() == {"embedding", "dim", "model", "fingerprint"}
    assert (answer["dim"], answer["model"]) == (32, "tiny.pt")
    np.testing.assert_allclose(answer["embedding"], reference[0], atol=1e-5)


@pytest.mark.parametrize("content_type", ["image/jpeg", "IMAGE/PNG; x=y", "application/octet-stream", None])
def test_embed_takes_any_image_type(flow: RunningFlow, content_type: str | None) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    assert send(flow.http, "/embed", data=encoded(PICTURES[0]), headers=headers).status_code == 200


def test_embed_answers_a_numpy_file(flow: RunningFlow, reference: np.ndarray) -> None:
    headers = {**IMAGE, "Accept": "application/x-npy"}
    answer = send(flow.http, "/embed", data=encoded(PICTURES[1]), headers=headers)
    assert answer.headers["content-type"] == "application/x-npy"
    embedding = np.load(io.BytesIO(answer.content))
    assert (embedding.dtype, embedding.shape) == (np.float32, (32,))
    np.testing.assert_allclose(embedding, reference[1], atol=1e-5)


def test_embed_passes_parameters_on(flow: RunningFlow, reference: np.ndarray) -> None:
    answer = send(flow.http, "/embed?normalize=true&batch_size=4", data=encoded(PICTURES[2]), headers=IMAGE).json()
    np.testing.assert_allclose(answer["embedding"], reference[2] / np.linalg.norm(reference[2]), atol=1e-5)


def test_json_numbers_are_the_float32_numbers(flow: RunningFlow) -> None:
    body = encoded(PICTURES[0])
    by_json = send(flow.http, "/embed", data=body, headers=IMAGE).json()["embedding"]
    by_npy = send(flow.http, "/embed", data=body, headers={**IMAGE, "Accept": "application/x-npy"}).content
    assert np.array_equal(np.array(by_json, dtype=np.float32), np.load(io.BytesIO(by_npy)))


def unit(vectors: np.ndarray) -> np.ndarray:
    """Each of length 1."""
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("encoding_format", ["float", "base64", None])
def test_the_openai_client_embeds_pictures(client: openai.OpenAI, reference: np.ndarray, encoding_format: Any) -> None:
    model = client.models.list().data[0].id
    options = {"encoding_format": encoding_format} if encoding_format else {}
    inputs = [uri(PICTURES[0]), uri(PICTURES[1]), uri(PICTURES[2])]
    answer = client.embeddings.create(model=model, input=inputs, **options)
    assert (answer.object, answer.model, [item.index for item in answer.data]) == ("list", model, [0, 1, 2])
    assert (answer.usage.prompt_tokens, answer.usage.total_tokens) == (0, 0)
    vectors = [item.embedding for item in answer.data]
    if encoding_format == "base64":
        vectors = [np.frombuffer(base64.b64decode(vector), dtype="<f4") for vector in vectors]  # as OpenAI sends it
    np.testing.assert_allclose(vectors, unit(reference), atol=1e-5)


def test_one_picture_needs_no_list(client: openai.OpenAI, reference: np.ndarray) -> None:
    answer = client.embeddings.create(model="tiny.pt", input=uri(PICTURES[0]), extra_body={"normalize": False})
    np.testing.assert_allclose(answer.data[0].embedding, reference[0], atol=1e-5)


def test_the_openai_client_finds_the_model(client: openai.OpenAI) -> None:
    (model,) = client.models.list().data
    assert (model.id, model.object) == ("tiny.pt", "model")
    assert client.models.retrieve(model.id) == model
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-5")


@pytest.mark.parametrize(
    ("request_", "error", "code"),
    [
        ({"input": "a cat"}, openai.BadRequestError, "BadDocument"),
        ({"input": "data:image/png;base64,AAAA"}, openai.APIStatusError, "UnsupportedMedia"),
        ({"input": uri(PICTURES[0]), "model": "text-embedding-3-small"}, openai.NotFoundError, "NotFound"),
        ({"input": uri(PICTURES[0]), "dimensions": 8}, openai.BadRequestError, "BadParameter"),
        ({"input": []}, openai.UnprocessableEntityError, "Malformed"),
    ],
)
def test_the_openai_client_understands_errors(
    client: openai.OpenAI, request_: dict[str, Any], error: type[openai.APIStatusError], code: str
) -> None:
    with pytest.raises(error) as raised:
        client.embeddings.create(**{"model": "tiny.pt", **request_})
    assert raised.value.code == code
    assert raised.value.type == "invalid_request_error"
    assert raised.value.request_id


def run_curl(line: str, flow: RunningFlow, folder: Path) -> str:
    """Run a line of the docs, which must succeed; cat.jpg in it is a picture."""
    with Image.open(FOX) as picture:
        picture.convert("RGB").save(folder / "cat.jpg")
    assert HOST in line
    options = "--silent --show-error --fail-with-body --max-time 30"
    result = subprocess.run(
        ["sh", "-c", line.replace(HOST, flow.http).replace("curl ", f"curl {options} ", 1)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, f"{line}\n{result.stdout}{result.stderr}"
    return result.stdout


def curl_lines(text: str) -> list[str]:
    found = re.findall(r"^ *(curl (?:.*<<END\n(?:.*\n)*? *END|(?:.*\\\n)*.*))$", text, flags=re.MULTILINE)
    return [re.sub(r"^ *END", "END", line.strip(), flags=re.MULTILINE) for line in found]


def test_curl(clip_flow: RunningFlow, tmp_path: Path) -> None:
    answer = run_curl(f"curl --data-binary @cat.jpg -H 'Content-Type: image/jpeg' {HOST}/embed", clip_flow, tmp_path)
    assert len(json.loads(answer)["embedding"]) == 128


def test_curl_is_told_what_is_wrong_with_its_body(flow: RunningFlow) -> None:
    """Without a header curl sends a form; a body of a megabyte and more waits for 100 Continue."""
    command = ["curl", "--silent", "--max-time", "30", "--write-out", "%{http_code}", "--data-binary", "@-", flow.http]
    command[-1] += "/embed"
    told = subprocess.run(command, input=encoded(PICTURES[0]), capture_output=True, timeout=60, check=True).stdout
    assert told.endswith(b"415")
    assert b"Content-Type: image/jpeg" in told
    too_large = bytes(40 * 2**20)
    told = subprocess.run(
        [*command, "-H", "Content-Type: image/png"], input=too_large, capture_output=True, timeout=60, check=False
    ).stdout
    assert told.endswith(b"413")


PAGES = ["README.md", "docs/http-api.md", "gateway/README.md"]


@pytest.mark.parametrize("page", PAGES)
def test_the_curl_lines_of_the_docs_work(clip_flow: RunningFlow, tmp_path: Path, page: str) -> None:
    lines = [line for line in curl_lines((ROOT / page).read_text(encoding="utf-8")) if "https://" not in line]
    for line in lines:
        run_curl(line, clip_flow, tmp_path)
    assert lines


def test_the_program_in_the_docs_works(clip_flow: RunningFlow) -> None:
    text = (ROOT / "docs" / "http-api.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    here = program.replace(HOST, clip_flow.http)
    assert here != program
    run = subprocess.run(
        [sys.executable, "-c", here], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert run.stdout == "emoji-tiny 128 a fox\n", run.stderr


@pytest.fixture(scope="module")
def page(clip_flow: RunningFlow) -> dict[str, Any]:
    answer = requests.get(f"{clip_flow.http}/openapi.json", timeout=30)
    assert answer.status_code == 200
    return dict(answer.json())


def test_the_openapi_page_describes_every_route(clip_flow: RunningFlow, page: dict[str, Any]) -> None:
    assert page["paths"].keys() == {
        "/",
        "/embed",
        "/rank",
        "/v1/embeddings",
        "/v1/models",
        "/v1/models/{name}",
        "/v2/embed",
        "/vectorize",
        "/meta",
        "/.well-known/live",
        "/.well-known/ready",
        "/post",
        "/dry_run",
        "/healthz",
        "/readyz",
        "/startupz",
    }
    for path, methods in page["paths"].items():
        for operation in methods.values():
            assert "204" in operation["responses"] or operation["responses"]["200"]["content"], path
    embed = page["paths"]["/embed"]["post"]["responses"]
    assert {"400", "413", "415", "429", "503", "504"} <= embed.keys()
    assert embed["429"]["headers"]["Retry-After"]
    assert requests.get(f"{clip_flow.http}/docs", timeout=30).status_code == 200


def test_the_curl_lines_of_the_openapi_page_work(clip_flow: RunningFlow, page: dict[str, Any], tmp_path: Path) -> None:
    lines = [
        line for methods in page["paths"].values() for o in methods.values() for line in curl_lines(o["description"])
    ]
    assert len(lines) >= 3
    for line in lines:
        run_curl(line, clip_flow, tmp_path)
    assert np.load(tmp_path / "cat.npy").shape == (128,)


def shape(value: Any) -> Any:
    """What an example promises: its members, and the type of each value."""
    if isinstance(value, dict):
        return {key: shape(member) for key, member in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return float if isinstance(value, int | float) and not isinstance(value, bool) else type(value)


def promises(example: Any, found: Any) -> bool:
    """All that `example` has is in `found`, which may have more members."""
    if isinstance(example, dict):
        return isinstance(found, dict) and all(key in found and promises(v, found[key]) for key, v in example.items())
    return not example or shape(example) == shape(found) or promises(example[0], found[0])


def test_the_examples_of_the_openapi_page_work(clip_flow: RunningFlow, page: dict[str, Any]) -> None:
    run = 0
    for path, methods in page["paths"].items():
        for method, operation in methods.items():
            expected = operation["responses"].get("200", {}).get("content", {}).get("application/json", {})
            if "example" not in expected or "{" in path or path == "/embed":
                continue
            body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("example")
            answer = send(clip_flow.http, path, method.upper(), **({"json": body} if body else {}))
            assert answer.status_code == 200, answer.text
            assert promises(expected["example"], answer.json()), f"{path}: {answer.text[:500]}"
            run += 1
    assert run == 11
