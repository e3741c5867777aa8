"""Train emoji-tiny from scratch on a CPU.

python training/emoji_tiny/train.py --output clip_image_flow/models/weights/emoji-tiny.pt
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812 - the usual name of this module
from augment import augment, plain
from captions import TEMPLATE, may_flip, sample_captions
from clip.model import CLIP
from data import TrainingSet, load_training_set
from drawing import VARIANTS
from model import (
    AveragedModel,
    CaptionTokens,
    build_model,
    clear_unused_tokens,
    encode_captions,
    encode_image,
    save_half,
    trunk,
)
from packages import DEFAULT_CACHE, REPO_ROOT
from score import recall
from tqdm import tqdm

# (share of the steps, side of the images after it in pixels)
SIDES = ((0.0, 64), (0.35, 96), (0.77, 128))


def parse_arguments() -> argparse.Namespace:
    """Parse the command line; the defaults are the options that the included weights were trained with."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],  # type: ignore[union-attr]
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    weights = REPO_ROOT / "clip_image_flow" / "models" / "weights" / "emoji-tiny.pt"
    parser.add_argument("--output", type=Path, default=weights, help="output file of the weights")
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE, help="data folder")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=4500)
    parser.add_argument("--batch", type=int, default=128, help="pictures per step")
    parser.add_argument("--rate", type=float, default=1e-3, help="highest learning rate")
    parser.add_argument("--decay", type=float, default=0.05, help="weight decay")
    parser.add_argument("--smoothing", type=float, default=0.05, help="label smoothing")
    parser.add_argument("--image-weight", type=float, default=0.3, help="weight of the text-to-image loss")
    parser.add_argument("--flag-weight", type=float, default=0.3, help="sampling weight of flags")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--checkpoint-every", type=int, default=500)
    parser.add_argument("--classes", type=int, default=768, help="captions per step")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True, help="needs a C++ compiler")
    parser.add_argument("--resume", type=Path, help="checkpoint of an interrupted run")
    parser.add_argument("--resume-step", type=int, default=0, help="step of that checkpoint")
    parser.add_argument("--leave-out", help="training style to hold out for the score")
    return parser.parse_args()


def side_at(progress: float) -> int:
    """Return the side of the training images, in pixels, after a share of the steps."""
    return max((start, side) for start, side in SIDES if start <= progress)[1]


def rate_at(step: int, steps: int, highest: float) -> float:
    """Return the learning rate of a step: a linear warm-up, then half a cosine down to a hundredth."""
    warmup = min(200, steps // 10)
    if step < warmup:
        return highest * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return highest * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))


def sampling_weights(data: TrainingSet, flag_weight: float, leave_out: str | None) -> torch.Tensor:
    """Return the weight of each drawing, ``[drawings]``: between equal per drawing and equal per emoji."""
    labels = torch.from_numpy(data.labels)
    kept = torch.ones(len(labels))
    if leave_out is not None:
        kept[torch.from_numpy(data.styles) == data.style_names.index(leave_out)] = 0
    counts = torch.bincount(labels, kept, len(data.emoji)).clamp_min(1)
    flags = torch.tensor([flag_weight if item.is_flag else 1.0 for item in data.emoji])
    return kept * flags[labels] / counts[labels].sqrt()


def make_optimiser(model: CLIP, rate: float, decay: float) -> torch.optim.Optimizer:
    """Return an AdamW optimizer with weight decay for only matrices and kernels."""
    named = [(n, p) for n, p in model.named_parameters() if n != "token_embedding.weight"]
    groups = [
        {"params": [p for _, p in named if p.ndim > 1], "weight_decay": decay},
        {"params": [p for _, p in named if p.ndim <= 1], "weight_decay": 0.0},
        {"params": [model.token_embedding.weight], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, rate, betas=(0.9, 0.98), fused=True)


def contrast(
    images: torch.Tensor,
    texts: torch.Tensor,
    labels: torch.Tensor,
    scale: torch.Tensor,
    smoothing: float,
    image_weight: float,
) -> torch.Tensor:
    """Return the contrastive loss of images against the captions of many emoji, and of captions against the images.

    :param images: unit vectors ``[batch, dims]``.
    :param texts: unit vectors ``[classes, dims]``, one caption of each of some distinct emoji.
    :param labels: ``[batch]``, row of ``texts`` that is the caption of each image.
    :param scale: factor of the cosines.
    :param smoothing: label smoothing, from 0 to 1.
    :param image_weight: weight of the text-to-image loss; that of the image-to-text loss is 1.
    """
    logits = scale * images @ texts.T
    by_image = F.cross_entropy(logits, labels, label_smoothing=smoothing)
    present = labels.unique()
    over_images = logits[:, present].T.log_softmax(dim=1)
    positive = (present.unsqueeze(1) == labels.unsqueeze(0)).float()
    by_text = -(over_images * positive).sum(1) / positive.sum(1)
    return by_image + image_weight * by_text.mean()


def choose_classes(
    labels: torch.Tensor, emoji: int, count: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the emoji whose captions a step encodes: those of the batch and random others.

    :return: indices of distinct emoji ``[classes]``, and ``labels`` as rows of these ``[batch]``.
    """
    present, rows = labels.unique(return_inverse=True)
    absent = torch.ones(emoji, dtype=torch.bool)
    absent[present] = False
    others = absent.nonzero()[:, 0]
    order = torch.randperm(len(others), generator=generator)
    return torch.cat([present, others[order[: max(0, count - len(present))]]]), rows


class Sampler:
    """Draws batches of drawings and their variants."""

    def __init__(self, data: TrainingSet, weights: torch.Tensor, generator: torch.Generator):
        self._data = data
        self._weights = weights
        self._labels = torch.from_numpy(data.labels)
        self._flip = may_flip(data.emoji)
        self._generator = generator

    def __call__(self, batch: int, side: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return augmented images ``[batch, 3, side, side]`` and their labels ``[batch]``."""
        rows = torch.multinomial(self._weights, batch, True, generator=self._generator)
        # The unchanged drawing is chosen twice as often as each other variant.
        variant = torch.randint(-1, VARIANTS, (batch,), generator=self._generator).clamp_min(0)
        rgba = torch.from_numpy(self._data.pictures[rows.numpy(), variant.numpy()])
        labels = self._labels[rows]
        pictures = augment(rgba, side, self._flip[labels], self._generator)
        return pictures.contiguous(memory_format=torch.channels_last), labels


@torch.no_grad()
def refresh_statistics(model: CLIP, sampler: Sampler, batches: int = 30) -> None:
    """Recompute the statistics of batch normalisation, which are not valid for averaged weights."""
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    model.train()
    for _ in range(batches):
        encode_image(model, sampler(128, SIDES[-1][1])[0])
    model.eval()


@torch.no_grad()
def score_style(model: CLIP, data: TrainingSet, style: str) -> dict[int, float]:
    """Return the recall on one style of the training set, drawn on white without changes."""
    rows = (data.styles == data.style_names.index(style)).nonzero()[0]
    first = {int(data.labels[row]): int(row) for row in rows[::-1]}
    tokens = CaptionTokens()([TEMPLATE.format(data.emoji[label].label) for label in first])
    pictures = torch.from_numpy(data.pictures[list(first.values()), 0])
    images = torch.cat([encode_image(model, plain(p, 128)) for p in pictures.split(100)])
    return recall(encode_captions(model, tokens), images)


def train(options: argparse.Namespace) -> CLIP:
    """Train a model; return the average of its weights."""
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    generator = torch.Generator().manual_seed(options.seed)
    data = load_training_set(options.cache)
    sampler = Sampler(data, sampling_weights(data, options.flag_weight, options.leave_out), generator)
    model = build_model().to(memory_format=torch.channels_last).train()
    if options.resume is not None:
        state = torch.load(options.resume, weights_only=True)
        model.load_state_dict({name: value.float() for name, value in state.items()})
    averaged = AveragedModel(model, decay=0.998)
    optimiser = make_optimiser(model, options.rate, options.decay)
    tokenise = CaptionTokens()
    run_trunk = torch.compile(trunk, dynamic=False) if options.compile else trunk
    bar = tqdm(range(options.resume_step, options.steps), "training", mininterval=5)
    for step in bar:
        for group in optimiser.param_groups:
            group["lr"] = rate_at(step, options.steps, options.rate)
        pictures, labels = sampler(options.batch, side_at(step / options.steps))
        classes, rows = choose_classes(labels, len(data.emoji), options.classes, generator)
        chosen = [data.emoji[i] for i in classes.tolist()]
        tokens = tokenise(sample_captions(chosen, generator))
        with torch.autocast("cpu", torch.bfloat16):
            images = encode_image(model, pictures, run_trunk)
            texts = encode_captions(model, tokens)
        scale = model.logit_scale.exp().clamp(max=100)
        loss = contrast(images, texts, rows, scale, options.smoothing, options.image_weight)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        averaged.update(model)
        if step % 20 == 0:
            bar.set_postfix(loss=f"{loss.item():.3f}", scale=f"{scale.item():.1f}", refresh=False)
        if (step + 1) % options.checkpoint_every == 0:
            save_half(averaged.model, options.output.with_suffix(".part.pt"))
    refresh_statistics(averaged.model, sampler)
    clear_unused_tokens(averaged.model, tokenise.used())
    return averaged.model


def main() -> None:
    """Train and save the model, and print its recall on a style that was left out."""
    options = parse_arguments()
    began = time.monotonic()
    model = train(options)
    save_half(model, options.output)
    options.output.with_suffix(".part.pt").unlink(missing_ok=True)
    print(f"{options.output} after {(time.monotonic() - began) / 60:.1f} minutes")
    if options.leave_out is not None:
        data = load_training_set(options.cache)
        print({k: round(v, 4) for k, v in score_style(model, data, options.leave_out).items()})


if __name__ == "__main__":
    main()
