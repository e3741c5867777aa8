"""The training set and the held-out set of emoji-tiny, drawn once and cached as .npy files.

Run it to prepare both before training:

    python training/emoji_tiny/data.py
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from drawing import VARIANTS, draw, draw_variants, icon_svg
from names import Emoji, load_aliases, load_emoji, match_icons
from packages import DEFAULT_CACHE, HELD_OUT, STYLES, fetch, read_json
from tqdm import tqdm

TRAINING_SIDE = 128
HELD_OUT_SIDE = 256

_icon_sets: dict[str, dict[str, Any]] = {}


@dataclass(frozen=True)
class TrainingSet:
    """Drawings of emoji in several styles.

    ``pictures`` is uint8 ``[drawings, VARIANTS, side, side, 4]`` (RGBA, memory-mapped);
    ``labels`` int64 ``[drawings]`` indexes ``emoji``; ``styles`` int64 ``[drawings]`` indexes
    ``style_names``.
    """

    emoji: list[Emoji]
    pictures: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    styles: npt.NDArray[np.int64]
    style_names: tuple[str, ...]


@dataclass(frozen=True)
class HeldOutSet:
    """The held-out style: emoji, and their images as uint8 ``[emoji, side, side, 4]`` (RGBA)."""

    emoji: list[Emoji]
    pictures: npt.NDArray[np.uint8]


def load_training_set(cache: Path = DEFAULT_CACHE, seed: int = 0) -> TrainingSet:
    """Load the training set, drawing it first if the cache does not hold it."""
    emoji = load_emoji(cache)
    index, pictures = cache / f"training-{seed}.json", cache / f"training-{seed}.npy"
    if not (index.is_file() and pictures.is_file()):
        _draw_training_set(emoji, cache, seed, index, pictures)
    rows: list[tuple[str, str, int]] = json.loads(index.read_text(encoding="utf-8"))
    names = tuple(STYLES)
    return TrainingSet(
        emoji,
        np.load(pictures, mmap_mode="r"),
        np.array([label for _, _, label in rows], dtype=np.int64),
        np.array([names.index(style) for style, _, _ in rows], dtype=np.int64),
        names,
    )


def load_held_out_set(cache: Path = DEFAULT_CACHE) -> HeldOutSet:
    """Load the held-out set, drawing it first if the cache does not hold it."""
    emoji = load_emoji(cache)
    package = fetch(HELD_OUT, cache)
    icons = read_json(package, "icons.json")
    # The package has code points for its icons, so no aliases are needed.
    pairs = match_icons(package, emoji, {})
    file = cache / "held-out.npy"
    if not file.is_file():
        drawn = [draw(icon_svg(icons, name), HELD_OUT_SIDE) for _, name in tqdm(pairs, "held-out")]
        _save(file, np.stack(drawn))
    return HeldOutSet([emoji[i] for i, _ in pairs], np.load(file, mmap_mode="r"))


def _draw_training_set(emoji: list[Emoji], cache: Path, seed: int, index: Path, pictures: Path) -> None:
    aliases = load_aliases(emoji, cache)
    rows: list[tuple[str, str, int]] = []
    for style, package in STYLES.items():
        folder = fetch(package, cache)
        _icon_sets[style] = read_json(folder, "icons.json")
        rows += [(style, name, label) for label, name in match_icons(folder, emoji, aliases)]
    shape = (len(rows), VARIANTS, TRAINING_SIDE, TRAINING_SIDE, 4)
    unfinished = pictures.with_suffix(".part")
    drawn = np.lib.format.open_memmap(unfinished, mode="w+", dtype=np.uint8, shape=shape)
    jobs = [(style, name, seed) for style, name, _ in rows]
    # fork: workers inherit the parsed packages, which are too large to send to each worker.
    with multiprocessing.get_context("fork").Pool() as pool:
        for i, picture in enumerate(tqdm(pool.imap(_draw_job, jobs, 16), "drawing", len(jobs))):
            drawn[i] = picture
    drawn.flush()
    unfinished.rename(pictures)
    index.write_text(json.dumps(rows), encoding="utf-8")


def _draw_job(job: tuple[str, str, int]) -> npt.NDArray[np.uint8]:
    style, name, seed = job
    return draw_variants(_icon_sets[style], name, TRAINING_SIDE, seed)


def _save(file: Path, array: npt.NDArray[np.uint8]) -> None:
    with file.with_suffix(".part").open("wb") as stream:
        np.save(stream, array)
    file.with_suffix(".part").rename(file)


def main() -> None:
    """Prepare both sets, and print their contents."""
    parser = argparse.ArgumentParser(description="Fetch and draw the data of emoji-tiny.")
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE, help="default: %(default)s")
    cache: Path = parser.parse_args().cache
    training, held_out = load_training_set(cache), load_held_out_set(cache)
    for i, style in enumerate(training.style_names):
        labels = training.labels[training.styles == i]
        print(f"{style}: {len(labels)} drawings of {len(set(labels.tolist()))} emoji")
    print(f"held out: {len(held_out.emoji)} of {len(training.emoji)} emoji")


if __name__ == "__main__":
    main()
