"""Reads and renames the weights of transformers' models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open

from clip_image_flow.errors import ModelError, first_line

if TYPE_CHECKING:
    from torch import Tensor

_LOGITS = ("logit_scale", "logit_bias")
RESIDUAL_BLOCK = {
    "self_attn.out_proj": "attn.out_proj",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}
"""Map of names for `layer`: of a layer in transformers' layout to OpenAI's and OpenCLIP's `ResidualAttentionBlock`."""


def read(file: Path, parts: tuple[str, ...], name: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Read the weights whose names begin with one of `parts`, in fp32, and separately `logit_scale` and `logit_bias`.

    :param name: name of the model in error messages.
    :raises ModelError: the file does not exist or is corrupt.
    """
    try:
        with safe_open(file, framework="pt") as content:
            keys = [key for key in content.keys() if key.startswith((*parts, *_LOGITS))]  # noqa: SIM118
            found = {key: content.get_tensor(key).float() for key in keys}
    except FileNotFoundError as error:
        raise ModelError(
            f"model {name!r}: {file.parent} has no {file.name}; pickled weights are not supported"
        ) from error
    except SafetensorError as error:
        raise ModelError(f"model {name!r}: {file} is broken ({error}); copy it again") from error
    logits = {key: found.pop(key) for key in _LOGITS if key in found}
    return found, logits


@contextmanager
def fitting(name: str) -> Iterator[None]:
    """Turn any error while a module is built from weights into a `ModelError`.

    :param name: name of the model in error messages.
    :raises ModelError: the weights do not fit the configuration.
    """
    try:
        yield
    except (KeyError, RuntimeError, TypeError, ValueError, AssertionError, ArithmeticError) as error:
        raise ModelError(f"model {name!r}: the weights do not fit config.json: {first_line(error)}") from error


def moved(rest: dict[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    """Rename weights, and remove them from `rest`.

    :param names: map from their names to ours.
    """
    return {ours: rest.pop(theirs) for theirs, ours in names.items()}


def layer(rest: dict[str, Tensor], theirs: str, ours: str, names: Mapping[str, str], qkv: str) -> dict[str, Tensor]:
    """Rename the weights of one layer, and remove them from `rest`; query, key and value become one matrix.

    :param theirs: prefix of their names.
    :param ours: prefix of our names.
    :param names: map from their names to ours for the other parts of the layer.
    :param qkv: our name of the combined matrix, with a placeholder for `weight` or `bias`.
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
    """Check that all weights are used: unused ones belong to another architecture.

    :raises KeyError: weights are left.
    """
    if unknown := [key for key in rest if not key.endswith(".position_ids")]:  # always 0, 1, 2, ...
        raise KeyError(f"unexpected tensor {min(unknown)}")
