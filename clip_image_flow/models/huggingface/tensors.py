"""Weights of transformers' models, and where the parts of a layer are called otherwise."""

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


def read(file: Path, parts: tuple[str, ...], name: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The weights whose names begin with one of `parts`, in fp32, and those of the logits, where there are any.

    :param name: of the model, for an error.
    :raises ModelError: there is no such file, or it is broken.
    """
    try:
        with safe_open(file, framework="pt") as content:
            keys = [key for key in content.keys() if key.startswith((*parts, *_LOGITS))]  # noqa: SIM118
            found = {key: content.get_tensor(key).float() for key in keys}
    except FileNotFoundError as error:
        raise ModelError(f"model {name!r}: {file.parent} has no {file.name}; pickled weights are not read") from error
    except SafetensorError as error:
        raise ModelError(f"model {name!r}: {file} is broken ({error}); copy it again") from error
    logits = {key: found.pop(key) for key in _LOGITS if key in found}
    return found, logits


@contextmanager
def fitting(name: str) -> Iterator[None]:
    """Whatever goes wrong while weights are put in their places is said as one thing.

    :param name: of the model.
    :raises ModelError: the weights do not fit the configuration.
    """
    try:
        yield
    except (KeyError, RuntimeError, TypeError, ValueError, AssertionError, ArithmeticError) as error:
        raise ModelError(f"model {name!r}: the weights do not fit config.json: {first_line(error)}") from error


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
