"""Loads a half of an OpenCLIP model with `open_clip` itself."""

from __future__ import annotations

import copy
import pickle
from typing import Any

from safetensors import SafetensorError
from torch import nn

from clip_image_flow.errors import ModelError, first_line
from clip_image_flow.models.halves import FirstOf, Text, as_half
from clip_image_flow.models.openclip.description import Description
from clip_image_flow.models.openclip.library import open_clip
from clip_wire.info import IMAGE

_UNFIT = (KeyError, RuntimeError, AttributeError, TypeError, ValueError, AssertionError, ArithmeticError)


def load(found: Description, kind: str) -> nn.Module:
    """Load the image or the text half of a checkpoint, in fp32.

    Pickles are read for tensors only.

    :raises ModelError: the weights are corrupt, or do not fit the architecture.
    """
    model_cfg = copy.deepcopy(found.model_cfg)
    custom = model_cfg.pop("custom_text", False)
    whole = open_clip.CoCa if "multimodal_cfg" in model_cfg else open_clip.CustomTextCLIP if custom else open_clip.CLIP
    try:
        model: Any = whole(**model_cfg)
        open_clip.load_checkpoint(model, str(found.weights), weights_only=True)
        return _half(model.eval(), model_cfg, kind)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"model {found.name!r}: {found.weights} holds more than tensors, and such a file could run code; save it "
            "as safetensors"
        ) from error
    except (SafetensorError, EOFError, OSError) as error:
        raise ModelError(
            f"model {found.name!r}: {found.weights} is broken ({first_line(error)}); copy it again"
        ) from error
    except _UNFIT as error:
        raise ModelError(
            f"model {found.name!r}: {found.weights} does not fit the architecture that is named "
            f"({type(error).__name__}: {first_line(error)})"
        ) from error


def _half(model: Any, model_cfg: dict[str, Any], kind: str) -> nn.Module:
    logits = {key: getattr(model, key) for key in ("logit_scale", "logit_bias") if getattr(model, key) is not None}
    dim: int = model_cfg["embed_dim"]
    if kind == IMAGE:
        size = model.visual.image_size
        visual = FirstOf(model.visual) if getattr(model.visual, "output_tokens", False) else model.visual
        return as_half(visual, logits, output_dim=dim, input_resolution=size if isinstance(size, int) else size[0])
    parts: Any = getattr(model, "text", model)
    if getattr(parts, "cls_emb", None) is None:
        text: Any = Text(parts)
        return as_half(text, logits, output_dim=text.output_dim)
    text = FirstOf(parts) if parts.output_tokens else parts
    text.context_length, text.shortens = parts.context_length, False
    return as_half(text, logits, output_dim=dim)
