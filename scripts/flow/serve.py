"""Run the Flow until Ctrl-C or SIGTERM, then stop all of its processes."""

from __future__ import annotations

import argparse
import signal
import sys
from types import FrameType

from scripts.flow import running
from scripts.flow.running import FlowError, running_flow

_READY = """
clip-image-flow is ready: model {model}, executors {executors}
    gRPC  {grpc}
    HTTP  {http}    (API description: {http}/docs)

Encode an image, from another terminal:
    .venv/bin/python examples/01_encode_pictures.py --host {grpc} PICTURE ...
    curl --data-binary @PICTURE -H 'Content-Type: image/jpeg' {http}/embed
{words}
Ctrl-C ends it.
"""
_WORDS = """
Search a folder of images by text, or encode a text:
    .venv/bin/python examples/09_search_by_words.py --host {grpc} FOLDER "a red apple" ...
    curl --data-binary 'a red apple' -H 'Content-Type: text/plain' {http}/embed
"""


def main() -> int:
    """Run the Flow; the exit code is 0 after Ctrl-C or SIGTERM."""
    epilog = (running.__doc__ or "").partition("\n\n")[2]
    argparse.ArgumentParser(
        prog="python -m scripts.flow.serve",
        description=__doc__,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with running_flow() as flow:
            words = _WORDS.format(grpc=flow.grpc, http=flow.http) if "text" in flow.executors else ""
            names = ", ".join(flow.executors)
            print(
                _READY.format(model=flow.model, executors=names, grpc=flow.grpc, http=flow.http, words=words),
                flush=True,
            )
            code = flow.process.wait()
            print(f"the Flow exited with code {code}; see its log above", file=sys.stderr)
            return 1
    except FlowError as error:
        print(f"clip-image-flow: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("clip-image-flow: ended", flush=True)
        return 0


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
