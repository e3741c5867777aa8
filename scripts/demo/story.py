"""Run the demo: start the Flow, encode images and texts through its gateway, rank the images by the texts.

All images are local: photographs in the scikit-learn and scikit-image packages, and the emoji in examples/pictures. The
embeddings are compared with those of `clip` itself. If a check fails, the reason is printed and the exit code is 1.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from scripts import ROOT
from scripts.demo.checks import FOUND_WITHIN, CheckFailed, check_agreement, check_embeddings, check_search
from scripts.demo.encode import (
    ALBUM,
    EncodingError,
    Request,
    Result,
    curl_line,
    encode,
    encode_plainly,
    requests,
    text_request,
)
from scripts.demo.pictures import QUERIES, MissingPicturesError, Picture, held_out, photographs
from scripts.demo.show import draw_sheet, print_rankings, print_table, rank
from scripts.flow.names import SERVED_FLOW
from scripts.flow.running import FlowError, RunningFlow, load_flow, model_of, running_flow
from scripts.processes import free_ports

_STARTED = time.monotonic()
_LOG_LINES = 12  # lines of the Flow's log that are printed on failure
_NEXT = """
What next:
    make serve                               runs this Flow until Ctrl-C (ports 51000 and 8000), and then:
    .venv/bin/python examples/01_encode_pictures.py PICTURE ...
    .venv/bin/python examples/09_search_by_words.py FOLDER "a red apple" ...
    curl --data-binary @PICTURE -H 'Content-Type: image/jpeg' http://127.0.0.1:8000/embed
    examples/README.md                       short programs, from gRPC, HTTP and curl to search and labels
    docs/                                    models, parameters, errors
"""


class ReferenceFailed(RuntimeError):
    """`clip` itself cannot encode the images or the texts."""


@dataclass(frozen=True)
class Reference:
    """Embeddings of the same images and texts by `clip`: document id -> float32 (dim,)."""

    pictures: dict[str, np.ndarray]
    texts: dict[str, np.ndarray]


def main() -> int:
    """Run the demo; the exit code is 0 if all checks pass."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.demo",
        description=__doc__,
        epilog="CLIP_MODEL and REPLICAS are as for `python -m scripts.flow.serve`; free ports are used.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--output", type=Path, default=Path("demo.png"), help="contact sheet to write (default: %(default)s)"
    )
    output: Path = parser.parse_args().output
    descriptor, log = tempfile.mkstemp(prefix="clip-image-flow-demo-", suffix=".log")
    os.close(descriptor)
    try:
        tell_story(output, Path(log))
    except (CheckFailed, EncodingError, FlowError, MissingPicturesError, ReferenceFailed, OSError) as error:
        last = Path(log).read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:]
        print(f"\ndemo failed: {error}\n\nthe Flow's log, {log}, ends with:", *last, sep="\n    ", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\ndemo: interrupted; the Flow's log is {log}", file=sys.stderr)
        return 130
    Path(log).unlink()
    print(_NEXT)
    return 0


def tell_story(output: Path, log: Path) -> None:
    """Run all steps of the demo.

    :param output: contact sheet to write.
    :param log: file for the Flow's log.
    :raises CheckFailed: if a check fails.
    """
    photos, emoji = photographs(), held_out()
    queries, names = list(QUERIES), [picture.query for picture in emoji]
    ports = dict(zip(("CLIP_GRPC_PORT", "CLIP_HTTP_PORT"), map(str, free_ports(2)), strict=True))
    environment = {**os.environ, **ports, "FLOW": str(SERVED_FLOW)}
    model = model_of(load_flow(environment))
    say(f"starting the Flow with the model {model} (log: {log}) and clip itself as reference")
    with reference(model, [*photos, *emoji], [*queries, *names]) as wait_for_reference:
        with log.open("wb") as file, running_flow(environment, file) as flow:
            say(f"the Flow is ready: {flow.grpc} and {flow.http}")
            work = [*requests(photos, emoji), text_request("queries", queries), text_request("names", names)]
            by_grpc, by_http = encode_twice(flow, work)
            plain = encode_plainly(flow.http, emoji[0])
            line = curl_line(flow.http, emoji[0])
        print_table(work, by_grpc, by_http)
        truth = wait_for_reference()
    grpc = check_everything(work, by_grpc, by_http, truth, photos, emoji)
    agreement = check_agreement("/embed and gRPC", {emoji[0].file: plain}, {emoji[0].file: grpc[emoji[0].file]})
    say(f"✓ curl is gRPC: {agreement}, from\n           {line}")
    pictures = np.stack([grpc[picture.file] for picture in emoji])
    rankings = rank(emoji, pictures, QUERIES, np.stack([grpc[query] for query in queries]))
    print_rankings(rankings)
    files = {picture.file for picture in emoji}
    seconds = sum(result.seconds for result in by_grpc if result.embeddings.keys() <= files)
    draw_sheet(output, model, rankings, seconds)
    say(f"all checks passed; the contact sheet is {output}")


def say(text: str) -> None:
    """Print a message with the seconds since the start."""
    print(f"{time.monotonic() - _STARTED:5.1f} s  {text}", flush=True)


@contextlib.contextmanager
def reference(model: str, pictures: Sequence[Picture], texts: Sequence[str]) -> Iterator[Callable[[], Reference]]:
    """Run `clip` on the same images and texts in a separate process; yield a function that waits for the result."""
    with tempfile.TemporaryDirectory(prefix="clip-image-flow-demo-") as folder:
        request, result = Path(folder, "request.json"), Path(folder, "reference.npz")
        request.write_text(json.dumps({"pictures": [str(p.path) for p in pictures], "texts": texts}), encoding="utf-8")
        command = [sys.executable, "-W", "ignore", "-m", "scripts.demo.reference", model, str(result)]
        with (
            request.open("rb") as file,
            subprocess.Popen(
                command, cwd=ROOT, stdin=file, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            ) as process,
        ):

            def wait() -> Reference:
                said, _ = process.communicate()
                if process.returncode:
                    raise ReferenceFailed(f"the reference exited with code {process.returncode}: {said.strip()}")
                with np.load(result) as arrays:
                    files = [picture.file for picture in pictures]
                    by_file = dict(zip(files, arrays["pictures"], strict=True))
                    return Reference(by_file, dict(zip(texts, arrays["texts"], strict=True)))

            try:
                yield wait
            finally:
                process.kill()


def encode_twice(flow: RunningFlow, work: Sequence[Request]) -> tuple[list[Result], list[Result]]:
    """Encode everything over gRPC, then over HTTP."""
    results = []
    total = sum(len(request.documents) for request in work)
    for protocol, host in (("gRPC", flow.grpc), ("HTTP", flow.http)):
        with tqdm(total=total, desc=f"         {protocol}", unit=" documents", ncols=88) as bar:
            results.append(encode(host, work, bar.update))
    return results[0], results[1]


def together(results: Sequence[Result]) -> dict[str, np.ndarray | None]:
    """Merge the results of all requests: document id -> embedding."""
    return {document: embedding for result in results for document, embedding in result.embeddings.items()}


def check_everything(
    work: Sequence[Request],
    by_grpc: Sequence[Result],
    by_http: Sequence[Result],
    truth: Reference,
    photos: Sequence[Picture],
    emoji: Sequence[Picture],
) -> dict[str, np.ndarray]:
    """Run all checks, and print a line for each.

    :return: document id -> embedding over gRPC.
    :raises CheckFailed: if a check fails.
    """
    dim = len(truth.pictures[emoji[0].file])
    shapes = {document: shape for request in work for document, shape in request.shapes(dim).items()}
    grpc = check_embeddings(together(by_grpc), shapes)
    http = check_embeddings(together(by_http), shapes)
    say(f"✓ {len(shapes)} documents over gRPC and over HTTP: shapes, float32, finite")
    say(f"✓ HTTP is gRPC: {check_agreement('gRPC and HTTP', http, grpc)}")
    rows = {ALBUM: np.stack([grpc[picture.file] for picture in photos])}
    say(f"✓ chunks are documents: {check_agreement('chunks and documents', grpc, rows)}")
    for what, expected in (("pictures", truth.pictures), ("words", truth.texts)):
        say(f"✓ the Flow is clip, {what}: {check_agreement('the Flow and clip', grpc, expected)}")
    pictures = np.stack([grpc[picture.file] for picture in emoji])
    found = check_search(pictures, np.stack([grpc[picture.query] for picture in emoji]))
    say(f"✓ {found:.0%} of the {len(emoji)} names find their picture among the first {FOUND_WITHIN}")
    return grpc
