"""Compare the texts/s of the library in one process with `clip.tokenize` and `encode_text`.

    python -m benchmarks.texts

Both encode the same texts in batches of 32 with the same random ViT-B/32 weights, alternately: queries of 5 to 15
tokens, and captions that fill the context of 77 tokens. Single queries are encoded one at a time.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks import measure
from benchmarks.pictures import FOLDER, random_vit_b_32
from clip_image_flow import TextEncoder
from clip_image_flow.models.openai_clip import clip
from clip_image_flow.platform import cpus

BATCH = 32
LEAST = {"queries": 3.0, "captions": 1.2}
LARGEST_DIFFERENCE = 1e-4  # per element, in fp32
_WORDS = ["a", "photo", "of", "the", "red", "dog", "cat", "house", "in", "park", "with", "big", "small", "blue", "tree"]


def queries(count: int) -> list[str]:
    """Return texts of 5 to 15 tokens, including the start and end tokens."""
    return [_words(random.Random(i), random.Random(i).randint(3, 13)) for i in range(count)]


def captions(count: int) -> list[str]:
    """Return texts of 77 tokens, including the start and end tokens."""
    return [_words(random.Random(i), 75) for i in range(count)]


def _words(chosen: random.Random, count: int) -> str:
    return " ".join(chosen.choice(_WORDS) for _ in range(count))


def plain(weights: Path) -> Callable[[list[str]], np.ndarray]:
    """Return a function that encodes texts with `clip` as in its README: float32 (n, 512)."""
    torch.set_num_threads(cpus.available())
    model, _ = clip.load(str(weights), device="cpu")

    def encode(texts: list[str]) -> np.ndarray:
        with torch.no_grad():
            batches = [texts[i : i + BATCH] for i in range(0, len(texts), BATCH)]
            return np.concatenate([model.encode_text(clip.tokenize(batch)).numpy() for batch in batches])

    return encode


def single_ms(encode: Callable[[list[str]], object], texts: list[str]) -> float:
    """Return the median time to encode one text, in milliseconds."""
    seconds = []
    for text in texts:
        begin = time.perf_counter()
        encode([text])
        seconds.append(time.perf_counter() - begin)
    return 1000 * statistics.median(seconds)


def main() -> int:
    """Measure; the exit code is 1 if embeddings differ, or with --check if a ratio is below its minimum."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3, help="rounds, after a warm-up round (%(default)s)")
    parser.add_argument("--check", action="store_true", help="fail when a ratio is below its floor")
    options = parser.parse_args()

    weights = random_vit_b_32()
    theirs, encoder = plain(weights), TextEncoder(str(weights), cache_dir=str(FOLDER))
    ours = partial(encoder.encode, batch_size=BATCH)
    texts = {"queries": queries(options.texts), "captions": captions(options.texts // 4)}
    ways: dict[str, Callable[[], object]] = {}
    for name, own in texts.items():
        ways[f"clip, {name}"], ways[f"library, {name}"] = partial(theirs, own), partial(ours, own)
    turns = measure.take_turns(ways, options.rounds)
    difference = max(float(np.abs(ours(own[:BATCH]) - theirs(own[:BATCH])).max()) for own in texts.values())
    single = {"clip": single_ms(theirs, texts["queries"][:64]), "library": single_ms(ours, texts["queries"][:64])}
    encoder.close()

    pairs = {name: (turns[f"clip, {name}"], turns[f"library, {name}"]) for name in texts}
    ratios = {name: measure.times_faster(a.seconds, b.seconds) for name, (a, b) in pairs.items()}
    rates = {way: len(texts[way.rpartition(" ")[2]]) / statistics.median(turn.seconds) for way, turn in turns.items()}
    print(f"ViT-B/32 (random weights), batches of {BATCH}; {measure.describe(measure.machine())}")
    for name, rate in rates.items():
        print(f"{name:<20} {rate:8.1f} texts/s")
    for name, milliseconds in single.items():
        print(f"{name}, single query {milliseconds:6.1f} ms")
    for name, ratio in ratios.items():
        print(f"  {name}, library / clip {ratio:6.2f}   (aim: {LEAST[name]})")
    print(f"largest difference of an element: {difference:.1e}")
    figures = {"ratios": ratios, "texts_per_second": rates, "single_ms": single, "largest_difference": difference}
    measure.save("texts", figures)
    low = [name for name, ratio in ratios.items() if ratio < LEAST[name]]
    return measure.exit_code(difference > LARGEST_DIFFERENCE or bool(options.check and low), low, "the difference")


if __name__ == "__main__":
    sys.exit(main())
