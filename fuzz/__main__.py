"""Fuzz for some minutes, and save failing inputs.

    python -m fuzz --minutes 10 --seed 1 --kinds picture message

Each failing input is a file in `fuzz/corpus/KIND/`, minimized by a simple search, with the reason in a `.txt` file next
to it. A run continues where the last one with the same seed ended; the position is in .cache/fuzz.json.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from fuzz.mutants import KINDS, mutant

ROOT = Path(__file__).parents[1]
CORPUS = Path(__file__).with_name("corpus")
STATE = ROOT / ".cache" / "fuzz.json"
BATCH = {"picture": 2000}  # mutants per child process
OTHERS = 1000
WALL_SECONDS = 600  # timeout for a child process to exit after its last line


def lines_of(*arguments: str) -> Iterator[dict[str, object]]:
    """Run a child process; yield the lines that it prints, and a last one with `died` if it failed."""
    with tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "fuzz.child", *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        assert child.stdout
        try:
            for line in child.stdout:
                yield json.loads(line)
            code = child.wait(WALL_SECONDS)
        finally:
            child.kill()
            child.wait()
            child.stdout.close()
        errors.seek(0)
        noise = errors.read()
    if code:
        name = signal.Signals(-code).name if code < 0 else f"code {code}"
        told = "more CPU time than it may take" if name == "SIGPROF" else f"ended by {name}"
        yield {"died": f"{told}: {noise[-300:].decode(errors='replace')}".strip(": ")}


def failure_of(kind: str, data: bytes) -> str:
    """Return the failure of an input; "" if there is none."""
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(data)
        for line in lines_of(kind, file.name):
            if why := line.get("failure") or line.get("died"):
                return str(why)
    return ""


def smallest(kind: str, data: bytes, why: str, tries: int = 60) -> bytes:
    """Return `data` without blocks that are not needed for the failure.

    :param kind: kind of the input.
    :param data: failing input.
    :param why: its failure.
    :param tries: maximum number of shorter inputs to run.
    """
    size = len(data) // 2
    while size and tries > 0:
        start = 0
        while start < len(data) and tries > 0:
            shorter = data[:start] + data[start + size :]
            tries -= 1
            if failure_of(kind, shorter)[:20] == why[:20]:
                data = shorter
            else:
                start += size
        size //= 2
    return data


def keep(kind: str, data: bytes, why: str) -> Path:
    """Write a failing input, minimized, and its reason to the corpus; return the path of the input."""
    data = smallest(kind, data, why)
    path = CORPUS / kind / hashlib.sha256(data).hexdigest()[:16]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.with_suffix(".txt").write_text(why.splitlines()[0] + "\n", encoding="utf-8")
    return path


def batch(kind: str, seed: int, first: int, count: int) -> tuple[Counter[str], list[tuple[int, str]]]:
    """Run `count` mutants from number `first` on; return how often each end occurred, and (number, failure) pairs."""
    ends: Counter[str] = Counter()
    found: list[tuple[int, str]] = []
    number, end = first, first + count
    while number < end:
        begun = number
        for line in lines_of(kind, str(seed), str(number), str(end - number)):
            if "begin" in line:
                begun = int(str(line["begin"]))
            elif "died" in line:
                found.append((begun, str(line["died"])))
            else:
                ends[str(line.get("end", "failure"))] += 1
                if "failure" in line:
                    found.append((begun, f"{line['failure']}\n{line.get('trace', '')}".strip()))
        number = begun + 1
    return ends, found


def main() -> int:
    """Fuzz; the exit code is 1 if an input failed."""
    parser = argparse.ArgumentParser(
        prog="python -m fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    options = parser.parse_args()
    state: dict[str, int] = {}
    with contextlib.suppress(OSError, ValueError):
        state = json.loads(STATE.read_text(encoding="utf-8"))
    seen: set[str] = set()
    totals: Counter[str] = Counter()
    end = time.monotonic() + 60 * options.minutes
    while time.monotonic() < end:
        for kind in options.kinds:
            place = f"{kind} {options.seed}"
            first, count = state.get(place, 0), BATCH.get(kind, OTHERS)
            ends, found = batch(kind, options.seed, first, count)
            totals.update(ends)
            for number, why in found:
                reason = why.splitlines()[0][:60]
                print(f"{kind} {number} of seed {options.seed}: {reason}", flush=True)
                if f"{kind} {reason}" not in seen:  # save one input per reason
                    seen.add(f"{kind} {reason}")
                    print(f"  kept in {keep(kind, mutant(kind, options.seed, number), why)}", flush=True)
            state[place] = first + count
            STATE.parent.mkdir(exist_ok=True)
            STATE.write_text(json.dumps(state), encoding="utf-8")
            left = max(0.0, end - time.monotonic())
            print(f"{kind}: {first + count} mutants, {len(seen)} findings, {left / 60:.1f} minutes left", flush=True)
            if not left:
                break
    print(dict(totals))
    return int(bool(seen))


if __name__ == "__main__":
    sys.exit(main())
