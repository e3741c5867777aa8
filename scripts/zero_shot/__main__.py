"""Measure the accuracy of zero-shot classification of your images, with a model that the Flow serves.

    make eval-zero-shot MODEL=ViT-B-32::laion2b_s34b_b79k PICTURES=~/pictures

PICTURES has one folder per class, such as `golden_retriever/`; its name is inserted into the text prompt. The images
and prompts are encoded by flows/clip_flow.yml, so the result includes the checkpoint, preprocessing, tokenizer and
precision that are served.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml

with warnings.catch_warnings():
    # Hides a warning about a dependency of Jina that imports pkg_resources.
    warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
    from docarray import Document, DocumentArray
    from jina import Client

from scripts.flow.running import FlowError, RunningFlow, load_flow, running_flow
from scripts.processes import free_ports
from scripts.zero_shot.pictures import accuracy, classes_in

CUTS = (1, 5)
_REQUEST_SIZE = 64


def encode(flow: RunningFlow, documents: Sequence[Document]) -> np.ndarray:
    """Return embeddings of length 1, float32 (n, dim), in the order of `documents`."""
    parameters = {"normalize": True, "drop_image_content": True}
    answer = Client(host=flow.grpc).post(
        "/", DocumentArray(documents), parameters=parameters, request_size=_REQUEST_SIZE, show_progress=True
    )
    return np.stack([answer[document.id].embedding for document in documents])


def main() -> int:
    """Print the accuracies; the exit code is 1 if accuracy@1 is below `--at-least`, or on an error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a name or path as in pretrained_model_name_or_path")
    parser.add_argument("pictures", type=Path, help="a folder with one folder of images per class")
    parser.add_argument("--template", default="a photo of a {}", help="template around a class's name (%(default)s)")
    parser.add_argument("--precision", help="precision of both encoders: fp32, bf16 or int8")
    parser.add_argument("--at-least", type=float, default=0.0, help="lowest allowed accuracy at 1 (%(default)s)")
    parser.add_argument("--log", type=Path, default=Path("zero-shot.log"), help="the Flow's log (%(default)s)")
    options = parser.parse_args()
    try:
        classes = classes_in(options.pictures.expanduser())
    except (OSError, ValueError) as error:
        print(f"zero-shot: {error}", file=sys.stderr)
        return 1
    files = [(number, file) for number, files in enumerate(classes.values()) for file in files]
    texts = [Document(text=options.template.format(name)) for name in classes]
    pictures = [Document(blob=file.read_bytes()) for _, file in files]
    try:
        with tempfile.TemporaryDirectory() as folder, options.log.open("wb") as log:
            environment = _environment(options.model, options.precision, Path(folder))
            with running_flow(environment, log) as flow:
                vectors = encode(flow, pictures), encode(flow, texts)
    except FlowError as error:
        print(f"zero-shot: {error}: {options.log}", file=sys.stderr)
        return 1
    found = accuracy(*vectors, [number for number, _ in files], CUTS)
    precision = options.precision or "its default precision"
    print(f"{options.model} in {precision}: {len(files)} pictures of {len(classes)} classes")
    for cut in CUTS:
        print(f"accuracy@{cut}: {found[cut]:.3f}")
    return int(found[1] < options.at_least)


def _environment(model: str, precision: str | None, folder: Path) -> dict[str, str]:
    """Return the environment of a Flow that serves `model` in `precision`.

    :param model: model name or path.
    :param precision: precision of both encoders; None for the default.
    :param folder: directory for a temporary Flow file.
    """
    ports = dict(zip(("CLIP_GRPC_PORT", "CLIP_HTTP_PORT"), map(str, free_ports(2)), strict=True))
    environment = {**os.environ, **ports, "CLIP_MODEL": model, "REPLICAS": "1"}
    if precision:
        flow = load_flow(environment)
        for executor in flow["executors"]:
            executor["uses_with"] = {**(executor.get("uses_with") or {}), "precision": precision}
        (folder / "flow.yml").write_text(yaml.safe_dump(flow, sort_keys=False), encoding="utf-8")
        environment["FLOW"] = str(folder / "flow.yml")
    return environment


if __name__ == "__main__":
    sys.exit(main())
