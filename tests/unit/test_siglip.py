"""transformers' own layout: CLIP with any activation, and SigLIP, give the vectors of transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    AutoTokenizer,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    SiglipConfig,
    SiglipImageProcessor,
    SiglipModel,
)

from clip_image_flow import ImageEncoder, TextEncoder, models
from clip_image_flow.errors import ModelError
from clip_image_flow.models.openai_clip import clip
from clip_image_flow.quantize import quantize, quantize_text
from tests.conftest import encoded, photo
from tests.unit.test_open_clip_parity import HAS_BF16, cosine, relative
from tests.unit.tokenizer_folders import save_gemma, save_t5

SIZE, CONTEXT, VOCABULARY = 64, 16, 320
PICTURES = [photo(90, 60), photo(60, 150, seed=1), photo(64, 64, seed=2)]
TEXTS = ["a cat", "a Photo of two dogs in the snow", "", "word " * 30]
LAYERS = {"hidden_size": 64, "intermediate_size": 176, "num_hidden_layers": 2, "num_attention_heads": 2}


def randomised(model: Any) -> Any:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
        model.logit_scale.fill_(2.3)
    return model.eval()


def siglip(folder: Path, activation: str = "gelu_pytorch_tanh") -> SiglipModel:
    """SigLIP, or SigLIP 2 of fixed resolution: one architecture."""
    torch.manual_seed(0)
    more = {"hidden_act": activation}
    config = SiglipConfig(
        text_config={**LAYERS, **more, "vocab_size": VOCABULARY, "max_position_embeddings": CONTEXT},
        vision_config={**LAYERS, **more, "image_size": SIZE, "patch_size": 16},
    )
    model = randomised(SiglipModel(config))
    with torch.no_grad():
        model.logit_bias.fill_(-4.0)
    model.save_pretrained(folder)
    SiglipImageProcessor(size={"height": SIZE, "width": SIZE}).save_pretrained(folder)
    return model


def clip_with(folder: Path, activation: str, eps: float) -> CLIPModel:
    torch.manual_seed(0)
    more = {"hidden_act": activation, "layer_norm_eps": eps}
    layers = {**LAYERS, "intermediate_size": 256, **more}  # 4 times the width, as OpenAI's
    config = CLIPConfig(
        text_config={**layers, "vocab_size": 49408, "max_position_embeddings": 77, "eos_token_id": 49407},
        vision_config={**layers, "image_size": SIZE, "patch_size": 16},
        projection_dim=32,
    )
    model = randomised(CLIPModel(config))
    model.save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": SIZE}, crop_size=SIZE).save_pretrained(folder)
    return model


def of_pictures(model: Any, processor: Any, pictures: list[Image.Image]) -> np.ndarray:
    with torch.inference_mode():
        pixels = processor(images=pictures, return_tensors="pt").pixel_values
        return np.asarray(features(model.get_image_features(pixel_values=pixels)))


def of_tokens(model: Any, tokens: torch.Tensor) -> np.ndarray:
    with torch.inference_mode():
        return np.asarray(features(model.get_text_features(input_ids=tokens)))


def features(found: Any) -> np.ndarray:
    return np.asarray((found if isinstance(found, torch.Tensor) else found.pooler_output).numpy())


def ours(kind: type[ImageEncoder] | type[TextEncoder], folder: Path, **options: str) -> np.ndarray:
    encoder = kind(str(folder), cache_dir=str(folder / "cache"), **options)
    try:
        return encoder.encode([encoded(picture) for picture in PICTURES] if kind is ImageEncoder else TEXTS)
    finally:
        encoder.close()


def check(folder: Path, kind: type[ImageEncoder] | type[TextEncoder], theirs: np.ndarray, *, exact: float) -> None:
    """Pass when both engines give `theirs`.

    :param exact: how near torch must be, in parts of the largest element.
    """
    assert relative(ours(kind, folder, backend="torch"), theirs) <= exact
    assert cosine(ours(kind, folder, backend="openvino"), theirs) >= 0.99999
    if HAS_BF16:
        assert cosine(ours(kind, folder, backend="openvino", precision="bf16"), theirs) >= 0.999


@pytest.fixture
def processed_by_pillow() -> Any:
    """transformers' processors with Pillow; those with torchvision are a level of 255 off."""
    from transformers import CLIPImageProcessorPil, SiglipImageProcessorPil

    return {"clip": CLIPImageProcessorPil, "siglip": SiglipImageProcessorPil}


@pytest.mark.parametrize("activation", ["gelu_pytorch_tanh", "gelu"])
def test_siglips_pictures(tmp_path: Path, processed_by_pillow: Any, activation: str) -> None:
    model = siglip(tmp_path, activation)
    save_gemma(tmp_path, VOCABULARY)
    processor = processed_by_pillow["siglip"].from_pretrained(tmp_path)
    check(tmp_path, ImageEncoder, of_pictures(model, processor, PICTURES), exact=1e-4)


def test_siglip_2s_texts_are_in_lower_case(tmp_path: Path) -> None:
    model = siglip(tmp_path)
    save_gemma(tmp_path, VOCABULARY)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    lower = [text.lower() for text in TEXTS]
    tokens = tokenizer(lower, padding="max_length", truncation=True, max_length=CONTEXT, return_tensors="pt").input_ids
    check(tmp_path, TextEncoder, of_tokens(model, tokens), exact=1e-4)


def test_siglips_texts_lose_their_punctuation(tmp_path: Path) -> None:
    siglip(tmp_path)
    save_t5(tmp_path, tokenizer_class="SiglipTokenizer")
    encoder = TextEncoder(str(tmp_path), backend="torch")
    same, plain = encoder.encode(["A  photo, of a CAT!", "a photo of a cat"])
    encoder.close()
    assert np.array_equal(same, plain)


@pytest.mark.parametrize(("activation", "eps"), [("gelu", 1e-5), ("gelu_pytorch_tanh", 1e-6), ("quick_gelu", 1e-5)])
def test_clip_with_any_activation(tmp_path: Path, processed_by_pillow: Any, activation: str, eps: float) -> None:
    model = clip_with(tmp_path, activation, eps)
    processor = processed_by_pillow["clip"].from_pretrained(tmp_path)
    check(tmp_path, ImageEncoder, of_pictures(model, processor, PICTURES), exact=1e-4)
    check(tmp_path, TextEncoder, of_tokens(model, clip.tokenize(TEXTS, truncate=True)), exact=1e-4)


def test_logit_scale_and_bias_are_the_models_own(tmp_path: Path) -> None:
    siglip(tmp_path)
    save_gemma(tmp_path, VOCABULARY)
    for backend in ("torch", "openvino", "openvino"):  # the last one finds the conversion
        encoder = TextEncoder(str(tmp_path), cache_dir=str(tmp_path / "cache"), backend=backend)
        encoder.close()
        assert encoder.logit_scale == pytest.approx(np.exp(2.3))
        assert encoder.logit_bias == pytest.approx(-4.0)


def test_siglip_in_int8_is_near(tmp_path: Path) -> None:
    siglip(tmp_path)
    save_gemma(tmp_path, VOCABULARY)
    cache, pictures = str(tmp_path / "cache"), tmp_path / "pictures"
    pictures.mkdir()
    for seed in range(32):
        (pictures / f"{seed}.png").write_bytes(encoded(photo(seed=seed)))
    assert quantize(str(tmp_path), [pictures], cache_dir=cache).min() >= 0.98
    assert quantize_text(str(tmp_path), [f"photo {i} of a dog" for i in range(32)], cache_dir=cache).min() >= 0.98
    assert ours(TextEncoder, tmp_path, precision="int8").shape == (len(TEXTS), LAYERS["hidden_size"])


def test_without_a_tokenizer_json_it_is_said_how_to_make_one(tmp_path: Path) -> None:
    siglip(tmp_path)
    with pytest.raises(ModelError, match=r"has no tokenizer\.json, the form in which .*save_pretrained"):
        TextEncoder(str(tmp_path))


def test_a_tokenizer_of_another_family_is_refused(tmp_path: Path) -> None:
    siglip(tmp_path)
    save_t5(tmp_path, tokenizer_class="BertTokenizer")
    with pytest.raises(ModelError, match="names the class 'BertTokenizer' and the pad_token '</s>'"):
        TextEncoder(str(tmp_path))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_hidden_layers": 3}, r"the weights do not fit config\.json"),
        ({"image_size": 96}, r"the weights do not fit config\.json"),
        ({"hidden_act": "relu"}, "uses the activation 'relu'; supported: gelu, gelu_pytorch_tanh, gelu_new"),
        ({"vision_use_head": False}, "vision_use_head false"),
    ],
)
def test_a_configuration_that_does_not_fit_is_named(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    siglip(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["vision_config"] |= changes
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=f"model '{tmp_path}'.*{words}"):
        models.load(str(tmp_path))


def test_the_tokenizer_is_part_of_the_fingerprint(tmp_path: Path) -> None:
    siglip(tmp_path)
    found = set()
    for size in (VOCABULARY, VOCABULARY - 20):
        save_gemma(tmp_path, size)
        encoder = TextEncoder(str(tmp_path), cache_dir=str(tmp_path / "cache"))
        encoder.close()
        found.add((encoder.info["checkpoint"], encoder.info["fingerprint"]))
    assert len({checkpoint for checkpoint, _ in found}) == 1
    assert len(found) == 2
