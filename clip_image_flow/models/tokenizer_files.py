"""The tokenizer of a checkpoint: tokenizer.json, and what its configuration says besides."""

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
    """A tokenizer.json, with what transformers takes from tokenizer_config.json besides.

    :param kind: the class of transformers that it was made for, "" where it does not say.
    :param pad: the token behind the end of a text; None where it does not say.
    :param separator: the token between two texts.
    """

    path: Path
    kind: str
    pad: str | None
    separator: str | None


def read(folder: Path, name: str) -> TokenizerFile:
    """The tokenizer in `folder`.

    :param name: of the model, for an error.
    :raises ModelError: there is none that the package `tokenizers` reads.
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
