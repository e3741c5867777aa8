"""Names of OpenCLIP's models: where each leads, what is refused and how, and what a later start needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from clip_image_flow import ImageEncoder, TextEncoder, models
from clip_image_flow.errors import ModelError
from clip_image_flow.models.openclip import architectures
from tests.conftest import encoded, photo
from tests.unit.open_clip_checkpoints import CLIP_TEXT, FAMILIES, OPENAIS, clip_like, save_checkpoint, timm_vision
from tests.unit.tokenizer_folders import save_gemma

TINY = "ViT-S-32-alt"  # OpenCLIP's smallest architecture
BLOB = encoded(photo())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_checkpoint(tmp_path / "checkpoint", *FAMILIES["ViT-B-32 gelu"])


@pytest.mark.parametrize(
    ("name", "openais"),
    [
        ("ViT-B-32::openai", "ViT-B-32.pt"),
        ("ViT-B-32/openai", "ViT-B-32.pt"),
        ("ViT-L-14-336::openai", "ViT-L-14-336px.pt"),
        ("RN50x4-quickgelu::openai", "RN50x4.pt"),
    ],
)
def test_openais_weights_are_those_of_clip_by_any_name(tmp_path: Path, name: str, openais: str) -> None:
    assert models.resolve(name, str(tmp_path)).files() == [tmp_path / openais]


def test_a_folder_says_what_it_is(folder: Path) -> None:
    model = models.load(str(folder))
    assert (model.name, model.input_size, model.dim) == (str(folder), 64, 32)
    assert model.logit_scale == pytest.approx(20)


def test_transformers_layout_comes_first_where_a_folder_has_both(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "siglip2"}))
    with pytest.raises(ModelError, match="is a 'siglip2' model"):
        models.load(str(folder))
    (folder / "config.json").write_text(json.dumps({"architecture": "vit_base_patch32_clip_224"}))  # timm's own
    assert models.load(str(folder)).dim == 32


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_a_file_whose_architecture_is_named(tmp_path: Path, suffix: str) -> None:
    config = architectures.config(TINY)
    weights = save_checkpoint(tmp_path, config, {}) / "open_clip_model.safetensors"
    file = tmp_path / "elsewhere" / f"weights{suffix}"
    file.parent.mkdir()
    if suffix == ".pt":
        torch.save({"state_dict": {f"module.{name}": value for name, value in load_file(weights).items()}}, file)
    else:
        weights.rename(file)
    model = models.load(f"{TINY}::{file}", str(tmp_path / "cache"))
    assert (model.input_size, model.dim) == (224, config["embed_dim"])


def test_the_architecture_is_part_of_a_checkpoint(tmp_path: Path) -> None:
    """The same weights with another activation make other vectors."""
    file = save_checkpoint(tmp_path, clip_like(), OPENAIS) / "open_clip_model.safetensors"
    of = {models.resolve(f"{name}::{file}").fingerprint() for name in ("ViT-B-32", "ViT-B-32-quickgelu")}
    of.add(models.resolve(str(tmp_path)).fingerprint())
    assert len(of) == 3


@pytest.mark.parametrize(
    "changes", [{"mean": [0.5] * 3}, {"std": [0.5] * 3}, {"interpolation": "bilinear"}, {"resize_mode": "squash"}]
)
def test_preprocessing_is_part_of_a_fingerprint(folder: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    config, preprocess = FAMILIES["ViT-B-32 gelu"]
    other = save_checkpoint(tmp_path / "other", config, {**preprocess, **changes})
    found = []
    for path in (folder, other):
        encoder = ImageEncoder(str(path), backend="torch")
        encoder.close()
        found.append(encoder.info["fingerprint"])
    assert found[0] != found[1]


def test_a_file_of_safetensors_needs_its_architecture(folder: Path) -> None:
    file = folder / "open_clip_model.safetensors"
    with pytest.raises(ModelError, match=f"needs its architecture: ARCHITECTURE::{file}"):
        models.load(str(file))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ViT-B-23::laion2b", "has no architecture 'ViT-B-23'; did you mean 'ViT-B-32'.*Supported: .*ViT-B-16-SigLIP2"),
        ("ViT-B-32::laion3b", "does not know the tag 'laion3b' of ViT-B-32; its tags are openai, .*laion2b_s34b_b79k"),
        ("ViT-B-32/laion3b", "does not know the tag 'laion3b' of ViT-B-32"),
        ("ViT-S-32::anything", "its tags|it has no weights for that architecture"),
        ("ViT-B-32::/nowhere/weights.pt", "there is no file /nowhere/weights.pt"),
        (
            "xlm-roberta-base-ViT-B-32::laion5b_s13b_b90k",
            "its texts go through xlm-roberta-base.*Supported: .*ViT-B-32",
        ),
    ],
)
def test_what_is_not_served_is_refused_with_what_is(tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        models.load(name, str(tmp_path))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"text_cfg": {**CLIP_TEXT, "tokenizer_mode": "clips"}}, "tokenizer_mode 'clips'"),
        ({"text_cfg": {**CLIP_TEXT, "pool_type": "none"}}, "a vector for each token"),
        ({"text_cfg": {**CLIP_TEXT, "tokenizer_kwargs": {"reduction_mask": "random"}}}, "option 'reduction_mask'"),
        ({"vision_cfg": {"image_size": [64, 32]}}, "are not square"),
    ],
)
def test_an_architecture_that_is_not_served_is_refused(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": clip_like(**changes)}))
    (tmp_path / "open_clip_model.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match=f"cannot be used: .*{words}.*Supported: "):
        models.load(str(tmp_path))


@pytest.mark.parametrize(
    ("preprocess", "words"),
    [
        ({"resize_mode": "crop"}, "resized by 'crop'"),
        ({"interpolation": "nearest"}, "'nearest'; supported: RGB"),
        ({"mean": [0.5]}, r"mean \[0.5\]; supported: three numbers"),
        ({"std": [0.5, 0, 0.5]}, "std"),
    ],
)
def test_preprocessing_that_is_not_done_here_is_refused(tmp_path: Path, preprocess: dict[str, Any], words: str) -> None:
    save_checkpoint(tmp_path, clip_like(), preprocess)
    with pytest.raises(ModelError, match=words):
        ImageEncoder(str(tmp_path))


class Evil:
    """A pickle that would leave a trace."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def test_a_pickle_is_not_run(folder: Path, tmp_path: Path) -> None:
    (folder / "open_clip_model.safetensors").unlink()
    torch.save({"state_dict": {}, "more": Evil(tmp_path / "trace")}, folder / "open_clip_pytorch_model.bin")
    with pytest.raises(ModelError, match="holds more than tensors, and such a file could run code"):
        models.load(str(folder))
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("content", [b"", b"version https://git-lfs.github.com/spec/v1\n"])
def test_broken_weights_are_named(folder: Path, content: bytes) -> None:
    (folder / "open_clip_model.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match=r"open_clip_model\.safetensors is broken"):
        models.load(str(folder))


def test_weights_of_another_architecture_are_named(folder: Path) -> None:
    file = folder / "open_clip_model.safetensors"
    with pytest.raises(ModelError, match="does not fit the architecture that is named"):
        models.load(f"ViT-B-32::{file}")


FRESH = """
import sys
from clip_image_flow import ImageEncoder, TextEncoder
for kind, item in ((ImageEncoder, open(sys.argv[2], "rb").read()), (TextEncoder, "a cat")):
    encoder = kind(sys.argv[1], cache_dir=sys.argv[3])
    encoder.encode([item])
    encoder.close()
print([name for name in ("torch", "open_clip", "timm", "transformers", "clip") if sys.modules.get(name)])
"""


@pytest.mark.parametrize("family", ["ViT-B-32 gelu", "SigLIP 2"])
def test_a_start_with_a_kept_conversion_imports_neither_torch_nor_open_clip(tmp_path: Path, family: str) -> None:
    config, preprocess = FAMILIES[family]
    if family == "SigLIP 2":
        config = {**config, "vision_cfg": timm_vision("vit_base_patch32_siglip_256", 256, "map", "none")}
        save_gemma(tmp_path / "checkpoint")
    folder = save_checkpoint(tmp_path / "checkpoint", config, preprocess)
    (tmp_path / "picture.png").write_bytes(BLOB)
    arguments = [str(folder), str(tmp_path / "picture.png"), str(tmp_path / "cache")]
    answers = [
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", FRESH, *arguments],
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        ).stdout
        for _ in range(2)
    ]
    assert "torch" in answers[0]
    assert answers[1] == "[]\n"


@pytest.mark.parametrize(
    ("name", "card", "told"),
    [
        ("MobileCLIP2-S0", None, "Apple's licence for research"),
        ("metaclip-b32", None, "CC-BY-NC-4.0"),
        ("mine", "---\nlicense: cc-by-nc-4.0\n---\n# Mine", "cc-by-nc-4.0"),
        ("mine", "---\nlicense: other\nlicense_name: apple-amlr\n---\n", "apple-amlr"),
        ("mine", "---\nlicense: apache-2.0\n---\n# Not for research", ""),
        ("mine", None, ""),
    ],
)
def test_weights_that_are_not_for_commercial_use_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, card: str | None, told: str
) -> None:
    folder = save_checkpoint(tmp_path / name, *FAMILIES["ViT-B-32 gelu"])
    if card:
        (folder / "README.md").write_text(card)
    TextEncoder(str(folder), backend="torch").close()
    messages = [record.message for record in caplog.records if "commercial" in record.message]
    assert [told in message for message in messages] == ([True] if told else [])
