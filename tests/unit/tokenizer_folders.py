"""Writes small real tokenizers, in the file layouts of SigLIP and SigLIP 2."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

CORPUS = [
    "a photo of a cat on a mat",
    "a photo of two dogs in the snow",
    "the quick brown fox jumps over the lazy dog",
    "ein Bild von einem Hund",
    "une photo de la mer, la nuit",
    "pictures of cars, trains and bicycles",
] * 4


def save_gemma(folder: Path, size: int = 320, **config: Any) -> Path:
    """Write a tokenizer like SigLIP 2's: byte pair encoding with byte fallback; return its directory."""
    specials = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    bytes_ = [f"<0x{value:02X}>" for value in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=[*specials, *bytes_], show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    # In SigLIP 2's tokenizer bytes are ordinary tokens of the vocabulary, not special ones.
    content = json.loads(tokenizer.to_str())
    content["added_tokens"] = [token for token in content["added_tokens"] if token["content"] in specials]
    tokenizer = Tokenizer.from_str(json.dumps(content))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A <eos>", pair="$A <eos> $B <eos>", special_tokens=[("<eos>", 1)]
    )
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return _save(
        folder,
        tokenizer,
        {
            "tokenizer_class": "GemmaTokenizer",
            "add_bos_token": False,
            "add_eos_token": True,
            "bos_token": "<bos>",
            "eos_token": "<eos>",
            "pad_token": "<pad>",
            "unk_token": "<unk>",
            "padding_side": "right",
            "model_max_length": 64,
            **config,
        },
    )


def save_t5(folder: Path, size: int = 120, **config: Any) -> Path:
    """Write a tokenizer like SigLIP's: a unigram model, tokenizer.json adds the end token; return its directory."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC()])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=size, special_tokens=["<unk>", "</s>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    return _save(
        folder,
        tokenizer,
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": "</s>",
            "pad_token": "</s>",
            "unk_token": "<unk>",
            "padding_side": "right",
            "model_max_length": 64,
            **config,
        },
    )


def _save(folder: Path, tokenizer: Tokenizer, config: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder
