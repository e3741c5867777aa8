"""Files that are small and made to cost a lot: each is answered, within its bounds of CPU time and memory."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from fuzz.hostile import HOSTILE

_PROGRAM = """
import json, os, resource, sys
import numpy as np
from clip_image_flow import ImageEncoder
from clip_image_flow.errors import RequestError
from fuzz.hostile import HOSTILE
from fuzz.mutants import encoded, photograph

encoder = ImageEncoder(sys.argv[1], max_decode_seconds=2.0)
good = encoded(photograph(), "PNG")
expected = encoder.encode([good])
own_peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
for name, make in HOSTILE.items():
    data, before, own = make(), os.times(), own_peak()
    hostile, neighbour = encoder.submit([data, good])
    right = bool(np.array_equal(neighbour.result(60), expected[0]))
    try:
        hostile.result(60)
        outcome = "encoded"
    except RequestError as error:
        outcome = type(error).__name__
    decoders = 0
    for some in (encoder._preparation._small, encoder._preparation._large):
        for process in some._idle:
            status = open(f"/proc/{process._process.pid}/status").read().splitlines()
            decoders = max(decoders, next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM")))
        some.close()  # the CPU time of those that are still there is counted when they have ended
        some._closed = False
    after = os.times()
    cpu = sum(after[:4]) - sum(before[:4])
    row = {"name": name, "cpu": cpu, "outcome": outcome, "right": right}
    print(json.dumps({**row, "own": own_peak() - own, "decoder": decoders}), flush=True)
encoder.close()
"""


@pytest.fixture(scope="module")
def rows(tiny_model: Any) -> dict[str, dict[str, Any]]:
    """What each file cost, in one process of its own."""
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _PROGRAM, str(tiny_model)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert len(ended.stderr) < 1000, ended.stderr  # and no decoder wrote into the log
    return {row["name"]: row for row in map(json.loads, ended.stdout.splitlines())}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_costs_no_more_than_it_may(rows: dict[str, dict[str, Any]], name: str) -> None:
    row = rows[name]
    assert row["right"]  # its neighbour in the same request
    assert row["outcome"] in ("encoded", "TooLarge", "BadDocument", "UnsupportedMedia")
    assert row["cpu"] <= 2.0 + 0.05 + 0.8  # both bounds, and the start of the processes that take over
    assert row["decoder"] <= 440 << 20
    assert row["own"] <= 100 << 20
