"""What all programs have in common: the job comes as an argument, and what came of it is printed."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def data_uri(picture: str) -> str:
    """A file of PNG as a data URI."""
    return f"data:image/png;base64,{in_base64(picture)}"


def in_base64(picture: str) -> str:
    """A file in base64."""
    return base64.b64encode(Path(picture).read_bytes()).decode()


def run(encode: Callable[[dict[str, Any]], Any]) -> None:
    """Print what `encode` makes of the job."""
    job = json.loads(sys.argv[1])
    try:
        vectors = encode(job)
        _say(vectors=[[float(number) for number in vector] for vector in vectors])
    except Exception as error:
        cause = error.__cause__ or error
        _say(error=type(error).__name__, message=f"{error} {cause}")


def _say(**found: Any) -> None:
    sys.stdout.write(json.dumps(found) + "\n")
