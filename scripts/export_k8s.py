"""Export the Flows for Kubernetes: the chart's files/topologies/NAME.yaml of each, and Jina's own manifests of one.

NAME is the name of the Flow file without `_flow`. Topologies are written for every Flow in flows/ and for --flow; the
manifests of --flow are written to k8s/. The export makes no network requests, is reproducible, and leaves the old
files unchanged on error.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

if not __package__:  # run by its path
    sys.path.insert(0, str(Path(__file__).parents[1]))

from scripts import ROOT
from scripts.export.files import differences, write
from scripts.export.flow_file import ExportError, Images, checked_name, model_options, read_flow
from scripts.export.manifests import export
from scripts.export.topology import topology, topology_text
from scripts.flow.names import DEFAULT_FLOW, flow_files
from scripts.flow.names import topology_file as topology_of

_K8S = ROOT / "k8s"
_DIGEST = re.compile(r"(?P<name>[^=]+)=(?P<digest>sha256:[0-9a-f]{64})")
_NAMESPACE = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


def exported(
    flow_file: Path, namespace: str, images: Images, k8s: Path | None, topology_file: Path | None
) -> dict[Path, str]:
    """Return the exported files of a Flow: path -> content.

    :param flow_file: Flow file.
    :param namespace: Kubernetes namespace in Jina's manifests.
    :param images: names of the images.
    :param k8s: directory for Jina's manifests; None to omit them.
    :param topology_file: path of the topology; None for that in the chart.
    :raises ExportError: if the Flow cannot be exported.
    """
    topology_file = topology_file or topology_of(checked_name(flow_file))
    flow = read_flow(flow_file, images)
    manifests = export(flow, namespace)
    texts = {k8s / name: text for name, text in manifests.items()} if k8s else {}
    return {**texts, topology_file: topology_text(topology(model_options(flow_file), manifests))}


def main(arguments: Sequence[str] | None = None) -> int:
    """Export; the exit code is 1 if `--check` finds a stale file, or the Flow cannot be exported."""
    options = _parser().parse_args(arguments)
    try:
        images = Images(options.registry, options.tag, dict(options.digest))
        texts: dict[Path, str] = {}
        for flow in () if options.topology else flow_files():
            texts |= exported(flow, options.namespace, images, None, None)
        texts |= exported(options.flow, options.namespace, images, options.k8s, options.topology)
        stale = sorted(set(options.k8s.rglob("*.yml")) - texts.keys())
        if options.check:
            return _check(texts, stale)
        for path in write(texts, stale):
            print(f"{'removed' if path in stale else 'wrote'} {path}")
    except (ExportError, OSError) as error:
        print(f"export: {error}", file=sys.stderr)
        return 1
    return 0


def _check(texts: Mapping[Path, str], stale: list[Path]) -> int:
    if found := differences(texts, stale):
        print(found, end="")
        print("export: files are stale; run `make export`", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m scripts.export_k8s", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; print a diff and fail if a file is stale")
    parser.add_argument(
        "--flow", type=Path, default=DEFAULT_FLOW, help="Flow file for Jina's manifests (default: %(default)s)"
    )
    parser.add_argument("--k8s", type=Path, default=_K8S, help="directory for Jina's manifests (default: %(default)s)")
    parser.add_argument("--topology", type=Path, help="write only the topology of this Flow, to this file")
    parser.add_argument(
        "--namespace", type=_namespace, default="default", help="namespace in Jina's manifests (default: %(default)s)"
    )
    parser.add_argument("--registry", default="", help="prefix of all image names, such as registry.example.com/team")
    parser.add_argument("--tag", default="", help="tag of all images (default: the version in pyproject.toml)")
    parser.add_argument(
        "--digest",
        action="append",
        type=_digest,
        default=[],
        metavar="NAME=sha256:...",
        help="digest of an image, instead of the tag; can be repeated",
    )
    return parser


def _namespace(text: str) -> str:
    if not _NAMESPACE.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a valid namespace name")
    return text


def _digest(text: str) -> tuple[str, str]:
    if not (match := _DIGEST.fullmatch(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=sha256:<64 hexadecimal digits>")
    return match["name"], match["digest"]


if __name__ == "__main__":
    sys.exit(main())
