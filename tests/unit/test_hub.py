"""Repositories of the Hugging Face hub: fetched once into the cache, readable afterwards without a network."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from safetensors.torch import save

from clip_image_flow import models
from clip_image_flow.errors import ModelError
from clip_image_flow.models import hub as hub_module
from tests.unit.hubs import COMMIT, Hub, login_page, nonsense
from tests.unit.test_huggingface import DIM, PREPROCESSOR, VISION, random_tower, vision_weights

NAME = "acme/clip-tiny"


@pytest.fixture
def hub(make_hub: Callable[[str, dict[str, bytes]], Hub]) -> Hub:
    files = {
        "config.json": json.dumps({"model_type": "clip", "vision_config": VISION}).encode(),
        "preprocessor_config.json": json.dumps(PREPROCESSOR).encode(),
        "model.safetensors": save(vision_weights(random_tower())),
        "pytorch_model.bin": b"a pickle",
        "README.md": b"# CLIP",
    }
    return make_hub(NAME, files)


def test_a_repository_is_fetched_without_what_is_not_needed(hub: Hub, tmp_path: Path) -> None:
    model = models.load(NAME, str(tmp_path))
    assert (model.name, model.dim) == (NAME, DIM)
    assert hub.fetched == ["config.json", "model.safetensors", "preprocessor_config.json"]


def test_its_files_are_fetched_once(hub: Hub, tmp_path: Path) -> None:
    models.load(NAME, str(tmp_path))
    hub.web.asked.clear()
    assert models.load(NAME, str(tmp_path)).dim == DIM
    assert hub.fetched == []


def test_the_environment_names_the_cache(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIP_CACHE", str(tmp_path / "cache"))
    models.load(NAME)
    assert len(list((tmp_path / "cache").rglob("model.safetensors"))) == 1


def test_without_network_a_full_cache_is_enough(hub: Hub, tmp_path: Path) -> None:
    models.load(NAME, str(tmp_path))
    hub.web.close()
    assert models.load(NAME, str(tmp_path)).dim == DIM


def test_without_network_and_cache_it_is_said_what_to_do(hub: Hub, tmp_path: Path) -> None:
    hub.web.close()
    began = time.monotonic()
    with pytest.raises(ModelError, match=f"model '{NAME}' is not in {tmp_path} and cannot be downloaded") as raised:
        models.load(NAME, str(tmp_path))
    assert "give its folder as pretrained_model_name_or_path" in str(raised.value)
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("prefix", ["", "hf-hub:"])
def test_a_revision_is_asked_for_by_name(hub: Hub, tmp_path: Path, prefix: str) -> None:
    with pytest.raises(ModelError, match=f"model '{prefix}{NAME}@v2': '{NAME}' has no revision 'v2'"):
        models.load(f"{prefix}{NAME}@v2", str(tmp_path))
    assert hub.fetched == []


def test_a_commit_that_is_in_the_cache_asks_nobody(hub: Hub, tmp_path: Path) -> None:
    name = f"{NAME}@{COMMIT}"
    assert models.load(name, str(tmp_path)).name == name
    assert models.resolve(name, str(tmp_path)).fingerprint()
    hub.web.asked.clear()
    assert models.load(name, str(tmp_path)).dim == DIM
    assert hub.web.asked == []


def test_an_unknown_repository_is_named(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="model 'acme/unknown': the hub has no such repository, or HF_TOKEN may not"):
        models.load("acme/unknown", str(tmp_path))
    assert hub.fetched == []


def test_a_repository_without_safetensors_is_named(hub: Hub, tmp_path: Path) -> None:
    del hub.files["model.safetensors"]
    with pytest.raises(ModelError, match=r"has no model\.safetensors; pickled weights are not supported"):
        models.load(NAME, str(tmp_path))
    assert "pytorch_model.bin" not in hub.fetched


def forbidden(handler: BaseHTTPRequestHandler) -> None:
    handler.send_error(403)


@pytest.mark.parametrize("answer", [login_page, nonsense, forbidden])
def test_something_else_than_the_hub_is_a_model_error(
    hub: Hub, tmp_path: Path, answer: Callable[[BaseHTTPRequestHandler], None]
) -> None:
    hub.web.otherwise = answer
    with pytest.raises(ModelError, match=f"model '{NAME}'"):
        models.load(NAME, str(tmp_path))


def test_what_the_hub_states_no_sum_of_is_not_compared(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"anything")
    hub_module.check(tmp_path / "weights", "model")
