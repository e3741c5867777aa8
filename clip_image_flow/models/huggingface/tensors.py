"""Weights of transformers' models, and where the parts of a layer are called otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open

from clip_image_flow.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor

LOGITS = ("logit_scale", "logit_bias")


def read(file: Path, parts: tuple[str, ...], name: str) -> dict[str, Tensor]:
    """The weights whose names begin with one of `parts`, in fp32.

    :param name: of the model, for an error.
    :raises ModelError: there is no such file, or it is broken.
    """
    try:
        with safe_open(file, framework="pt") as content:
            keys = [key for key in content.keys() if key.startswith(parts)]  # noqa: SIM118
            return {key: content.get_tensor(key).float() for key in keys}
    except FileNotFoundError as error:
        raise ModelError(f"model {name!r}: {file.parent} has no {file.name}; pickled weights are not read") from error
    except SafetensorError as error:
        raise ModelError(f"model {name!r}: {file} is broken ({error}); copy it again") from error


def moved(rest: dict[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    """Their names -> ours. What is taken is gone from `rest`."""
    return {ours: rest.pop(theirs) for theirs, ours in names.items()}


def layer(rest: dict[str, Tensor], theirs: str, ours: str, names: Mapping[str, str], qkv: str) -> dict[str, Tensor]:
    """The weights of one layer; query, key and value become one matrix. What is taken is gone from `rest`.

    :param theirs: what the names of its weights begin with.
    :param ours: what they begin with then.
    :param names: of its other parts.
    :param qkv: what that matrix is called, with a place for `weight` or `bias`.
    """
    import torch

    state: dict[str, Tensor] = {}
    for kind in ("weight", "bias"):
        parts = [rest.pop(f"{theirs}.self_attn.{part}_proj.{kind}") for part in "qkv"]
        state[f"{ours}.{qkv.format(kind)}"] = torch.cat(parts)
        for their_name, our_name in names.items():
            state[f"{ours}.{our_name}.{kind}"] = rest.pop(f"{theirs}.{their_name}.{kind}")
    return state


def check_empty(rest: dict[str, Tensor]) -> None:
    """Weights without a place are somebody else's architecture."""
    if unknown := [key for key in rest if not key.endswith(".position_ids")]:  # which are 0, 1, 2, ...
        raise KeyError(f"no place for {min(unknown)}")
