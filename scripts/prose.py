"""Check that prose lines of Markdown files have at most 120 columns; print the others as `FILE:LINE: N columns`.

    python -m scripts.prose FILE ...

Tables, code blocks and lines that consist of one link are not checked.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

COLUMNS = 120

_FENCE = re.compile(r"\s*(```|~~~)")
_INDENTED = re.compile(r" {4}|\t")
_TABLE = re.compile(r"\s*\|")
_LINK = re.compile(r"\s*([-*] |\d+\. )?(!?\[[^\]]*\]\([^)]*\)|<?https?://\S+)[.,;:]?")


def long_lines(text: str) -> Iterator[tuple[int, int]]:
    """Yield line number, from 1, and number of columns of each prose line that is too long."""
    is_code = False
    for number, line in enumerate(text.splitlines(), 1):
        if _FENCE.match(line):
            is_code = not is_code
        is_free = is_code or _INDENTED.match(line) or _TABLE.match(line) or _LINK.fullmatch(line)
        if len(line) > COLUMNS and not is_free:
            yield number, len(line)


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the files; the exit code is 1 if a line is too long."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.prose", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="+", type=Path, help="Markdown files")
    found = False
    for file in parser.parse_args(arguments).files:
        for number, columns in long_lines(file.read_text(encoding="utf-8")):
            print(f"{file}:{number}: {columns} columns, more than {COLUMNS}")
            found = True
    return int(found)


if __name__ == "__main__":
    sys.exit(main())
