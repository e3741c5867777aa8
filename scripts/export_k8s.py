"""Export the Flows for Kubernetes: the chart's files/topologies/NAME.yaml of each, and Jina's own manifests of one.

NAME is a Flow file's without `_flow`. Topologies are written for every Flow in flows/ and for the one that --flow
names, whose manifests go to k8s/.
Nothing outside this machine is asked, the same Flows give the same bytes, and an error leaves the old files.
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
    """Every text that the Flow of `flow_file` gives, by the path where it belongs.

    :param k8s: the folder of Jina's manifests; None for none.
    :param topology_file: None for the chart's, by the Flow's name.
    :raises ExportError: the Flow cannot be exported.
    """
    topology_file = topology_file or topology_of(checked_name(flow_file))
    flow = read_flow(flow_file, images)
    manifests = export(flow, namespace)
    texts = {k8s / name: text for name, text in manifests.items()} if k8s else {}
    return {**texts, topology_file: topology_text(topology(model_options(flow_file), manifests))}


def main(arguments: Sequence[str] | None = None) -> int:
    """Export; the exit code is 1 when `--check` finds something stale or the Flow cannot be exported."""
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
        print("export: stale; `make export` writes these files from the Flows", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m scripts.export_k8s", description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; print a diff and fail when something is stale"
    )
    parser.add_argument(
        "--flow", type=Path, default=DEFAULT_FLOW, help="the Flow file that Jina's manifests are of (%(default)s)"
    )
    parser.add_argument("--k8s", type=Path, default=_K8S, help="folder of Jina's manifests (%(default)s)")
    parser.add_argument("--topology", type=Path, help="write the topology of this Flow alone, and to this file")
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
