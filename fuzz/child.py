"""Runs mutants one after the other; the parent process detects if one ends this process.

    python -m fuzz.child KIND SEED FIRST COUNT      or      python -m fuzz.child KIND FILE

It prints a JSON line before and after each mutant. A mutant that exceeds the limit of CPU time ends the process; one
that exceeds the limit of memory fails or ends it.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
import time
import traceback
from pathlib import Path

from fuzz.mutants import mutant
from fuzz.targets import TARGETS

SECONDS = {"picture": 3.0}  # CPU time per mutant; decoding processes have a separate limit
PARSER_SECONDS = 0.5
BYTES = 1 << 30  # address space in addition to that at the start


def run(kind: str, data: bytes) -> dict[str, object]:
    """Run a mutant; return `end`, or for an unexpected exception `failure` and its traceback in `trace`."""
    signal.setitimer(signal.ITIMER_PROF, SECONDS.get(kind, PARSER_SECONDS))
    try:
        return {"end": TARGETS[kind](data)}
    except MemoryError:
        return {"failure": "MemoryError"}
    except Exception as error:  # any exception that the target did not handle is a bug
        return {"failure": f"{type(error).__name__}: {str(error)[:200]}", "trace": traceback.format_exc()[-2000:]}
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def main() -> None:
    """Run mutants, or a file, as described at the top of this module."""
    kind = sys.argv[1]
    for target in TARGETS:  # so that no mutant pays for imports, caches and pools
        TARGETS[target](b"{}")
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + BYTES, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if len(sys.argv) == 3:
        _say(run(kind, Path(sys.argv[2]).read_bytes()))
        return
    seed, first, count = map(int, sys.argv[2:5])
    for number in range(first, first + count):
        data = mutant(kind, seed, number)
        _say({"begin": number})
        began = time.process_time()
        _say({"number": number, "seconds": time.process_time() - began, **run(kind, data)})


def _say(line: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
