"""Export the Flow for Kubernetes: k8s/, as Jina writes it, and the chart's topology.yaml, from the same manifests.

Nothing outside this machine is asked, the same Flow gives the same bytes, and an error leaves the old files.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

if not __package__:  # run by its path
    sys.path.insert(0, str(Path(__file__).parents[1]))

from scripts.export.files import differences, write
from scripts.export.flow_file import ROOT, ExportError, Images, read_flow
from scripts.export.manifests import export
from scripts.export.topology import topology, topology_text

_FLOW = ROOT / "flows" / "encode_flow.yml"
_K8S = ROOT / "k8s"
_TOPOLOGY = ROOT / "helm" / "clip-image-flow" / "files" / "topology.yaml"
_DIGEST = re.compile(r"(?P<name>[^=]+)=(?P<digest>sha256:[0-9a-f]{64})")
_NAMESPACE = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


def exported(flow_file: Path, namespace: str, images: Images, k8s: Path, topology_file: Path) -> dict[Path, str]:
    """Every text that the Flow of `flow_file` gives, by the path where it belongs.

    :raises ExportError: the Flow cannot be exported.
    """
    flow = read_flow(flow_file, images)
    manifests = export(flow, namespace)
    texts = {k8s / name: text for name, text in manifests.items()}
    names = [executor["name"] for executor in flow["executors"]]
    return {**texts, topology_file: topology_text(topology(names, manifests))}


def main(arguments: Sequence[str] | None = None) -> int:
    """Export; the exit code is 1 when `--check` finds something stale or the Flow cannot be exported."""
    options = _parser().parse_args(arguments)
    try:
        images = Images(options.registry, options.tag, dict(options.digest))
        texts = exported(options.flow, options.namespace, images, options.k8s, options.topology)
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
        print("export: stale; `make export` writes these files from the Flow", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m scripts.export_k8s", description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; print a diff and fail when something is stale"
    )
    parser.add_argument("--flow", type=Path, default=_FLOW, help="the Flow file (%(default)s)")
    parser.add_argument("--k8s", type=Path, default=_K8S, help="folder of Jina's manifests (%(default)s)")
    parser.add_argument("--topology", type=Path, default=_TOPOLOGY, help="the chart's topology file (%(default)s)")
    parser.add_argument("--namespace", type=_namespace, default="default", help="of Jina's manifests (%(default)s)")
    parser.add_argument("--registry", default="", help="put before every image name: registry.example.com/team")
    parser.add_argument("--tag", default="", help="of every image (the version in pyproject.toml)")
    parser.add_argument(
        "--digest", action="append", type=_digest, default=[], metavar="NAME=sha256:...", help="in place of a tag"
    )
    return parser


def _namespace(text: str) -> str:
    if not _NAMESPACE.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name of a namespace")
    return text


def _digest(text: str) -> tuple[str, str]:
    if not (match := _DIGEST.fullmatch(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=sha256:<64 hexadecimal digits>")
    return match["name"], match["digest"]


if __name__ == "__main__":
    sys.exit(main())
