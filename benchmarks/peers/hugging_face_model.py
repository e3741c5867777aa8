"""Convert weights in OpenAI's format to a CLIPModel of transformers, with OpenAI's preprocessing and tokenizer.

    python hugging_face_model.py STATE_DICT BPE_FILE FOLDER

Runs in infinity's environment, which has transformers.
"""

import gzip
import json
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import CLIPConfig, CLIPModel

_LAYER = {
    "attn.out_proj": "self_attn.out_proj",
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
_SPECIAL = {"bos_token": "<|startoftext|>"} | dict.fromkeys(("eos_token", "pad_token", "unk_token"), "<|endoftext|>")


def convert(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Convert a state dict from OpenAI's keys to those of transformers."""
    weights = {
        "vision_model.embeddings.class_embedding": state["visual.class_embedding"],
        "vision_model.embeddings.patch_embedding.weight": state["visual.conv1.weight"],
        "vision_model.embeddings.position_embedding.weight": state["visual.positional_embedding"],
        "text_model.embeddings.token_embedding.weight": state["token_embedding.weight"],
        "text_model.embeddings.position_embedding.weight": state["positional_embedding"],
        "visual_projection.weight": state["visual.proj"].t(),
        "text_projection.weight": state["text_projection"].t(),
        "logit_scale": state["logit_scale"],
    }
    for kind in ("weight", "bias"):
        weights[f"vision_model.pre_layrnorm.{kind}"] = state[f"visual.ln_pre.{kind}"]  # transformers' misspelling
        weights[f"vision_model.post_layernorm.{kind}"] = state[f"visual.ln_post.{kind}"]
        weights[f"text_model.final_layer_norm.{kind}"] = state[f"ln_final.{kind}"]
        for ours, theirs in (("visual.", "vision_model."), ("", "text_model.")):
            for layer in range(12):
                block, other = f"{ours}transformer.resblocks.{layer}.", f"{theirs}encoder.layers.{layer}."
                parts = state[f"{block}attn.in_proj_{kind}"].chunk(3)
                for name, part in zip("qkv", parts, strict=True):
                    weights[f"{other}self_attn.{name}_proj.{kind}"] = part
                for name, their_name in _LAYER.items():
                    weights[f"{other}{their_name}.{kind}"] = state[f"{block}{name}.{kind}"]
    return {key: tensor.float().contiguous() for key, tensor in weights.items()}


def tokenizer(bpe: Path) -> tuple[dict[str, int], list[str]]:
    """Return the vocabulary and the merges of OpenAI's file."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in printable]
    letters = [chr(byte) for byte in printable] + [chr(256 + i) for i in range(len(rest))]
    merges = gzip.decompress(bpe.read_bytes()).decode().split("\n")[1 : 49152 - 256 - 2 + 1]
    words = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(merge.split()) for merge in merges)]
    return {word: i for i, word in enumerate([*words, "<|startoftext|>", "<|endoftext|>"])}, merges


def main(weights: str, bpe: str, folder: str) -> None:
    """Write the model's directory."""
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    config = CLIPConfig()  # its defaults are ViT-B/32 with quick_gelu
    config.architectures = ["CLIPModel"]
    whole: Any = CLIPModel(config)
    model = whole.eval()
    result = model.load_state_dict(convert(torch.load(weights, map_location="cpu")), strict=False)
    assert not result.unexpected_keys, result
    assert all("position_ids" in key for key in result.missing_keys), result
    model.save_pretrained(out)
    vocabulary, merges = tokenizer(Path(bpe))
    (out / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", encoding="utf-8")
    size = {"crop_size": 224, "size": 224, "resample": 3, "feature_extractor_type": "CLIPFeatureExtractor"}
    steps = dict.fromkeys(("do_center_crop", "do_normalize", "do_resize"), True)
    statistics = {
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
    }
    special = {"add_prefix_space": False, "do_lower_case": True, "errors": "replace", "model_max_length": 77}
    for name, content in {
        "vocab.json": vocabulary,
        "special_tokens_map.json": _SPECIAL,
        "tokenizer_config.json": {**_SPECIAL, **special, "tokenizer_class": "CLIPTokenizer"},
        "preprocessor_config.json": {**size, **steps, **statistics},
    }.items():
        (out / name).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
