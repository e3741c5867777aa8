"""The text half of a checkpoint in Hugging Face's layout gives OpenAI's numbers, or is refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from clip_image_flow import TextEncoder
from clip_image_flow.errors import ModelError
from clip_image_flow.models.openai_clip import clip
from tests.conftest import save_random_clip
from tests.unit.huggingface_names import half_weights

LAYERS, WIDTH = 1, 64
TEXT = {"num_hidden_layers": LAYERS, "num_attention_heads": 1, "hidden_size": WIDTH, "hidden_act": "quick_gelu"}
WORDS = ["a cat", "two dogs on a red sofa", ""]


def text_weights(ours: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of `clip.model.CLIP` under the names of transformers' CLIPModel (modeling_clip.py)."""
    others = {
        "text_model.embeddings.token_embedding.weight": ours["token_embedding.weight"],
        "text_model.embeddings.position_embedding.weight": ours["positional_embedding"],
        "text_model.embeddings.position_ids": torch.arange(77).unsqueeze(0),  # in files of older versions
        "text_projection.weight": ours["text_projection"].T,  # a Linear without bias
    }
    return half_weights(ours, "text_model", LAYERS, {"final_layer_norm": "ln_final"}, others)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    state = torch.load(save_random_clip(tmp_path / "model.pt"), weights_only=True)
    save_file(text_weights(state), folder / "model.safetensors", metadata={"format": "pt"})
    write_config(folder)
    return folder


def write_config(folder: Path, **changes: Any) -> None:
    config = {"model_type": "clip", "text_config": TEXT, **changes}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")


def test_a_checkpoint_gives_the_numbers_of_the_original(checkpoint: Path) -> None:
    state = torch.load(checkpoint.parent / "model.pt", weights_only=True)
    original = clip.model.CLIP(32, 64, 2, 64, 16, 77, 49408, 64, 1, 1)
    original.load_state_dict(state)
    with torch.inference_mode():
        expected = original.eval().encode_text(clip.tokenize(WORDS)).numpy()
    encoder = TextEncoder(str(checkpoint))
    assert np.abs(encoder.encode(WORDS) - expected).max() <= 1e-5
    encoder.close()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"text_config": {**TEXT, "hidden_act": "relu"}}, "activation 'relu'"),
        ({"text_config": {**TEXT, "vocab_size": 1000}}, "vocabulary of 1000"),
        ({"text_config": {**TEXT, "num_hidden_layers": 2}}, "do not fit"),
        ({"text_config": "small"}, "text_config of config.json must be an object"),
        (
            {"model_type": "clip_vision_model"},
            "is a 'clip_vision_model' model; of this layout clip and siglip are supported",
        ),
    ],
)
def test_a_checkpoint_that_would_give_other_numbers_is_refused(
    checkpoint: Path, changes: dict[str, Any], words: str
) -> None:
    write_config(checkpoint, **changes)
    with pytest.raises(ModelError, match=words):
        TextEncoder(str(checkpoint))
