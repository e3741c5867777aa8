"""Reads the tokenizer of a checkpoint: tokenizer.json and tokenizer_config.json."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clip_image_flow.errors import ModelError
from clip_image_flow.models.json_files import read_object

TOKENIZER, CONFIG = "tokenizer.json", "tokenizer_config.json"
FILES = (TOKENIZER, CONFIG)


@dataclass(frozen=True)
class TokenizerFile:
    """A tokenizer.json, with settings from tokenizer_config.json.

    :param path: path of the tokenizer.json.
    :param kind: tokenizer class of transformers; "" if not set.
    :param pad: padding token; None if not set.
    :param separator: separator token between two texts; None if not set.
    """

    path: Path
    kind: str
    pad: str | None
    separator: str | None


def read(folder: Path, name: str) -> TokenizerFile:
    """Read the tokenizer in `folder`.

    :param name: name of the model in error messages.
    :raises ModelError: the folder has no tokenizer.json.
    """
    if not (folder / TOKENIZER).is_file():
        raise ModelError(
            f"model {name!r}: {folder} has no {TOKENIZER}, the form in which a tokenizer is read here; make it with "
            "transformers: AutoTokenizer.from_pretrained(...).save_pretrained(...)"
        )
    config = read_object(folder / CONFIG, name) if (folder / CONFIG).is_file() else {}
    return TokenizerFile(
        folder / TOKENIZER,
        str(config.get("tokenizer_class", "")),
        _token(config, "pad_token"),
        _token(config, "sep_token"),
    )


def _token(config: dict[str, Any], key: str) -> str | None:
    token = config.get(key)
    if isinstance(token, dict):
        token = token.get("content")
    return token if isinstance(token, str) else None
