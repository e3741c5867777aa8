"""Loads a half of CLIP from a file in OpenAI's format: a state dict or a TorchScript archive.

Pickles are read for tensors only, since other content could run code.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from clip_image_flow.errors import ModelError, first_line
from clip_image_flow.models.openai_clip import clip, with_logit_scale
from clip_image_flow.models.text import ClipText


def load_visual(path: Path) -> nn.Module:
    """Load the image half in `path`, built as by `clip.load`.

    :raises ModelError: the file is corrupt, or does not contain such a model.
    """
    visual: nn.Module = _build(path, lambda state: clip.model.build_model(state).visual)
    return visual


def load_text(path: Path) -> nn.Module:
    """Load the text half in `path`, with the numbers of `clip.load`.

    :raises ModelError: the file is corrupt, or does not contain such a model.
    """
    return _build(path, ClipText)


def _build(path: Path, build: Callable[[dict[str, Tensor]], nn.Module]) -> nn.Module:
    state = _read_state(path)
    try:
        return with_logit_scale(build(state), state)
    except (KeyError, RuntimeError, AttributeError, TypeError, ValueError, AssertionError, ArithmeticError) as error:
        raise ModelError(
            f"model {str(path)!r} is not CLIP in OpenAI's architecture ({type(error).__name__}: "
            f"{str(error).splitlines()[0] if str(error) else 'unexpected weights'})"
        ) from error


def _read_state(path: Path) -> dict[str, Tensor]:
    try:
        if _is_torchscript(path):
            return dict(torch.jit.load(str(path), map_location="cpu").state_dict())  # type: ignore[no-untyped-call]
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"model {str(path)!r} holds more than tensors, and such a file could run code; "
            "save model.state_dict() alone, or use safetensors in Hugging Face's layout"
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise ModelError(
            f"model {str(path)!r} cannot be read as weights ({first_line(error)}); copy the file again"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ModelError(f"model {str(path)!r} is not a state dict: save model.state_dict() alone")
    return state


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())
