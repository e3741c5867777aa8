"""Measure the time of each kind of layer in a forward pass, and the GFLOP/s compared with the maximum of this CPU.

    python -m benchmarks.layers

The model is ViT-B/32 with random weights on OpenVINO. The maximum is estimated by torch's product of two large square
matrices in the same precision; torch has none for int8.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import measure
from benchmarks.pictures import FOLDER, random_vit_b_32
from clip_image_flow.backends.openvino.backend import properties
from clip_image_flow.backends.openvino.blocks import laid_out
from clip_image_flow.backends.openvino.conversion import model_in
from clip_image_flow.backends.openvino.library import openvino
from clip_image_flow.errors import ConfigError
from clip_image_flow.platform import cpus
from clip_image_flow.towers import Tower, image_tower

BATCH = 16
PRECISIONS = ("fp32", "bf16", "int8")
SQUARE = 2048


def median_seconds(way: Callable[[], object], rounds: int) -> float:
    """Return the median wall-clock time of `way`, in seconds."""
    return statistics.median(measure.repeat(way, rounds).seconds)


def flops(tower: Tower) -> float:
    """Return the floating-point operations (multiplications and additions) of a forward pass of `BATCH` images."""
    module: Any = laid_out(tower.load())  # a Module has no types for its attributes
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        module(torch.zeros(BATCH, *module.item_shape, dtype=torch.uint8))
    return float(counter.get_total_flops())


def yardstick(precision: str, rounds: int) -> float | None:
    """Return the GFLOP/s of torch's matrix product; None if torch has none in this precision."""
    dtypes = {"fp32": torch.float32, "bf16": torch.bfloat16}
    if precision not in dtypes:
        return None
    torch.set_num_threads(cpus.available())
    one = torch.randn(SQUARE, SQUARE).to(dtypes[precision])
    with torch.inference_mode():
        return 2 * SQUARE**3 / median_seconds(lambda: one @ one, rounds) / 1e9


def layers(precision: str, tower: Tower, rounds: int) -> tuple[float, Counter[str]]:
    """Return the seconds of a forward pass, and of each kind of layer in it."""
    compiled = openvino.Core().compile_model(
        model_in(precision, tower),
        "CPU",
        {**properties(precision, cpus.available()), "PERF_COUNT": True},
    )
    request = compiled.create_infer_request()
    size = compiled.input(0).partial_shape[1].get_length()
    pictures = np.random.default_rng(0).integers(0, 256, (BATCH, size, size, 3), dtype=np.uint8)
    whole = median_seconds(lambda: request.infer([pictures]), rounds)
    kinds: Counter[str] = Counter()
    for layer in request.profiling_info:
        if layer.status == layer.Status.EXECUTED:
            kinds[f"{layer.node_type} ({layer.exec_type})"] += layer.real_time.total_seconds()
    return whole, kinds


def main() -> int:
    """Measure and print a table for each precision."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    tower = image_tower(str(random_vit_b_32()), str(FOLDER))
    work = flops(tower)
    print(f"{BATCH} pictures, {work / 1e9:.0f} GFLOP; {measure.describe(measure.machine())}")
    figures = {}
    for precision in PRECISIONS:
        try:
            whole, kinds = layers(precision, tower, options.rounds)
        except ConfigError as error:
            print(f"{precision} is not measured: {error}", file=sys.stderr)
            continue
        most = yardstick(precision, options.rounds)
        reached = work / whole / 1e9
        beside = f"; torch's product of {SQUARE} x {SQUARE}: {most:.0f}, so {reached / most:.0%} of it" if most else ""
        print(f"{precision}: {1000 * whole:.0f} ms, {BATCH / whole:.1f} images/s, {reached:.0f} GFLOP/s{beside}")
        total = sum(kinds.values())
        for kind, seconds in kinds.most_common(8):
            print(f"  {kind:<60} {seconds / total:6.1%}")
        figures[precision] = {
            "milliseconds": 1000 * whole,
            "gflop_per_second": reached,
            "torch_product_gflop_per_second": most,
            "shares": {kind: seconds / total for kind, seconds in kinds.most_common()},
        }
    measure.save("layers", {"batch": BATCH, "gflop": work / 1e9, "precisions": figures})
    return 0


if __name__ == "__main__":
    sys.exit(main())
