"""The architecture of emoji-tiny, faster encoding for training, and its file format."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812 - the usual name of this module
from clip.model import CLIP, ModifiedResNet

from clip_image_flow.models.openai_clip import clip

EMBEDDING = 128
RESOLUTION = 128
VISION_LAYERS = (1, 1, 2, 1)
VISION_WIDTH = 28
TEXT_WIDTH = 64
TEXT_LAYERS = 2
CONTEXT_LENGTH = 77
VOCABULARY = 49408
CELL = 32


def build_model() -> CLIP:
    """Return the untrained model."""
    return CLIP(
        EMBEDDING,
        RESOLUTION,
        VISION_LAYERS,
        VISION_WIDTH,
        0,
        CONTEXT_LENGTH,
        VOCABULARY,
        TEXT_WIDTH,
        TEXT_WIDTH // 64,
        TEXT_LAYERS,
    )


def trunk(visual: ModifiedResNet, pictures: torch.Tensor) -> torch.Tensor:
    """Run the convolutions of the vision tower: ``[batch, 3, side, side]`` to a feature map.

    This is the tower's own ``forward`` without the attention pool, whose shape depends on the side.
    """
    x = visual.relu1(visual.bn1(visual.conv1(pictures)))
    x = visual.relu2(visual.bn2(visual.conv2(x)))
    x = visual.relu3(visual.bn3(visual.conv3(x)))
    x = visual.layer1(visual.avgpool(x))
    return visual.layer4(visual.layer3(visual.layer2(x)))


Trunk = Callable[[ModifiedResNet, torch.Tensor], torch.Tensor]


def encode_image(model: CLIP, pictures: torch.Tensor, run_trunk: Trunk = trunk) -> torch.Tensor:
    """Encode ``[batch, 3, side, side]``, with any side that is a multiple of 32.

    The positional embedding of the attention pool is resampled if the side is not the model's,
    so that training can begin with small images.

    :return: unit vectors ``[batch, 128]``.
    """
    features = run_trunk(model.visual, pictures)
    pool = model.visual.attnpool
    own = pool.positional_embedding
    grid, wanted = RESOLUTION // CELL, pictures.shape[-1] // CELL
    if wanted == grid:
        return F.normalize(pool(features).float(), dim=-1)
    cells = own[1:].T.reshape(1, -1, grid, grid)
    cells = F.interpolate(cells, (wanted, wanted), mode="bilinear", align_corners=False)
    state = {"positional_embedding": torch.cat([own[:1], cells.reshape(own.shape[1], -1).T])}
    pooled = torch.func.functional_call(pool, state, (features,))
    return F.normalize(pooled.float(), dim=-1)


def encode_captions(model: CLIP, tokens: torch.Tensor, groups: int = 6) -> torch.Tensor:
    """Encode token ids ``[captions, 77]``; return unit vectors ``[captions, 128]``.

    Captions are encoded in groups of similar length, each truncated to its longest caption:
    attention is causal, so tokens after the end token cannot change the result.
    """
    lengths = tokens.argmax(dim=-1) + 1
    order = lengths.argsort()
    parts = [model.encode_text(tokens[rows, : int(lengths[rows].max())]) for rows in order.chunk(groups)]
    features = torch.cat(parts)[order.argsort()]
    return F.normalize(features.float(), dim=-1)


class CaptionTokens:
    """Tokenises captions, with a cache."""

    def __init__(self) -> None:
        self._known: dict[str, torch.Tensor] = {}

    def __call__(self, captions: list[str]) -> torch.Tensor:
        """Return the token ids of captions, ``[captions, 77]``."""
        for caption in captions:
            if caption not in self._known:
                self._known[caption] = clip.tokenize(caption, truncate=True)[0].long()
        return torch.stack([self._known[caption] for caption in captions])

    def used(self) -> torch.Tensor:
        """Return the ids of the tokens of all captions in the cache."""
        return torch.cat(list(self._known.values())).unique()


class AveragedModel:
    """An exponential moving average of a model's parameters."""

    def __init__(self, model: CLIP, decay: float) -> None:
        self.model = copy.deepcopy(model).eval()
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, model: CLIP) -> None:
        """Move the average towards ``model``, faster at the beginning; statistics are copied."""
        self.updates += 1
        weight = 1 - min(self.decay, (1 + self.updates) / (10 + self.updates))
        averaged = list(self.model.parameters())
        torch._foreach_lerp_(averaged, list(model.parameters()), weight)
        for own, other in zip(self.model.buffers(), model.buffers(), strict=True):
            own.copy_(other)


@torch.no_grad()
def clear_unused_tokens(model: CLIP, used: torch.Tensor) -> None:
    """Set the embeddings of tokens that are in no caption, and therefore still random, to zero."""
    unused = torch.ones(VOCABULARY, dtype=torch.bool)
    unused[used] = False
    model.token_embedding.weight[unused] = 0


def save_half(model: CLIP, path: Path) -> None:
    """Save the state dict in half precision, in the format that ``clip.load`` reads."""
    state = {name: value.half() if value.is_floating_point() else value for name, value in model.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({name: value.contiguous() for name, value in state.items()}, path)
