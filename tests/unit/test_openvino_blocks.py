"""The vision transformer laid out for OpenVINO: the same embeddings, in less work."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from clip_image_flow import models
from clip_image_flow.backends.openvino.backend import properties
from clip_image_flow.backends.openvino.blocks import laid_out
from clip_image_flow.backends.openvino.conversion import convert
from clip_image_flow.backends.openvino.library import openvino
from clip_image_flow.towers.image import ImageTower
from tests.conftest import save_random_clip


def load(path: Path) -> nn.Module:
    return models.load(str(path)).visual.float().eval()


def flops_of_linear_layers(visual: nn.Module, pictures: torch.Tensor) -> int:
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        visual(pictures)
    counts = counter.get_flop_counts()["Global"]
    return sum(counts.get(operator, 0) for operator in (torch.ops.aten.mm, torch.ops.aten.addmm))


@pytest.mark.parametrize(
    "changes",
    [
        {"vision_layers": 1},
        {"vision_layers": 3, "vision_patch_size": 32},
        {"vision_width": 192},  # three heads
        {"image_resolution": 96, "embed_dim": 48},
    ],
    ids=str,
)
@pytest.mark.parametrize("count", [1, 3])
def test_the_embeddings_are_those_of_clip(tmp_path: Path, changes: dict[str, int], count: int) -> None:
    visual = load(save_random_clip(tmp_path / "model.pt", **changes))
    size = changes.get("image_resolution", 64)
    pictures = torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(laid_out(visual)(pictures), visual(pictures), rtol=0, atol=1e-5)


def test_the_last_block_computes_the_class_token_alone(tmp_path: Path) -> None:
    """Two blocks of 12 width^2 multiplications a token: of the last one, 9 are left to one token of 17."""
    visual = load(save_random_clip(tmp_path / "model.pt"))
    pictures = torch.zeros(8, 3, 64, 64)
    spared = flops_of_linear_layers(visual, pictures) - flops_of_linear_layers(laid_out(visual), pictures)
    assert spared == 2 * 9 * 64**2 * 16 * len(pictures)


def test_a_resnet_is_left_as_it_is() -> None:
    visual = models.load("emoji-tiny").visual
    assert laid_out(visual) is visual


def test_openvino_multiplies_matrices(tmp_path: Path) -> None:
    """With one more dimension, a linear layer would get a kernel half as fast at small batches."""
    model = convert(ImageTower(load(save_random_clip(tmp_path / "model.pt"))))
    products = [op for op in model.get_ops() if op.get_type_name() == "MatMul"]
    linear = [op for op in products if len(op.input_value(1).partial_shape) == 2]
    assert len(linear) == 2 * 4 + 1  # qkv, out_proj, c_fc and c_proj of two blocks, and the last projection
    assert {len(op.input_value(0).partial_shape) for op in linear} == {2}


def test_openvino_joins_a_linear_layer_and_its_gelu(tmp_path: Path) -> None:
    model = convert(ImageTower(load(save_random_clip(tmp_path / "model.pt"))))
    compiled = openvino.Core().compile_model(model, "CPU", properties("fp32", 1))
    kinds = [op.get_rt_info()["layerType"].astype(str) for op in compiled.get_runtime_model().get_ops()]
    assert "FullyConnected" in kinds
    assert "SwishCPU" not in kinds
