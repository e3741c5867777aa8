"""OpenCLIP's models from the Hugging Face hub, by repository and by tag."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from clip_image_flow import models
from clip_image_flow.errors import ModelError
from clip_image_flow.models.openclip import architectures
from clip_image_flow.models.openclip.library import open_clip
from tests.unit.hubs import Hub
from tests.unit.open_clip_checkpoints import FAMILIES, OPENAIS, save_checkpoint

TINY = "ViT-S-32-alt"  # OpenCLIP's smallest architecture


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_checkpoint(tmp_path / "checkpoint", *FAMILIES["ViT-B-32 gelu"])


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_a_repository_is_fetched_once_without_its_pickles(
    make_hub: Callable[[str, dict[str, bytes]], Hub], folder: Path, tmp_path: Path
) -> None:
    (folder / "open_clip_pytorch_model.bin").write_bytes(b"a pickle")
    (folder / "picture.png").write_bytes(b"")
    hub = make_hub("acme/tiny", contents(folder))
    for _ in range(2):
        assert models.load("hf-hub:acme/tiny", str(tmp_path / "cache")).dim == 32
    assert hub.fetched == ["open_clip_config.json", "open_clip_model.safetensors"]
    hub.web.close()
    assert models.load("hf-hub:acme/tiny", str(tmp_path / "cache")).dim == 32
    assert models.resolve("hf-hub:acme/tiny", str(tmp_path / "cache")).fingerprint()


def test_weights_are_compared_with_the_sha256_that_the_hub_states(
    make_hub: Callable[[str, dict[str, bytes]], Hub], folder: Path, tmp_path: Path
) -> None:
    hub = make_hub("acme/tiny", contents(folder))
    hub.etags["open_clip_model.safetensors"] = "f" * 64
    with pytest.raises(ModelError, match=r"does not match the hub's SHA-256; delete .*ffff and retry"):
        models.load("hf-hub:acme/tiny", str(tmp_path / "cache"))


def test_a_tag_leads_to_its_repository_and_is_remembered(
    make_hub: Callable[[str, dict[str, bytes]], Hub], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its activation is the one that the weights were trained with, which `open_clip` itself only warns of."""
    folder = save_checkpoint(tmp_path / "checkpoint", architectures.config(TINY), OPENAIS)
    hub = make_hub("acme/tiny", contents(folder))
    tags = {"mine": {"url": "", "hf_hub": "acme/tiny/", "quick_gelu": True, "resize_mode": "squash"}}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, TINY, tags)
    cache = tmp_path / "cache"
    assert models.resolve(f"{TINY}::mine", str(cache)).fingerprint() is None
    assert models.load(f"{TINY}::mine", str(cache)).dim == 256
    hub.web.close()
    monkeypatch.delitem(open_clip.pretrained._PRETRAINED, TINY)
    checkpoint = models.resolve(f"{TINY}/mine", str(cache))
    assert checkpoint.fingerprint()
    assert checkpoint.prepared("image") == models.ImagePreparation(resize="squash")
    kinds = {type(module).__name__ for module in checkpoint.load().visual.modules()}
    assert "QuickGELU" in kinds
    assert "GELU" not in kinds
