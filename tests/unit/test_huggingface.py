"""Checkpoints in Hugging Face's layout give OpenAI's numbers, or are refused by name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from clip_image_flow import models
from clip_image_flow.errors import ModelError
from clip_image_flow.models.openai_clip import VisionTransformer
from tests.unit.huggingface_names import half_weights

WIDTH, LAYERS, HEADS, SIZE, PATCH, DIM = 128, 2, 2, 64, 16, 32
PREPROCESSOR = {
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "size": 224,
}


def random_tower() -> nn.Module:
    """OpenAI's image tower, in fp32, with every weight (biases and norms too) random."""
    torch.manual_seed(0)
    tower = VisionTransformer(
        input_resolution=SIZE, patch_size=PATCH, width=WIDTH, layers=LAYERS, heads=HEADS, output_dim=DIM
    )
    with torch.no_grad():
        for name, parameter in tower.named_parameters():
            noise = torch.randn_like(parameter) * 0.1
            parameter.copy_(1 + noise if ".weight" in name and "ln_" in name else noise)
    return tower.eval()


def vision_weights(tower: nn.Module) -> dict[str, Tensor]:
    """The weights under the names of transformers' CLIPModel (modeling_clip.py)."""
    ours = tower.state_dict()
    others = {
        "vision_model.embeddings.class_embedding": ours["class_embedding"],
        "vision_model.embeddings.patch_embedding.weight": ours["conv1.weight"],
        "vision_model.embeddings.position_embedding.weight": ours["positional_embedding"],
        "vision_model.embeddings.position_ids": torch.arange(17).unsqueeze(0),  # in files of older versions
        "visual_projection.weight": ours["proj"].T,  # a Linear without bias
    }
    norms = {"pre_layrnorm": "ln_pre", "post_layernorm": "ln_post"}
    return half_weights(ours, "vision_model", LAYERS, norms, others)


VISION = {
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "image_size": SIZE,
    "patch_size": PATCH,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-05,
}


def write_json(file: Path, content: Any) -> None:
    file.write_text(json.dumps(content), encoding="utf-8")


@pytest.fixture(scope="module")
def tower() -> nn.Module:
    return random_tower()


@pytest.fixture
def checkpoint(tower: nn.Module, tmp_path: Path) -> Path:
    """A whole CLIP: a text tower of sorts beside the image tower."""
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    text = {"text_model.final_layer_norm.weight": torch.ones(8), "logit_scale": torch.tensor(4.6)}
    save_file({**vision_weights(tower), **text}, folder / "model.safetensors", metadata={"format": "pt"})
    write_json(folder / "config.json", {"model_type": "clip", "projection_dim": DIM, "vision_config": VISION})
    write_json(folder / "preprocessor_config.json", PREPROCESSOR)
    return folder


def change_vision(folder: Path, **changes: Any) -> None:
    write_json(folder / "config.json", {"model_type": "clip", "vision_config": {**VISION, **changes}})


def largest_difference(folder: Path, tower: nn.Module) -> float:
    pixels = torch.randn(4, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        theirs = tower(pixels)
        assert torch.std(theirs, dim=0).max() > 1e-2
        return float((models.load(str(folder)).visual(pixels) - theirs).abs().max())


def test_a_checkpoint_gives_the_numbers_of_the_original(checkpoint: Path, tower: nn.Module) -> None:
    assert largest_difference(checkpoint, tower) <= 1e-5


def test_what_is_known_of_a_checkpoint(checkpoint: Path) -> None:
    model = models.load(str(checkpoint))
    assert (model.name, model.input_size, model.dim) == (str(checkpoint), SIZE, DIM)


def test_a_vision_only_checkpoint(checkpoint: Path, tower: nn.Module) -> None:
    save_file(vision_weights(tower), checkpoint / "model.safetensors")
    write_json(checkpoint / "config.json", {"model_type": "clip_vision_model", "projection_dim": DIM, **VISION})
    assert largest_difference(checkpoint, tower) <= 1e-5


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_checkpoint_of_half_precision_runs_in_fp32(checkpoint: Path, dtype: torch.dtype, tower: nn.Module) -> None:
    rounded = {name: tensor.to(dtype) for name, tensor in vision_weights(tower).items()}
    save_file(rounded, checkpoint / "model.safetensors")
    assert {p.dtype for p in models.load(str(checkpoint)).visual.parameters()} == {torch.float32}
    assert 0 < largest_difference(checkpoint, tower) < 0.2


@pytest.mark.parametrize("key", ["hidden_act", "layer_norm_eps"])
def test_what_config_leaves_out_has_transformers_default(checkpoint: Path, tower: nn.Module, key: str) -> None:
    vision = {name: value for name, value in VISION.items() if name != key}
    write_json(checkpoint / "config.json", {"model_type": "clip", "vision_config": vision})
    assert largest_difference(checkpoint, tower) <= 1e-5


@pytest.mark.parametrize("content", [None, {}, {"do_resize": True}], ids=["no file", "empty", "other keys"])
def test_without_preprocessing_of_its_own_it_has_openais(
    checkpoint: Path, tower: nn.Module, content: dict[str, Any] | None
) -> None:
    (checkpoint / "preprocessor_config.json").unlink()
    if content is not None:
        write_json(checkpoint / "preprocessor_config.json", content)
    assert largest_difference(checkpoint, tower) <= 1e-5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"hidden_act": "relu"},
            "uses the activation 'relu'; supported: quick_gelu, gelu, gelu_pytorch_tanh, gelu_new",
        ),
        ({"hidden_act": None}, "uses the activation None"),
    ],
)
def test_an_activation_that_is_not_known_is_refused(checkpoint: Path, changes: dict[str, Any], message: str) -> None:
    change_vision(checkpoint, **changes)
    with pytest.raises(ModelError, match=f"model '{checkpoint}' {message}"):
        models.load(str(checkpoint))


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        ("siglip2", r" \(SigLIP 2 of variable resolution \(NaFlex\)\)"),
        ("chinese_clip", r" \(Chinese-CLIP, whose texts go through BERT\)"),
        ("clip_text_model", r" \(the text half of CLIP alone\)"),
        ("vit", ""),
        (None, ""),
    ],
)
def test_another_kind_of_model_is_refused_with_what_is_served(checkpoint: Path, kind: str | None, named: str) -> None:
    write_json(checkpoint / "config.json", {"model_type": kind, "vision_config": VISION})
    served = "of this layout clip, clip_vision_model, siglip and siglip_vision_model are supported"
    with pytest.raises(ModelError, match=f"is a {kind!r} model{named}; {served}"):
        models.load(str(checkpoint))


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"do_resize": False}, "do_resize false"),
        ({"do_rescale": False}, "do_rescale false"),
        ({"rescale_factor": 1}, "rescale_factor 1"),
        ({"resample": 0}, "resample 0; supported: 2 .bilinear. and 3"),
        ({"image_std": [0.5, 0, 0.5]}, "image_std"),
        (
            {"size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224}},
            "size .*256.* and crop_size .*224",
        ),
        ({"size": {"shortest_edge": 224}, "do_center_crop": False}, "size .* with do_center_crop False"),
        ({"size": {"height": 224, "width": 448}}, "images of size .*; supported: squares"),
    ],
)
def test_preprocessing_that_is_not_done_here_is_refused(checkpoint: Path, wanted: dict[str, Any], words: str) -> None:
    write_json(checkpoint / "preprocessor_config.json", wanted)
    with pytest.raises(ModelError, match=f"model '{checkpoint}' has {words}"):
        models.load(str(checkpoint))


@pytest.mark.parametrize("value", [[0.5], [], None, "0.5", [0.5, 0.5, None], 0.5])
def test_preprocessing_that_is_no_three_numbers_is_a_model_error(checkpoint: Path, value: Any) -> None:
    write_json(checkpoint / "preprocessor_config.json", {"image_mean": value})
    with pytest.raises(ModelError, match="image_mean"):
        models.load(str(checkpoint))


def test_pickled_weights_alone_are_not_read(checkpoint: Path) -> None:
    (checkpoint / "model.safetensors").rename(checkpoint / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"has no model\.safetensors; pickled weights are not supported"):
        models.load(str(checkpoint))


@pytest.mark.parametrize("file", ["config.json", "preprocessor_config.json"])
@pytest.mark.parametrize(
    ("content", "message"),
    [(b"{", "is not JSON"), (b"", "is not JSON"), (b"\xff\xfe", "is not JSON"), (b"[1]", "is not a JSON object")],
)
def test_broken_json_is_named(checkpoint: Path, file: str, content: bytes, message: str) -> None:
    (checkpoint / file).write_bytes(content)
    with pytest.raises(ModelError, match=f"{file} {message}"):
        models.load(str(checkpoint))


def cut(part: float) -> Callable[[bytes], bytes]:
    return lambda data: data[: int(part * len(data))]


@pytest.mark.parametrize(
    "broken",
    [lambda _: b"", lambda _: b"version https://git-lfs.github.com/spec/v1\n", cut(0.01), cut(0.5), cut(0.999)],
    ids=["empty", "a git-lfs pointer", "1 %", "half", "nearly whole"],
)
def test_broken_weights_are_named(checkpoint: Path, broken: Callable[[bytes], bytes]) -> None:
    file = checkpoint / "model.safetensors"
    file.write_bytes(broken(file.read_bytes()))
    with pytest.raises(ModelError, match=r"model\.safetensors is broken \(.*\); copy it again"):
        models.load(str(checkpoint))


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden_size": 64},
        {"num_hidden_layers": 3},
        {"num_hidden_layers": 1},
        {"num_hidden_layers": "two"},
        {"num_attention_heads": 3},
        {"num_attention_heads": 0},
        {"image_size": 96},
        {"patch_size": 8},
        {"patch_size": 0},
        {"patch_size": None},
    ],
    ids=lambda changes: "-".join(f"{key}={value}" for key, value in changes.items()),
)
def test_weights_that_do_not_fit_the_configuration_are_named(checkpoint: Path, changes: dict[str, Any]) -> None:
    change_vision(checkpoint, **changes)
    with pytest.raises(ModelError, match=r"the weights do not fit config\.json"):
        models.load(str(checkpoint))


@pytest.mark.parametrize("value", ["ViT-B/32", [1], 5])
def test_a_vision_config_of_another_kind_is_a_model_error(checkpoint: Path, value: Any) -> None:
    write_json(checkpoint / "config.json", {"model_type": "clip", "vision_config": value})
    with pytest.raises(ModelError, match=r"config"):
        models.load(str(checkpoint))


@pytest.mark.parametrize(
    "missing",
    [
        "visual_projection.weight",
        "vision_model.pre_layrnorm.bias",
        "vision_model.encoder.layers.1.self_attn.k_proj.weight",
    ],
)
def test_a_missing_weight_is_named(checkpoint: Path, missing: str) -> None:
    weights = load_file(checkpoint / "model.safetensors")
    del weights[missing]
    save_file(weights, checkpoint / "model.safetensors")
    with pytest.raises(ModelError, match=f"the weights do not fit config.json: .*{missing}"):
        models.load(str(checkpoint))


def test_a_folder_comes_before_a_repository_of_that_name(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(checkpoint, tmp_path / "acme" / "clip-tiny")
    monkeypatch.chdir(tmp_path)
    assert models.load("acme/clip-tiny").dim == DIM


def test_the_fingerprint_of_a_folder_is_that_of_its_files(checkpoint: Path) -> None:
    of = [models.resolve(str(checkpoint)).fingerprint()]
    (checkpoint / "README.md").write_text("not part of the model")
    of.append(models.resolve(str(checkpoint)).fingerprint())
    write_json(checkpoint / "config.json", {"changed": True})
    of.append(models.resolve(str(checkpoint)).fingerprint())
    assert of[0] == of[1] != of[2]
